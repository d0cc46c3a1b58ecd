"""The learned estimator against a genie, and its counts and their confidence.

    python -m benchmarks.learned [NAME]      ten minutes on two cores

Needs data/calibration/learned.pt of params.yaml in this working copy (`dvc repro calibrate`), and the genie
of the same scenes, which knows nothing of the network (`benchmarks.genie`; genie_scenes.csv). Writes to
benchmarks/results, with NAME_ before the names where one is given:

learned_genie.csv       1,000 scenes a cell, number of sources told. Found rate; that of each genie and of
                        `ml` on the same scenes, and the mean difference with its interval of 95 %; RMSE over
                        bound of found sources; CPU time of a scene, map and network included, one thread.
learned_counts.csv      200 scenes a cell, neither the number of sources nor the noise power told: share of
                        right counts, and the mean of the stated confidence.
learned_confidence.csv  The same scenes by stated confidence.
"""

import functools
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import torch

from benchmarks._cells import (
    RATIOS,
    RESULTS,
    SEED,
    Batch,
    comparison,
    finished,
    grouped,
    in_batches,
    named,
    scenes,
    scored,
    write,
)
from benchmarks.genie import CELL, CELLS, GENIES, N_SCENES, found_by_scene, genie_table
from stages.artifacts import grid_setup
from stages.artifacts.estimates_file import read_estimates, write_estimates
from stages.artifacts.evaluation_strata import Bootstrap, strata_table
from stages.artifacts.network_file import read_network
from stages.artifacts.params_file import read_params
from stages.estimators.comparison import Made, Method
from stages.estimators.contract import CovarianceKind
from stages.inference.maps import MapSettings, fit_maps
from stages.networks.trained import TrainedNetwork
from stages.params import Params
from stages.physics.observation import Observation, SourceModel

MODEL = Path("data/calibration/learned.pt")
N_COUNTED = 200
OTHERS = (*GENIES, "ml")
COUNTED = tuple((k, snr_db) for k in range(6) for snr_db in (0.0, 5.0, 10.0, 15.0, 20.0))
CONFIDENCES = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)


@functools.lru_cache(maxsize=1)
def trained(params: Params) -> TrainedNetwork:
    """Read once by every process."""
    return read_network(MODEL, params)


def predicted(params: Params, observation: Observation) -> dict[CovarianceKind, Made]:
    """What the learned estimator reads, and the CPU time of map and network."""
    started = time.process_time()
    iterations = params.normalize.map_iterations
    settings = MapSettings(grid_setup.grid(params), iterations, params.array.spherical_amplitude)
    maps = fit_maps(observation, settings)
    prediction = trained(params).predict(maps.values, maps.estimated_snr, observation)
    return {"predicted": Made(prediction, time.process_time() - started)}


def make(params: Params, batches: tuple[Batch, ...], number: int, path: Path) -> None:
    """Estimates of one batch."""
    batch = batches[number]
    drawn = scenes(params, batch)
    one = comparison(params, ("learned",))
    observation, truth = drawn.observation, drawn.sources[:, : batch.n_sources]
    if batch.count == "estimated":
        one, truth = replace(one, blind=("learned",)), truth[:, :0]
        observation = replace(observation, noise_power=None)
    made = {batch.count: predicted(params, observation)}
    write_estimates(path, one.run(observation, truth, made, torch.Generator()))


def headline(params: Params, cells: Sequence[list[tuple[Batch, Path]]]) -> pd.DataFrame:
    """learned_genie.csv."""
    own = scored(params, [cell for cell in cells if cell[0][0].count == "known"])
    hits = found_by_scene(own)
    genie = pd.read_csv(RESULTS / "genie_scenes.csv").set_index(hits.index.names)
    compared = hits[["learned"]].join(genie[list(OTHERS)], how="left")
    if compared.isna().any(axis=None):
        raise ValueError("genie_scenes.csv has all scenes of every cell; run `python -m benchmarks.genie`")
    table = genie_table(compared, ("learned",), OTHERS).set_index([*CELL, "genie"]).unstack("genie")
    result = pd.DataFrame(
        {"n_scenes": table["n_scenes"]["genie"], "found_rate": table["found_rate"]["genie"]}
    )
    for name in OTHERS:
        for part in ("found_rate", "difference", "difference_low", "difference_high"):
            result[f"{name}_{part}"] = table[f"genie_{part}"][name]
    strata = named(strata_table(own.sources, own.scenes, Bootstrap(SEED, params.evaluate.bootstrap_samples)))
    ratios = strata[strata["estimator"] == "learned"].set_index(CELL)
    for name in RATIOS:
        for ending in ("", "_low", "_high"):
            result[f"{name}{ending}"] = ratios[f"{name}{ending}"]
    seconds: dict[tuple[str, int, float], list[float]] = {}
    for cell in cells:
        for batch, path in cell:
            if batch.count == "known":
                spent = read_estimates(path)[Method("known", "learned")].cpu_seconds / batch.n_scenes
                seconds.setdefault((batch.source_model, batch.n_sources, batch.snr_db), []).append(spent)
    result["cpu_ms"] = pd.Series({key: 1e3 * float(np.median(spent)) for key, spent in seconds.items()})
    return result.reset_index()


def counts(params: Params, cells: Sequence[list[tuple[Batch, Path]]]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """learned_counts.csv and learned_confidence.csv."""
    own = scored(params, [cell for cell in cells if cell[0][0].count == "estimated"]).scenes
    own = named(own).assign(right=lambda t: t["n_estimated"] == t["n_sources"])
    parts = {
        "n_scenes": ("right", "size"),
        "right": ("right", "mean"),
        "confidence": ("count_confidence", "mean"),
    }
    by_cell = own.groupby(["source_model", "n_sources", "snr_db"]).agg(**parts).reset_index()
    bins = pd.cut(own["count_confidence"], CONFIDENCES, include_lowest=True, labels=CONFIDENCES[:-1])
    by_bin = own.assign(from_confidence=bins.astype(float)).groupby(["source_model", "from_confidence"])
    return by_cell, by_bin.agg(**parts).reset_index()


def main() -> None:
    torch.set_num_threads(1)
    params = read_params()
    prefix = f"{sys.argv[1]}_" if len(sys.argv) > 1 else ""
    every, models = params.sources.range_m, get_args(SourceModel)
    batches = tuple(
        batch
        for count, cells, n_scenes in (("estimated", COUNTED, N_COUNTED), ("known", CELLS, N_SCENES))
        for model in models
        for k, snr_db in cells
        for batch in in_batches(count, model, k, snr_db, every, n_scenes)
    )
    with finished("learned", params, batches, make, {}, (MODEL,)) as work:
        cells = grouped(batches, work)
        by_cell, by_confidence = counts(params, cells)
        write(f"{prefix}learned_counts", by_cell)
        write(f"{prefix}learned_confidence", by_confidence)
        table = headline(params, cells)
        write(f"{prefix}learned_genie", table)
    print(table.iloc[:, :8].to_string(), by_confidence.to_string(), sep="\n")


if __name__ == "__main__":
    main()
