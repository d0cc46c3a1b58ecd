"""Measurement files, "risolve-measurements" version 1: what a receiver has, and of simulation the truth.

attributes      format, version, wavelength_m, source_model ("independent" | "constant"),
                amplitude ("plane" | "spherical"), background ("none" | "static"),
                noise ("equal" | "antennas"), gains ("free" | "equal"); of several wavelengths delay
                ("free" | "common")
snapshots       complex64 [scene, snapshot, antenna]
channel         complex64 [scene or 1, antenna, element]
codes           complex64 [scene or 1, snapshot, element]
element_positions_m                                  float64 [element, 3]
noise_power     float64 [scene]                      optional
wavelengths_m, bands/...                             of several wavelengths (`files.banded_stream`), version 2
truth/n_sources int32 [scene]                        optional, with the next three
truth/azimuth_deg, truth/elevation_deg, truth/range_m    float64 [scene, source]
truth/snr_db float64 [scene], truth/power float64 [scene, source],
truth/amplitudes complex64 [scene, snapshot, source]     of simulated scenes alone

Channel, codes and positions are the nominal ones. Slots of the truth beyond n_sources are NaN.
"""

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from risolve.errors import MeasurementError
from risolve.files import hdf5
from risolve.files.banded_stream import BandedStream, any_stream
from risolve.files.contents import Attributes
from risolve.files.gaps import gap_in
from risolve.files.hdf5 import source_paths
from risolve.files.measurement_stream import (
    MADE_BY,
    SIMULATED,
    MeasurementStream,
    Origin,
    first_looks,
    measurement_stream,
)
from risolve.files.reader import reading
from risolve.files.registry import writer_for
from risolve.files.source import BANDED, FORMAT, VERSION, Chunk
from risolve.files.truth import truth_in
from risolve.inference.scaling import require_usable
from risolve.physics.bands import bands
from risolve.physics.observation import Observation
from risolve.physics.scenario import Scenes, Truth


def write_scenes(path: Path, scenes: Scenes) -> None:
    """Write one file of scenes; equal scenes make equal bytes."""
    azimuth, elevation, inverse_range = scenes.sources.unbind(-1)
    if scenes.observation.noise_power is None:
        raise ValueError("the noise power of simulated scenes is known, got None")
    attributes, datasets = _contents(scenes.observation)
    truth = {
        "truth/n_sources": scenes.n_sources,
        "truth/snr_db": scenes.snr_db,
        "truth/azimuth_deg": torch.rad2deg(azimuth),
        "truth/elevation_deg": torch.rad2deg(elevation),
        "truth/range_m": 1.0 / inverse_range,
        "truth/power": scenes.power,
        "truth/amplitudes": scenes.amplitudes,
    }
    hdf5.write(path, attributes, datasets | {name: values.cpu().numpy() for name, values in truth.items()})


def write_measurements(
    path: Path | str, observation: Observation | Sequence[Observation], delay: str = "free"
) -> None:
    """Write an observation as a file that `risolve localize` and `read_measurements` read (docs/formats.md).

    observation: of one wavelength, or several, one a band, as `bands` takes them with their delay. A file of
    this name is replaced. The precision is that of the observation.

    Raises:
        TypeError: what is no observation.
        ValueError: a name with the ending of no format (.h5, .hdf5, .npz), an observation that no source can
            be located in, or bands that do not agree, or were put together before.
        StateError: the file cannot be written.
    """
    held = [observation] if isinstance(observation, Observation) else list(observation)
    for own in held:
        if not isinstance(own, Observation):
            raise TypeError(f"write_measurements takes a risolve.Observation, got {type(own).__name__}")
        if own.array.n_bands > 1:
            raise ValueError(
                f"a file holds bands one by one; got {own.array.n_bands} in one observation: write the list "
                "of observations that `bands` put together"
            )
        require_usable(own)
    write = writer_for(Path(path))
    bands(held, delay)
    write(Path(path), *(_contents(held[0]) if len(held) == 1 else _banded_contents(held, delay)))


def _banded_contents(held: Sequence[Observation], delay: str) -> tuple[Attributes, dict[str, NDArray[Any]]]:
    """Attributes and data sets of several bands."""
    attributes, first = _contents(held[0])
    shared = {name: value for name, value in attributes.items() if name != "wavelength_m"}
    wavelengths = np.array([own.array.wavelength for own in held])
    datasets = {"wavelengths_m": wavelengths, "element_positions_m": first["element_positions_m"]}
    for number, own in enumerate(held):
        of_band = _contents(own)[1]
        datasets |= {f"bands/{number}/{name}": of_band[name] for name in of_band if name not in datasets}
    if delay == "common":
        shared = {**shared, "delay": delay}
    return {**shared, "version": BANDED}, datasets


def _contents(observation: Observation) -> tuple[Attributes, dict[str, NDArray[Any]]]:
    """Attributes and data sets, without a truth."""
    datasets = {
        "snapshots": observation.snapshots,
        "channel": observation.channel,
        "codes": observation.codes,
        "element_positions_m": observation.array.elements,
    }
    if observation.noise_power is not None:
        datasets["noise_power"] = observation.noise_power
    attributes: Attributes = {
        "format": FORMAT,
        "version": VERSION,
        "wavelength_m": observation.array.wavelength,
        "source_model": observation.source_model,
    }
    if observation.array.spherical_amplitude:
        attributes = {**attributes, "amplitude": "spherical"}
    if observation.noise == "antennas":
        attributes = {**attributes, "noise": "antennas"}
    if observation.gains == "equal":
        attributes = {**attributes, "gains": "equal"}
    return attributes, {name: values.cpu().numpy() for name, values in datasets.items()}


def read_measurements(path: Path | str) -> Observation:
    """All scenes of a file of measurements (docs/formats.md), or of a directory of shards.

    complex64, or complex128 where the numbers of the file leave single precision. What is odd about the file
    and allowed is a `UserWarning`.

    Raises:
        MeasurementError: a missing, foreign or damaged file, one that breaks the format, or one with a scene
            that cannot be located, which is named.
    """
    observations: list[Observation] = []
    looks = first_looks([Path(path)])
    for file in source_paths(Path(path), MADE_BY):
        with any_stream(file, looks) as stream:
            for line in stream.warnings:
                warnings.warn(line, stacklevel=2)
            observations.append(_whole(stream, observations))
    return _joined(observations)


def read_observation(source: Path | Sequence[Path], spherical_amplitude: bool) -> Observation:
    """Observation of one file of `simulate`, of the shards of a directory, or of several files, one after the
    other.

    A channel, or a set of codes, that all files share in one row stays one row.

    Raises:
        MeasurementError: as `read_measurements`, or another type than the format names.
    """
    observations: list[Observation] = []
    for stream in _streams(source, Origin(True, spherical_amplitude)):
        observations.append(_whole(stream, observations))
    return _joined(observations)


def read_truth(source: Path | Sequence[Path]) -> Truth:
    """Truth of files of `simulate`, without their snapshots, channels and codes.

    Raises:
        MeasurementError: as `read_observation`, or a file without truth.
    """
    truths = []
    for path in source_paths(source, SIMULATED):
        with reading(path, FORMAT, VERSION, SIMULATED) as reader:
            truths.append(truth_in(reader, None))
    return Truth.joined(truths)


def read_scenes(source: Path | Sequence[Path], spherical_amplitude: bool) -> Scenes:
    """Scenes of `simulate`: the observation and the whole truth.

    Raises:
        MeasurementError: as `read_truth`.
    """
    observations: list[Observation] = []
    parts = []
    for stream in _streams(source, Origin(True, spherical_amplitude)):
        observations.append(_whole(stream, observations))
        truth = truth_in(stream.reader, stream.sizes.scenes)
        shape = f"{stream.sizes.scenes} {stream.sizes.snapshots} source"
        values = stream.reader.array("truth/amplitudes", np.complex64, shape, finite=False)
        amplitudes = torch.from_numpy(values)
        parts.append(Scenes(**vars(truth), observation=observations[-1], amplitudes=amplitudes))
    return Scenes.joined(parts)


def _streams(source: Path | Sequence[Path], origin: Origin) -> Iterator[MeasurementStream]:
    """Every file of a source, open in its turn."""
    for path in source_paths(source, origin.made_by):
        with measurement_stream(path, None, origin) as stream:
            yield stream


def _whole(stream: MeasurementStream | BandedStream, before: Sequence[Observation]) -> Observation:
    """All scenes of a file, in its units.

    Raises:
        MeasurementError: a scene that cannot be located, or another system than that of the files before.
    """
    n_scenes = stream.sizes.scenes
    one = stream if isinstance(stream, MeasurementStream) else None
    chunk = stream.read(range(n_scenes)) if one is None else one.chunk(0, n_scenes)
    if chunk.left_out or chunk.observation is None:
        scene, reason = next(iter(chunk.left_out.items()))
        gap = None if one is None or one.origin.is_simulated else gap_in(one, scene)
        way_out = "" if gap is None else f"; `risolve localize` locates the scene without {gap}"
        raise MeasurementError(f"{stream.path}: scene {scene}: {reason}{way_out}")
    for first in before[:1]:
        _require_same_system(first, chunk.observation, stream.path)
    return _in_its_unit(chunk, chunk.observation)


def _joined(observations: list[Observation]) -> Observation:
    is_wide = any(one.snapshots.dtype == torch.complex128 for one in observations)
    return Observation.joined([one.to(torch.complex128) for one in observations] if is_wide else observations)


def _in_its_unit(chunk: Chunk, observation: Observation) -> Observation:
    """y = 2^e y', H = 2^f H', sigma^2 = 4^e sigma'^2."""
    snapshots, channel = torch.tensor(chunk.units, dtype=torch.float64).unbind(-1)
    if not bool((snapshots.abs() + channel.abs()).any()):
        return observation
    double, power = observation.to(torch.complex128), observation.noise_power
    own = channel if double.channel.shape[0] > 1 else channel[:1]
    return Observation(
        double.snapshots * torch.exp2(snapshots)[:, None, None],
        double.array,
        double.channel * torch.exp2(own)[:, None, None],
        double.codes,
        double.source_model,
        None if power is None else power * torch.exp2(2.0 * snapshots),
        noise=observation.noise,
        gains=observation.gains,
        is_coherent=observation.is_coherent,
    )


def _require_same_system(first: Observation, own: Observation, path: Path) -> None:
    """Files that are read together come from one array and one source model."""
    for field, same in (
        ("element_positions_m", torch.equal(first.array.elements, own.array.elements)),
        ("attribute wavelength_m", np.array_equal(first.array.wavelengths, own.array.wavelengths)),
        ("attribute amplitude", first.array.spherical_amplitude == own.array.spherical_amplitude),
        ("attribute source_model", first.source_model == own.source_model),
        ("attribute noise", first.noise == own.noise),
        ("attribute gains", first.gains == own.gains),
        ("noise_power", (first.noise_power is None) == (own.noise_power is None)),
        ("snapshots", first.snapshots.shape[1:] == own.snapshots.shape[1:]),
    ):
        if not same:
            law = "differs from the files read before it; read files of different systems one by one"
            raise MeasurementError(f"{path}: {field}: {law}")
