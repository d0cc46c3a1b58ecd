"""What each part of the learned estimator is worth: one DVC experiment a row and seed.

    python -m benchmarks.ablation [ROW ...]      writes benchmarks/results/ablation.csv, an hour on two cores

Every row is `dvc exp run --temp -n ablation-ROW-SEED -S ... train`: params.yaml with a training of half the
size (`SIZE`), the changes of `ROWS` and a train.seed. Its network is scored on the scenes of the accuracy
benchmarks: number of sources told, the found rate of the bare peaks and of `learned` in each of `CELLS` and
on average, and the normalized mean square error of R_pred; the share of counts that the network alone says
right in `COUNTED`; and found rates (`DEPARTED_CELL`) and counts under `DEPARTED`. Experiments that are there
are kept, and so is what each says and finds (`benchmarks._kept`): a run that was stopped goes on.
"""

import contextlib
import functools
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import torch
from jaxtyping import Float

from benchmarks._cells import RESULTS, Cell, comparison, plan, scenes, write
from benchmarks._kept import key_of
from risolve.covariance import blend, sample_covariance, sample_factor, true_covariance
from risolve.estimators.contract import Estimate
from risolve.files import hdf5, model_grid
from risolve.files.model import Model, read_model
from risolve.inference.maps import MapSettings, fit_maps
from risolve.metrics.agreement import agreement
from risolve.networks.losses import covariance_loss
from risolve.networks.trained import Prediction
from risolve.physics.observation import Observation
from risolve.physics.scenario import Scenes
from risolve.running.progress import Progress
from stages.evaluation import cells
from stages.evaluation.cells import SceneBatch
from stages.params.file import read_params
from stages.params.model import Params

N_SCENES, N_COUNTED = 400, 50
CELLS = ((2, 0.0), (3, 0.0), (3, 5.0), (5, 10.0))
COUNTED = tuple((k, snr_db) for k in range(6) for snr_db in (0.0, 10.0, 20.0))
Say = Callable[[Observation], Prediction]
FOUND_BY = ("learned_peaks", "learned")
SAID = ("count_right", "covariance_error", "count_right_departed")
DEPARTED_CELL = (3, 10.0)
DEPARTED = {
    "sources.power_spread_db": 15.0,
    "impairments.position_jitter_m": 0.015,
    "impairments.channel_error": 0.1,
}
"""Values in place of those of params.yaml: unequal powers, and a system that is not quite the known one."""
SIZE = (
    "simulate.train.strata.mixed.n_scenes=4608",
    "simulate.train_constant.strata.mixed.n_scenes=1792",
    "train.epochs=6",
)
NO_NETWORK = "no network"
ROWS: dict[str, tuple[int, tuple[str, ...]]] = {
    "default": (5, ()),
    NO_NETWORK: (1, ()),
    "factor head": (3, ("network.head=factor",)),
    "network in the loop": (3, ("network.loops=1",)),
    "no augmentation": (
        3,
        ("simulate.augmentation.spread_share=0.0", "simulate.augmentation.impaired_share=0.0"),
    ),
    "maps after 0 and 3 iterations": (1, ("normalize.map_iterations=[0,3]",)),
    "no mirrors": (1, ("train.flips=false",)),
    "no places": (1, ("train.offset_weight=0.0",)),
    "no count": (1, ("train.count_weight=0.0",)),
    "no covariance loss": (1, ("train.covariance_weight=0.0",)),
    "subspace loss": (1, ("train.subspace_weight=0.3",)),
    "likelihood loss": (1, ("train.likelihood_weight=0.3",)),
    "beta 0": (1, ("train.blend_beta_start=0.0", "train.blend_beta_end=0.0")),
    "beta from 1": (1, ("train.blend_beta_start=1.0",)),
    "beta jittered": (1, ("train.blend_beta_jitter=0.3",)),
}
"""Number of seeds (1, 2, ...) and changes of params.yaml of every row, beside those of `SIZE`.

`NO_NETWORK` trains none: the search of `learned` among the peaks of the first map, without a prior.
"""
SHOWN = {
    "learned": "`learned`",
    "learned_peaks": "`learned_peaks`",
    "count_right": "count right",
    "covariance_error": "error of R_pred",
    "learned_peaks_departed": "departed: `learned_peaks`",
    "count_right_departed": "count right",
}
"""Columns of the table -> their heads in the documents; the last two are of `DEPARTED` scenes."""

NETWORK = "data/models/covariance.pt"
COLUMNS = (
    "learned",
    "learned_peaks",
    "count_right",
    "covariance_error",
    "learned_peaks_departed",
    "count_right_departed",
)
"""Of the table in docs/learned.md."""


def experiment(name: str, changes: tuple[str, ...], target: str) -> str:
    """The name of a DVC experiment, which is run up to a stage unless it is there."""
    if name not in output("dvc", "exp", "list", "--name-only").split():
        command = ["dvc", "exp", "run", "--temp", "--name", name]
        for change in changes:
            command += ["--set-param", change]
        subprocess.run([*command, target], check=True)
    return name


def training(row: str, seed: int) -> str:
    """Name of the experiment of a row and seed."""
    changes = (*SIZE, *ROWS[row][1], f"train.seed={seed}")
    return experiment(f"ablation-{row.replace(' ', '-')}-{seed}", changes, "train")


def output(*command: str) -> str:
    """What a command prints."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@contextlib.contextmanager
def fetched(path: str, revision: str) -> Iterator[Path]:
    """A copy of a file of an experiment or commit, from git or the DVC cache."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / Path(path).name
        output("dvc", "get", ".", path, "--rev", revision, "--out", str(copy))
        yield copy


def scored_cells(params: Params) -> dict[str, tuple[Params, int, float]]:
    """Parameters, number of sources and SNR (dB) of every cell in which found rates are measured."""
    cells = {f"k{k}_{snr_db:g}db": (params, k, snr_db) for k, snr_db in CELLS}
    return {**cells, "departed": (params.with_values(DEPARTED), *DEPARTED_CELL)}


def make(params: Params, model: Model, batch: SceneBatch[bool], path: Path) -> None:
    """What a network says, and the places that are found with it; or with the first map in its place."""
    is_first_map = batch.cell
    say = functools.partial(from_first_map if is_first_map else predicted, model)
    other = params.with_values(DEPARTED)
    found = {
        f"{cell}/{name}": located
        for cell, (own, k, snr_db) in scored_cells(params).items()
        for name, located in places(own, say, k, snr_db).items()
    }
    said = {}
    if not is_first_map:
        error = float(np.mean([covariance_error(params, model, *cell) for cell in CELLS]))
        said = dict(zip(SAID, (count_right(params, model), error, count_right(other, model)), strict=True))
    hdf5.write(path, said, found)


def score(params: Params, model_path: Path, is_first_map: bool) -> dict[str, float]:
    """The columns of ablation.csv that are measured."""
    functions = (make, places, covariance_error, count_right, predicted, from_first_map, scenes, comparison)
    sections = {
        **params.model_dump(mode="json"),
        "cells": (CELLS, COUNTED, DEPARTED_CELL, DEPARTED, N_SCENES, N_COUNTED),
        "is_first_map": is_first_map,
    }
    key = key_of(sections, functions, [model_path])
    run = functools.partial(make, params, read_model(model_path))
    batches = cells.plan([(is_first_map, range(N_SCENES))], N_SCENES)
    with cells.made("ablation", key, run, batches, 1) as (_, [(_, path)]), h5py.File(path) as file:
        rates = {
            cell: {name: found_rate(own, file[f"{cell}/{name}"][()], k, snr_db) for name in FOUND_BY}
            for cell, (own, k, snr_db) in scored_cells(params).items()
        }
        said = {name: float(file.attrs[name]) for name in SAID if name in file.attrs}
    away = rates.pop("departed")
    return {
        **{name: float(np.mean([own[name] for own in rates.values()])) for name in FOUND_BY},
        **{f"{name}_{cell}": own[name] for name in FOUND_BY for cell, own in rates.items()},
        **{f"{name}_departed": rate for name, rate in away.items()},
        **said,
    }


def places(params: Params, say: Say, k: int, snr_db: float) -> dict[str, Float[np.ndarray, "scene slot 3"]]:
    """What bare peaks and `learned` find in one cell, number of sources told."""
    found: dict[str, list[Float[np.ndarray, "scene slot 3"]]] = {name: [] for name in FOUND_BY}
    for drawn in drawn_scenes(params, k, snr_db, N_SCENES):
        observation, told = drawn.observation, torch.full((drawn.observation.n_scenes,), k)
        prediction = say(observation)
        for name in FOUND_BY:
            (one,) = comparison(params, (name,)).estimators
            found[name].append(padded(one.estimate(observation, prediction, told), k))
    return {name: np.concatenate(parts) for name, parts in found.items()}


def padded(estimate: Estimate, slots: int) -> Float[np.ndarray, "scene slot 3"]:
    """Sources of an estimate in a stated number of slots, the last ones empty: NaN."""
    missing = slots - estimate.sources.shape[1]
    return np.pad(estimate.sources.numpy(), ((0, 0), (0, missing), (0, 0)), constant_values=np.nan)


def found_rate(params: Params, found: Float[np.ndarray, "scene slot 3"], k: int, snr_db: float) -> float:
    """Share of the sources of a cell that are found."""
    truth = torch.cat([drawn.sources[:, :k] for drawn in drawn_scenes(params, k, snr_db, N_SCENES)])
    return float(np.mean(n_found(params, truth, found))) / k


def covariance_error(params: Params, model: Model, k: int, snr_db: float) -> float:
    """Normalized mean square error of the loaded R_pred in one cell."""
    errors = []
    for drawn in drawn_scenes(params, k, snr_db, N_SCENES):
        own = drawn.observation
        waves = own.array.steering(drawn.sources[:, :k])
        sample = sample_covariance(sample_factor(own, params.covariance.ls_ridge))
        loading = params.covariance.diagonal_loading
        alone = blend(predicted(model, own).covariance, sample, 0.0, loading)
        truth = true_covariance(waves.to(torch.complex64), drawn.power[:, :k].float())
        errors.append(float(covariance_loss(alone, alone.squared_norms(), truth)))
    return float(np.mean(errors))


def drawn_scenes(params: Params, k: int, snr_db: float, n_scenes: int) -> Iterator[Scenes]:
    """The scenes of a cell, batch by batch."""
    cell = Cell("known", "independent", k, snr_db, params.sources.range_m)
    for batch in plan([(cell, n_scenes)]):
        yield scenes(params, cell, batch.scenes)


def count_right(params: Params, model: Model) -> float:
    """Share of right counts of the network alone, the noise power known."""
    right = []
    for k, snr_db in COUNTED:
        for drawn in drawn_scenes(params, k, snr_db, N_COUNTED):
            said = predicted(model, drawn.observation).count_log_probabilities.argmax(-1)
            right += (said == k).tolist()
    return float(np.mean(right))


def predicted(model: Model, observation: Observation) -> Prediction:
    """What a network says of scenes, from maps as it read them in training."""
    own = model.params
    settings = MapSettings(model_grid.grid(own), own.normalize.map_iterations)
    return model.trained.predict(*fit_maps(observation, settings), observation)


def from_first_map(model: Model, observation: Observation) -> Prediction:
    """In the place of a network: points of the first map num / den in the order of their values, which are
    too small to weigh beside the likelihood.
    """
    settings = MapSettings(model_grid.grid(model.params), (0,))
    values = fit_maps(observation, settings).values[:, 0]
    places = model.trained.dictionary.grid.coordinates.expand(len(values), -1, -1)
    return replace(predicted(model, observation), occupancy=1e-9 * values / values.max(), places=places)


def n_found(params: Params, truth: torch.Tensor, found: Float[np.ndarray, "scene slot 3"]) -> list[int]:
    """Found sources of every scene."""
    tolerance = np.deg2rad(params.evaluate.found_tolerance_deg)
    counts = []
    for true, located in zip(truth.double().numpy(), found, strict=True):
        real, own = (rows[np.isfinite(rows[:, 0])] for rows in (true, located))
        counts.append(int(agreement(real, own, np.full_like(own, np.nan), tolerance).found.sum()))
    return counts


def summary(table: pd.DataFrame) -> str:
    """The table of docs/learned.md: means over the seeds of a row, and (lowest to highest) of several."""

    def cell(values: pd.Series) -> str:
        if values.isna().any():
            return ""
        mean = f"{values.mean():.3f}"
        return mean if len(values) == 1 else f"{mean} ({values.min():.3f} to {values.max():.3f})"

    lines = [
        "| | changes | seeds | `learned` | `learned_peaks` | count right | error of R_pred "
        "| departed: `learned_peaks` | count right |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row, own in table.groupby("row", sort=False):
        changes = ", ".join(f"`{change}`" for change in json.loads(own["changes"].iloc[0]))
        cells = [cell(own[name]) for name in COLUMNS]
        lines.append(f"| {row} | {changes} | {len(own)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def measured(params: Params, row: str, seed: int) -> dict[str, float]:
    """The columns of one line of ablation.csv that are measured."""
    is_first_map = row == NO_NETWORK
    with fetched(NETWORK, training("default" if is_first_map else row, seed)) as path:
        return score(params, path, is_first_map)


def documented(table: pd.DataFrame) -> list[str]:
    """Means of every row over its seeds with the lowest and the highest, as lines of Markdown."""
    lines = [f"| | changes | seeds | {' | '.join(SHOWN.values())} |", "|---|---|---|" + "---|" * len(SHOWN)]
    for name, row in table.groupby("row", sort=False):
        changes = ", ".join(f"`{change}`" for change in json.loads(row["changes"].iloc[0]))
        cells = [_over_seeds(row[column]) for column in SHOWN]
        lines.append(f"| {name} | {changes} | {len(row)} | {' | '.join(cells)} |")
    return lines


def _over_seeds(values: pd.Series) -> str:
    if values.isna().all():
        return ""
    ends = f" ({values.min():.3f} to {values.max():.3f})" if len(values) > 1 else ""
    return f"{values.mean():.3f}{ends}"


def main() -> None:
    torch.set_num_threads(1)
    params = read_params()
    chosen = sys.argv[1:] or list(ROWS)
    path = RESULTS / "ablation.csv"
    lines: list[dict[str, Any]] = pd.read_csv(path).to_dict("records") if path.exists() else []
    wanted = [(row, seed) for row in chosen for seed in range(1, ROWS[row][0] + 1)]
    progress = Progress("ablation", len(wanted), "trainings", 0)
    for row, seed in wanted:
        own = measured(params, row, seed)
        lines = [line for line in lines if (line["row"], line["seed"]) != (row, seed)]
        changes = json.dumps(ROWS[row][1])
        lines.append({"row": row, "seed": seed, "changes": changes, "n_scenes": N_SCENES, **own})
        write("ablation", pd.DataFrame(lines))
        progress.advance()
    print(summary(pd.DataFrame(lines)))


if __name__ == "__main__":
    main()
