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
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from benchmarks._cells import SEED, comparison, departed, write
from benchmarks.ablation import n_found
from stages import seeds
from stages.artifacts import setup
from stages.artifacts.atomic import write_text
from stages.artifacts.hdf5 import shard_name
from stages.artifacts.network_file import Model, read_model
from stages.artifacts.params_file import read_params
from stages.artifacts.shards import make_shards
from stages.artifacts.state import discard, work_directory, work_key
from stages.artifacts.tuning_setup import TuningOptions
from stages.cli import parser
from stages.covariance import blend, inner_product, sample_covariance, true_covariance
from stages.finetune import finetune, unlabelled
from stages.metrics.normalized import bootstrap_interval
from stages.networks.examples import Examples, joined_examples
from stages.networks.likelihood_loss import likelihood_loss
from stages.networks.trained import TrainedNetwork
from stages.params import Params
from stages.physics.scenario import Scenes, draw_installation, draw_scene, observe
from stages.physics.steering import steering

MODEL = Path("data/calibration/learned.pt")
N_TUNED, N_SCENES, N_BOOTSTRAP = 640, 100, 2000
CELLS = ((2, 0.0), (3, 5.0), (5, 10.0))
READ_OCCUPANCY, READ_COVARIANCE = ("learned_peaks", "learned"), ("music_blend", "mvdr_blend")
BATCH = 40
SYSTEMS: dict[str, dict[str, dict[str, Any]]] = {
    "that of the training": {},
    "jitter 0.05 wavelength and 15 % channel error, of every scene": {
        "impairments": {"position_jitter_m": 0.015, "channel_error": 0.15}
    },
    "jitter 0.07 wavelength, 20 % channel error and 20 deg phase error, of one installation": {
        "channel": {"per_scene": False},
        "impairments": {"position_jitter_m": 0.02, "channel_error": 0.2, "phase_error_deg": 20.0},
    },
    "power spread 15 dB": {"sources": {"power_spread_db": 15.0}},
}
"""Values in place of those of params.yaml, by the name of the system."""


def drawn(params: Params, stream: seeds.Stream, cells: list[tuple[int, float]]) -> Scenes:
    """One scene a cell (number of sources, SNR in dB)."""
    system, levels = setup.system(params), setup.impairment_levels(params)
    installation = None
    if not params.channel.per_scene:
        installation = draw_installation(seeds.generator(SEED, "installation"), system, levels)
    field = setup.source_distribution(params)
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
) -> dict[str, list[float]]:
    """Every quantity of some scenes, as one network says it."""
    observation, sources = scenes.observation.select(part), scenes.sources[part]
    told = scenes.n_sources[part].long()
    prediction = trained.predict(examples.maps, examples.estimated_snr, observation)
    own, received = prediction.covariance, examples.received
    assert received is not None
    waves = steering(
        sources.nan_to_num(nan=1.0),
        observation.elements,
        observation.wavelength,
        params.array.spherical_amplitude,
    )
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
        "likelihood loss": [float(likelihood_loss(own.select(row), received.select(row))) for row in rows],
        "covariance error": (missed / truth.squared_norm).tolist(),
        "count": (prediction.count_log_probabilities.argmax(-1) == told).double().tolist(),
    }
    for name in (*READ_OCCUPANCY, *READ_COVARIANCE):
        (one,) = comparison(params, (name,)).estimators
        found = one.estimate(observation, mixed if name in READ_COVARIANCE else prediction, told)
        values[name] = (np.array(n_found(params, sources, found)) / told.numpy()).tolist()
    return values


def quantities(params: Params, before: Model, after: Model) -> dict[str, tuple[list[float], list[float]]]:
    """Every quantity of every fresh scene, before and after."""
    scenes = drawn(params, "test_independent", [cell for cell in CELLS for _ in range(N_SCENES)])
    tuned = after.trained.of_covariance
    # a tuned model has occupancy, places and count of the original; here the tuned weights say them too
    throughout = before.trained if tuned is None else replace(before.trained, network=tuned)
    values: dict[str, tuple[list[float], list[float]]] = {}
    for part in torch.arange(len(scenes.n_sources)).split(BATCH):
        examples = unlabelled(scenes.observation.select(part), before)
        first, second = (
            of_part(params, scenes, part, examples, trained) for trained in (before.trained, throughout)
        )
        for name, value in first.items():
            pair = values.setdefault(name, ([], []))
            pair[0].extend(value)
            pair[1].extend(second[name])
    return values


def make(params: Params, options: TuningOptions, number: int, path: Path) -> None:
    """The rows of one system."""
    name = list(SYSTEMS)[number]
    own, before = departed(params, SYSTEMS[name]), read_model(MODEL)
    examples = tuned_on(own, before)
    after = finetune(
        before, examples, [Path("drawn.h5")], options, None, lambda line: None, lambda state: None
    )
    rows = []
    for quantity, pair in quantities(own, before, after).items():
        first, second = (np.array(values, dtype=np.float64) for values in pair)
        random = seeds.generator(SEED, "bootstrap", zlib.crc32(f"{name}/{quantity}".encode()))
        low, high = bootstrap_interval(second - first, np.mean, random, N_BOOTSTRAP)
        rows.append(
            {
                "system": name,
                "best_epoch": after.tunings[-1].best_epoch,
                "quantity": f"{quantity} (all tuned)" if quantity in (*READ_OCCUPANCY, "count") else quantity,
                "n_scenes": len(first),
                "before": float(first.mean()),
                "after": float(second.mean()),
                "difference": float((second - first).mean()),
                "difference_low": low,
                "difference_high": high,
            }
        )
    write_text(path, pd.DataFrame(rows).to_json(orient="records", double_precision=15))


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
    }
    run = functools.partial(make, params, options)
    with work_directory("finetune", work_key(sections, [MODEL])) as work:
        make_shards(run, len(SYSTEMS), work, params.evaluate.workers, 1, "finetune", "systems")
        files = [work / shard_name(number) for number in range(len(SYSTEMS))]
        table = pd.concat([pd.read_json(file, orient="records") for file in files], ignore_index=True)
        write("finetune", table)
        discard(work)
    print(table.to_string())


if __name__ == "__main__":
    main()
