"""Accuracy of every estimator on scenes of params.yaml, next to the Cramer-Rao bound.

    python -m benchmarks.accuracy        writes benchmarks/results/accuracy.csv, half an hour on two cores

One row a cell (source model, number of sources, SNR), count (known | estimated) and estimator: found rate;
RMSE over bound of found sources, and (`_apart`) of those 10 degrees or more from the next; `+ml`: followed by
`refined`. With an estimated count the noise power is not known either; `count_accuracy` and
`mean_count_error` are of it; `false_alarm_rate` is the share of empty scenes in which something was found.
`within_n_std_*`: share of found sources within n of the stated standard deviations.

A cell without anything to measure is empty, never 0. Intervals are of 95 %.
"""

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import pandas as pd
import torch

from benchmarks._cells import (
    KEYS,
    LIKELIHOOD,
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
from risolve import seeds
from risolve.covariance import sample_covariance, sample_factor
from risolve.files.estimates import write_estimates
from risolve.inference.counting import eigenvalue_count
from risolve.physics.observation import SourceModel
from stages.evaluation import strata
from stages.evaluation.cells import Done, SceneBatch, gathered
from stages.evaluation.counts import calibration_table
from stages.evaluation.strata import Bootstrap, strata_table
from stages.evaluation.tables import Scored
from stages.params.file import read_params
from stages.params.model import Params

N_SCENES, N_COUNTED, N_EMPTY, APART_DEG = 200, 200, 1000, 10.0
SPECTRAL = ("beamformer", "music", "mvdr", "modified_music", "music_fitted", "mvdr_fitted")
COUNTING = ("ml", "nomp")
EigenvalueRule: TypeAlias = Literal["aic", "mdl"]

SNRS_DB = {1: (0.0, 5.0, 10.0, 20.0), 2: (0.0, 5.0, 10.0), 3: (0.0, 5.0, 10.0), 5: (20.0,)}
COUNTED = ((0, 0.0), (1, 10.0), (2, 10.0), (3, 10.0), (4, 20.0), (5, 20.0))


def sizes(params: Params) -> Iterator[tuple[Cell, int]]:
    """All cells, and their numbers of scenes."""
    every, models = params.sources.range_m, get_args(SourceModel)
    for model in models:
        for k, snrs_db in SNRS_DB.items():
            for snr_db in snrs_db:
                yield Cell("known", model, k, snr_db, every), N_SCENES
    for model in models:
        for k, snr_db in COUNTED:
            yield Cell("estimated", model, k, snr_db, every), N_COUNTED if k else N_EMPTY


def make(params: Params, batch: SceneBatch[Cell], path: Path) -> None:
    """Estimates of one batch."""
    cell = batch.cell
    drawn = scenes(params, cell, batch.scenes)
    truth = drawn.sources[:, : cell.n_sources]
    observation, n_sources = drawn.observation, drawn.n_sources.long()
    sample = sample_covariance(sample_factor(observation, params.covariance.ls_ridge))
    if cell.count == "known":
        one = comparison(params, (*LIKELIHOOD, *SPECTRAL))
        made = {cell.count: one.made(observation, n_sources, sample, None, 0.0)}
    else:
        # Nobody is told how many there are where there is no truth.
        one, truth = replace(comparison(params, COUNTING), blind=COUNTING), truth[:, :0]
        unknown = replace(observation, noise_power=None)
        made = {cell.count: one.made(unknown, None, sample, None, 0.0)}
    random = torch.Generator().manual_seed(seeds.integer_seed(SEED, "genie", batch.number))
    write_estimates(path, one.run(observation, truth, made, random))


def accuracy_table(own: Scored, bootstrap: Bootstrap) -> pd.DataFrame:
    """accuracy.csv without the eigenvalue rules."""
    columns = ["n_scenes", "n_true", "found_rate", "found_low", "found_high"]
    columns += [f"{name}{ending}" for name in RATIOS for ending in ("", "_low", "_high")]
    columns += ["median_position_m", "gospa_m", "count_accuracy"]
    table = named(strata_table(own.sources, own.scenes, bootstrap)).set_index(KEYS)[columns]
    apart = own.sources[~(own.sources["separation_deg"] < APART_DEG)]
    clear = named(strata_table(apart, own.scenes, bootstrap)).set_index(KEYS)
    table["n_found_apart"] = named(apart[apart["found"]]).groupby(KEYS).size()
    for name in RATIOS:
        table[f"{name}_apart"] = clear[name]
    counted = named(own.scenes).set_index(KEYS)
    surplus = (counted["n_estimated"] - counted.index.get_level_values("n_sources")).groupby(KEYS).mean()
    table["mean_count_error"] = surplus[surplus.index.get_level_values("count") == "estimated"]
    empty = (table.index.get_level_values("n_sources") == 0).astype(bool)
    table["false_alarm_rate"] = (1.0 - table["count_accuracy"]).where(empty)
    stated = named(calibration_table(own.sources)).set_index([*KEYS, "parameter"])
    for n in (1, 2):
        shares = stated[f"within_{n}_std"].unstack("parameter")
        for parameter in strata.PARAMETERS:
            table[f"within_{n}_std_{parameter}"] = shares[parameter]
    return table.reset_index()


def eigenvalue_rows(params: Params, counted: Done[Cell]) -> pd.DataFrame:
    """Rows of accuracy.csv of the eigenvalue rules, which count and do not locate."""
    rows = []
    for cell, done in gathered(counted, lambda cell: cell).items():
        drawn = [scenes(params, cell, batch.scenes) for batch, _ in done]
        for rule in get_args(EigenvalueRule):
            counts = torch.cat([eigenvalue_count(part.observation, rule) for part in drawn]).double()
            right = float((counts == cell.n_sources).double().mean())
            rows.append(
                {
                    "source_model": cell.source_model,
                    "n_sources": cell.n_sources,
                    "snr_db": cell.snr_db,
                    "count": "estimated",
                    "estimator": f"eigenvalue_{rule}",
                    "n_scenes": len(counts),
                    "n_true": len(counts) * cell.n_sources,
                    "count_accuracy": right,
                    "mean_count_error": float(counts.mean()) - cell.n_sources,
                    "false_alarm_rate": 1.0 - right if cell.n_sources == 0 else math.nan,
                }
            )
    return pd.DataFrame(rows)


DOCUMENTED = (
    ("independent", 1, 0.0),
    ("independent", 2, 0.0),
    ("independent", 2, 10.0),
    ("independent", 3, 5.0),
    ("independent", 3, 10.0),
    ("independent", 5, 20.0),
    ("constant", 2, 0.0),
    ("constant", 3, 10.0),
)
"""Cells of the table of docs/estimators.md."""


def documented(table: pd.DataFrame) -> list[str]:
    """Found rates of all estimators in some cells, as lines of Markdown; a dash was not measured."""
    own = table[(table["count"] == "known") & table["found_rate"].notna()].set_index(KEYS)["found_rate"]
    names = list(dict.fromkeys(own.index.get_level_values("estimator")))
    heads = [f"{'C ' if model == 'constant' else ''}{k}, {snr_db:g}" for model, k, snr_db in DOCUMENTED]
    lines = [f"| found (K, dB) | {' | '.join(heads)} |", "|---|" + "---|" * len(heads)]
    for name in names:
        rates = (own.get((*cell, "known", name)) for cell in DOCUMENTED)
        shown = (" - " if rate is None else f" {rate:.2f} " for rate in rates)
        lines.append(f"| `{name}` |{'|'.join(shown)}|")
    return lines


def counts_documented(table: pd.DataFrame) -> list[str]:
    """Share of scenes with the right number of sources, as lines of Markdown."""
    own = table[table["count"] == "estimated"].set_index(KEYS)["count_accuracy"]
    heads = [f"{k}, {snr_db:g}" if k else "0" for k, snr_db in COUNTED]
    lines = [f"| counted right (K, dB) | {' | '.join(heads)} |", "|---|" + "---|" * len(heads)]
    for model in get_args(SourceModel):
        for name in (*COUNTING, *(f"eigenvalue_{rule}" for rule in get_args(EigenvalueRule))):
            rates = (own[(model, k, snr_db, "estimated", name)] for k, snr_db in COUNTED)
            lines.append(f"| `{name}`, {model} |" + "|".join(f" {rate:.2f} " for rate in rates) + "|")
    return lines


def main() -> None:
    torch.set_num_threads(1)
    params = read_params()
    batches = plan(sizes(params))
    settings = {"estimators": (LIKELIHOOD, SPECTRAL, COUNTING)}
    with finished("accuracy", params, batches, make, settings, (), ()) as done:
        own = scored(params, done)
        counted = [(batch, path) for batch, path in done if batch.cell.count == "estimated"]
        bootstrap = Bootstrap(SEED, params.evaluate.bootstrap_samples)
        table = pd.concat(
            [accuracy_table(own, bootstrap), eigenvalue_rows(params, counted)], ignore_index=True
        )
        order = table["source_model"].map(list(get_args(SourceModel)).index)
        table = table.assign(order=order).sort_values(["order", *KEYS[1:4]], kind="stable")
        write("accuracy", table.drop(columns="order"))
    table = pd.read_csv(RESULTS / "accuracy.csv")
    print("\n".join((*documented(table), *counts_documented(table))))


if __name__ == "__main__":
    main()
