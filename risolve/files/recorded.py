"""Whole files of measurements as one observation."""

import warnings
from pathlib import Path

import torch

from risolve.errors import MeasurementError
from risolve.files.hdf5 import source_paths
from risolve.files.measurement_stream import MADE_BY, Chunk, first_looks, measurement_stream
from risolve.physics.observation import Observation


def read_measurements(path: Path | str) -> Observation:
    """All scenes of a file of measurements (docs/formats.md), or of a directory of shards.

    complex64, or complex128 where the numbers of the file leave single precision. What is odd about the file
    and allowed is a `UserWarning`.

    Raises:
        MeasurementError: a missing, foreign or damaged file, one that breaks the format, or one with a scene
            that cannot be located, which is named.
    """
    parts = []
    looks = first_looks([Path(path)])
    for one in source_paths(Path(path), MADE_BY):
        with measurement_stream(one, looks) as stream:
            for line in stream.warnings:
                warnings.warn(line, stacklevel=2)
            for chunk in stream.chunks():
                if chunk.left_out or chunk.observation is None:
                    scene, reason = next(iter(chunk.left_out.items()))
                    raise MeasurementError(f"{one}: scene {scene}: {reason}")
                parts.append(_in_its_unit(chunk, chunk.observation))
    wide = any(part.snapshots.dtype == torch.complex128 for part in parts)
    return Observation.joined([part.to(torch.complex128) for part in parts] if wide else parts)


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
    )
