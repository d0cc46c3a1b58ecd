"""Covariance files, "risolve-covariances" version 1: what `normalize` makes of measurements.

attributes      format, version, source_model, map_iterations, grid_shape (n_w, n_v, n_u)
factor          complex64 [scene, rank, element]     X of R_samp = X^T conj(X), tr R_samp = N
maps            float32 [scene, map, point]          points in grid order
estimated_snr   float32 [scene]                      (mean |y|^2 - sigma^2) / sigma^2, linear
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Complex, Float
from torch import Tensor

from risolve.batched import Batched
from risolve.errors import MeasurementError
from risolve.files import hdf5
from risolve.files.reader import Reader, reading
from risolve.physics.observation import SourceModel
from risolve.shapes import Powers

FORMAT = "risolve-covariances"
VERSION = 1
_MADE_BY = "run `normalize` first"
_TRACE_TOLERANCE = 1e-5


@dataclass(frozen=True)
class Maps(Batched):
    """Maps of the sparse covariance fit on a grid (n_w, n_v, n_u), one for each entry of `iterations`, and
    the estimated SNR (a power ratio).
    """

    values: Float[Tensor, "scene map point"]
    estimated_snr: Powers
    iterations: tuple[int, ...]
    grid_shape: tuple[int, int, int]


@dataclass(frozen=True)
class Covariances(Batched):
    """Normalized least-squares factors of a batch of scenes, and the maps.

    `risolve.covariance.sample_covariance` makes the covariance of a factor.
    """

    factor: Complex[Tensor, "scene rank element"]
    source_model: SourceModel
    maps: Maps


def write_covariances(path: Path, covariances: Covariances) -> None:
    """Write one file; equal content makes equal bytes."""
    attributes: dict[str, str | int | Sequence[int]] = {
        "format": FORMAT,
        "version": VERSION,
        "source_model": covariances.source_model,
        "map_iterations": covariances.maps.iterations,
        "grid_shape": covariances.maps.grid_shape,
    }
    datasets = {
        "factor": covariances.factor.to(torch.complex64).numpy(),
        "estimated_snr": covariances.maps.estimated_snr.numpy(),
        "maps": covariances.maps.values.numpy(),
    }
    hdf5.write(path, attributes, datasets)


def read_covariances(source: Path | Sequence[Path]) -> Covariances:
    """Covariances of one file, of the shards of a directory, or of several files, one after the other.

    Raises:
        MeasurementError: a missing, foreign or damaged file, a field that breaks the format, or files that
            differ in source model, maps or grid.
    """
    parts: list[Covariances] = []
    for path in hdf5.source_paths(source, _MADE_BY):
        with reading(path, FORMAT, VERSION, _MADE_BY) as reader:
            parts.append(covariances_in(reader))
            if _kind(parts[-1]) != _kind(parts[0]):
                law = f"the same in all files, {_kind(parts[0])}; got {_kind(parts[-1])}"
                raise reader.fault("attributes", law)
    return Covariances.joined(parts)


@runtime_checkable
class OnGrid(Protocol):
    """What says of which maps it is: iterations of the fit, and grid (n_w, n_v, n_u)."""

    @property
    def iterations(self) -> tuple[int, ...]: ...

    @property
    def grid_shape(self) -> tuple[int, ...]: ...


def require_maps(
    maps: OnGrid, grid_shape: tuple[int, int, int], iterations: tuple[int, ...], source: str
) -> None:
    """Refuse maps on another grid (n_w, n_v, n_u), or after other iterations, than the parameters say.

    Raises:
        MeasurementError: naming the source, with both values.
    """
    for name, wanted, held in (
        ("grid (n_w, n_v, n_u)", grid_shape, maps.grid_shape),
        ("normalize.map_iterations", iterations, maps.iterations),
    ):
        if held != wanted:
            raise MeasurementError(
                f"{source}: maps are those of params.yaml, {name} {wanted}; got {held}: run `normalize` again"
            )


def broken_normalization(factor: Complex[np.ndarray, "scene rank element"], first_scene: int) -> str | None:
    """How factors break the law tr R_samp = N; None where they keep it. Scenes are counted from
    `first_scene`.
    """
    trace = np.einsum("brn,brn->b", factor.conj(), factor, dtype=np.complex128).real
    wrong = np.flatnonzero(~(np.abs(trace / factor.shape[2] - 1.0) < _TRACE_TOLERANCE))
    if not wrong.size:
        return None
    own, n_elements = int(wrong[0]), factor.shape[2]
    return f"tr R_samp = N = {n_elements} in every scene, got {trace[own]:g} in scene {first_scene + own}"


def covariances_in(reader: Reader) -> Covariances:
    """Covariances of an open file.

    Raises:
        MeasurementError: a field that is damaged or breaks the format.
    """
    source_model = reader.choice("source_model", ("independent", "constant"))
    factor = reader.array("factor", np.complex64, "scene rank element")
    law = broken_normalization(factor, 0)
    if law is not None:
        raise reader.fault("factor", law)
    iterations, grid_shape = reader.integers("map_iterations"), reader.integers("grid_shape")
    if len(grid_shape) != 3:
        raise reader.fault("attribute grid_shape", f"(n_w, n_v, n_u), got {grid_shape}")
    shape = f"scene {len(iterations)} {int(np.prod(grid_shape))}"
    values = torch.from_numpy(reader.array("maps", np.float32, shape))
    estimated_snr = torch.from_numpy(reader.array("estimated_snr", np.float32, "scene"))
    maps = Maps(values, estimated_snr, iterations, (grid_shape[0], grid_shape[1], grid_shape[2]))
    return Covariances(torch.from_numpy(factor), source_model, maps)


def _kind(covariances: Covariances) -> str:
    """What files that are read together share, in words."""
    maps = covariances.maps
    return (
        f"{covariances.source_model} sources, factors {tuple(covariances.factor.shape[1:])}, maps after "
        f"{maps.iterations} steps on a grid {maps.grid_shape}"
    )
