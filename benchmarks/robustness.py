"""How much the learned estimator and `ml` lose where the system is not the one that they know.

    python -m benchmarks.robustness      writes benchmarks/results/robustness.csv, 45 minutes on two cores

Needs data/calibration/learned.pt of params.yaml in this working copy (`dvc repro calibrate`). One row a cell,
departure and estimator, number of sources told: found rate on 2,000 scenes; its fall from the scenes without
departure, which have the same sources; how much less that is than the fall of `ml`, scene by scene, with the
interval of 95 %; and the CPU time of a scene (one thread, map and network included), side by side. Of three
sources, without departure and with 1-bit codes, the genies as well, which start from the truth, from what
both estimators found and from 20 random places, with the time that they take beyond that of these.
"""

import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float

from benchmarks._cells import SEED, Cell, comparison, finished, named, plan, scenes, scored, write
from benchmarks.learned import MODEL, predicted
from risolve import seeds
from risolve.files.estimates import read_estimates, write_estimates
from risolve.metrics.normalized import bootstrap_interval
from stages.evaluation.cells import Done, SceneBatch
from stages.params.file import read_params
from stages.params.model import Params

N_SCENES, N_BOOTSTRAP = 2000, 2000
CELLS = ((2, 5.0), (3, 5.0))
ESTIMATORS = ("learned", "ml")
NOMINAL = "none"
WITH_GENIE, N_SOURCES_GENIE, N_STARTS = (NOMINAL, "1-bit codes"), 3, 20


def departures(params: Params) -> dict[str, dict[str, Any]]:
    """Values in place of those of params.yaml, by the name of the departure.

    The first four lie within `simulate.augmentation`, the last three beyond it.
    """
    wavelength = params.array.wavelength_m
    return {
        NOMINAL: {},
        "1-bit codes": {"codebook.phase_bits": 1},
        "position jitter 0.05 wavelength": {"impairments.position_jitter_m": 0.05 * wavelength},
        "5 % dead elements": {"impairments.dead_fraction": 0.05},
        "10 % channel error": {"impairments.channel_error": 0.1},
        "position jitter 0.1 wavelength": {"impairments.position_jitter_m": 0.1 * wavelength},
        "20 % dead elements": {"impairments.dead_fraction": 0.2},
        "30 % channel error": {"impairments.channel_error": 0.3},
    }


def make(params: Params, batch: SceneBatch[Cell], path: Path) -> None:
    """Estimates of one batch under every departure, each in a file of its own beside the last."""
    cell, every = batch.cell, departures(params)
    for departure in (*(name for name in every if name != NOMINAL), NOMINAL):
        drawn = scenes(params.with_values(every[departure]), cell, batch.scenes)
        truth = drawn.sources[:, : cell.n_sources]
        asked = departure in WITH_GENIE and cell.n_sources == N_SOURCES_GENIE
        own = replace(comparison(params, ESTIMATORS), genie_starts=N_STARTS if asked else 0)
        random = torch.Generator().manual_seed(seeds.integer_seed(SEED, "genie", batch.number))
        made = {"known": predicted(params, drawn.observation)}
        results = own.run(drawn.observation, truth, made, random)
        write_estimates(_file(path, departure), results)


def _file(path: Path, departure: str) -> Path:
    """File of a departure beside that of the scenes without one, which is written last and stands for all."""
    return path if departure == NOMINAL else path.with_stem(f"{path.stem}-{departure.replace(' ', '-')}")


def table(params: Params, done: Done[Cell]) -> pd.DataFrame:
    """robustness.csv."""
    rates: dict[tuple[str, int, float, str], Float[np.ndarray, " scene"]] = {}
    seconds: dict[tuple[str, int, float, str], list[float]] = {}
    for departure, changes in departures(params).items():
        files = [(batch, _file(path, departure)) for batch, path in done]
        own = named(scored(params.with_values(changes), files).sources)
        hits = own.groupby(["n_sources", "snr_db", "estimator", "scene"])["found"].mean()
        for (k, snr_db, name), values in hits.groupby(level=[0, 1, 2]):
            rates[departure, k, snr_db, name] = values.to_numpy(dtype=np.float64)
        for batch, path in files:
            for method, estimates in read_estimates(path).items():
                key = (departure, batch.cell.n_sources, batch.cell.snr_db, method.name)
                seconds.setdefault(key, []).append(estimates.cpu_seconds / len(batch.scenes))
    rows = []
    for (departure, k, snr_db, name), found in rates.items():
        fall = rates[NOMINAL, k, snr_db, name] - found
        spared = rates[NOMINAL, k, snr_db, "ml"] - rates[departure, k, snr_db, "ml"] - fall
        random = seeds.generator(SEED, "bootstrap", zlib.crc32(f"{departure}/{k}/{snr_db}/{name}".encode()))
        low, high = bootstrap_interval(spared, np.mean, random, N_BOOTSTRAP)
        rows.append(
            {
                "n_sources": k,
                "snr_db": snr_db,
                "departure": departure,
                "estimator": name,
                "n_scenes": len(found),
                "found_rate": float(found.mean()),
                "fall": float(fall.mean()),
                "less_than_ml": float(spared.mean()),
                "less_than_ml_low": low,
                "less_than_ml_high": high,
                "cpu_ms": 1e3 * float(np.median(seconds[departure, k, snr_db, name])),
            }
        )
    # rounding leaves 0 and -0, which are equal and read differently
    result = pd.DataFrame(rows).round(9).replace(0.0, 0.0)
    return result.sort_values(["n_sources", "snr_db"], kind="stable")


def documented(table: pd.DataFrame) -> list[str]:
    """Found rates of `learned` and `ml`, and the difference of their falls, as lines of Markdown."""
    rows = table.set_index(["n_sources", "departure", "estimator"])
    columns = [f"K={k}, {snr_db:.0f} dB" for k, snr_db in CELLS]
    head = "".join(f" {name}: `learned`, `ml` | fall of `ml` less that of `learned` |" for name in columns)
    lines = [f"| departure |{head}", "|---|" + "---|---|" * len(CELLS)]
    for departure in table["departure"].unique():
        cells = []
        for k, _ in CELLS:
            own, other = (rows.loc[(k, departure, name)] for name in ESTIMATORS)
            spared = (
                f"{own['less_than_ml']:+.3f} "
                f"({own['less_than_ml_low']:+.3f} to {own['less_than_ml_high']:+.3f})"
            )
            cells.append(f"{own['found_rate']:.3f}, {other['found_rate']:.3f}")
            cells.append("" if departure == NOMINAL else spared)
        lines.append(f"| {departure} | {' | '.join(cells)} |")
    return lines


def main() -> None:
    torch.set_num_threads(1)
    params = read_params()
    every = params.sources.range_m
    batches = plan((Cell("known", "independent", k, snr_db, every), N_SCENES) for k, snr_db in CELLS)
    settings = {"departures": departures(params), "estimators": ESTIMATORS, "genie": (WITH_GENIE, N_STARTS)}
    with finished("robustness", params, batches, make, settings, (predicted,), (MODEL,)) as done:
        result = table(params, done)
        write("robustness", result)
    print("\n".join(documented(result)))


if __name__ == "__main__":
    main()
