"""dvc.lock that a kill has cut: an older one takes its place, and a whole one is left alone."""

import os
import subprocess
from pathlib import Path

import pytest
from dvc.repo import Repo

from flows.dvc import GraphError, read_stages
from flows.lockfile import main, mend_lock
from tests.flows.conftest import DVC

CUTS = (b"", b"schema: '2.0'\nstages:\n  prep", b"\x00" * 4096)


@pytest.fixture
def reproduced(repository: Path) -> Path:
    subprocess.run([DVC, "repro", "--quiet", "prepare"], check=True, stdin=subprocess.DEVNULL)
    return repository


def git(*arguments: str) -> None:
    who = ("-c", "user.name=test", "-c", "user.email=test@localhost")
    subprocess.run(("git", *who, *arguments), check=True)


@pytest.mark.parametrize("cut", CUTS)
def test_that_of_the_last_start_takes_its_place(reproduced: Path, cut: bytes) -> None:
    whole = (reproduced / "dvc.lock").read_bytes()
    assert mend_lock(reproduced) is None
    (reproduced / "dvc.lock").write_bytes(cut)
    with pytest.raises(GraphError):
        read_stages(reproduced, "prepare")
    done = mend_lock(reproduced)
    assert done is not None and "last start" in done
    assert (reproduced / "dvc.lock").read_bytes() == whole
    assert (reproduced / "state" / "dvc.lock.cut").read_bytes() == cut
    assert mend_lock(reproduced) is None


def test_a_cut_that_leaves_yaml_is_a_cut(reproduced: Path) -> None:
    """As half a digest at the end of the last line that was written."""
    whole = (reproduced / "dvc.lock").read_bytes()
    assert mend_lock(reproduced) is None
    (reproduced / "dvc.lock").write_bytes(whole[: whole.rindex(b"md5: ") + 12])
    done = mend_lock(reproduced)
    assert done is not None and "last start" in done
    assert (reproduced / "dvc.lock").read_bytes() == whole


def test_that_of_head_takes_its_place_where_nothing_was_started(
    reproduced: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = (reproduced / "dvc.lock").read_bytes()
    git("add", "dvc.lock")
    git("commit", "--quiet", "--message", "lock")
    (reproduced / "dvc.lock").write_bytes(b"")
    assert main() == 0
    assert "HEAD" in capsys.readouterr().err
    assert (reproduced / "dvc.lock").read_bytes() == whole


def test_where_there_is_no_other_the_stages_come_back_from_the_cache(reproduced: Path) -> None:
    (reproduced / "dvc.lock").write_bytes(b"")
    done = mend_lock(reproduced)
    assert done is not None and "cache" in done
    again = subprocess.run(
        [DVC, "repro", "prepare"], capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL
    )
    assert "Stage 'prepare' is cached - skipping run" in again.stdout


@pytest.mark.parametrize(
    "before, after",
    [
        (b"", b"\n<<<<<<< HEAD\n"),
        (b"<<<<<<< HEAD\n", b""),
        (b"<<<<<<< HEAD\r\n", b"=======\r\n>>>>>>> other"),
        (b"", b">>>>>>> other\n"),
        (b"||||||| base\n", b""),
        (b"=======\n", b""),
    ],
)
def test_marks_of_a_merge_are_left_to_whoever_merges(
    reproduced: Path, capsys: pytest.CaptureFixture[str], before: bytes, after: bytes
) -> None:
    merged = before + (reproduced / "dvc.lock").read_bytes() + after
    (reproduced / "dvc.lock").write_bytes(merged)
    assert main() == 1
    assert "a merge" in capsys.readouterr().err
    assert (reproduced / "dvc.lock").read_bytes() == merged


def test_a_wrong_configuration_is_no_cut(reproduced: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = (reproduced / "dvc.lock").read_bytes()
    with (reproduced / ".dvc" / "config").open("a") as file:
        file.write("    no_such_option = 1\n")
    assert main() == 1
    assert "configuration of" in capsys.readouterr().err
    assert (reproduced / "dvc.lock").read_bytes() == whole


def test_nothing_is_mended_while_another_dvc_is_at_work(reproduced: Path) -> None:
    (reproduced / "dvc.lock").write_bytes(b"")
    with Repo(str(reproduced)) as repo, repo.lock:
        assert mend_lock(reproduced) is None
    assert (reproduced / "dvc.lock").read_bytes() == b""


def test_a_repository_without_dvc_lock_needs_none(repository: Path) -> None:
    assert not (repository / "dvc.lock").exists()
    assert mend_lock(repository) is None


def test_outside_a_repository_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main() == 1
    assert str(tmp_path) in capsys.readouterr().err
    assert os.listdir(tmp_path) == []
