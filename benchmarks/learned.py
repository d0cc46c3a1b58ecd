"""The learned estimator against a genie, and its counts and their confidence.

    python -m benchmarks.learned [NAME]      half an hour on two cores

Needs data/calibration/learned.pt of params.yaml in this working copy (`dvc repro calibrate`), and the genie
of the same scenes, which knows nothing of the network (`benchmarks.genie`; genie_scenes.csv). Writes to
benchmarks/results, with NAME_ before the names where one is given:

learned_genie.csv       1,000 scenes a cell, number of sources told. Found rate; that of each genie and of
                        `ml` on the same scenes, and the mean difference with its interval of 95 %; RMSE over
                        bound of found sources; CPU time of a scene, map and network included, one thread.
learned_counts.csv      Number of sources not told, the noise power told or not: share of right counts by
                        cell, those of an SNR beyond the training among them, and the mean of the stated
                        confidence.
learned_confidence.csv  Of scenes like those of the training, any number of sources and SNR as likely as any
                        other: share of right counts by stated confidence, with its interval of 95 %.
"""

import contextlib
import functools
import sys
import time
from collections.abc import Mapping
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
    Cell,
    comparison,
    finished,
    named,
    plan,
    scenes,
    scored,
    write,
)
from benchmarks.genie import CELL, CELLS, GENIES, N_SCENES, found_by_scene, genie_table
from risolve.estimators.comparison import Count, Made, Method, Timed
from risolve.estimators.contract import CovarianceKind
from risolve.files import model_grid
from risolve.files.estimates import read_estimates, write_estimates
from risolve.files.model import read_network
from risolve.inference.maps import MapSettings, fit_maps
from risolve.metrics.intervals import wilson
from risolve.networks.trained import TrainedNetwork
from risolve.physics.observation import Observation, SourceModel
from stages.evaluation.cells import Done, SceneBatch
from stages.evaluation.strata import Bootstrap, strata_table
from stages.params.file import read_params
from stages.params.model import Params

MODEL = Path("data/calibration/learned.pt")
N_COUNTED = {"unknown": 200, "known": 25}
"""By what the estimator knows of the noise power."""
OTHERS = (*GENIES, "ml")
COUNTED = tuple((k, snr_db) for k in range(6) for snr_db in (0.0, 5.0, 10.0, 15.0, 20.0))
N_BEYOND = 50
BEYOND = tuple((k, snr_db) for k in range(6) for snr_db in (30.0, 45.0))
"""No scene of the training has such an SNR."""
N_STATED = 25
STATED = tuple((k, float(snr_db)) for k in range(6) for snr_db in range(-5, 21))
"""The number of sources and the SNR in dB of the scenes of the training, in equal steps."""
COUNT_COLUMNS = {
    "n_scenes": ("right", "size"),
    "right": ("right", "mean"),
    "confidence": ("count_confidence", "mean"),
}
CONFIDENCES = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)


@functools.lru_cache(maxsize=1)
def trained(params: Params) -> TrainedNetwork:
    """Read once by every process."""
    return read_network(MODEL, params.of_model())


def predicted(params: Params, observation: Observation) -> dict[CovarianceKind, Made]:
    """What the learned estimator reads, and the CPU time of map and network."""
    started = time.process_time()
    iterations = params.normalize.map_iterations
    settings = MapSettings(model_grid.grid(params.of_model()), iterations)
    maps = fit_maps(observation, settings)
    prediction = trained(params).predict(maps.values, maps.estimated_snr, observation)
    return {"predicted": Made(prediction, time.process_time() - started)}


def make(params: Params, batch: SceneBatch[Cell], path: Path) -> None:
    """Estimates of one batch; where the number of sources is not told, neither is the noise power."""
    drawn = scenes(params, batch.cell, batch.scenes)
    one = comparison(params, ("learned",))
    observation, truth = drawn.observation, drawn.sources[:, : batch.cell.n_sources]
    if batch.cell.count == "estimated":
        one, truth = replace(one, blind=("learned",)), truth[:, :0]
        observation = replace(observation, noise_power=None)
    made = {batch.cell.count: predicted(params, observation)}
    write_estimates(path, one.run(observation, truth, made, torch.Generator()))


def make_noise_known(params: Params, batch: SceneBatch[Cell], path: Path) -> None:
    """Estimates of one batch, the noise power told and the number of sources not."""
    observation = scenes(params, batch.cell, batch.scenes).observation
    (one,) = comparison(params, ("learned",)).estimators
    prediction, spent = predicted(params, observation)["predicted"]
    started = time.process_time()
    found = one.estimate(observation, prediction, None)
    seconds = spent + time.process_time() - started
    write_estimates(path, {Method("estimated", "learned"): Timed(found, seconds)})


def headline(params: Params, done: Done[Cell]) -> pd.DataFrame:
    """learned_genie.csv."""
    own = scored(params, done)
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
    for batch, path in done:
        spent = read_estimates(path)[Method("known", "learned")].cpu_seconds / len(batch.scenes)
        cell = batch.cell
        seconds.setdefault((cell.source_model, cell.n_sources, cell.snr_db), []).append(spent)
    result["cpu_ms"] = pd.Series({key: 1e3 * float(np.median(spent)) for key, spent in seconds.items()})
    return result.reset_index()


def documented(table: pd.DataFrame) -> list[str]:
    """The rows of docs/learned.md, of learned_genie.csv, as lines of Markdown."""
    order = {model: number for number, model in enumerate(get_args(SourceModel))}
    lines = [
        "| sources | K | SNR | `learned` | genie | difference | unconditional genie | `ml` | RMSE over "
        "bound: azimuth, elevation, 1/range | ms a scene |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in table.sort_values("source_model", key=lambda of: of.map(order), kind="stable").to_dict(
        "records"
    ):
        ends = " to ".join(f"{row[f'genie_difference_{end}']:+.3f}" for end in ("low", "high"))
        model, k, snr_db = (row[name] for name in CELL)
        ratios = ", ".join(f"{row[name]:.2f}" for name in RATIOS)
        cells = (
            *(f"`{model}`", f"{k}", f"{snr_db:g} dB", f"{row['found_rate']:.3f}"),
            *(f"{row['genie_found_rate']:.3f}", f"{row['genie_difference']:+.3f} ({ends})"),
            *(f"{row[f'{name}_found_rate']:.3f}" for name in OTHERS[1:]),
            *(ratios, f"{row['cpu_ms']:.1f}"),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def blind_cells(n_counted: int) -> dict[tuple[int, float], int]:
    """Number of scenes of the cells that `COUNTED`, `STATED` and `BEYOND` name."""
    sizes = {**dict.fromkeys(STATED, N_STATED), **dict.fromkeys(BEYOND, N_BEYOND)}
    return {**sizes, **{cell: max(n_counted, sizes[cell]) for cell in COUNTED}}


def counted_scenes(params: Params, noise: str, done: Done[Cell]) -> pd.DataFrame:
    """All scenes of blind cells, and whether their sources are counted right."""
    own = named(scored(params, done).scenes)
    return own.assign(noise=noise, right=own["n_estimated"] == own["n_sources"])


def by_cell(counted: pd.DataFrame) -> pd.DataFrame:
    """learned_counts.csv."""
    cells = pd.MultiIndex.from_frame(counted[["n_sources", "snr_db"]])
    own = counted[cells.isin([*COUNTED, *BEYOND])]
    grouping = own.groupby(["noise", "source_model", "n_sources", "snr_db"])
    return grouping.agg(**COUNT_COLUMNS).reset_index()


def by_confidence(counted: pd.DataFrame) -> pd.DataFrame:
    """learned_confidence.csv: as many scenes of every cell of `STATED`."""
    cells = pd.MultiIndex.from_frame(counted[["n_sources", "snr_db"]])
    own = counted[cells.isin(STATED) & (counted["scene"] < N_STATED)]
    bins = pd.cut(own["count_confidence"], CONFIDENCES, include_lowest=True, labels=CONFIDENCES[:-1])
    grouping = own.assign(from_confidence=bins.astype(float)).groupby(
        ["noise", "source_model", "from_confidence"]
    )
    table = grouping.agg(**COUNT_COLUMNS).reset_index()
    ends = [wilson(share, n) for share, n in zip(table["right"], table["n_scenes"], strict=True)]
    table[["right_low", "right_high"]] = ends
    return table


def batches_of(
    params: Params, count: Count, sizes: Mapping[tuple[int, float], int]
) -> tuple[SceneBatch[Cell], ...]:
    """Numbers of scenes by (number of sources, SNR in dB), of both source models."""
    return plan(
        (Cell(count, model, k, snr_db, params.sources.range_m), n_scenes)
        for model in get_args(SourceModel)
        for (k, snr_db), n_scenes in sizes.items()
    )


def main() -> None:
    torch.set_num_threads(1)
    params = read_params()
    prefix = f"{sys.argv[1]}_" if len(sys.argv) > 1 else ""
    told = batches_of(params, "known", dict.fromkeys(CELLS, N_SCENES))
    with contextlib.ExitStack() as stack:
        done = stack.enter_context(finished("learned", params, told, make, {}, (predicted,), (MODEL,)))
        table = headline(params, done)
        write(f"{prefix}learned_genie", table)
        counted = []
        for noise, name, making in (
            ("unknown", "learned_blind", make),
            ("known", "learned_blind_noise_known", make_noise_known),
        ):
            blind = batches_of(params, "estimated", blind_cells(N_COUNTED[noise]))
            done = stack.enter_context(finished(name, params, blind, making, {}, (predicted,), (MODEL,)))
            counted.append(counted_scenes(params, noise, done))
        write(f"{prefix}learned_counts", by_cell(pd.concat(counted)))
        confidence = by_confidence(pd.concat(counted))
        write(f"{prefix}learned_confidence", confidence)
    print(*documented(table), confidence.to_string(), sep="\n")


if __name__ == "__main__":
    main()
