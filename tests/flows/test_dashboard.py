"""The dashboard of a search: shown to whoever holds the printed address, changed by nobody."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from flows import dashboard
from flows.dashboard import last_journal
from flows.server import free_port
from tests.tiny_run import environment


def searched(root: Path, key: str, value: float) -> Path:
    """The journal of a study of one trial."""
    journal = root / "state" / "search" / key / "journal.log"
    journal.parent.mkdir(parents=True)
    study = optuna.create_study(storage=JournalStorage(JournalFileBackend(str(journal))), study_name=key)
    study.optimize(lambda trial: value, n_trials=1)
    return journal


def test_without_a_search_there_is_one_line(repository: Path, capsys) -> None:
    assert dashboard.main([]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_the_search_that_was_written_last_is_shown(tmp_path: Path) -> None:
    journals = [searched(tmp_path, key, 1.0) for key in ("b", "a")]
    assert last_journal(tmp_path) == journals[1]
    journals[0].touch()
    assert last_journal(tmp_path) == journals[0]


def test_it_shows_and_changes_nothing(repository: Path) -> None:
    journal = searched(repository, "study", 0.25)
    before = journal.read_bytes()
    command = [sys.executable, "-P", "-m", "flows.dashboard", "--port", str(free_port())]
    with subprocess.Popen(
        command, cwd=repository, env=environment(), stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            entrance = re.search(r"http://\S+", process.stdout.readline())
            assert entrance is not None
            address, _, _ = entrance[0].partition("/?")
            with httpx.Client(base_url=address, trust_env=False) as stranger:
                assert stranger.get("/api/studies").status_code == 401
            with httpx.Client(base_url=address, trust_env=False) as own:
                assert own.get(entrance[0]).status_code == 200
                (study,) = own.get("/api/studies").json()["study_summaries"]
                assert study["study_name"] == "study"
                assert own.delete(f"/api/studies/{study['study_id']}").status_code == 401
                named = {"study_name": "other", "directions": ["minimize"]}
                assert own.post("/api/studies", json=named).status_code == 401
        finally:
            process.send_signal(signal.SIGINT)
    assert process.returncode == 0
    assert journal.read_bytes() == before
