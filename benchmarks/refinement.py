"""Efficiency of the maximum-likelihood refinement started at the truth, and its CPU time.

    python -m benchmarks.refinement        writes benchmarks/results/refinement.csv

Scenes of params.yaml (its system and source ranges) with K = 1, 2, 3 sources at 20 dB, both source models.
The normalized RMSE is sqrt(mean((error / sigma)^2)), each error over the bound of its own scene, range as
1/r: 1 attains the Cramer-Rao bound.
"""

import csv
import time
from pathlib import Path
from typing import get_args

import torch

from risolve import seeds
from risolve.bounds.cramer_rao import conditional_bound, constant_bound
from risolve.inference.likelihood import refine
from risolve.physics.observation import SourceModel
from risolve.physics.scenario import Scenes, draw_scene, observe
from stages.params import objects
from stages.params.file import read_params
from stages.params.model import Params

RESULTS = Path(__file__).parent / "results" / "refinement.csv"
N_SCENES, SNR_DB, SEED, ITERATIONS = 500, 20.0, 20261124, 40
PARAMETERS = ("azimuth", "elevation", "inverse_range")


def scenes(params: Params, source_model: SourceModel, n_sources: int) -> Scenes:
    """Scenes of one number of sources at 20 dB."""
    system, levels = objects.system(params), objects.impairment_levels(params)
    distribution = objects.source_distribution(params)
    first = n_sources * N_SCENES
    draws = [
        draw_scene(
            seeds.generator(SEED, "test_independent", first + scene),
            system,
            None,
            distribution,
            source_model,
            n_sources,
            SNR_DB,
            levels,
        )
        for scene in range(N_SCENES)
    ]
    return observe(draws, system, source_model, levels.amplitude_minimum, shared_channel=False)


def measure(params: Params, source_model: SourceModel, n_sources: int) -> dict[str, str | int | float]:
    """One row of the table."""
    batch = scenes(params, source_model, n_sources)
    truth = batch.sources[:, :n_sources]
    noise_power = batch.observation.noise_power
    assert noise_power is not None
    amplitudes = batch.amplitudes[..., :n_sources].to(torch.complex128)
    if source_model == "independent":
        bound = conditional_bound(batch.observation, truth, amplitudes, noise_power)
    else:
        bound = constant_bound(batch.observation, truth, amplitudes[:, 0], noise_power)
    started = time.process_time()
    refined = refine(batch.observation, truth, ITERATIONS)
    milliseconds = 1e3 * (time.process_time() - started) / N_SCENES
    ratio = ((refined.sources - truth) / bound.standard_deviations()).square().mean((0, 1)).sqrt()
    return {
        "source_model": source_model,
        "n_sources": n_sources,
        "snr_db": SNR_DB,
        "n_scenes": N_SCENES,
        **{f"rmse_over_bound_{name}": round(float(r), 4) for name, r in zip(PARAMETERS, ratio, strict=True)},
        "cpu_ms_per_scene": round(milliseconds, 3),
    }


def main() -> None:
    torch.set_num_threads(1)
    params = read_params()
    rows = [measure(params, model, k) for model in get_args(SourceModel) for k in (1, 2, 3)]
    with RESULTS.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    for row in rows:
        print("  ".join(f"{name}={value}" for name, value in row.items()))


if __name__ == "__main__":
    main()
