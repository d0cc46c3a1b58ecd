"""What a file of measurements holds, in words."""

import math
from collections import Counter

import numpy as np
import torch
from numpy.typing import NDArray

from risolve.files.banded_stream import BandedStream
from risolve.files.gaps import gap_in
from risolve.files.measurement_stream import MeasurementStream
from risolve.files.source import TruePlaces
from risolve.inference.determinability import determined
from risolve.physics.array import Array
from risolve.physics.geometry import (
    aperture,
    fraunhofer_distance,
    fresnel_distance,
    is_line,
    nearest_spacing,
)
from risolve.physics.observation import Observation, estimated_snr
from risolve.shapes import Elements
from risolve.words.gaps import gap_words

_LIGHT = 299_792_458.0
"""m/s"""

_THIN = 1e-6
"""Share of the largest extent, below which elements extend no farther along an axis."""

_MOST_BITS = 6
_MODELS = {"independent": "amplitudes free in every snapshot", "constant": "one amplitude for all snapshots"}


def measurement_lines(stream: MeasurementStream) -> list[str]:
    """Sizes, array, channel, codes, noise, truth, and how many sources can be told apart.

    Channel, codes and SNR are those of the scenes of the first chunk.
    """
    sizes = stream.sizes
    lines = [
        *_size_lines(stream),
        *_array_lines(stream.array),
        f"sources: {stream.source_model}, {_MODELS[stream.source_model]}"
        + (", the same of all sources" if stream.gains == "equal" else ""),
    ]
    chunk = stream.chunk(0, min(stream.chunk_size, sizes.scenes))
    if chunk.observation is not None:
        what, rank, most = determined(chunk.observation)
        lines += [
            f"at most {most.n_sources} sources can be determined ({most.law}; {what} of rank {rank})",
            *_system_lines(stream, chunk.observation),
        ]
    gaps = {scene: gap for scene in chunk.left_out if (gap := gap_in(stream, scene)) is not None}
    lines += [
        f"scene {scene} cannot be located: {reason}"
        for scene, reason in chunk.left_out.items()
        if scene not in gaps
    ]
    lines += [gap_words(gaps, sizes)] if gaps else []
    lines += [f"note: {warning}" for warning in stream.warnings]
    truth = stream.truth()
    return lines + (["no truth"] if truth is None else _truth_lines(truth))


def banded_lines(stream: BandedStream) -> list[str]:
    """The same of several wavelengths: of each band, and of all together."""
    lines = [f"{len(stream.bands)} bands", *_array_lines(stream.array), *_delay_lines(stream)]
    for number, band in enumerate(stream.bands):
        chunk = band.chunk(0, min(band.chunk_size, band.sizes.scenes))
        own = [*_size_lines(band), f"sources: {band.source_model}, {_MODELS[band.source_model]}"]
        own += [] if chunk.observation is None else _system_lines(band, chunk.observation)
        lines += [f"band {number}: {line}" for line in own]
    chunk = stream.read(stream.chunk_scenes()[0])
    if chunk.observation is not None:
        most = determined(chunk.observation).most
        lines.append(f"at most {most.n_sources} sources can be determined in all bands together")
    lines += [f"scene {scene} cannot be located: {reason}" for scene, reason in chunk.left_out.items()]
    lines += [f"note: {warning}" for warning in stream.warnings]
    truth = stream.truth()
    return lines + (["no truth"] if truth is None else _truth_lines(truth))


def _delay_lines(stream: BandedStream) -> list[str]:
    if stream.delay == "free":
        return []
    farthest, beam = stream.array.unambiguous_range, stream.array.range_resolution
    return [
        f"a common delay tells ranges beyond too: {beam:.4g} m apart are resolved, and "
        f"{farthest:.4g} m apart answer alike"
    ]


def _size_lines(stream: MeasurementStream) -> list[str]:
    sizes, wavelength = stream.sizes, stream.array.wavelength
    return [
        f"{sizes.scenes} scenes of {sizes.snapshots} snapshots at {sizes.antennas} antennas, "
        + ("no surface" if sizes.antennas == sizes.elements else f"surface of {sizes.elements} elements"),
        f"wavelength {wavelength:.4g} m ({_hertz(_LIGHT / wavelength)})",
    ]


def _array_lines(array: Array) -> list[str]:
    size = aperture(array.places)
    spacing = nearest_spacing(array.places)
    return [
        f"array {_extent_words(array.places)}",
        f"elements {spacing:.4g} m apart, {spacing / array.wavelength:.3g} wavelengths; aperture "
        f"{size:.4g} m",
        f"Fresnel distance {fresnel_distance(size, array.wavelength):.3g} m, Fraunhofer distance "
        f"{fraunhofer_distance(size, array.wavelength):.3g} m: range can be told this side of the second",
    ]


def _extent_words(elements: Elements) -> str:
    """Extents along the axes, and the axis or the plane of which elements do not leave."""
    low, high = elements.amin(0), elements.amax(0)
    thin = float((high - low).max()) * _THIN
    sides = {axis: float(side) for axis, side in zip("xyz", high - low, strict=True) if float(side) > thin}
    told = f"{' x '.join(f'{side:.4g}' for side in sides.values()) or '0'} m"
    if is_line(elements):
        return f"{told} on a line {f'along {next(iter(sides))}' if len(sides) == 1 else 'across the axes'}"
    if len(sides) == 2:
        across = next(axis for axis in range(3) if "xyz"[axis] not in sides)
        place = float(low[across] + high[across]) / 2.0
        return f"{told} in the plane {'xyz'[across]} = {place if abs(place) > thin else 0.0:.4g}"
    depth = float(torch.linalg.svdvals(elements - elements.mean(0))[-1])
    return f"{told} in a plane across the axes" if depth <= thin else f"{told}, not flat"


def _system_lines(stream: MeasurementStream, observation: Observation) -> list[str]:
    rows = {True: "one for all scenes", False: "one a scene"}
    own = {name: rows[shared] for name, shared in stream.shared.items()}
    channel, codes = observation.channel[0].numpy(), observation.codes.numpy()
    through = "surface to antennas"
    if channel.shape[0] == channel.shape[1]:
        identity = np.allclose(channel, np.eye(len(channel)), atol=1e-6)
        through = f"{'the identity' if identity else 'elements to antennas'}: the antennas are the elements"
    lines = [
        f"channel: {own['channel']}, {through}",
        f"codes: {own['codes']}, {_code_words(codes)}",
    ]
    if stream.noise == "antennas":
        return [*lines, "noise power of every antenna unknown: they are estimated with the sources"]
    if not stream.knows_noise_power:
        return [*lines, "noise power unknown: it is estimated with the sources"]
    snr = np.array(estimated_snr(observation).tolist())
    above = 10.0 * np.log10(np.where(snr > 0.0, snr, np.nan))
    below = int((snr <= 0.0).sum())
    said = f"{below} scenes receive no more than noise" if below else ""
    if below < snr.size:
        low, middle, high = (float(f(above)) for f in (np.nanmin, np.nanmedian, np.nanmax))
        said = f"median {middle:.1f} dB, {low:.1f} to {high:.1f} dB" + (f", {said}" if said else "")
    return [*lines, f"noise power stated; SNR estimated from it in {snr.size} scenes: {said}"]


def _code_words(codes: NDArray[np.complex64]) -> str:
    modulus = np.abs(codes)
    if np.abs(modulus - 1.0).max() > 1e-3:
        return f"modulus {modulus.min():.3g} to {modulus.max():.3g}: elements that lose power"
    turns = np.angle(codes) / (2.0 * math.pi)
    for bits in range(_MOST_BITS + 1):
        levels = turns * 2**bits
        if np.abs(levels - np.round(levels)).max() < 1e-3 * 2**bits:
            return f"unit modulus, phases of {bits} bits" if bits else "all 1: no coding"
    return "unit modulus, continuous phases"


def _truth_lines(truth: TruePlaces) -> list[str]:
    counts = ", ".join(f"{k} in {n}" for k, n in sorted(Counter(truth.n_sources.tolist()).items()))
    lines = [f"truth: sources a scene: {counts}"]
    places = truth.sources[~np.isnan(truth.sources[..., 0])]
    if len(places):
        degrees, inverse_range = np.degrees(places[:, :2]), places[:, 2]
        lines.append(
            f"azimuth {degrees[:, 0].min():.1f} to {degrees[:, 0].max():.1f} deg, elevation "
            f"{degrees[:, 1].min():.1f} to {degrees[:, 1].max():.1f} deg, range "
            f"{_metres(inverse_range.max())} to {_metres(inverse_range.min())} m"
        )
    return lines


def _metres(inverse_range: float) -> str:
    """A range; "inf" for a plane wave."""
    return f"{1.0 / inverse_range:.3g}" if inverse_range > 0.0 else "inf"


def _hertz(frequency: float) -> str:
    for unit, size in (("GHz", 1e9), ("MHz", 1e6), ("kHz", 1e3)):
        if frequency >= size:
            return f"{frequency / size:.4g} {unit}"
    return f"{frequency:.4g} Hz"
