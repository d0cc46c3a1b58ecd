"""What people get wrong in measurements, tried: what of it explains the first scene better, with numbers."""

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from risolve.errors import MeasurementError
from risolve.field import FieldOfView
from risolve.files.measurement_stream import MeasurementStream
from risolve.files.naming import LIGHT
from risolve.inference.assessment import likelihood_at
from risolve.inference.likelihood import misfits
from risolve.located import located_sources
from risolve.locating import CLASSICAL, Options, localize, localizer_for
from risolve.modulus import squared_modulus
from risolve.physics.geometry import nearest_spacing
from risolve.physics.observation import Observation
from risolve.shapes import Codes, Sources
from risolve.words.unequal_noise import noise_of_antennas, noise_of_bands

_MOST = 3
"""Sources with which a scene is tried."""

_BETTER = 0.8
"""Share of what is left as it is, below which something else fits better."""

_GOOD = 50.0
"""What is left (%) of what explains a scene, where nothing can be looked for as it is."""

_SILENT = 1e-2
"""Of the median power of the antennas, below which one is silent."""

_SPACING = (0.05, 5.0)
"""Wavelengths between neighbouring elements that are tried."""

_ALONE = 5.0
"""What an antenna leaves over the median of the others, from which a scene is tried without it."""

_FREQUENCIES = (("hertz", 1.0), ("megahertz", 1e6), ("gigahertz", 1e9))

_PART, _ROUNDING = 0.25, 2e-6
"""Degrees of which phases are multiples where they are taken as radians, and rounding of these: the nearest
of two, pi / 4 and 88.75, are 7e-6 apart.
"""


class _Trial(NamedTuple):
    """What sources leave of the power of a scene (%), and where they are."""

    left: float
    sources: Sources
    place: str


class _Waves(NamedTuple):
    """Vectors of antennas, and what they leave of the power of a scene (%)."""

    rank: int
    left: float


def tried_lines(stream: MeasurementStream) -> list[str]:
    """What one source leaves of the first scene that can be located, as it is, and with what fits better.

    A mirror of array and sources together explains the snapshots as well: antennas in the reverse order of a
    symmetric array, or the conjugate of plane waves, are not told by any likelihood.
    """
    chunk = stream.chunk(0, min(stream.chunk_size, stream.sizes.scenes))
    if chunk.observation is None:
        return []
    seen = chunk.observation.select(slice(0, 1))
    return [*_truth_lines(stream, chunk.scenes[0], seen), *causes(seen)]


def causes(observation: Observation, located: Sources | None = None) -> list[str]:
    """What some sources leave of one scene, as it is and with what fits better, in words; located: sources of
    the scene, None where one is looked for.
    """
    n_sources = 1 if located is None else min(max(located.shape[1], 1), _MOST)
    seen = replace(observation, noise_power=None)
    if observation.array.n_bands > 1:
        # what may be meant by one wavelength, one channel or one code is no such thing of several
        if located is None:
            return []
        share = float(misfits(seen, located).sum() / squared_modulus(seen.snapshots).sum())
        return [f"they leave {100.0 * share:.3g} % of its power", *noise_of_bands(seen, located)]
    lines, as_it_is = [], _tried(seen, n_sources)
    if as_it_is is not None:
        who = "one source leaves" if n_sources == 1 else f"{n_sources} sources leave"
        lines.append(f"{who} {as_it_is.left:.3g} % of the power of a scene: {as_it_is.place}")
    bound = least = _GOOD if as_it_is is None else _BETTER * as_it_is.left
    for what, other in _others(seen):
        found = _tried(other, n_sources)
        if found is not None and found.left < bound:
            least = min(least, found.left)
            lines.append(f"{what} fits better, {found.left:.3g} % is left: {found.place}")
    if as_it_is is not None:
        without = _without_one(seen, as_it_is.sources)
        if without is not None and without[1].left < bound:
            least = min(least, without[1].left)
            antenna, found = without
            lines.append(
                f"the scene without antenna {antenna} fits better, {found.left:.3g} % is left: {found.place}"
            )
    waves = _least_waves(seen, n_sources, _BETTER * least)
    if waves is not None:
        who = (
            "one wave of any phases at the antennas fits"
            if waves.rank == 1
            else f"{waves.rank} waves of any phases at the antennas fit"
        )
        lines.append(
            f"{who} better, {waves.left:.3g} % is left: are the phases between antennas known "
            "(channel = diag(g))?"
        )
    if located is None and as_it_is is not None:
        located = as_it_is.sources
    lines += _silent(seen)
    if located is None:
        return lines
    return lines + noise_of_antennas(seen, located, localizer_for(seen, _options(1), "").grid)


def _without_one(seen: Observation, sources: Sources) -> tuple[int, _Trial] | None:
    """The antenna that is explained far worse than the others, and what sources of their number leave without
    it; None where there is none, or it cannot be left out.
    """
    n_antennas, n_elements = seen.channel.shape[1:]
    are_elements = n_antennas == n_elements
    couples = are_elements and bool(
        (seen.channel - torch.diag_embed(seen.channel.diagonal(0, 1, 2)) != 0).any()
    )
    if n_antennas - 1 <= sources.shape[1] or couples:
        return None
    misfit = misfits(seen, sources)[0].sum(0)
    antenna = int(misfit.argmax())
    kept = torch.arange(n_antennas) != antenna
    if misfit[antenna] < _ALONE * misfit[kept].median():
        return None
    other = replace(seen, snapshots=seen.snapshots[..., kept], channel=seen.channel[:, kept])
    if are_elements:
        array = replace(seen.array, elements=seen.array.elements[kept])
        other = replace(other, array=array, channel=other.channel[..., kept], codes=seen.codes[..., kept])
    found = _tried(other, sources.shape[1])
    return None if found is None else (antenna, found)


def _least_waves(seen: Observation, n_sources: int, bound: float) -> _Waves | None:
    """The fewest vectors of antennas, no more than there are sources and one of `constant` ones, that leave
    less than a bound (%); None where none do, codes change, or there are too few snapshots or antennas.
    """
    y = seen.snapshots[0].to(torch.complex128)
    if not bool((seen.codes == seen.codes[:, :1]).all()):
        return None
    energies = torch.linalg.svdvals(y).square()
    most = 1 if seen.source_model == "constant" else n_sources
    for rank in range(1, min(most, len(energies) - 1) + 1):
        left = 100.0 * float(energies[rank:].sum() / energies.sum())
        if left < bound:
            return _Waves(rank, left)
    return None


def _silent(seen: Observation) -> list[str]:
    """Antennas, none behind a surface, that receive next to nothing beside the others, in words."""
    if seen.n_antennas != seen.n_elements:
        return []
    power = seen.snapshots[0].abs().double().square().mean(0)
    silent = torch.nonzero(power < _SILENT * power.median()).flatten().tolist()
    if not silent:
        return []
    decibels = 10.0 * math.log10(_SILENT)
    return [
        f"antennas {', '.join(map(str, silent))} receive {-decibels:g} dB less than the others, or nothing"
    ]


def _truth_lines(stream: MeasurementStream, scene: int, seen: Observation) -> list[str]:
    """What the true places leave of a scene, where it has any, and which others leave less."""
    truth = stream.truth()
    if truth is None or not truth.n_sources[scene]:
        return []
    own = torch.from_numpy(truth.sources[scene, : truth.n_sources[scene]])
    left = _left_by(seen, own)
    if left is None:
        return []
    lines = [f"the true places leave {left:.3g} % of the power of scene {scene}"]
    for what, places in _other_places(own):
        other = _left_by(seen, places)
        if other is not None and other < _BETTER * left:
            lines.append(f"{what} fit better, {other:.3g} % is left")
    return lines


def _left_by(observation: Observation, places: Float[Tensor, "source 3"]) -> float | None:
    """What sources at some places leave of the power of a scene (%), None where none can be there."""
    if not torch.equal(observation.limits.held(places), places):
        return None
    try:
        residual = float(likelihood_at(observation, places[None]).residual[0])
    except ValueError:
        return None
    return 100.0 * residual / float(observation.snapshots.abs().double().square().sum())


def _other_places(places: Float[Tensor, "source 3"]) -> Iterator[tuple[str, Float[Tensor, "source 3"]]]:
    """What true places may mean, in words, and the places that they would be."""
    azimuth, elevation, inverse_range = places.unbind(-1)
    others = {
        "true angles in radians": (torch.rad2deg(azimuth), torch.rad2deg(elevation)),
        "true azimuths of the other sign, or positions mirrored in x,": (-azimuth, elevation),
        "true elevations of the other sign, or positions mirrored in y,": (azimuth, -elevation),
        "true azimuth and elevation, exchanged,": (elevation, azimuth),
        "true azimuths from the x axis": (math.pi / 2.0 - azimuth, elevation),
        "true angles from the y axis in place of elevations": (azimuth, math.pi / 2.0 - elevation),
    }
    for what, angles in others.items():
        yield what, torch.stack((*angles, inverse_range), -1)


def _options(n_sources: int) -> Options:
    return Options(CLASSICAL, n_sources, FieldOfView(), 0.01, Path())


def _tried(observation: Observation, n_sources: int) -> _Trial | None:
    """Some sources in a scene, None where they cannot be located."""
    try:
        estimate = localize(observation, localizer_for(observation, _options(n_sources), ""), n_sources)
    except (ValueError, MeasurementError):
        return None
    first = torch.zeros(1, dtype=torch.int64)
    rows = list(located_sources(CLASSICAL, ("",), 0, first, observation, estimate).rows())
    power = float(observation.snapshots.abs().double().square().sum())
    place = "azimuth {azimuth_deg:.1f} deg, elevation {elevation_deg:.1f} deg, range {range_m:.3g} m"
    places = "; ".join(place.format(**row) for row in rows)
    return _Trial(100.0 * float(estimate.likelihood.residual[0]) / power, estimate.sources, places)


def _others(seen: Observation) -> Iterator[tuple[str, Observation]]:
    """What may be meant, in words, and the observation that it would be."""
    array = seen.array
    if seen.gains == "equal":
        yield "an amplitude of each source (gains = free)", replace(seen, gains="free")
    if not array.spherical_amplitude:
        spherical = replace(array, spherical_amplitude=True)
        yield "an amplitude that falls with distance (amplitude = spherical)", replace(seen, array=spherical)
    yield "the conjugate of the snapshots (--conjugate)", replace(seen, snapshots=seen.snapshots.conj())
    if bool((seen.channel.imag != 0).any()):
        yield "the conjugate of the channel", replace(seen, channel=seen.channel.conj())
    if bool((seen.codes.imag != 0).any()):
        yield "the conjugate of the codes", replace(seen, codes=seen.codes.conj())
    for what, codes in _other_codes(seen.codes):
        yield what, replace(seen, codes=codes)
    yield "the antennas in the reverse order", replace(seen, snapshots=seen.snapshots.flip(-1))
    for name, axes in (
        ("snapshots", "snapshots and antennas"),
        ("channel", "antennas and elements"),
        ("codes", "snapshots and elements"),
    ):
        values: Tensor = getattr(seen, name)
        if values.shape[1] == values.shape[2] and not torch.equal(values, values.mT):
            other: dict[str, Any] = {name: values.mT}
            yield f"{axes} of the {name} exchanged", replace(seen, **other)
    order = _other_order(array.elements)
    if order is not None:
        yield (
            "the elements column by column",
            replace(seen, array=replace(array, elements=array.elements[order])),
        )
    low, high = _SPACING
    for unit, size in _FREQUENCIES:
        length = LIGHT / (array.wavelength * size)
        if low <= nearest_spacing(array.elements) / length <= high:
            yield (
                f"wavelength_m as a frequency in {unit}, {length:.4g} m,",
                replace(seen, array=replace(array, wavelength=length)),
            )
    if low <= nearest_spacing(array.elements) <= high:
        scaled = replace(array, elements=array.elements * array.wavelength)
        yield (
            "positions as multiples of the wavelength (--positions-in wavelengths)",
            replace(seen, array=scaled),
        )


def _other_codes(codes: Codes) -> Iterator[tuple[str, Codes]]:
    """Codes whose phases are degrees that were taken as radians, or radians that were taken as degrees."""
    angles = codes.angle().double()
    if not bool(angles.any()):
        return
    degrees = torch.arange(-180.0, 360.0, _PART, dtype=torch.float64)
    phases, order = torch.sort(torch.remainder(degrees + math.pi, 2.0 * math.pi) - math.pi)
    following = torch.searchsorted(phases, angles).clamp(1, len(phases) - 1)
    nearest = following - (angles - phases[following - 1] < phases[following] - angles).long()
    if bool(((phases[nearest] - angles).abs() < _ROUNDING).all()):
        meant = torch.deg2rad(degrees[order[nearest]])
        yield "codes exp(j phase) of phases in degrees", torch.polar(codes.abs(), meant.to(codes.real.dtype))
    if float(angles.abs().max()) <= math.radians(2.0 * math.pi):
        meant = torch.rad2deg(angles)
        yield "codes of phases 180 / pi times as large", torch.polar(codes.abs(), meant.to(codes.real.dtype))


def _other_order(elements: Tensor) -> Tensor | None:
    """Elements column by column where they stand row by row, or the other way; None of any other order."""
    x, y = elements[:, :2].numpy().T
    orders = [np.lexsort((x, y)), np.lexsort((y, x))]
    stands = [bool((order == np.arange(len(x))).all()) for order in orders]
    if stands[0] == stands[1]:
        return None
    return torch.from_numpy(orders[1] if stands[0] else orders[0])
