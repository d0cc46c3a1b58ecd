"""Bound files, "risolve-bounds" version 1: the Cramer-Rao bound of every source of every scene of a split.

attributes      format, version, source_model
KIND/azimuth_deg, KIND/elevation_deg, KIND/range_m, KIND/inverse_range_per_m, KIND/position_m
                float64 [scene, source]              standard deviations, NaN in empty slots

KIND is `conditional` (`independent` sources: an amplitude a snapshot unknown; `constant` sources: an
amplitude a source unknown) and, for `independent` sources, `unconditional`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from risolve.batched import Batched
from risolve.files import hdf5
from risolve.files.reader import Reader, reading
from risolve.physics.observation import SourceModel

FORMAT = "risolve-bounds"
VERSION = 1
_MADE_BY = "run `bound` first"


@dataclass(frozen=True)
class Deviations(Batched):
    """Least standard deviations of azimuth, elevation (rad), range (m), inverse range (1/m) and position (m).

    NaN where a slot holds no source.
    """

    azimuth: Float[Tensor, "scene source"]
    elevation: Float[Tensor, "scene source"]
    range: Float[Tensor, "scene source"]
    inverse_range: Float[Tensor, "scene source"]
    position: Float[Tensor, "scene source"]


@dataclass(frozen=True)
class Bounds(Batched):
    """Bounds of a batch of scenes; unconditional is None for `constant` sources."""

    source_model: SourceModel
    conditional: Deviations
    unconditional: Deviations | None


def write_bounds(path: Path, bounds: Bounds) -> None:
    """Write one file; equal content makes equal bytes."""
    datasets: dict[str, NDArray[np.float64]] = {}
    for kind, deviations in (("conditional", bounds.conditional), ("unconditional", bounds.unconditional)):
        if deviations is not None:
            datasets[f"{kind}/azimuth_deg"] = torch.rad2deg(deviations.azimuth).numpy()
            datasets[f"{kind}/elevation_deg"] = torch.rad2deg(deviations.elevation).numpy()
            datasets[f"{kind}/range_m"] = deviations.range.numpy()
            datasets[f"{kind}/inverse_range_per_m"] = deviations.inverse_range.numpy()
            datasets[f"{kind}/position_m"] = deviations.position.numpy()
    attributes: dict[str, str | int] = {
        "format": FORMAT,
        "version": VERSION,
        "source_model": bounds.source_model,
    }
    hdf5.write(path, attributes, datasets)


def read_bounds(source: Path | Sequence[Path]) -> Bounds:
    """Bounds of one file, or of several, one after the other.

    Raises:
        MeasurementError: a missing, foreign or damaged file, a field that breaks the format, or files of both
            source models.
    """
    parts: list[Bounds] = []
    for path in hdf5.source_paths(source, _MADE_BY):
        with reading(path, FORMAT, VERSION, _MADE_BY) as reader:
            parts.append(bounds_in(reader))
            if parts[-1].source_model != parts[0].source_model:
                law = f"{parts[0].source_model} in the files read before, got {parts[-1].source_model}"
                raise reader.fault("attribute source_model", law)
    return Bounds.joined(parts)


def bounds_in(reader: Reader) -> Bounds:
    """Bounds of an open file.

    Raises:
        MeasurementError: a field that is damaged or breaks the format.
    """
    source_model = reader.choice("source_model", ("independent", "constant"))
    conditional = _deviations(reader, "conditional")
    unconditional = _deviations(reader, "unconditional") if source_model == "independent" else None
    return Bounds(source_model, conditional, unconditional)


def _deviations(reader: Reader, kind: str) -> Deviations:
    def column(name: str) -> NDArray[np.float64]:
        values = reader.array(f"{kind}/{name}", np.float64, "scene source", finite=False)
        if np.isinf(values).any() or (values < 0.0).any():
            law = "standard deviations are finite and not negative, or NaN in empty slots"
            raise reader.fault(f"{kind}/{name}", law)
        return values

    return Deviations(
        azimuth=torch.deg2rad(torch.from_numpy(column("azimuth_deg"))),
        elevation=torch.deg2rad(torch.from_numpy(column("elevation_deg"))),
        range=torch.from_numpy(column("range_m")),
        inverse_range=torch.from_numpy(column("inverse_range_per_m")),
        position=torch.from_numpy(column("position_m")),
    )
