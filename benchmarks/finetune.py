"""What `risolve finetune` is worth: measurements of a departed system before and after.

    python -m benchmarks.finetune      writes benchmarks/results/finetune.csv, minutes on two cores

Needs data/calibration/learned.pt of params.yaml in this working copy (`dvc repro calibrate`). For every
system of `SYSTEMS` the model is tuned on `N_TUNED` scenes whose truth is not read (1 to 5 sources, -5 to
20 dB) with the defaults of the command line, and scored on `N_SCENES` fresh scenes of each of `CELLS`, number
of sources told. One row a quantity: its mean before and after, and the difference scene by scene with its
interval of 95 %.

likelihood loss     of the snapshots under R_pred
covariance error    |R_pred - R|^2 / |R|^2 of the true R
music_blend, ...    found rate of estimators that read R_pred
... (all tuned)     found rate of estimators that read occupancy and places, and share of scenes whose count
                    the network says right, if these were said by the tuned weights too. They are not:
                    `risolve finetune` leaves them as they are, and the estimators find what they found.
"""

import functools
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import torch
from jaxtyping import Float

from benchmarks._cells import SEED, comparison, write
from benchmarks._kept import key_of
from benchmarks.ablation import n_found, padded
from risolve import seeds
from risolve.cli import parser
from risolve.covariance import blend, inner_product, sample_covariance, true_covariance
from risolve.files import hdf5
from risolve.files.model import Model, read_model
from risolve.finetune import finetune, unlabelled
from risolve.metrics.normalized import bootstrap_interval
from risolve.networks.examples import Examples, joined_examples
from risolve.networks.likelihood_loss import likelihood_loss
from risolve.networks.trained import TrainedNetwork
from risolve.physics.scenario import Scenes, draw_installation, draw_scene, observe
from risolve.tune import TuningOptions
from stages.evaluation import cells
from stages.evaluation.cells import SceneBatch
from stages.params import objects
from stages.params.file import read_params
from stages.params.model import Params

MODEL = Path("data/calibration/learned.pt")
N_TUNED, N_SCENES, N_BOOTSTRAP = 640, 100, 2000
CELLS = ((2, 0.0), (3, 5.0), (5, 10.0))
READ_OCCUPANCY, READ_COVARIANCE = ("learned_peaks", "learned"), ("music_blend", "mvdr_blend")
ESTIMATORS = (*READ_OCCUPANCY, *READ_COVARIANCE)
BATCH = 40
SYSTEMS: dict[str, dict[str, Any]] = {
    "that of the training": {},
    "jitter 0.05 wavelength and 15 % channel error, of every scene": {
        "impairments.position_jitter_m": 0.015,
        "impairments.channel_error": 0.15,
    },
    "jitter 0.07 wavelength, 20 % channel error and 20 deg phase error, of one installation": {
        "channel.per_scene": False,
        "impairments.position_jitter_m": 0.02,
        "impairments.channel_error": 0.2,
        "impairments.phase_error_deg": 20.0,
    },
    "power spread 15 dB": {"sources.power_spread_db": 15.0},
}
"""Values in place of those of params.yaml, by the name of the system."""


def drawn(params: Params, stream: seeds.Stream, cells: list[tuple[int, float]]) -> Scenes:
    """One scene a cell (number of sources, SNR in dB)."""
    system, levels = objects.system(params), objects.impairment_levels(params)
    installation = None
    if not params.channel.per_scene:
        installation = draw_installation(seeds.generator(SEED, "installation"), system, levels)
    field = objects.source_distribution(params)
    draws = [
        draw_scene(
            seeds.generator(SEED, stream, n), system, installation, field, "independent", k, snr_db, levels
        )
        for n, (k, snr_db) in enumerate(cells)
    ]
    return observe(draws, system, "independent", levels.amplitude_minimum, installation is not None)


def tuned_on(params: Params, model: Model) -> Examples:
    """What is tuned on: scenes of the distribution of the training, without their truth."""
    random = seeds.generator(SEED, "shuffle")
    most = params.sources.max_sources
    cells = [(int(random.integers(1, most + 1)), float(random.uniform(-5.0, 20.0))) for _ in range(N_TUNED)]
    observation = drawn(params, "train", cells).observation
    parts = torch.arange(N_TUNED).split(BATCH)
    return joined_examples([unlabelled(observation.select(part), model) for part in parts])


def of_part(
    params: Params, scenes: Scenes, part: torch.Tensor, examples: Examples, trained: TrainedNetwork
) -> dict[str, Float[np.ndarray, "scene ..."]]:
    """Every quantity of some scenes, as one network says it; of estimators the places."""
    observation, sources = scenes.observation.select(part), scenes.sources[part]
    told = scenes.n_sources[part].long()
    prediction = trained.predict(examples.maps, examples.estimated_snr, observation)
    own, seen = prediction.covariance, examples.observation
    assert seen is not None
    waves = observation.array.steering(sources.nan_to_num(nan=1.0))
    truth = true_covariance(waves.to(torch.complex64), scenes.power[part].nan_to_num(nan=0.0).float())
    missed = own.squared_norm - 2.0 * inner_product(own, truth) + truth.squared_norm
    rows = torch.arange(len(part)).split(1)
    mixed = blend(
        own,
        sample_covariance(examples.factor),
        trained.calibration.blend_beta,
        params.covariance.diagonal_loading,
    )
    values = {
        "likelihood loss": np.array(
            [float(likelihood_loss(own.select(row), seen.select(row), examples.shared[row])) for row in rows]
        ),
        "covariance error": (missed / truth.squared_norm).double().numpy(),
        "count": (prediction.count_log_probabilities.argmax(-1) == told).double().numpy(),
    }
    for name in ESTIMATORS:
        (one,) = comparison(params, (name,)).estimators
        found = one.estimate(observation, mixed if name in READ_COVARIANCE else prediction, told)
        values[name] = padded(found, params.sources.max_sources)
    return values


def scored_on(params: Params) -> Scenes:
    """The fresh scenes of a system."""
    return drawn(params, "test_independent", [cell for cell in CELLS for _ in range(N_SCENES)])


def quantities(params: Params, before: Model, after: Model) -> dict[str, Float[np.ndarray, "when scene ..."]]:
    """Every quantity of every fresh scene, before and after."""
    scenes = scored_on(params)
    tuned = after.trained.of_covariance
    # a tuned model has occupancy, places and count of the original; here the tuned weights say them too
    throughout = before.trained if tuned is None else replace(before.trained, network=tuned)
    parts: dict[str, list[Float[np.ndarray, "when scene ..."]]] = {}
    for part in torch.arange(len(scenes.n_sources)).split(BATCH):
        examples = unlabelled(scenes.observation.select(part), before)
        first, second = (
            of_part(params, scenes, part, examples, trained) for trained in (before.trained, throughout)
        )
        for name, value in first.items():
            parts.setdefault(name, []).append(np.stack((value, second[name])))
    return {name: np.concatenate(values, axis=1) for name, values in parts.items()}


def make(params: Params, options: TuningOptions, batch: SceneBatch[str], path: Path) -> None:
    """Every quantity of one system."""
    own, before = params.with_values(SYSTEMS[batch.cell]), read_model(MODEL)
    examples = tuned_on(own, before)
    after = finetune(
        before, examples, [Path("drawn.h5")], options, None, lambda line: None, lambda state: None
    )
    hdf5.write(path, {"best_epoch": after.tunings[-1].best_epoch}, quantities(own, before, after))


def rows_of(params: Params, name: str, path: Path) -> Iterator[dict[str, Any]]:
    """The rows of one system."""
    scenes = scored_on(params.with_values(SYSTEMS[name]))
    with h5py.File(path) as file:
        best_epoch = int(file.attrs["best_epoch"])
        values = {quantity: file[quantity][()] for quantity in file}
    for quantity in ("likelihood loss", "covariance error", "count", *ESTIMATORS):
        first, second = values[quantity]
        if quantity in ESTIMATORS:
            first, second = (
                np.array(n_found(params, scenes.sources, places)) / scenes.n_sources.numpy()
                for places in (first, second)
            )
        random = seeds.generator(SEED, "bootstrap", zlib.crc32(f"{name}/{quantity}".encode()))
        low, high = bootstrap_interval(second - first, np.mean, random, N_BOOTSTRAP)
        yield {
            "system": name,
            "best_epoch": best_epoch,
            "quantity": f"{quantity} (all tuned)" if quantity in (*READ_OCCUPANCY, "count") else quantity,
            "n_scenes": len(first),
            "before": float(first.mean()),
            "after": float(second.mean()),
            "difference": float((second - first).mean()),
            "difference_low": low,
            "difference_high": high,
        }


def documented(table: pd.DataFrame) -> list[str]:
    """What a tuning changes in each system, as lines of Markdown."""
    lines = [
        "| system | error of R_pred, before and after | found rate of `music_blend` | of `mvdr_blend` |",
        "|---|---|---|---|",
    ]
    for system, own in table.groupby("system", sort=False):
        rows = own.set_index("quantity")
        error = rows.loc["covariance error"]
        gained = [
            f"{row['difference']:+.3f} ({row['difference_low']:.3f} to {row['difference_high']:.3f})"
            for row in (rows.loc["music_blend"], rows.loc["mvdr_blend"])
        ]
        lines.append(f"| {system} | {error['before']:.2f}, {error['after']:.2f} | {' | '.join(gained)} |")
    return lines


def main() -> None:
    torch.set_num_threads(1)
    params = read_params()
    arguments = parser().parse_args(["finetune", "drawn.h5", "--model", str(MODEL), "--out", "tuned.pt"])
    options = TuningOptions(MODEL, arguments.epochs, arguments.lr, arguments.held_back, arguments.seed)
    sections = {
        **params.model_dump(mode="json"),
        "systems": SYSTEMS,
        "cells": CELLS,
        "n": (N_TUNED, N_SCENES),
        "options": (arguments.epochs, arguments.lr, arguments.held_back, arguments.seed),
    }
    functions = (make, quantities, of_part, tuned_on, drawn, finetune, unlabelled)
    run = functools.partial(make, params, options)
    key = key_of(sections, functions, [MODEL])
    n_scenes = len(CELLS) * N_SCENES
    batches = cells.plan([(name, range(n_scenes)) for name in SYSTEMS], n_scenes)
    with cells.made("finetune", key, run, batches, params.evaluate.workers) as (_, done):
        table = pd.DataFrame(row for batch, path in done for row in rows_of(params, batch.cell, path))
    write("finetune", table)
    print(table.to_string())


if __name__ == "__main__":
    main()
