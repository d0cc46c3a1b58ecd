"""Resumable work: named by what determines it, held by one process, whole when it is published."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from risolve.errors import StateError
from risolve.files.atomic import write_text
from risolve.running.work import held, work_key
from stages.running.state import discard, publish, work_directory
from tests.messages import shows
from tests.tiny_run import environment


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)


def test_dvc_root_holds_the_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "repository"))
    with work_directory("verb", "key") as work:
        assert work == tmp_path / "repository" / "state" / "verb" / "key"
        assert work.is_dir()


def test_finished_work_is_still_there_and_unfinished_is_not() -> None:
    with work_directory("verb", "key") as work:
        write_text(work / "finished", "1")
        (work / f".risolve-{'0' * 32}.part").write_text("half", "utf-8")
    with work_directory("verb", "key") as work:
        assert [path.name for path in work.iterdir()] == ["finished"]
    with work_directory("verb", "other") as work:
        assert list(work.iterdir()) == []


def test_second_process_is_told_who_holds_the_work(tmp_path: Path) -> None:
    program = "from stages.running.state import work_directory\nwith work_directory('verb', 'key'): pass\n"
    command = [sys.executable, "-c", program]
    with work_directory("verb", "key") as work:
        refused = subprocess.run(
            command, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False
        )
        assert refused.returncode != 0
        last = refused.stderr.strip().splitlines()[-1]
        assert last.startswith("risolve.errors.StateError: state/verb/key: process ")
        assert f"process {os.getpid()} on " in last
        assert work.is_dir()
    freed = subprocess.run(
        command, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False
    )
    assert freed.returncode == 0, freed.stderr


def test_a_killed_process_holds_nothing(tmp_path: Path) -> None:
    program = (
        "import os, signal\nfrom stages.running.state import work_directory\n"
        "with work_directory('verb', 'key') as work:\n"
        "    (work / 'finished').write_text('1')\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=environment(), check=False)
    assert killed.returncode == -9
    with work_directory("verb", "key") as work:
        assert (work / "finished").read_text("utf-8") == "1"


def test_unwritable_state(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file where the directory belongs", "utf-8")
    with (
        pytest.raises(StateError, match=shows("state/verb/key: ... (Not a directory)")),
        work_directory("verb", "key"),
    ):
        pass


def test_key_depends_on_code_parameters_and_inputs(tmp_path: Path) -> None:
    source = tmp_path / "shard-0000.h5"
    source.write_bytes(b"one")

    def key(module: str = "stages.bound", a: int = 1, inputs: Sequence[Path] = (source,)) -> str:
        return work_key(module, {"a": a, "b": [2.0]}, inputs)

    first = key()
    assert work_key("stages.bound", {"b": [2.0], "a": 1}, [source]) == first
    assert len({first, key("stages.train"), key(a=2), key(inputs=())}) == 4
    source.write_bytes(b"two")
    assert key() != first
    source.write_bytes(b"one")
    assert key() == first


def test_publish_replaces_the_earlier_result_as_a_whole(tmp_path: Path) -> None:
    destination = tmp_path / "data" / "scenes" / "train"
    for content in ("first", "second"):
        with work_directory("verb", content) as work:
            write_text(work / content, content)
            publish(work, destination)
        assert [path.name for path in destination.iterdir()] == [content]
        assert not work.exists()
    assert [path.name for path in destination.parent.iterdir()] == ["train"]


def test_publish_keeps_what_dvc_tells_git_to_ignore(tmp_path: Path) -> None:
    destination = tmp_path / "data" / "models"
    write_text(destination / ".gitignore", "/covariance.pt\n")
    with work_directory("verb", "key") as work:
        write_text(work / "covariance.pt", "1")
        publish(work, destination)
    assert {path.name for path in destination.iterdir()} == {".gitignore", "covariance.pt"}
    assert (destination / ".gitignore").read_text("utf-8") == "/covariance.pt\n"


def test_publish_crosses_file_systems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A state directory elsewhere: the result arrives whole, and the work is gone."""
    shared_memory = Path("/dev/shm")
    if not shared_memory.is_dir() or shared_memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("no second file system here")
    with tempfile.TemporaryDirectory(dir=shared_memory) as elsewhere:
        monkeypatch.setenv("DVC_ROOT", elsewhere)
        with work_directory("verb", "key") as work:
            write_text(work / "finished", "1")
            publish(work, tmp_path / "data" / "train")
            assert not work.exists()
    assert (tmp_path / "data/train/finished").read_text("utf-8") == "1"
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["train"]


def test_publish_removes_only_what_a_killed_publish_left(tmp_path: Path) -> None:
    data, left = tmp_path / "data", f".train.{'0' * 32}"
    kept = ["train.retired", "train.copy", ".train.1.copy", f".test.{'0' * 32}.copy"]
    for name in (*kept, f"{left}.retired", f"{left}.copy"):
        write_text(data / name / "file", "1")
    with work_directory("verb", "key") as work:
        write_text(work / "finished", "1")
        publish(work, data / "train")
    assert sorted(path.name for path in data.iterdir()) == sorted([*kept, "train"])


def test_publish_replaces_a_link_and_not_what_it_leads_to(tmp_path: Path) -> None:
    write_text(tmp_path / "elsewhere" / "file", "1")
    (tmp_path / "train").symlink_to(tmp_path / "elsewhere")
    with work_directory("verb", "key") as work:
        write_text(work / "finished", "1")
        publish(work, tmp_path / "train")
    assert [path.name for path in (tmp_path / "train").iterdir()] == ["finished"]
    assert not (tmp_path / "train").is_symlink()
    assert (tmp_path / "elsewhere" / "file").exists()


def test_two_processes_do_not_publish_to_one_place(tmp_path: Path) -> None:
    with work_directory("verb", "one") as work:
        write_text(work / "finished", "1")
        publish(work, Path("data/train"))
    (lock,) = (tmp_path / "state" / "publish").iterdir()
    with work_directory("verb", "two") as work:
        write_text(work / "finished", "2")
        program = (
            "import sys, time\nfrom pathlib import Path\nfrom risolve.running.work import held\n"
            f"with held(Path({str(lock)!r}), Path('x')):\n"
            "    print('held', flush=True)\n    sys.stdin.read()\n"
        )
        with subprocess.Popen(
            [sys.executable, "-c", program],
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as other:
            assert other.stdout is not None and other.stdin is not None
            assert other.stdout.readline() == "held\n"
            with pytest.raises(StateError, match=shows(f"data/train: process {other.pid}")):
                publish(work, Path("data/train"))
            other.stdin.close()
        assert (work / "finished").read_text("utf-8") == "2"
    assert (tmp_path / "data/train/finished").read_text("utf-8") == "1"


def test_a_lock_that_its_holder_removed_is_no_lock(tmp_path: Path) -> None:
    """A process that opened it before it was removed takes the one that stands there now."""
    lock = tmp_path / "lock"
    opened = os.open

    def remove_after(path: Path, *arguments: int) -> int:
        monkeypatch.undo()
        number = opened(path, *arguments)
        lock.unlink()
        return number

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr("os.open", remove_after)
        with held(lock, lock):
            assert f"process {os.getpid()} on " in lock.read_text("utf-8")


def test_no_lock_is_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("mine", "utf-8")
    (tmp_path / "lock").symlink_to("victim")
    with (
        pytest.raises(StateError, match=shows("lock: ... (Too many levels")),
        held(tmp_path / "lock", tmp_path),
    ):
        pass
    assert (tmp_path / "victim").read_text("utf-8") == "mine"


def test_failed_publish_leaves_work_and_says_where(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("", "utf-8")
    with work_directory("verb", "key") as work:
        write_text(work / "finished", "1")
        with pytest.raises(StateError, match=shows("data/train: ... (File exists) ... state/verb/key")):
            publish(work, Path("data/train"))
        assert (work / "finished").exists()
        discard(work)
        assert not work.exists()


def test_interrupted_replacement_leaves_the_earlier_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "table.csv"
    write_text(path, "earlier")

    def stop(number: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", stop)
    with pytest.raises(KeyboardInterrupt):
        write_text(path, "later")
    assert path.read_text("utf-8") == "earlier"
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == ["table.csv"]
