"""What a busy machine costs: commands alone, several at once, and beside other work.

    python -m benchmarks.neighbour    writes benchmarks/results/neighbour.csv, needs about 10 quiet minutes

Needs a working copy with its results (`make run`). Every command runs in a folder of its own: `localize` with
`ml` and with `learned` on scenes of two sources, and a training of one epoch. Rows of a command:

alone          it and nothing else
at once        several of it (`copies`) started together; seconds until the last one ends
beside busy    beside as many processes as there are cores, each of which computes without a pause

seconds is wall time, cpu_seconds that of one copy with its children; the ratios are over the row `alone`, all
of one run, one after the other and several times (`rounds`): medians.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from flows.worktree import read_parameters, write_parameters
from risolve.files.atomic import write_text

RESULTS = Path(__file__).parent / "results" / "neighbour.csv"
ROUNDS = 3
N_SCENES = 48
ROOT = Path.cwd()
LOCALIZE = (
    sys.executable,
    "-m",
    "risolve.cli",
    "localize",
    "measurements.h5",
    "--sources",
    "2",
    "--out",
    "o.csv",
)
MODEL = ("--model", str(ROOT / "data/calibration/learned.pt"))
COMMANDS = {
    "localize ml": (*LOCALIZE, "--estimator", "ml"),
    "localize learned": (*LOCALIZE, "--estimator", "learned", *MODEL),
    "train": (sys.executable, "-m", "stages.train"),
}
COPIES = {"localize ml": 3, "localize learned": 3, "train": 2}


def prepare(folder: Path) -> None:
    """What the commands read: scenes of two sources, and parameters of one epoch beside the training data."""
    for name in ("scenes", "covariances"):
        (folder / "data").mkdir(exist_ok=True)
        (folder / "data" / name).symlink_to(ROOT / "data" / name)
    (folder / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    values = read_parameters(folder)
    write_parameters(folder, values | {"train": values["train"] | {"epochs": 1}})
    with (
        h5py.File(ROOT / "data/scenes/test_independent/shard-0000.h5") as shard,
        h5py.File(folder / "measurements.h5", "w") as own,
    ):
        own.attrs.update(shard.attrs)
        scenes = np.flatnonzero(shard["truth/n_sources"][:] == 2)[:N_SCENES]
        for name in ("snapshots", "channel", "codes", "noise_power"):
            own[name] = shard[name][:][scenes]
        own["element_positions_m"] = shard["element_positions_m"][:]


def run(command: tuple[str, ...], copies: int, scratch: Path) -> tuple[float, float]:
    """Wall time until the last of some copies has ended, and the CPU time of one."""
    folders = [Path(tempfile.mkdtemp(dir=scratch)) for _ in range(copies)]
    for folder in folders:
        prepare(folder)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    started = time.monotonic()
    processes = [
        subprocess.Popen(
            command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        for folder in folders
    ]
    cpu_s = 0.0
    for process in processes:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            sys.exit(f"{' '.join(command)}: exit status {process.returncode}")
        cpu_s += usage.ru_utime + usage.ru_stime
    return time.monotonic() - started, cpu_s / copies


@contextmanager
def busy() -> Iterator[None]:
    """As many processes as there are cores compute until the block ends."""
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in os.sched_getaffinity(0)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def main() -> None:
    rows = []
    with tempfile.TemporaryDirectory() as directory:
        scratch = Path(directory)
        for name, command in COMMANDS.items():
            measured: dict[str, list[tuple[float, float]]] = {}
            for _ in range(ROUNDS):
                measured.setdefault("alone", []).append(run(command, 1, scratch))
                measured.setdefault("at once", []).append(run(command, COPIES[name], scratch))
                with busy():
                    measured.setdefault("beside busy", []).append(run(command, 1, scratch))
            alone_s, alone_cpu_s = (
                statistics.median(values) for values in zip(*measured["alone"], strict=True)
            )
            for way, values in measured.items():
                seconds, cpu_s = (statistics.median(own) for own in zip(*values, strict=True))
                rows.append(
                    {
                        "command": name,
                        "way": way,
                        "copies": COPIES[name] if way == "at once" else 1,
                        "rounds": ROUNDS,
                        "seconds": seconds,
                        "cpu_seconds": cpu_s,
                        "seconds_ratio": seconds / alone_s,
                        "cpu_ratio": cpu_s / alone_cpu_s,
                    }
                )
    table = pd.DataFrame(rows)
    write_text(RESULTS, table.to_csv(index=False, float_format="%.3g", lineterminator="\n"))
    print(table.to_string(index=False))


if __name__ == "__main__":
    main()
