"""A result whose place the user names replaces a result alone, and its parts are its own alone."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from risolve.errors import MeasurementError, StateError
from risolve.files import hdf5, sources
from risolve.files.checkpoint import save_checkpoint
from risolve.files.located_sources import SCENE_VALUES, VALUES, LocatedSources
from risolve.files.model import is_tuned
from risolve.files.sources import write_sources
from risolve.running import target
from risolve.running.target import check_target, parts, parts_directory
from tests.messages import shows
from tests.tiny_run import environment

NOTHING = LocatedSources(
    estimator="ml",
    files=("a.h5",),
    file=np.zeros(0, np.int64),
    scene=np.zeros(0, np.int64),
    source=np.zeros(0, np.int64),
    values=np.zeros((0, len(VALUES))),
    scenes=np.zeros((0, 3), np.int64),
    scene_values=np.zeros((0, len(SCENE_VALUES))),
    left_out=(),
)
TUNING = {
    "files": ["a.h5"],
    "n_scenes": 100,
    "n_held_back": 20,
    "epochs": 1,
    "lr": 0.1,
    "seed": 1,
    "best_epoch": 1,
    "loss_before": 2.0,
    "loss_after": 1.0,
}
KINDS = {**sources.KINDS, ".pt": is_tuned}
ENDINGS = tuple(sources.KINDS)


def write_measurements(path: Path) -> None:
    hdf5.write(path, {"format": "risolve-measurements", "version": 1}, {})


OTHERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "measurements": (".h5", write_measurements),
    "HDF5 of another program": (".h5", lambda path: hdf5.write(path, {}, {"a": np.zeros(3)})),
    "damaged HDF5": (".h5", lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n" + b"0" * 50)),
    "a table of the user": (".csv", lambda path: path.write_text("my,notes\n", "utf-8")),
    "a table that begins alike": (".csv", lambda path: path.write_text("scene,source,mine\n", "utf-8")),
    "a document of the user": (".json", lambda path: path.write_text('{"format": "mine"}', "utf-8")),
    "no JSON at all": (".json", lambda path: path.write_bytes(b"\xff\xfe")),
    "a network that is not tuned": (".pt", lambda path: save_checkpoint(path, {"network": {}}, {})),
    "weights of another program": (".pt", lambda path: path.write_bytes(b"PK")),
    **{f"empty {ending}": (ending, lambda path: path.touch()) for ending in KINDS},
    "a directory": (".csv", lambda path: path.mkdir()),
    "a pipe": (".h5", lambda path: os.mkfifo(path)),
    "a link to nowhere": (".csv", lambda path: path.symlink_to("gone")),
    "a link to itself": (".csv", lambda path: path.symlink_to(path.name)),
    "a device": (".csv", lambda path: path.symlink_to("/dev/null")),
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_no_result_stays(tmp_path: Path, name: str) -> None:
    ending, make = OTHERS[name]
    path = tmp_path / f"mine{ending}"
    make(path)
    with pytest.raises(MeasurementError, match=shows(f"{path}: ... earlier result")):
        check_target(path, (), KINDS)


@pytest.mark.parametrize("ending", ENDINGS)
def test_an_earlier_result_is_replaced_by_itself_and_not_through_a_link(tmp_path: Path, ending: str) -> None:
    path, link = tmp_path / f"earlier{ending}", tmp_path / f"link{ending}"
    write_sources(path, NOTHING)
    link.symlink_to(path)
    check_target(path, (), KINDS)
    with pytest.raises(MeasurementError, match=shows(f"{link}: ... (a link)")):
        check_target(link, (), KINDS)
    with pytest.raises(MeasurementError, match=shows(f"{path}: ... measurements")):
        check_target(path, [path], KINDS)


def test_a_tuned_network_is_replaced(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "tuned.pt", {"network": {}, "tunings": [TUNING]}, {})
    check_target(tmp_path / "tuned.pt", (), KINDS)


def test_results_have_an_ending_that_says_the_format(tmp_path: Path) -> None:
    with pytest.raises(MeasurementError, match=shows("mine.txt: ... .csv, .json, .h5, ... got .txt")):
        check_target(tmp_path / "mine.txt", (), KINDS)


def test_a_run_removes_its_own_parts_alone(tmp_path: Path) -> None:
    result = tmp_path / "o.csv"
    kept = parts_directory(result)
    with pytest.raises(StateError), parts(result, "other", "*.h5") as other:
        (other / "1.h5").touch()
        raise StateError("stopped")
    (kept / "notes.txt").touch()
    with parts(result, "own", "*.h5") as own:
        (own / "1.h5").touch()
        (own / "notes.txt").touch()
    found = {str(path.relative_to(kept)) for path in kept.rglob("*")}
    assert found == {"notes.txt", "other", "other/1.h5", "own", "own/notes.txt"}


def test_parts_that_are_done_leave_nothing(tmp_path: Path) -> None:
    with parts(tmp_path / "o.csv", "own", "*.h5") as own:
        (own / "1.h5").touch()
    with pytest.raises(StateError), parts(tmp_path / "o.csv", "own", "*.h5"):
        raise StateError("before the first part")
    assert list(tmp_path.iterdir()) == []


def test_one_process_at_a_time_works_on_a_result(tmp_path: Path) -> None:
    """Whatever it works on: the second is told who is at work, and the first is not disturbed."""
    program = (
        "import sys\nfrom pathlib import Path\nfrom risolve.running.target import parts\n"
        "with parts(Path('o.csv'), 'another', '*.h5'): pass\n"
    )

    def second() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", program],
            cwd=tmp_path,
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
        )

    with parts(tmp_path / "o.csv", "own", "*.h5") as own:
        refused = second()
        assert refused.returncode != 0
        assert f"StateError: o.csv: process {os.getpid()} on " in refused.stderr.splitlines()[-1]
        assert own.is_dir()
    assert second().returncode == 0
    assert list(tmp_path.iterdir()) == []


def test_parts_of_others_are_not_taken_for_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result, elsewhere = tmp_path / "o.csv", tmp_path / "elsewhere"
    elsewhere.mkdir()
    parts_directory(result).symlink_to(elsewhere)
    with pytest.raises(StateError, match=r"\.o\.csv\.parts: .*a link"), parts(result, "own", "*.h5"):
        pass
    parts_directory(result).unlink()
    parts_directory(result).mkdir()
    owner = os.geteuid()
    monkeypatch.setattr(target.os, "geteuid", lambda: owner + 1)
    with pytest.raises(StateError, match=shows(f"user {owner}")), parts(result, "own", "*.h5"):
        pass
    assert list(elsewhere.iterdir()) == []


def test_ctrl_c_says_where_the_rest_is(tmp_path: Path) -> None:
    result = tmp_path / "o.csv"
    with pytest.raises(KeyboardInterrupt, match=r"\.o\.csv\.parts"), parts(result, "own", "*.h5") as work:
        (work / "0-1.h5").touch()
        raise KeyboardInterrupt
    (parts_directory(result) / "own" / "0-1.h5").unlink()
    with pytest.raises(KeyboardInterrupt, match="nothing"), parts(result, "own", "*.h5"):
        raise KeyboardInterrupt
    assert not parts_directory(result).exists()
