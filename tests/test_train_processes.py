"""`train` in several processes: the same result every time, one error that ends all, a kill that costs an
epoch.
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import psutil
import pytest

from stages.params.model import TRAINING_SPLITS, VALIDATION_SPLITS
from tests.messages import shows
from tests.test_train import SMALL, make_split, results
from tests.tiny_run import environment, run_verb, write_params

TWO = {**SMALL, "train.processes": 2, "train.batch_size": 2}
SECONDS_TO_END = 60.0
"""Bound on what remains after a process is gone: torch needs some for its own errors, none waits for ever."""

LONG = 60
"""Epochs of a training that is still at work when it is ended."""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which two processes have trained; tests change copies of it."""
    root = tmp_path_factory.mktemp("trained")
    for split in (*TRAINING_SPLITS, *VALIDATION_SPLITS):
        make_split(root, split, **TWO)
    ended = run_verb(root, "train")
    assert ended.returncode == 0, ended.stderr
    return root


@pytest.fixture(scope="module")
def uninterrupted(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Results of two processes that trained for many epochs."""
    root = tmp_path_factory.mktemp("uninterrupted")
    shutil.copytree(trained, root, dirs_exist_ok=True)
    write_params(root, {**TWO, "train.epochs": LONG})
    ended = run_verb(root, "train")
    assert ended.returncode == 0, ended.stderr
    return results(root)


@pytest.fixture
def folder(trained: Path, tmp_path: Path) -> Path:
    """A folder of the test's own, in which two processes have trained."""
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    return tmp_path


def workers(launcher: int) -> list[psutil.Process]:
    """The processes that a launcher has started, in the order of their ranks."""
    children = [child for child in psutil.Process(launcher).children() if "stages.train" in child.cmdline()]
    return sorted(children, key=lambda child: int(child.environ()["RANK"]))


@pytest.fixture
def running(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A training of many epochs in its second epoch or a later one, by two processes."""
    write_params(folder, {**TWO, "train.epochs": LONG})
    with subprocess.Popen(
        [sys.executable, "-m", "stages.train"],
        cwd=folder,
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as launcher:
        deadline = time.monotonic() + 120.0
        while not list((folder / "state/train").glob("*/state.pt")):
            assert launcher.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        yield launcher
        launcher.kill()


def test_two_processes_train_on_all_scenes_and_write_one_model(trained: Path) -> None:
    history = pd.read_csv(trained / "data/models/history.csv")
    # 10 and 6 scenes in files of 5, a block each: five batches, as the two largest blocks of a process need
    assert history["step"].tolist() == [5, 10, 15]
    assert np.isfinite(history.to_numpy()).all()
    (path,) = (trained / "state/times/train").iterdir()
    timing = pd.read_csv(path)
    assert timing[["device", "processes", "epochs"]].to_numpy().tolist() == [["cpu", 2, 3]]
    assert [path.suffix for path in (trained / "state/train").iterdir()] == [".lock"]


def test_the_same_bytes_again_when_torchrun_is_called_by_hand(folder: Path) -> None:
    before = results(folder)
    shutil.rmtree(folder / "data/models")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    ended = subprocess.run(
        [*torchrun, "-m", "stages.train"],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert results(folder) == before


def test_what_one_process_cannot_read_ends_all_with_its_line(folder: Path) -> None:
    before = results(folder)
    with h5py.File(folder / "data/covariances/train/shard-0001.h5", "r+") as file:
        file["maps"][3] = np.nan
    started = time.monotonic()
    ended = run_verb(folder, "train")
    assert ended.returncode == 2 and time.monotonic() - started < SECONDS_TO_END
    said = [line for line in ended.stderr.splitlines() if not line.startswith("train: ")]
    assert len(said) == 1, ended.stderr
    assert re.match(shows("error: data/covariances/train/shard-0001.h5: maps: ... finite"), said[0])
    assert results(folder) == before


def test_a_divergence_ends_all(folder: Path) -> None:
    before = results(folder)
    write_params(folder, {**TWO, "train.lr": 1e30})
    started = time.monotonic()
    ended = run_verb(folder, "train")
    assert ended.returncode == 2 and time.monotonic() - started < SECONDS_TO_END
    said = [line for line in ended.stderr.splitlines() if not line.startswith("train: ")]
    assert 1 <= len(said) <= 2, ended.stderr
    assert all(re.match(shows("error: logits ... epoch 1, batch 1"), line) for line in said)
    assert results(folder) == before


def test_what_no_process_can_read_is_said_once(folder: Path) -> None:
    shutil.rmtree(folder / "data/covariances/validation")
    ended = run_verb(folder, "train")
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    law = "error: data/covariances/validation: ... shard-*.h5; ... `normalize --split validation`"
    assert re.match(shows(law), line)


def test_more_processes_than_blocks_are_refused(folder: Path) -> None:
    write_params(folder, {**TWO, "train.processes": 3})
    ended = run_verb(folder, "train")
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert re.match(shows("error: params.yaml: train.processes, train.block_scenes: ... 3 processes"), line)


@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_process_ends_all_and_the_next_run_repeats_the_uninterrupted_one(
    folder: Path, running: subprocess.Popen[str], uninterrupted: dict[str, bytes], rank: int
) -> None:
    own = workers(running.pid)
    assert len(own) == 2
    own[rank].send_signal(signal.SIGKILL)
    _, said = running.communicate(timeout=SECONDS_TO_END)
    assert running.returncode == 2, said
    lines = [line for line in said.splitlines() if not line.startswith("train: ")]
    assert len(lines) == 1, said
    assert re.match(shows(f"error: process {rank} of 2 ... SIGKILL"), lines[0])
    assert not any(process.is_running() for process in own)
    resumed = run_verb(folder, "train")
    assert resumed.returncode == 0, resumed.stderr
    assert f"of {5 * LONG} batches found" in resumed.stderr
    assert results(folder) == uninterrupted


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_processes_end_with_what_started_them(running: subprocess.Popen[str], how: signal.Signals) -> None:
    own = workers(running.pid)
    os.kill(running.pid, how)
    with contextlib.suppress(ProcessLookupError):
        time.sleep(0.2)
        os.kill(running.pid, how)
    _, said = running.communicate(timeout=SECONDS_TO_END)
    deadline = time.monotonic() + SECONDS_TO_END
    while any(process.is_running() for process in own) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(process.is_running() for process in own)
    if how != signal.SIGKILL:
        assert running.returncode == 130
        assert said.splitlines()[-1].startswith("stopped; ")
