"""A system that exists, as a file, "risolve-system" version 1: what `check` read of measurements of an array.

attributes      format, version, wavelength_m, amplitude ("plane" | "spherical"), n_antennas, n_snapshots
element_positions_m     float64 [element, 3]
channel                 complex64 [1, antenna, element]       where all scenes share one
codes                   complex64 [1, snapshot, element]      where all scenes share one set
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from risolve.errors import MeasurementError
from risolve.files import hdf5
from risolve.files.measurement_stream import MeasurementStream, first_looks, measurement_stream
from risolve.files.reader import reading
from risolve.physics.array import Array
from risolve.physics.scenario import GivenSystem

FORMAT = "risolve-system"
VERSION = 1
_MADE_BY = "run `check` first"


def write_system(path: Path, system: GivenSystem) -> None:
    """Write one file; equal content makes equal bytes.

    Raises:
        StateError: the file cannot be written.
    """
    array = system.array
    attributes: dict[str, str | int | float] = {
        "format": FORMAT,
        "version": VERSION,
        "wavelength_m": array.wavelength,
        "amplitude": "spherical" if array.spherical_amplitude else "plane",
        "n_antennas": system.n_antennas,
        "n_snapshots": system.n_snapshots,
    }
    datasets = {"element_positions_m": array.elements.numpy()}
    for name, values in (("channel", system.channel), ("codes", system.codes)):
        if values is not None:
            datasets[name] = values.numpy()
    hdf5.write(path, attributes, datasets)


def read_system(path: Path) -> GivenSystem:
    """What `write_system` wrote.

    Raises:
        MeasurementError: a missing, foreign or damaged file.
    """
    with reading(path, FORMAT, VERSION, _MADE_BY) as reader:
        is_spherical = reader.choice("amplitude", ("plane", "spherical")) == "spherical"
        elements = torch.from_numpy(reader.array("element_positions_m", np.float64, "element 3"))
        shared: dict[str, Tensor | None] = dict.fromkeys(("channel", "codes"))
        for name, shape in (("channel", "1 antenna element"), ("codes", "1 snapshot element")):
            if reader.has(name):
                shared[name] = torch.from_numpy(reader.array(name, np.complex64, shape))
        return GivenSystem(
            Array(elements, reader.positive("wavelength_m"), is_spherical),
            int(reader.positive("n_antennas")),
            int(reader.positive("n_snapshots")),
            shared["channel"],
            shared["codes"],
        )


def measured_system(path: Path) -> tuple[GivenSystem, list[str]]:
    """The system behind the measurements of a file, and what is odd about it and allowed.

    The channel is scaled to a mean squared entry of 1. Of snapshots their number alone matters.

    Raises:
        MeasurementError: a missing, foreign or damaged file, or measurements whose system no network reads.
    """
    if path.is_dir():
        raise MeasurementError(f"{path}: a file of measurements, got a folder; name one that is in it")
    with measurement_stream(path, first_looks([path])) as stream:
        if stream.gains == "equal":
            raise stream.reader.fault("attribute gains", "a network needs free ones, got equal")
        if stream.n_snapshots < 2:
            law = "a network reads 2 or more; `coherent` sources leave 1, a static background 1 less"
            raise stream.reader.fault("snapshots", f"{law}; got {stream.n_snapshots}")
        shared = _shared(stream)
        if shared["channel"] is None and stream.shared["channel"]:
            law = "one covariance of all scenes, which whitens the one channel; got several"
            raise stream.reader.fault("noise_power", law)
        system = GivenSystem(stream.array, stream.n_antennas, stream.n_snapshots, **shared)
        return system, stream.warnings


def _shared(stream: MeasurementStream) -> dict[str, Tensor | None]:
    """Channel and codes, None where they are not the same in all scenes.

    Raises:
        MeasurementError: no scene can be located.
    """
    first: dict[str, Tensor | None] = {}
    reasons: dict[int, str] = {}
    for scenes in stream.chunk_scenes():
        chunk = stream.read(scenes)
        reasons |= chunk.left_out
        if chunk.observation is None:
            continue
        for name in ("channel", "codes"):
            values = getattr(chunk.observation, name)
            held = first.setdefault(name, values[:1])
            if held is not None and not bool((values == held).all()):
                first[name] = None
    if not first:
        raise MeasurementError(f"{stream.path}: scene 0: {reasons[0]}")
    channel = first["channel"]
    if channel is not None:
        first["channel"] = channel / channel.abs().square().mean().sqrt()
    return {name: None if values is None else values.to(torch.complex64) for name, values in first.items()}
