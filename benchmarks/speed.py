"""CPU time a scene of every estimator, on one thread.

    python -m benchmarks.speed        writes benchmarks/results/speed.csv and speed.json, needs 15 minutes

`independent` scenes of params.yaml at 10 dB (K = 2 also at 0 dB; what reads no covariance also on `constant`
ones), the number of sources told: milliseconds of CPU by batch size, the median of several repetitions and
the least, which other work on the machine disturbs less. Steps:

all         from the snapshots, or from the covariance that it reads, to the estimate
refined     `all` followed by `refined` (`+ml`), of estimators that do not refine
responses   (estimator `grid`) responses of the grid, which nomp, sbl, ml and the fitted R start with
fit         (estimator `grid`) the sparse covariance fit, which R_fit is made of

speed.json: machine, versions, and the measured laws: exponents b of cost ~ scenes^b (batches of 64 to 1024)
and cost ~ K^b (K = 1 to 5, batches of 16), and the most memory that 10,000 scenes in batches of 64 need.
"""

import json
import os
import platform
import resource
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import torch

from benchmarks._cells import LIKELIHOOD, Cell, scenes
from benchmarks.accuracy import SPECTRAL
from risolve.covariance import sample_covariance, sample_factor
from risolve.estimators.contract import Covariance, Estimate, Estimator
from risolve.estimators.fitted import fitted_covariance
from risolve.estimators.refined import refined
from risolve.estimators.registry import estimator
from risolve.files import model_grid
from risolve.files.atomic import write_text
from risolve.inference.detection import detectors
from risolve.inference.sparse_powers import sparse_powers
from risolve.physics.observation import Observation, SourceModel
from risolve.running.progress import Progress
from stages.params import estimators as estimator_setup
from stages.params.file import read_params
from stages.params.model import Params

RESULTS = Path(__file__).parent / "results"
REPETITIONS = {1: 9, 16: 3, 64: 1, 256: 1}
"""Batch size -> repetitions, each on scenes of its own."""

MANY_SCENES = (64, 1024)
MEMORY_SCENES, MEMORY_BATCH = 10_000, 64


@dataclass(frozen=True)
class Bench:
    """What an estimator is timed with."""

    params: Params

    def estimator(self, name: str) -> Estimator:
        return estimator(name, model_grid.grid(self.params), estimator_setup.settings(self.params))

    def observation(self, model: SourceModel, k: int, snr_db: float, first: int, n: int) -> Observation:
        cell = Cell("known", model, k, snr_db, self.params.sources.range_m)
        return scenes(self.params, cell, range(first, first + n)).observation

    def covariance(self, one: Estimator, observation: Observation, k: int) -> Covariance | None:
        if one.covariance_kind is None:
            return None
        if one.covariance_kind == "sample":
            return sample_covariance(sample_factor(observation, self.params.covariance.ls_ridge))
        settings = estimator_setup.settings(self.params)
        told = torch.full((observation.n_scenes,), k)
        return fitted_covariance(observation, told, model_grid.grid(self.params), settings)

    def refined(self, observation: Observation, own: Estimate) -> Estimate:
        settings, grid = estimator_setup.settings(self.params), model_grid.grid(self.params)
        return refined(observation, own, grid, settings.n_iterations)

    def milliseconds(self, name: str, observation: Observation, k: int) -> dict[str, float]:
        """Step -> CPU milliseconds a scene; making a covariance is no step of an estimator."""
        n_scenes = observation.n_scenes
        grid, settings = model_grid.grid(self.params), estimator_setup.settings(self.params)
        if name == "grid":
            pieces = list(detectors(observation, grid))
            started = time.process_time()
            for _ in detectors(observation, grid):
                pass
            responded = time.process_time()
            for _, detector in pieces:
                sparse_powers(detector, torch.full((detector.n_scenes,), k), settings.fit_iterations)
            fitted = time.process_time()
            seconds = {"responses": responded - started, "fit": fitted - responded}
        else:
            one = self.estimator(name)
            covariance = self.covariance(one, observation, k)
            told = torch.full((n_scenes,), k)
            started = time.process_time()
            own = one.estimate(observation, covariance, told)
            seconds = {"all": time.process_time() - started}
            if own.converged is None:
                self.refined(observation, own)
                seconds["refined"] = time.process_time() - started
        return {step: 1e3 * value / n_scenes for step, value in seconds.items()}


def cases() -> Iterator[tuple[SourceModel, int, float, int, str]]:
    """(source model, K, SNR, batch size, estimator)."""
    names = ("grid", *LIKELIHOOD, *SPECTRAL)
    for size in REPETITIONS:
        for k in (1, 2, 3, 5):
            for name in names:
                # What more than 64 scenes at once save shows at K = 2.
                if size <= 64 or k == 2:
                    yield "independent", k, 10.0, size, name
    for name in names:
        yield "independent", 2, 0.0, 16, name
    for name in ("grid", *LIKELIHOOD):
        yield "constant", 2, 10.0, 16, name


def table(bench: Bench) -> pd.DataFrame:
    """speed.csv."""
    todo = list(cases())
    progress = Progress("speed", len(todo), "cases")
    rows = []
    bench.milliseconds("ml", bench.observation("independent", 2, 10.0, 0, 2), 2)
    for model, k, snr_db, size, name in todo:
        measured: dict[str, list[float]] = {}
        for repetition in range(REPETITIONS[size]):
            observation = bench.observation(model, k, snr_db, repetition * size, size)
            for step, value in bench.milliseconds(name, observation, k).items():
                measured.setdefault(step, []).append(value)
        for step, values in measured.items():
            rows.append(
                {
                    "source_model": model,
                    "n_sources": k,
                    "snr_db": snr_db,
                    "batch_size": size,
                    "estimator": name,
                    "step": step,
                    "cpu_ms_per_scene": round(statistics.median(values), 3),
                    "least_cpu_ms_per_scene": round(min(values), 3),
                    "repetitions": len(values),
                }
            )
        progress.advance(note=f"{name} K={k} batch {size}")
    return pd.DataFrame(rows)


def exponent(sizes: tuple[int, ...], costs: list[float]) -> float:
    """b of cost ~ size^b, by least squares of the logarithms."""
    slope, _ = np.polyfit(np.log(sizes), np.log(costs), 1)
    return round(float(slope), 3)


def scene_exponents(bench: Bench) -> dict[str, float]:
    """Estimator -> exponent of the cost of a batch by its scenes, K = 2, 10 dB."""
    result = {}
    for name in ("nomp", "sbl", "mvdr", "music"):
        costs = []
        for n in MANY_SCENES:
            observation = bench.observation("independent", 2, 10.0, 0, n)
            costs.append(bench.milliseconds(name, observation, 2)["all"] * n)
        result[name] = exponent(MANY_SCENES, costs)
    return result


def source_exponents(rows: pd.DataFrame) -> dict[str, float]:
    """Estimator -> exponent of the cost of a scene by its sources."""
    own = rows[(rows["source_model"] == "independent") & (rows["step"] == "all")]
    own = own[(own["snr_db"] == 10.0) & (own["batch_size"] == 16)]
    return {
        str(name): exponent(tuple(part["n_sources"]), part["cpu_ms_per_scene"].to_list())
        for name, part in own.groupby("estimator", sort=False)
    }


def peak_memory(bench: Bench, name: str) -> int:
    """Rise of the peak resident memory (MiB) by an estimator on many K = 1 scenes, one batch at a time."""
    observation = bench.observation("independent", 1, 10.0, 0, MEMORY_BATCH)
    before = psutil.Process().memory_info().rss
    for _ in range(0, MEMORY_SCENES, MEMORY_BATCH):
        bench.milliseconds(name, observation, 1)
    return round((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before) / 2**20)


def documented(rows: pd.DataFrame) -> list[str]:
    """CPU time by estimator and K, as lines of Markdown."""
    own = rows[(rows["batch_size"] == 16) & (rows["source_model"] == "independent")]
    own = own[own["snr_db"] == 10.0].pivot_table("cpu_ms_per_scene", ["estimator", "step"], "n_sources")
    counts = list(own.columns)
    lines = [f"| ms a scene | {' | '.join(f'K = {k}' for k in counts)} |", "|---|" + "---|" * len(counts)]
    for name in (*LIKELIHOOD, *SPECTRAL):
        alone = own.loc[(name, "all")]
        cells = [f"{value:.1f}" for value in alone]
        if (name, "refined") in own.index:
            both = zip(alone, own.loc[(name, "refined")], strict=True)
            cells = [f"{value:.1f} (`+ml` {more:.1f})" for value, more in both]
        lines.append(f"| `{name}` | {' | '.join(cells)} |")
    return lines


def machine() -> dict[str, str | int]:
    """What the figures belong to."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "torch_threads": torch.get_num_threads(),
    }


def _processor() -> str:
    """Model name where the system tells it."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def main() -> None:
    torch.set_num_threads(1)
    bench = Bench(read_params())
    memory = {name: peak_memory(bench, name) for name in ("nomp",)}
    rows = table(bench)
    write_text(RESULTS / "speed.csv", rows.to_csv(index=False, lineterminator="\n"))
    laws = {
        "machine": machine(),
        "exponent_of_scenes": scene_exponents(bench),
        "exponent_of_sources": source_exponents(rows),
        "peak_memory_mib_10000_scenes": memory,
    }
    text = json.dumps(laws, indent=2) + "\n"
    write_text(RESULTS / "speed.json", text)
    print("\n".join(documented(rows)))
    print(text)


if __name__ == "__main__":
    main()
