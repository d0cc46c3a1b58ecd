"""Accuracy of `ml` on one source by its range, and how its stated standard deviations hold.

    python -m benchmarks.ranges        writes benchmarks/results/accuracy_ranges.csv, in minutes

One row a source model, SNR and stratum of the range, of 1000 scenes each: the standard deviation of a
measured RMSE over bound of 1 is 0.02, that of a share of 0.68 is 0.015.
"""

from pathlib import Path
from typing import get_args

import pandas as pd
import torch

from benchmarks._cells import RANGES_M, SEED, Cell, comparison, finished, named, plan, scenes, scored, write
from risolve import seeds
from risolve.files.estimates import write_estimates
from risolve.physics.observation import SourceModel
from stages.evaluation import strata
from stages.evaluation.cells import SceneBatch, gathered
from stages.evaluation.counts import calibration_table
from stages.params.file import read_params
from stages.params.model import Params

N_SCENES, SNRS_DB = 1000, (0.0, 5.0, 10.0, 20.0)


def make(params: Params, batch: SceneBatch[Cell], path: Path) -> None:
    """Estimates of one batch."""
    drawn = scenes(params, batch.cell, batch.scenes)
    random = torch.Generator().manual_seed(seeds.integer_seed(SEED, "genie", batch.number))
    one = comparison(params, ("ml",))
    truth = drawn.sources[:, : batch.cell.n_sources]
    write_estimates(path, one.run(drawn.observation, truth, {"known": {}}, random))


def stratum_table(params: Params, sources: pd.DataFrame) -> pd.DataFrame:
    """Rows of one source model and stratum of the range, one an SNR."""
    table = named(strata.range_table(sources, params.sources.range_m))
    table = table[table["n_true"] > 0].set_index("snr_db")
    stated = named(calibration_table(sources)).set_index(["snr_db", "parameter"])
    for n in (1, 2):
        shares = stated[f"within_{n}_std"].unstack("parameter")
        for parameter in strata.PARAMETERS:
            table[f"within_{n}_std_{parameter}"] = shares[parameter]
    return table.reset_index()


def main() -> None:
    torch.set_num_threads(1)
    params = read_params()
    batches = plan(
        (Cell("known", model, 1, snr_db, range_m), N_SCENES)
        for model in get_args(SourceModel)
        for range_m in RANGES_M
        for snr_db in SNRS_DB
    )
    with finished("ranges", params, batches, make, {}, (), ()) as done:
        strata_of = gathered(done, lambda cell: (cell.source_model, cell.range_m))
        tables = [stratum_table(params, scored(params, own).sources) for own in strata_of.values()]
        table = pd.concat(tables, ignore_index=True).rename(columns={"n_true": "n_sources_true"})
        write("accuracy_ranges", table)
    print(table.to_string())


if __name__ == "__main__":
    main()
