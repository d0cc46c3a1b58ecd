"""A verb runs code that `check` has seen, and ends with what started it."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from risolve.running.fingerprint import fingerprint
from stages.running.verb import run_verb
from tests.architecture.source import ROOT
from tests.messages import shows


def test_code_that_was_edited_since_check_is_not_recorded_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A stage may start hours after `check`."""
    ran: list[str] = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_STAGE", "dvc.yaml:simulate@train")
    monkeypatch.setattr("stages.running.verb.end_with_starter", lambda: None)
    checked = tmp_path / "data/check/code/simulate.txt"
    checked.parent.mkdir(parents=True)
    checked.write_text(fingerprint("stages.simulate"), "utf-8")
    run_verb(lambda: ran.append("as checked"))
    checked.write_text("otherwise", "utf-8")
    with pytest.raises(SystemExit) as ended:
        run_verb(lambda: ran.append("edited"))
    assert ended.value.code == 2 and ran == ["as checked"]
    assert re.search(shows("simulate ... `check`"), capsys.readouterr().err)


DVC = """
import subprocess, sys
# A shell that stays between dvc and the stage.
subprocess.run([f"{sys.executable} -c '{sys.argv[1]}' && true"], shell=True)
"""
STAGE = """
import os, sys, time
print(os.getpid(), flush=True)
%s
from stages.running.verb import run_verb
run_verb(lambda: print("running", flush=True) or time.sleep(600))
"""


def is_alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


@pytest.mark.parametrize("when", ["running", "starting", "under torchrun", "by hand"])
def test_a_verb_ends_with_what_started_it(when: str) -> None:
    """Killed alone, dvc leaves its stage behind, at work or still starting, and torchrun its processes; one
    started by hand lives on.
    """
    known = {k: v for k, v in os.environ.items() if k not in {"DVC_STAGE", "TORCHELASTIC_RUN_ID"}}
    by_dvc = {} if when == "by hand" else {"DVC_STAGE": "dvc.yaml:sleep"}
    if when == "under torchrun":
        by_dvc = {"TORCHELASTIC_RUN_ID": "1"}
    with subprocess.Popen(
        [sys.executable, "-c", DVC, STAGE % ("time.sleep(1.0)" if when == "starting" else "")],
        env={**known, "PYTHONPATH": str(ROOT), **by_dvc},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as dvc:
        assert dvc.stdout is not None and dvc.stderr is not None
        stage = int(dvc.stdout.readline())
        try:
            # Nobody reads what the stage says when it ends.
            dvc.stderr.close()
            if when != "starting":
                assert dvc.stdout.readline() == "running\n"
                time.sleep(0.5)
            dvc.kill()
            deadline = time.monotonic() + (2.0 if when == "by hand" else 60.0)
            while is_alive(stage) and time.monotonic() < deadline:
                time.sleep(0.05)
            assert is_alive(stage) == (when == "by hand")
        finally:
            if is_alive(stage):
                os.kill(stage, signal.SIGKILL)


def test_code_of_another_folder_is_not_recorded_as_that_of_this_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As where PYTHONSAFEPATH hides the worktree that a stage runs in from Python."""
    ran: list[str] = []
    (tmp_path / "stages/running").mkdir(parents=True)
    (tmp_path / "stages/running/verb.py").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        run_verb(lambda: ran.append("other code"))
    said = capsys.readouterr().err
    assert ended.value.code == 2 and ran == []
    assert str(tmp_path) in said and str(ROOT) in said and "PYTHONSAFEPATH" in said
