"""Measurement files, "risolve-measurements" version 1: what a receiver has, and of simulation the truth.

attributes      format, version, wavelength_m, source_model ("independent" | "constant")
snapshots       complex64 [scene, snapshot, antenna]
channel         complex64 [scene or 1, antenna, element]
codes           complex64 [scene or 1, snapshot, element]
element_positions_m                                  float64 [element, 3]
noise_power     float64 [scene]                      optional
truth/n_sources int32 [scene]                        optional, with the next three
truth/azimuth_deg, truth/elevation_deg, truth/range_m    float64 [scene, source]
truth/snr_db float64 [scene], truth/power float64 [scene, source],
truth/amplitudes complex64 [scene, snapshot, source]     of simulated scenes alone

Channel, codes and positions are the nominal ones. Slots of the truth beyond n_sources are NaN.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from risolve.files import hdf5
from risolve.files.hdf5 import Reader
from risolve.inference.scaling import require_usable
from risolve.physics.array import Array
from risolve.physics.observation import Observation
from risolve.physics.scenario import Scenes, Truth

FORMAT = "risolve-measurements"
VERSION = 1
_MADE_BY = "`simulate` writes such files, docs/formats.md describes them"


def write_scenes(path: Path, scenes: Scenes) -> None:
    """Write one file of scenes; equal scenes make equal bytes."""
    azimuth, elevation, inverse_range = scenes.sources.unbind(-1)
    if scenes.observation.noise_power is None:
        raise ValueError("the noise power of simulated scenes is known, got None")
    _write(
        path,
        scenes.observation,
        {
            "truth/n_sources": scenes.n_sources,
            "truth/snr_db": scenes.snr_db,
            "truth/azimuth_deg": torch.rad2deg(azimuth),
            "truth/elevation_deg": torch.rad2deg(elevation),
            "truth/range_m": 1.0 / inverse_range,
            "truth/power": scenes.power,
            "truth/amplitudes": scenes.amplitudes,
        },
    )


def write_measurements(path: Path | str, observation: Observation) -> None:
    """Write an observation as a file that `risolve localize` and `read_measurements` read (docs/formats.md).

    A file of this name is replaced. The precision is that of the observation.

    Raises:
        TypeError: what is no observation.
        ValueError: a name that ends in neither .h5 nor .hdf5; an array whose amplitude falls with distance,
            which the format cannot say; an observation that no source can be located in.
        StateError: the file cannot be written.
    """
    if not isinstance(observation, Observation):
        raise TypeError(f"write_measurements takes a risolve.Observation, got {type(observation).__name__}")
    if Path(path).suffix not in (".h5", ".hdf5"):
        raise ValueError(f"a file of measurements ends in .h5 or .hdf5, got {path}")
    require_usable(observation)
    if observation.array.spherical_amplitude:
        raise ValueError("a file of measurements is of an array without spherical_amplitude; got one with it")
    _write(Path(path), observation, {})


def _write(path: Path, observation: Observation, truth: Mapping[str, Tensor]) -> None:
    datasets = {
        "snapshots": observation.snapshots,
        "channel": observation.channel,
        "codes": observation.codes,
        "element_positions_m": observation.array.elements,
    }
    if observation.noise_power is not None:
        datasets["noise_power"] = observation.noise_power
    hdf5.write(
        path,
        {
            "format": FORMAT,
            "version": VERSION,
            "wavelength_m": observation.array.wavelength,
            "source_model": observation.source_model,
        },
        {name: values.cpu().numpy() for name, values in {**datasets, **truth}.items()},
    )


def read_observation(source: Path | Sequence[Path], spherical_amplitude: bool) -> Observation:
    """Observation of one file, of the shards of a directory, or of several files, one after the other.

    A channel, or a set of codes, that all files share in one row stays one row.

    Raises:
        MeasurementError: a missing, foreign or damaged file, or a field that breaks the format.
    """
    observations = []
    for path in hdf5.source_paths(source, _MADE_BY):
        with hdf5.reading(path, FORMAT, VERSION, _MADE_BY) as reader:
            observations.append(_observation(reader, spherical_amplitude))
            _require_same_array(observations, reader)
    return Observation.joined(observations)


def read_truth(source: Path | Sequence[Path]) -> Truth:
    """Truth of files of `simulate`, without their snapshots, channels and codes.

    Raises:
        MeasurementError: as `read_observation`, or a file without truth.
    """
    truths = []
    for path in hdf5.source_paths(source, _MADE_BY):
        with hdf5.reading(path, FORMAT, VERSION, _MADE_BY) as reader:
            truths.append(_truth(reader))
    return Truth.joined(truths)


def read_scenes(source: Path | Sequence[Path], spherical_amplitude: bool) -> Scenes:
    """Scenes of `simulate`: the observation and the whole truth.

    Raises:
        MeasurementError: as `read_truth`.
    """
    observations, parts = [], []
    for path in hdf5.source_paths(source, _MADE_BY):
        with hdf5.reading(path, FORMAT, VERSION, _MADE_BY) as reader:
            observations.append(_observation(reader, spherical_amplitude))
            _require_same_array(observations, reader)
            truth = vars(_truth(reader))
            values = reader.array("truth/amplitudes", np.complex64, "scene snapshot source", finite=False)
            amplitudes = torch.from_numpy(values)
            parts.append(Scenes(**truth, observation=observations[-1], amplitudes=amplitudes))
    return Scenes.joined(parts)


def _observation(reader: Reader, spherical_amplitude: bool) -> Observation:
    snapshots = reader.array("snapshots", np.complex64, "scene snapshot antenna")
    if 0 in snapshots.shape:
        raise reader.fault("snapshots", f"at least one scene, snapshot and antenna, got {snapshots.shape}")
    channel = reader.array("channel", np.complex64, "#scene antenna element")
    codes = reader.array("codes", np.complex64, "#scene snapshot element")
    elements = reader.array("element_positions_m", np.float64, "element 3")
    noise_power = None
    if reader.has("noise_power"):
        noise_power = reader.array("noise_power", np.float64, "scene")
        if not (noise_power > 0.0).all():
            scene = int(np.argmin(noise_power))
            raise reader.fault(
                "noise_power",
                f"positive in every scene, got {noise_power[scene]} in scene {scene}; "
                "leave it out if unknown",
            )
    source_model = "independent"
    if reader.has_attribute("source_model"):
        source_model = reader.choice("source_model", ("independent", "constant"))
    return Observation(
        snapshots=torch.from_numpy(snapshots),
        channel=torch.from_numpy(channel),
        codes=torch.from_numpy(codes),
        array=Array(torch.from_numpy(elements), reader.positive("wavelength_m"), spherical_amplitude),
        source_model="constant" if source_model == "constant" else "independent",
        noise_power=None if noise_power is None else torch.from_numpy(noise_power),
    )


def _truth(reader: Reader) -> Truth:
    n_sources = reader.array("truth/n_sources", np.int32, "scene")
    angles_deg = [
        reader.array(f"truth/{name}", np.float64, "scene source", finite=False)
        for name in ("azimuth_deg", "elevation_deg")
    ]
    range_m = reader.array("truth/range_m", np.float64, "scene source", finite=False)
    power = reader.array("truth/power", np.float64, "scene source", finite=False)
    slots = range_m.shape[1]
    if n_sources.size and not (n_sources.min() >= 0 and n_sources.max() <= slots):
        raise reader.fault(
            "truth/n_sources",
            f"0 to {slots} (the slots of truth/range_m), got {n_sources.min()} to {n_sources.max()}",
        )
    present = np.arange(slots) < n_sources[:, None]
    if (power[present] <= 0.0).any():
        scene = int(np.argwhere((power <= 0.0) & present)[0, 0])
        law = f"positive where a source is, got {power[scene].tolist()} in scene {scene}"
        raise reader.fault("truth/power", law)
    for name, values in zip(
        ("azimuth_deg", "elevation_deg", "range_m", "power"), (*angles_deg, range_m, power), strict=True
    ):
        if not np.array_equal(np.isfinite(values), present):
            scene = int(np.argwhere((np.isfinite(values) != present).any(1))[0, 0])
            raise reader.fault(
                f"truth/{name}",
                f"finite in the first n_sources slots and NaN beyond, broken in scene {scene}: "
                f"{values[scene]}",
            )
    if not (range_m[present] > 0.0).all():
        raise reader.fault("truth/range_m", f"positive, got {range_m[present].min()}")
    sources = np.stack((*(np.deg2rad(angle) for angle in angles_deg), 1.0 / range_m), axis=-1)
    return Truth(
        torch.from_numpy(n_sources),
        torch.from_numpy(reader.array("truth/snr_db", np.float64, "scene")),
        torch.from_numpy(sources),
        torch.from_numpy(power),
    )


def _require_same_array(observations: list[Observation], reader: Reader) -> None:
    """Files that are read together come from one array and one source model."""
    first, last = observations[0], observations[-1]
    for field, same in (
        ("element_positions_m", torch.equal(first.array.elements, last.array.elements)),
        ("attribute wavelength_m", first.array.wavelength == last.array.wavelength),
        ("attribute source_model", first.source_model == last.source_model),
        ("noise_power", (first.noise_power is None) == (last.noise_power is None)),
        ("snapshots", first.snapshots.shape[1:] == last.snapshots.shape[1:]),
    ):
        if not same:
            raise reader.fault(
                field, "differs from the files read before it; read files of different systems one by one"
            )
