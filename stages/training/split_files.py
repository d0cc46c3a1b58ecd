"""The files of one data set as a training reads them: what is small in memory, maps and factors where they
lie.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor

from risolve.batched import Batched
from risolve.errors import MeasurementError
from risolve.files import covariances as covariance_file
from risolve.files import hdf5, model_grid
from risolve.files.covariances import broken_normalization, require_maps
from risolve.files.extents import Extent
from risolve.files.measurements import read_truth
from risolve.files.reader import Reader, reading
from risolve.files.source import FORMAT, VERSION
from risolve.networks.examples import Examples
from risolve.physics.array import Array
from risolve.physics.observation import Observation
from risolve.physics.scenario import Truth
from risolve.shapes import Powers, Sources
from stages.params.model import Params, Split

Columns = Mapping[str, NDArray[Any]]
"""Values by data set, one row a scene: maps and factor; with snapshots also these, channel and codes."""

_SHARED = ("channel", "codes")
"""Data sets that may have one row for all scenes of a file."""


@dataclass(frozen=True)
class SmallColumns(Batched):
    """What is in memory of every scene: truth, SNR, source model (shared: `constant`); noise power where
    snapshots are read. array: that of all scenes.
    """

    array: Array
    sources: Sources
    power: Float[Tensor, "scene source"]
    n_sources: Int[Tensor, " scene"]
    estimated_snr: Float[Tensor, " scene"]
    shared: Bool[Tensor, " scene"]
    noise_power: Powers | None

    def beside(self, columns: Columns, scenes: Int[Tensor, " chosen"]) -> Examples:
        """Examples of some scenes, from their large columns."""
        large = {name: torch.from_numpy(values) for name, values in columns.items()}
        own = self.select(scenes)
        observation = None
        if own.noise_power is not None:
            observation = Observation(
                large["snapshots"], self.array, large["channel"], large["codes"], noise_power=own.noise_power
            )
        return Examples(
            large["maps"],
            own.estimated_snr,
            own.shared,
            large["factor"],
            own.sources,
            own.power,
            own.n_sources,
            observation,
        )


@dataclass(frozen=True)
class Shard:
    """Large columns of the scenes of one covariance file and, with snapshots, of the scene file beside it."""

    n_scenes: int
    extents: Mapping[str, Extent]

    def read(self, first: int, last: int) -> Columns:
        """Rows first to last - 1, their laws checked.

        Raises:
            MeasurementError: damaged or changed files, numbers that are not finite, tr R_samp != N.
        """
        columns = {}
        for name, extent in self.extents.items():
            is_shared = name in _SHARED and extent.shape[0] == 1
            values = extent.read(0, 1) if is_shared else extent.read(first, last)
            extent.require_finite(values, 0 if is_shared else first)
            columns[name] = np.repeat(values, last - first, axis=0) if is_shared else values
        law = broken_normalization(columns["factor"], first)
        if law is not None:
            raise self.extents["factor"].fault(law)
        return columns


@dataclass(frozen=True)
class SplitFiles:
    """One data set: small columns, and the shards of the large ones, in the order of the scenes."""

    small: SmallColumns
    shards: tuple[Shard, ...]

    def examples(self) -> Examples:
        """All scenes, in memory."""
        parts = [shard.read(0, shard.n_scenes) for shard in self.shards]
        whole = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        return self.small.beside(whole, torch.arange(self.small.n_scenes))


def open_split(params: Params, split: Split, with_snapshots: bool) -> SplitFiles:
    """The files of a data set, checked against each other and the parameters, their large columns not read.

    Raises:
        MeasurementError: missing, foreign or damaged files, or such that do not belong together.
    """
    scenes, covariances = Path("data/scenes") / split, Path("data/covariances") / split
    truth = read_truth(scenes)
    paths = hdf5.shard_paths(covariances, f"run `normalize --split {split}` first")
    opened = [_covariance_shard(path, params, covariances) for path in paths]
    n_covariances = sum(shard.n_scenes for shard in opened)
    if truth.n_scenes != n_covariances:
        raise MeasurementError(
            f"{covariances}: one covariance a scene, {scenes} has {truth.n_scenes} scenes, got "
            f"{n_covariances}; run `normalize` again"
        )
    if not bool((truth.n_sources > 0).any()):
        raise MeasurementError(
            f"{scenes}: a covariance is learned from scenes with sources, 1 or more; all {truth.n_scenes} "
            f"scenes have none: raise simulate.{split}.strata"
        )
    extents = [shard.extents for shard in opened]
    noise_power = None
    if with_snapshots:
        beside = [_scene_shard(scenes / shard.path.name, params, shard) for shard in opened]
        extents = [{**own, **other.extents} for own, other in zip(extents, beside, strict=True)]
        noise_power = torch.cat([shard.noise_power for shard in beside])
    shards = tuple(Shard(shard.n_scenes, own) for shard, own in zip(opened, extents, strict=True))
    return SplitFiles(_small_columns(params, truth, opened, noise_power), shards)


def _small_columns(
    params: Params, truth: Truth, shards: "list[_CovarianceShard]", noise_power: Powers | None
) -> SmallColumns:
    return SmallColumns(
        array=model_grid.nominal_array(params.of_model()),
        sources=truth.sources,
        power=truth.power.nan_to_num(nan=0.0),
        n_sources=truth.n_sources,
        estimated_snr=torch.cat([shard.estimated_snr for shard in shards]),
        shared=torch.cat([torch.full((shard.n_scenes,), shard.shared) for shard in shards]),
        noise_power=noise_power,
    )


class _CovarianceShard(NamedTuple):
    path: Path
    n_scenes: int
    shared: bool
    estimated_snr: Tensor
    extents: dict[str, Extent]


class _SceneShard(NamedTuple):
    noise_power: Tensor
    extents: dict[str, Extent]


class _Held(NamedTuple):
    iterations: tuple[int, ...]
    grid_shape: tuple[int, ...]


def _covariance_shard(path: Path, params: Params, source: Path) -> _CovarianceShard:
    form, version = covariance_file.FORMAT, covariance_file.VERSION
    with reading(path, form, version, "run `normalize` first") as reader:
        source_model = reader.choice("source_model", ("independent", "constant"))
        factor = reader.extent("factor", np.complex64, "scene rank element")
        if factor.shape[2] != params.array.n_elements:
            raise MeasurementError(
                f"{source}: the array of params.yaml has {params.array.n_elements} elements, got factors of "
                f"{factor.shape[2]}; run `simulate` and `normalize` again"
            )
        held = _Held(reader.integers("map_iterations"), reader.integers("grid_shape"))
        shape = (params.grid.n_w, params.grid.n_v, params.grid.n_u)
        require_maps(held, shape, params.normalize.map_iterations, str(source))
        n_maps, n_points = len(held.iterations), int(np.prod(held.grid_shape))
        maps = reader.extent("maps", np.float32, f"scene {n_maps} {n_points}")
        snr = torch.from_numpy(reader.array("estimated_snr", np.float32, "scene"))
    extents = {"maps": maps, "factor": factor}
    return _CovarianceShard(path, factor.shape[0], source_model == "constant", snr, extents)


def _scene_shard(path: Path, params: Params, beside: _CovarianceShard) -> _SceneShard:
    L, M, N = params.receiver.n_snapshots, params.receiver.n_antennas, params.array.n_elements
    form, version = FORMAT, VERSION
    with reading(path, form, version, "run `simulate` first") as reader:
        extents = {
            "snapshots": reader.extent("snapshots", np.complex64, f"scene {L} {M}"),
            "channel": reader.extent("channel", np.complex64, f"#scene {M} {N}"),
            "codes": reader.extent("codes", np.complex64, f"#scene {L} {N}"),
        }
        _require_as_many(reader, extents["snapshots"].shape[0], beside)
        noise_power = torch.from_numpy(reader.array("noise_power", np.float64, "scene"))
    return _SceneShard(noise_power, extents)


def _require_as_many(reader: Reader, n_scenes: int, beside: _CovarianceShard) -> None:
    if n_scenes != beside.n_scenes:
        law = f"the scenes of {beside.path}, {beside.n_scenes}, got {n_scenes}; run `normalize` again"
        raise reader.fault("snapshots", law)
