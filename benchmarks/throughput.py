"""CPU time and disk space a scene of simulate and of normalize, on one thread.

`python -m benchmarks.throughput` prints the table and writes benchmarks/results/throughput.csv. Files count:
scenes are written and read back, factors and maps written. Each figure is the least of several rounds of one
shard, because other work on the machine only adds to it; the median shows how much.
"""

import csv
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch

from risolve.covariance import sample_factor
from risolve.files.covariances import write_covariances
from risolve.files.measurements import read_observation, write_scenes
from stages.normalize import normalize
from stages.params.file import read_params
from stages.simulate import simulate

RESULTS = Path(__file__).parent / "results" / "throughput.csv"
ROUNDS = 8

Result = TypeVar("Result")


def measure(directory: Path) -> list[dict[str, str | int | float]]:
    """One row a step: microseconds of CPU a scene (least and median of the rounds) and bytes a scene."""
    params = read_params()
    n_scenes = params.simulate.scenes_per_shard
    seconds: dict[str, list[float]] = {}
    scene_file, covariance_file = directory / "scenes.h5", directory / "covariances.h5"

    def timed(step: str, work: Callable[..., Result], *arguments: Any) -> Result:
        start = time.process_time()
        result = work(*arguments)
        seconds.setdefault(step, []).append(time.process_time() - start)
        return result

    observation = simulate(params, "train", range(n_scenes)).observation
    for number in range(ROUNDS):
        shard = range(number * n_scenes, (number + 1) * n_scenes)
        scenes = timed("simulate", simulate, params, "train", shard)
        timed("write scenes", write_scenes, scene_file, scenes)
        observation = timed("read scenes", read_observation, scene_file)
        timed("least-squares factor", sample_factor, observation, params.covariance.ls_ridge)
    totals = [sum(rounds) for rounds in zip(*seconds.values(), strict=True)]
    covariances = timed("normalize, with factor and maps", normalize, observation, params)
    timed("write factor and maps", write_covariances, covariance_file, covariances)
    sizes = {"write scenes": scene_file, "write factor and maps": covariance_file}
    rows = []
    for step, values in [*seconds.items(), ("simulate to factor, scenes written and read", totals)]:
        size = str(round(sizes[step].stat().st_size / n_scenes)) if step in sizes else ""
        rows.append(
            {
                "step": step,
                "cpu_us_per_scene": round(min(values) / n_scenes * 1e6, 1),
                "median_cpu_us_per_scene": round(statistics.median(values) / n_scenes * 1e6, 1),
                "scenes_per_cpu_second": round(n_scenes / min(values)),
                "bytes_per_scene": size,
                "n_scenes": n_scenes,
                "rounds": len(values),
            }
        )
    disk = (scene_file.stat().st_size + covariance_file.stat().st_size) / n_scenes
    label = "scenes, factor and maps on disk"
    rows.append({"step": label, "bytes_per_scene": round(disk), "n_scenes": n_scenes})
    return rows


def main() -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as directory:
        rows = measure(Path(directory))
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    with RESULTS.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), restval="")
        writer.writeheader()
        writer.writerows(rows)
    for row in rows:
        sys.stdout.write("  ".join(f"{value}" for value in row.values()) + "\n")


if __name__ == "__main__":
    main()
