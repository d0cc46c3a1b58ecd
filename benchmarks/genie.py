"""Found rate of maximum likelihood less that of a genie, scene by scene.

    python -m benchmarks.genie        an hour on two cores

The genie (`risolve.estimators.genie`) starts from the truth, from what every estimator of the likelihood
found, and from 20 random places: the least J that is known, or the largest unconditional likelihood
(`genie_unconditional`). It is the same for every network, and is searched for once. Writes to
benchmarks/results:

accuracy_genie.csv  One row a cell, estimator and genie: 1,000 scenes, their mean difference and its interval
                    of 95 %.
genie_scenes.csv    Number of found sources of every scene of these cells, by each estimator and genie.
"""

import zlib
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import torch

from benchmarks._cells import LIKELIHOOD, SEED, Cell, comparison, finished, named, plan, scenes, scored, write
from risolve import seeds
from risolve.files.estimates import write_estimates
from risolve.metrics.normalized import bootstrap_interval
from risolve.physics.observation import SourceModel
from stages.evaluation.cells import SceneBatch
from stages.evaluation.tables import Scored
from stages.params.file import read_params
from stages.params.model import Params

N_SCENES, N_STARTS, N_BOOTSTRAP = 1000, 20, 2000
CELLS = (*((k, snr_db) for k in (1, 2, 3) for snr_db in (0.0, 5.0, 10.0)), (5, 10.0))
GENIES = ("genie", "genie_unconditional")
CELL = ["source_model", "n_sources", "snr_db"]


def make(params: Params, batch: SceneBatch[Cell], path: Path) -> None:
    """Estimates of one batch."""
    drawn = scenes(params, batch.cell, batch.scenes)
    one = replace(comparison(params, LIKELIHOOD), genie_starts=N_STARTS)
    random = torch.Generator().manual_seed(seeds.integer_seed(SEED, "genie", batch.number))
    truth = drawn.sources[:, : batch.cell.n_sources]
    write_estimates(path, one.run(drawn.observation, truth, {"known": {}}, random))


def found_by_scene(own: Scored) -> pd.DataFrame:
    """Number of found sources, one row a scene and one column an estimator."""
    keys = [*CELL, "scene", "estimator"]
    return named(own.sources).groupby(keys)["found"].sum().unstack("estimator")


def genie_table(hits: pd.DataFrame, names: tuple[str, ...], limits: tuple[str, ...] = GENIES) -> pd.DataFrame:
    """Rows of accuracy_genie.csv: the difference of two found rates on the same scenes, and its interval.

    hits: as by `found_by_scene`.
    """
    rows = []
    for cell in hits.index.droplevel("scene").unique():
        of_cell = hits.loc[cell] / cell[1]
        for limit in limits:
            for name in names:
                difference = (of_cell[name] - of_cell[limit]).to_numpy(dtype=np.float64)
                label = zlib.crc32(f"{cell}/{name}/{limit}".encode())
                random = seeds.generator(SEED, "bootstrap", label)
                low, high = bootstrap_interval(difference, np.mean, random, N_BOOTSTRAP)
                rows.append(
                    {
                        **dict(zip(CELL, cell, strict=True)),
                        "estimator": name,
                        "genie": limit,
                        "n_scenes": len(difference),
                        "found_rate": float(of_cell[name].mean()),
                        "genie_found_rate": float(of_cell[limit].mean()),
                        "genie_difference": float(difference.mean()),
                        "genie_difference_low": low,
                        "genie_difference_high": high,
                    }
                )
    return pd.DataFrame(rows)


def main() -> None:
    torch.set_num_threads(1)
    params = read_params()
    every = params.sources.range_m
    batches = plan(
        (Cell("known", model, k, snr_db, every), N_SCENES)
        for model in get_args(SourceModel)
        for k, snr_db in CELLS
    )
    settings = {"starts": N_STARTS, "estimators": LIKELIHOOD}
    with finished("genie", params, batches, make, settings, (), ()) as done:
        hits = found_by_scene(scored(params, done))
        write("genie_scenes", hits.reset_index())
        table = genie_table(hits, LIKELIHOOD)
        write("accuracy_genie", table)
    print(table.to_string())


if __name__ == "__main__":
    main()
