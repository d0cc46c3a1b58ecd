"""What each part of the learned estimator is worth: one DVC experiment a row and seed.

    python -m benchmarks.ablation [ROW ...]      writes benchmarks/results/ablation.csv, hours on two cores

Every row is `dvc exp run --temp -n ablation-ROW-SEED -S ... calibrate`: params.yaml with the changes of
`ROWS` and a train.seed. Its model is scored on the scenes of the accuracy benchmarks, number of sources
told: found rate of the bare peaks and of `learned` in each of `CELLS` and on average, and normalized mean
square error of R_blend; share of right counts, neither the number of sources nor the noise power being
told. Experiments that are there are kept: a run that was stopped goes on.
"""

import json
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from benchmarks._cells import RESULTS, Batch, comparison, scenes, write
from stages.artifacts import grid_setup
from stages.artifacts.network_file import Model, read_model
from stages.artifacts.params_file import read_params
from stages.artifacts.progress import Progress
from stages.covariance import blend, sample_covariance, sample_factor, true_covariance
from stages.estimators.contract import Estimate
from stages.inference.maps import MapSettings, fit_maps
from stages.metrics.agreement import agreement
from stages.networks.losses import covariance_loss
from stages.params import Params
from stages.physics.steering import steering

N_SCENES = 400
CELLS = ((2, 0.0), (3, 0.0), (3, 5.0), (5, 10.0))
MAIN_SEEDS, SEEDS = (1, 2, 3), (1,)
ROWS: dict[str, tuple[tuple[int, ...], tuple[str, ...]]] = {
    "default": (MAIN_SEEDS, ()),
    "no augmentation": (
        MAIN_SEEDS,
        ("simulate.augmentation.spread_share=0.0", "simulate.augmentation.impaired_share=0.0"),
    ),
    "factor head": (MAIN_SEEDS, ("network.head=factor",)),
    "maps after 0 and 3 iterations": (MAIN_SEEDS, ("normalize.map_iterations=[0,3]",)),
    "no places": (SEEDS, ("train.offset_weight=0.0",)),
    "no count": (SEEDS, ("train.count_weight=0.0",)),
    "no covariance loss": (SEEDS, ("train.covariance_weight=0.0",)),
    "subspace loss": (SEEDS, ("train.subspace_weight=0.3",)),
    "network in the loop": (MAIN_SEEDS, ("network.loops=1",)),
    "likelihood loss": (SEEDS, ("train.likelihood_weight=0.3",)),
    "no mirrors": (SEEDS, ("train.flips=false",)),
    "beta from 1": (SEEDS, ("train.blend_beta_start=1.0",)),
    "beta jittered": (SEEDS, ("train.blend_beta_jitter=0.3",)),
}
"""Seeds and changes of params.yaml of every row."""


def experiment(row: str, seed: int) -> str:
    """Name of the DVC experiment of a row and seed; it is run unless it is there."""
    name = f"ablation-{row.replace(' ', '-')}-{seed}"
    known = _output("dvc", "exp", "list", "--name-only").split()
    if name not in known:
        changes = (*ROWS[row][1], f"train.seed={seed}")
        command = ["dvc", "exp", "run", "--temp", "--name", name]
        for change in changes:
            command += ["--set-param", change]
        subprocess.run([*command, "calibrate"], check=True)
    return name


def _output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def model_of(name: str) -> Model:
    """The model of an experiment, from the DVC cache."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "learned.pt"
        source = ("dvc", "get", ".", "data/calibration/learned.pt", "--rev", name, "--out", str(path))
        subprocess.run(source, check=True, capture_output=True)
        return read_model(path)


def score(params: Params, model: Model) -> dict[str, float]:
    """The columns of ablation.csv that are measured."""
    own = params.model_copy(update={"normalize": model.params.normalize})
    found: dict[str, list[float]] = {"learned_peaks": [], "learned": []}
    right, errors = [], []
    for k, snr_db in CELLS:
        hits: dict[str, list[int]] = {name: [] for name in found}
        for first in range(0, N_SCENES, 50):
            batch = Batch("known", "independent", k, snr_db, params.sources.range_m, first, 50)
            drawn = scenes(params, batch)
            observation = drawn.observation
            settings = MapSettings(
                grid_setup.grid(params), own.normalize.map_iterations, params.array.spherical_amplitude
            )
            told = torch.full((observation.n_scenes,), k)
            prediction = model.trained.predict(*fit_maps(observation, settings), observation)
            for name in found:
                (one,) = comparison(params, (name,)).estimators
                hits[name].extend(n_found(params, drawn.sources, one.estimate(observation, prediction, told)))
            unknown = replace(observation, noise_power=None)
            (learned,) = comparison(params, ("learned",)).estimators
            blind = model.trained.predict(*fit_maps(unknown, settings), unknown)
            right += (learned.estimate(unknown, blind, None).n_sources == k).tolist()
            waves = steering(
                drawn.sources[:, :k],
                observation.elements,
                observation.wavelength,
                own.array.spherical_amplitude,
            )
            mixed = blend(
                prediction.covariance,
                sample_covariance(sample_factor(observation, params.covariance.ls_ridge)),
                prediction.calibration.blend_beta,
                params.covariance.diagonal_loading,
            )
            truth = true_covariance(waves.to(torch.complex64), drawn.power[:, :k].float())
            errors.append(float(covariance_loss(mixed, mixed.squared_norms(), truth)))
        for name, counts in hits.items():
            found[name].append(float(np.mean(counts)) / k)
    cells = {
        f"{name}_k{k}_{snr_db:g}db": rate
        for name, rates in found.items()
        for (k, snr_db), rate in zip(CELLS, rates, strict=True)
    }
    means = {name: float(np.mean(rates)) for name, rates in found.items()}
    return {**means, "count_right": float(np.mean(right)), "blend_error": float(np.mean(errors)), **cells}


def n_found(params: Params, truth: torch.Tensor, estimate: Estimate) -> list[int]:
    """Found sources of every scene."""
    tolerance = np.deg2rad(params.evaluate.found_tolerance_deg)
    counts = []
    for true, places in zip(truth.double().numpy(), estimate.sources.numpy(), strict=True):
        real, own = (rows[np.isfinite(rows[:, 0])] for rows in (true, places))
        counts.append(int(agreement(real, own, np.full_like(own, np.nan), tolerance).found.sum()))
    return counts


def main() -> None:
    torch.set_num_threads(1)
    params = read_params()
    chosen = sys.argv[1:] or list(ROWS)
    path = RESULTS / "ablation.csv"
    lines: list[dict[str, Any]] = pd.read_csv(path).to_dict("records") if path.exists() else []
    wanted = [(row, seed) for row in chosen for seed in ROWS[row][0]]
    progress = Progress("ablation", len(wanted), "trainings", 0)
    for row, seed in wanted:
        name = experiment(row, seed)
        lines = [line for line in lines if (line["row"], line["seed"]) != (row, seed)]
        changes = json.dumps(ROWS[row][1])
        measured = score(params, model_of(name))
        lines.append({"row": row, "seed": seed, "changes": changes, "n_scenes": N_SCENES, **measured})
        write("ablation", pd.DataFrame(lines))
        progress.advance()
    print(pd.DataFrame(lines).drop(columns="changes").to_string())


if __name__ == "__main__":
    main()
