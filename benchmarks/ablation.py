"""What each part of the learned estimator is worth: one DVC experiment a row and seed.

    python -m benchmarks.ablation [ROW ...]      writes benchmarks/results/ablation.csv, an hour on two cores

Every row is `dvc exp run --temp -n ablation-ROW-SEED -S ... train`: params.yaml with a training of half the
size (`SIZE`), the changes of `ROWS` and a train.seed. Its network is scored on the scenes of the accuracy
benchmarks: number of sources told, the found rate of the bare peaks and of `learned` in each of `CELLS` and
on average, and the normalized mean square error of R_pred; and the share of counts that the network alone
says right in `COUNTED`. Experiments that are there are kept: a run that was stopped goes on.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from benchmarks._cells import RESULTS, comparison, in_batches, scenes, write
from stages.artifacts import grid_setup
from stages.artifacts.network_file import Model, read_model
from stages.artifacts.params_file import read_params
from stages.artifacts.progress import Progress
from stages.covariance import blend, sample_covariance, sample_factor, true_covariance
from stages.estimators.contract import Estimate
from stages.inference.maps import MapSettings, fit_maps
from stages.metrics.agreement import agreement
from stages.networks.losses import covariance_loss
from stages.networks.trained import Prediction
from stages.params import Params
from stages.physics.observation import Observation
from stages.physics.steering import steering

N_SCENES, N_COUNTED = 400, 50
CELLS = ((2, 0.0), (3, 0.0), (3, 5.0), (5, 10.0))
COUNTED = tuple((k, snr_db) for k in range(6) for snr_db in (0.0, 10.0, 20.0))
SIZE = (
    "simulate.train.strata.0.n_scenes=4608",
    "simulate.train_constant.strata.0.n_scenes=1792",
    "train.epochs=6",
)
ROWS: dict[str, tuple[int, tuple[str, ...]]] = {
    "default": (5, ()),
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
"""Number of seeds (1, 2, ...) and changes of params.yaml of every row, beside those of `SIZE`."""


def experiment(row: str, seed: int) -> str:
    """Name of the DVC experiment of a row and seed; it is run unless it is there."""
    name = f"ablation-{row.replace(' ', '-')}-{seed}"
    known = _output("dvc", "exp", "list", "--name-only").split()
    if name not in known:
        changes = (*SIZE, *ROWS[row][1], f"train.seed={seed}")
        command = ["dvc", "exp", "run", "--temp", "--name", name]
        for change in changes:
            command += ["--set-param", change]
        subprocess.run([*command, "train"], check=True)
    return name


def _output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def model_of(name: str) -> Model:
    """The model of an experiment, from the DVC cache."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "covariance.pt"
        source = ("dvc", "get", ".", "data/models/covariance.pt", "--rev", name, "--out", str(path))
        subprocess.run(source, check=True, capture_output=True)
        return read_model(path)


def score(params: Params, model: Model) -> dict[str, float]:
    """The columns of ablation.csv that are measured."""
    found: dict[str, list[float]] = {"learned_peaks": [], "learned": []}
    errors = []
    for k, snr_db in CELLS:
        hits: dict[str, list[int]] = {name: [] for name in found}
        for batch in in_batches("known", "independent", k, snr_db, params.sources.range_m, N_SCENES):
            drawn = scenes(params, batch)
            observation, sources = drawn.observation, drawn.sources[:, :k]
            told = torch.full((observation.n_scenes,), k)
            prediction = predicted(model, observation)
            for name in found:
                (one,) = comparison(params, (name,)).estimators
                hits[name].extend(n_found(params, sources, one.estimate(observation, prediction, told)))
            waves = steering(
                sources, observation.elements, observation.wavelength, params.array.spherical_amplitude
            )
            sample = sample_covariance(sample_factor(observation, params.covariance.ls_ridge))
            alone = blend(prediction.covariance, sample, 0.0, params.covariance.diagonal_loading)
            truth = true_covariance(waves.to(torch.complex64), drawn.power[:, :k].float())
            errors.append(float(covariance_loss(alone, alone.squared_norms(), truth)))
        for name, counts in hits.items():
            found[name].append(float(np.mean(counts)) / k)
    cells = {
        f"{name}_k{k}_{snr_db:g}db": rate
        for name, rates in found.items()
        for (k, snr_db), rate in zip(CELLS, rates, strict=True)
    }
    means = {name: float(np.mean(rates)) for name, rates in found.items()}
    error = float(np.mean(errors))
    return {**means, "count_right": count_right(params, model), "covariance_error": error, **cells}


def count_right(params: Params, model: Model) -> float:
    """Share of right counts of the network alone, the noise power known."""
    right = []
    for k, snr_db in COUNTED:
        for batch in in_batches("estimated", "independent", k, snr_db, params.sources.range_m, N_COUNTED):
            said = predicted(model, scenes(params, batch).observation).count_log_probabilities.argmax(-1)
            right += (said == k).tolist()
    return float(np.mean(right))


def predicted(model: Model, observation: Observation) -> Prediction:
    """What a network says of scenes, from maps as it read them in training."""
    own = model.params
    settings = MapSettings(grid_setup.grid(own), own.normalize.map_iterations, own.array.spherical_amplitude)
    return model.trained.predict(*fit_maps(observation, settings), observation)


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
    wanted = [(row, seed) for row in chosen for seed in range(1, ROWS[row][0] + 1)]
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
