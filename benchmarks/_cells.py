"""Cells of the accuracy benchmarks: scenes of params.yaml with one source model, number of sources, SNR and
range of ranges each, the estimates of some methods on them, and their scores.

Scenes have the system and the source ranges of params.yaml and equal powers. The network is left out: it is
trained on data that a benchmark does not have. Estimates stay in state/ (`benchmarks._kept`).
"""

import contextlib
import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float

from benchmarks._kept import kept, key_of
from risolve import seeds
from risolve.estimators.comparison import Comparison, Count, Method
from risolve.estimators.registry import estimator
from risolve.files import model_grid
from risolve.files.atomic import write_text
from risolve.files.estimates import BatchEstimates, read_estimates
from risolve.files.hdf5 import shard_name
from risolve.physics.observation import SourceModel
from risolve.physics.scenario import Scenes, draw_scene, observe
from stages import bound
from stages.evaluation import strata, tables
from stages.evaluation.tables import MethodEstimates, Scoring, SplitTruth
from stages.params import estimators as estimator_setup
from stages.params import objects
from stages.params.model import Params

RESULTS = Path(__file__).parent / "results"
SEED = 20261126
SCENES_PER_BATCH = 50
RANGES_M = ((0.5, 1.0), (1.0, 3.0), (3.0, 5.0), (5.0, 10.0))
LIKELIHOOD = ("nomp", "sbl", "ml", "ml_unconditional")

Make = Callable[[Params, tuple["Batch", ...], int, Path], None]
"""(parameters, all batches, number of one, path): writes the estimates of one batch."""


@dataclass(frozen=True)
class Batch:
    """Some scenes of one cell, and whether their number of sources is told. Equal cells have equal scenes."""

    count: Count
    source_model: SourceModel
    n_sources: int
    snr_db: float
    range_m: tuple[float, float]
    first: int
    n_scenes: int

    @property
    def cell(self) -> tuple[SourceModel, int, float, tuple[float, float]]:
        return self.source_model, self.n_sources, self.snr_db, self.range_m


def in_batches(
    count: Count, model: SourceModel, k: int, snr_db: float, range_m: tuple[float, float], n_scenes: int
) -> list[Batch]:
    """The scenes of one cell."""
    return [
        Batch(count, model, k, snr_db, range_m, first, min(SCENES_PER_BATCH, n_scenes - first))
        for first in range(0, n_scenes, SCENES_PER_BATCH)
    ]


def scenes(params: Params, batch: Batch) -> Scenes:
    """The scenes of a batch: scene i of a cell is the same in every batch that holds it."""
    system, levels = objects.system(params), objects.impairment_levels(params)
    field = replace(objects.source_distribution(params), range=batch.range_m)
    stream: seeds.Stream = "test_independent" if batch.source_model == "independent" else "test_constant"
    cell = seeds.integer_seed(SEED, stream, _number(batch))
    draws = [
        draw_scene(
            seeds.generator(cell, stream, scene),
            system,
            None,
            field,
            batch.source_model,
            batch.n_sources,
            batch.snr_db,
            levels,
        )
        for scene in range(batch.first, batch.first + batch.n_scenes)
    ]
    return observe(draws, system, batch.source_model, levels.amplitude_minimum, shared_channel=False)


def _number(batch: Batch) -> int:
    """A number of its own for every number of sources, SNR (-20 to 79 dB) and range stratum."""
    stratum = RANGES_M.index(batch.range_m) + 1 if batch.range_m in RANGES_M else 0
    return (batch.n_sources * 100 + round(batch.snr_db) % 100) * 10 + stratum


def departed(params: Params, changes: Mapping[str, Mapping[str, Any]]) -> Params:
    """The parameters with other values, by section."""
    tree = params.model_dump()
    for section, values in changes.items():
        tree[section] |= values
    return Params.model_validate(tree)


def comparison(params: Params, names: tuple[str, ...]) -> Comparison:
    """Estimators that are told the number of sources and the noise power, peaks refined too."""
    grid, settings = model_grid.grid(params.of_model()), estimator_setup.settings(params)
    estimators = tuple(estimator(name, grid, settings) for name in names)
    return Comparison(estimators, grid, settings, blind=(), refine=(False, True), genie_starts=0)


@contextlib.contextmanager
def finished(
    name: str,
    params: Params,
    batches: tuple[Batch, ...],
    make: Make,
    settings: dict[str, Any],
    functions: Sequence[Callable[..., Any]],
    inputs: Sequence[Path],
) -> Iterator[Path]:
    """A directory with the estimates of all batches.

    settings, functions, inputs: constants, functions beside `make` and files that these depend on.
    """
    sections = params.model_dump(
        mode="json",
        include={"array", "receiver", "channel", "codebook", "sources", "impairments", "grid", "estimators"},
    )
    own = {**sections, "ls_ridge": params.covariance.ls_ridge, "batches": [asdict(b) for b in batches]}
    key = key_of({**own, **settings, "seed": SEED}, (make, scenes, comparison, *functions), inputs)
    run = functools.partial(make, params, batches)
    with kept(name, key, run, len(batches), params.evaluate.workers) as work:
        yield work


def grouped(batches: Sequence[Batch], work: Path) -> list[list[tuple[Batch, Path]]]:
    """Batches and their files, cell by cell."""
    cells: dict[tuple[object, ...], list[tuple[Batch, Path]]] = {}
    for number, batch in enumerate(batches):
        cells.setdefault((batch.count, *batch.cell), []).append((batch, work / shard_name(number)))
    return list(cells.values())


class Scored(NamedTuple):
    """Tables of sources (with errors) and of scenes, as `tables` makes them."""

    sources: pd.DataFrame
    scenes: pd.DataFrame


def scored(params: Params, cells: list[list[tuple[Batch, Path]]]) -> Scored:
    """Scores of every method on the scenes of cells."""
    scoring = Scoring(math.radians(params.evaluate.found_tolerance_deg), params.evaluate.gospa_cutoff_m)
    sources: list[pd.DataFrame] = []
    scene_rows: list[pd.DataFrame] = []
    for cell in cells:
        drawn = [scenes(params, batch) for batch, _ in cell]
        truth = split_truth(params, cell[0][0].source_model, drawn)
        files = [read_estimates(path) for _, path in cell]
        for method in files[0]:
            own = joined_estimates(method, [file[method] for file in files])
            of_sources, of_scenes = tables.score(truth, own, scoring)
            sources.append(of_sources)
            scene_rows.append(of_scenes)
    every = pd.concat(sources, ignore_index=True)
    return Scored(tables.with_errors(every), pd.concat(scene_rows, ignore_index=True))


def split_truth(params: Params, source_model: SourceModel, drawn: list[Scenes]) -> SplitTruth:
    """Sources and bounds of the scenes of a cell; its split is named by the source model."""
    columns: dict[str, list[torch.Tensor]] = {name: [] for name in tables.BOUNDS}
    for part in drawn:
        limit = bound.bound(part).conditional
        values = (
            limit.azimuth.rad2deg(),
            limit.elevation.rad2deg(),
            limit.range,
            limit.inverse_range,
            limit.position,
        )
        for name, value in zip(columns, values, strict=True):
            columns[name].append(value)
    return SplitTruth(
        source_model,
        torch.cat([part.sources for part in drawn]).numpy(),
        torch.cat([part.snr_db for part in drawn]).numpy(),
        {name: torch.cat(parts).numpy() for name, parts in columns.items()},
    )


def joined_estimates(method: Method, parts: list[BatchEstimates]) -> MethodEstimates:
    """Estimates of one method on all scenes of a cell."""
    width = max(part.sources.shape[1] for part in parts)

    def padded(values: Float[np.ndarray, "scene source 3"]) -> Float[np.ndarray, "scene slot 3"]:
        return np.pad(values, ((0, 0), (0, width - values.shape[1]), (0, 0)), constant_values=np.nan)

    resolved = np.concatenate([part.resolved for part in parts])
    return MethodEstimates(
        method,
        np.concatenate([padded(part.sources) for part in parts]),
        np.concatenate([padded(part.deviations) for part in parts]),
        np.concatenate([part.log_likelihood for part in parts]),
        np.concatenate([part.count_confidence for part in parts]),
        resolved,
        np.ones_like(resolved),
    )


KEYS = ["source_model", "n_sources", "snr_db", "count", "estimator"]
RATIOS = [f"rmse_over_bound_{name}" for name in strata.PARAMETERS]


def named(table: pd.DataFrame) -> pd.DataFrame:
    """The table with the column names of this benchmark."""
    return table.rename(columns={"split": "source_model", "method": "estimator"})


def write(name: str, table: pd.DataFrame) -> None:
    """Five significant digits say more than the number of scenes does."""
    text = table.to_csv(index=False, float_format="%.5g", lineterminator="\n")
    write_text(RESULTS / f"{name}.csv", text)
