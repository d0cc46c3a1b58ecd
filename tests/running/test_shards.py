"""Shards made by worker processes: their errors arrive, and what was finished stays."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from risolve.errors import MeasurementError, StateError
from risolve.files.hdf5 import shard_name
from risolve.running.shards import make_shards, spawning


def touch(number: int, path: Path) -> None:
    path.write_text(f"{number} {torch.get_num_threads()}", "utf-8")


def refuse_the_third(number: int, path: Path) -> None:
    if number == 2:
        raise MeasurementError(f"{path}: law, numbers")
    touch(number, path)


def die_in_the_third(number: int, path: Path) -> None:
    if number == 2:
        os._exit(9)
    touch(number, path)


def test_only_missing_shards_are_made_on_one_thread(tmp_path: Path) -> None:
    (tmp_path / shard_name(1)).write_text("earlier", "utf-8")
    threads = torch.get_num_threads()
    make_shards(touch, 3, tmp_path, workers=4, least=2, label="make", unit="shards")
    assert [(tmp_path / shard_name(n)).read_text("utf-8") for n in range(3)] == ["0 1", "earlier", "2 1"]
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_arrives_as_it_was_raised(tmp_path: Path, workers: int) -> None:
    with pytest.raises(MeasurementError, match=r"shard-0002\.h5: law, numbers"):
        make_shards(refuse_the_third, 4, tmp_path, workers, least=2, label="make", unit="shards")
    assert not (tmp_path / shard_name(2)).exists()


def test_a_dead_worker_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="worker"):
        make_shards(die_in_the_third, 4, tmp_path, 2, least=2, label="make", unit="shards")


def test_threads_that_wait_sleep_in_whatever_imports_the_package() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    code = "import risolve.running.shards"
    shown = subprocess.run(
        [sys.executable, "-c", code],
        env={**environment, "OMP_DISPLAY_ENV": "true"},
        capture_output=True,
        text=True,
        check=True,
    ).stderr
    assert "OMP_WAIT_POLICY = 'PASSIVE'" in shown, shown


@pytest.mark.parametrize("name", ["pickle.py", "multiprocessing.py", "os.py", "torch.py"])
def test_no_code_of_the_current_folder_runs_in_a_process(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONSAFEPATH", "")  # to be as before when the test ends
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_text("open('ran', 'w')")
    process = spawning().Process(target=int)
    process.start()
    process.join()
    assert process.exitcode == 0
    assert not (tmp_path / "ran").exists()
