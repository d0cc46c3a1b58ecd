"""A disk without room is one line, of whichever writer; the earlier file stands, and nothing half is left.

The limit of the size of a file (RLIMIT_FSIZE) stands for the end of the disk: what is beyond it is refused in
the same way. That every file goes through these writers is a rule of the architecture (`one_writer`).
"""

import contextlib
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import optuna
import pytest
import torch

from risolve.errors import StateError
from risolve.files import hdf5
from risolve.files.atomic import write_text
from risolve.files.checkpoint import save_checkpoint
from risolve.files.located_sources import SCENE_VALUES, VALUES
from risolve.files.sources import write_sources
from risolve.running.entry import run
from risolve.running.shards import make_shards
from risolve.running.work import held
from stages.params.change import replace_values
from stages.params.file import read_params
from stages.running.state import publish, work_directory
from stages.trials.study import mend_journal, open_study
from tests.architecture.source import ROOT
from tests.messages import shows
from tests.running.test_target import NOTHING
from tests.tiny_run import write_params

SOURCES = replace(
    NOTHING,
    **{name: np.zeros(100, np.int64) for name in ("file", "scene", "source")},
    values=np.ones((100, len(VALUES))),
    scenes=np.array([[0, 0, 100]]),
    scene_values=np.ones((1, len(SCENE_VALUES))),
)


@contextlib.contextmanager
def room_for(n_bytes: int) -> Iterator[None]:
    """No file grows beyond so many bytes until the block ends, but those that Python would cut: bytecode."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with pytest.MonkeyPatch.context() as without_bytecode:
        without_bytecode.setattr(sys, "dont_write_bytecode", True)
        without_bytecode.setenv("PYTHONDONTWRITEBYTECODE", "1")
        resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def tell_a_study(directory: Path) -> None:
    study = open_study(read_params(directory / "params.yaml").search, directory, "key", 0)
    for _ in range(100):
        study.add_trial(optuna.trial.create_trial(values=[0.5]))


WRITERS: dict[str, Callable[[Path], None]] = {
    "hdf5": lambda d: hdf5.write(d / "a.h5", {"format": "a"}, {"a": np.zeros(5000)}),
    "checkpoint": lambda d: save_checkpoint(d / "a.pt", {"weights": torch.zeros(5000)}, {}),
    "text": lambda d: write_text(d / "a.csv", "1,2\n" * 5000),
    "sources .csv": lambda d: write_sources(d / "a.csv", SOURCES),
    "sources .json": lambda d: write_sources(d / "a.json", SOURCES),
    "sources .h5": lambda d: write_sources(d / "a.h5", SOURCES),
    "params.yaml": lambda d: print(replace_values(d / "params.yaml", {"train.epochs": 3})),
    "journal": tell_a_study,
}


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    write_params(tmp_path)
    return tmp_path


@pytest.mark.parametrize("n_bytes", [0, 600])
@pytest.mark.parametrize("name", WRITERS)
def test_no_room_is_one_line_and_leaves_nothing_half(
    directory: Path, name: str, n_bytes: int, capsys: pytest.CaptureFixture[str]
) -> None:
    earlier = {path.name: path.read_bytes() for path in directory.iterdir()}
    with room_for(n_bytes), pytest.raises(SystemExit) as ended:
        run(lambda: WRITERS[name](directory))
    assert ended.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    assert "(File too large)" in lines[0]
    left = {path.name: path.read_bytes() for path in directory.iterdir()}
    journal = left.pop("journal.log", b"")
    assert left == earlier
    assert journal == b"" or journal.endswith(b"\n")
    WRITERS[name](directory)


def test_a_journal_goes_on_where_there_was_no_room(directory: Path) -> None:
    """What was told stays, what was not is told again, and no line between them is damaged."""
    search = read_params(directory / "params.yaml").search
    with room_for(3000), pytest.raises(StateError, match=shows("(File too large)")):
        tell_a_study(directory)
    n_told = len(open_study(search, directory, "key", 0).trials)
    assert 0 < n_told < 100
    tell_a_study(directory)
    assert mend_journal(directory) is None
    assert len(open_study(search, directory, "key", 0).trials) == n_told + 100


def test_a_lock_without_room_is_one_line(directory: Path) -> None:
    with (
        room_for(0),
        pytest.raises(StateError, match=shows("(File too large)")),
        held(directory / "lock", directory),
    ):
        pass


def test_a_copy_without_room_leaves_the_earlier_result_and_the_work(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared_memory = Path("/dev/shm")
    if not shared_memory.is_dir() or shared_memory.stat().st_dev == directory.stat().st_dev:
        pytest.skip("no second file system here")
    write_text(directory / "data" / "earlier", "1")
    with tempfile.TemporaryDirectory(dir=shared_memory) as elsewhere:
        monkeypatch.setenv("DVC_ROOT", elsewhere)
        with work_directory("verb", "key") as work:
            write_text(work / "finished", "1" * 1000)
            with room_for(600), pytest.raises(StateError, match=shows("(File too large)")):
                publish(work, directory / "data")
            assert [path.name for path in (directory / "data").iterdir()] == ["earlier"]
            publish(work, directory / "data")
    assert [path.name for path in (directory / "data").iterdir()] == ["finished"]
    assert sorted(path.name for path in directory.iterdir()) == ["data", "params.yaml"]


def fill(number: int, path: Path) -> None:
    if number == 3:
        resource.setrlimit(resource.RLIMIT_FSIZE, (600, resource.RLIM_INFINITY))
    hdf5.write(path, {}, {"a": np.full(5000, number)})


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_a_worker_without_room_says_so_and_finished_shards_stay(directory: Path, workers: int) -> None:
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    with room_for(limit), pytest.raises(StateError, match=shows("shard-0003.h5: ... (File too large)")):
        make_shards(fill, 4, directory, workers, 2, "fill", "shards")
    made = sorted(path.name for path in directory.glob("*.h5"))
    assert made == [f"shard-000{number}.h5" for number in range(3)]


@pytest.mark.parametrize("package", ["stages", "flows"])
@pytest.mark.parametrize(("free", "bytecode"), [(2**20, False), (2**40, True)])
def test_a_disk_that_is_nearly_full_gets_no_bytecode(package: str, free: int, bytecode: bool) -> None:
    """Python would leave it cut short there."""
    said = subprocess.run(
        [
            sys.executable,
            "-c",
            "import shutil, sys\n"
            f"shutil.disk_usage = lambda path: shutil._ntuple_diskusage(2**41, 0, {free})\n"
            f"import {package}\n"
            "print(not sys.dont_write_bytecode)",
        ],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert said == f"{bytecode}\n"
