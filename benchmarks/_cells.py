"""Cells of the accuracy benchmarks: scenes of params.yaml with one source model, number of sources, SNR and
range of ranges each, the estimates of some methods on them, and their scores.

Scenes have the system and the source ranges of params.yaml and equal powers. The network is left out: it is
trained on data that a benchmark does not have. Estimates stay in state/ (`benchmarks._kept`).
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import pandas as pd
import torch

from benchmarks._kept import key_of
from risolve import seeds
from risolve.estimators.comparison import Comparison, Count
from risolve.estimators.registry import estimator
from risolve.files import model_grid
from risolve.files.atomic import write_text
from risolve.files.bounds import Deviations
from risolve.physics.observation import SourceModel
from risolve.physics.scenario import Scenes, draw_scene, observe
from stages import bound
from stages.evaluation import cells, strata, tables
from stages.evaluation.cells import Done, SceneBatch
from stages.evaluation.tables import Scored
from stages.evaluation.truth import SplitTruth, bounded_truth
from stages.params import estimators as estimator_setup
from stages.params import objects
from stages.params.model import Params

RESULTS = Path(__file__).parent / "results"
SEED = 20261126
SCENES_PER_BATCH = 50
RANGES_M = ((0.5, 1.0), (1.0, 3.0), (3.0, 5.0), (5.0, 10.0))
LIKELIHOOD = ("nomp", "sbl", "ml", "ml_unconditional")


@dataclass(frozen=True)
class Cell:
    """Scenes of a kind, and whether their number of sources is told. Equal kinds have equal scenes."""

    count: Count
    source_model: SourceModel
    n_sources: int
    snr_db: float
    range_m: tuple[float, float]


Make: TypeAlias = Callable[[Params, SceneBatch[Cell], Path], None]
"""(parameters, batch, path): writes the estimates of one batch."""


def plan(sizes: Iterable[tuple[Cell, int]]) -> tuple[SceneBatch[Cell], ...]:
    """Batches of the first scenes of every cell, as many as stated."""
    return cells.plan(((cell, range(n_scenes)) for cell, n_scenes in sizes), SCENES_PER_BATCH)


def scenes(params: Params, cell: Cell, numbers: Sequence[int]) -> Scenes:
    """Scenes of a cell by their numbers: each is the same whichever others are drawn with it."""
    system, levels = objects.system(params), objects.impairment_levels(params)
    field = replace(objects.source_distribution(params), range=cell.range_m)
    stream: seeds.Stream = "test_independent" if cell.source_model == "independent" else "test_constant"
    seed = seeds.integer_seed(SEED, stream, _number(cell))
    draws = [
        draw_scene(
            seeds.generator(seed, stream, scene),
            system,
            None,
            field,
            cell.source_model,
            cell.n_sources,
            cell.snr_db,
            levels,
        )
        for scene in numbers
    ]
    return observe(draws, system, cell.source_model, levels.amplitude_minimum, shared_channel=False)


def _number(cell: Cell) -> int:
    """A number of its own for every number of sources, SNR (-20 to 79 dB) and range stratum."""
    stratum = RANGES_M.index(cell.range_m) + 1 if cell.range_m in RANGES_M else 0
    return (cell.n_sources * 100 + round(cell.snr_db) % 100) * 10 + stratum


def comparison(params: Params, names: tuple[str, ...]) -> Comparison:
    """Estimators that are told the number of sources and the noise power, peaks refined too."""
    grid, settings = model_grid.grid(params.of_model()), estimator_setup.settings(params)
    estimators = tuple(estimator(name, grid, settings) for name in names)
    return Comparison(estimators, grid, settings, blind=(), refine=(False, True), genie_starts=0)


@contextlib.contextmanager
def finished(
    name: str,
    params: Params,
    batches: tuple[SceneBatch[Cell], ...],
    make: Make,
    settings: dict[str, Any],
    functions: Sequence[Callable[..., Any]],
    inputs: Sequence[Path],
) -> Iterator[Done[Cell]]:
    """All batches with the files of their estimates.

    settings, functions, inputs: constants, functions beside `make` and files that these depend on.
    """
    sections = params.model_dump(
        mode="json",
        include={"array", "receiver", "channel", "codebook", "sources", "impairments", "grid", "estimators"},
    )
    own = {**sections, "ls_ridge": params.covariance.ls_ridge, "batches": [asdict(b) for b in batches]}
    key = key_of({**own, **settings, "seed": SEED}, (make, scenes, comparison, *functions), inputs)
    with cells.made(name, key, partial(make, params), batches, params.evaluate.workers) as (_, done):
        yield done


def scored(params: Params, done: Done[Cell]) -> Scored:
    """Scores of every method on the scenes of every cell."""
    by_cell = cells.gathered(done, lambda cell: cell)
    return tables.scored(params, ((_truth(params, cell, own), own) for cell, own in by_cell.items()))


def _truth(params: Params, cell: Cell, done: Done[Cell]) -> SplitTruth:
    """Sources and bounds of the scenes of a cell; its split is named by the source model."""
    drawn = [scenes(params, cell, batch.scenes) for batch, _ in done]
    parts = [bound.bound(part).conditional for part in drawn]
    names = [field.name for field in fields(Deviations)]
    return bounded_truth(
        cell.source_model,
        torch.cat([part.sources for part in drawn]),
        torch.cat([part.snr_db for part in drawn]),
        Deviations(**{name: torch.cat([getattr(part, name) for part in parts]) for name in names}),
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
