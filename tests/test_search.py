"""The search: results, a budget that grows, kills at any moment, storages, and what is refused before it."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest
from optuna.trial import TrialState
from pydantic import ValidationError
from ruamel.yaml import YAML

from risolve.running.entry import run
from stages import check as check_verb
from stages import normalize as normalize_verb
from stages import search as search_verb
from stages import simulate as simulate_verb
from stages.params import text as params_text
from stages.params.file import read_params
from stages.params.model import TRAINING_SPLITS, VALIDATION_SPLITS, Params
from stages.params.search import Search
from stages.trials.study import claim, mend_journal, n_finished, open_study, requeue_stale
from tests.messages import shows
from tests.postgres import postgres, programs
from tests.tiny_run import call_verb, environment, run_verb, write_params

SPLITS = (*TRAINING_SPLITS, *VALIDATION_SPLITS)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scenes and covariances that every search reads."""
    directory = tmp_path_factory.mktemp("scenes")
    write_params(directory)
    for split in SPLITS:
        for verb in (simulate_verb, normalize_verb):
            call_verb(directory, verb.main, "--split", split)
    return directory


def folder(scenes: Path, directory: Path, **changes: Any) -> Path:
    """A run with the scenes, and changes of the section search."""
    own = {f"search.{key}": value for key, value in changes.items()}
    write_params(directory, {"network.blocks": 1, **own})
    (directory / "data").mkdir(exist_ok=True)
    for kind in ("scenes", "covariances"):
        link = directory / "data" / kind
        if not link.exists():
            link.symlink_to(scenes / "data" / kind)
    return directory


@pytest.fixture(scope="module")
def searched(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run in which three trials were drawn at random; tests go on in copies of it."""
    directory = folder(scenes, tmp_path_factory.mktemp("searched"), sampler="random", pruner="none")
    call_verb(directory, search_verb.main)
    return directory


@pytest.fixture
def own(searched: Path, tmp_path: Path) -> Path:
    """That run, in a folder of the test's own."""
    shutil.copytree(searched, tmp_path, symlinks=True, dirs_exist_ok=True)
    return tmp_path


def trials(directory: Path) -> pd.DataFrame:
    return pd.read_csv(directory / "data/search/trials.csv")


def refusal(directory: Path, main: Callable[[], None], capfd: pytest.CaptureFixture[str]) -> str:
    """What a verb that ends with status 2 says, with the processes that it starts."""
    capfd.readouterr()
    with pytest.raises(SystemExit) as ended:
        call_verb(directory, lambda: run(main))
    assert ended.value.code == 2
    return capfd.readouterr().err


def journal(directory: Path) -> Path:
    (path,) = (directory / "state/search").glob("*/journal.log")
    return path


def test_results_of_a_search(searched: Path) -> None:
    table = trials(searched)
    assert table["trial"].tolist() == [0, 1, 2]
    assert (table["state"] == "complete").all() and (table["epochs"] == 2).all()
    assert not [name for name in table if name.endswith("_s")]  # times are no results
    assert table["found_rate"].between(0.0, 1.0).all()
    assert table["train.lr"].between(5e-4, 1e-2).all() and table["train.lr"].nunique() == 3
    assert set(table["network.channels"]) <= {8, 16}
    best = YAML(typ="safe").load((searched / "data/search/best.yaml").read_text("utf-8"))
    assert best["objectives"]["found_rate"] == pytest.approx(table["found_rate"].max(), rel=1e-7)
    row = table[table["trial"] == best["trial"]].iloc[0]
    assert best["parameters"]["train.lr"] == pytest.approx(row["train.lr"], rel=1e-7)
    for name in ("history", "parallel_coordinate", "importance"):
        assert (searched / f"data/search/{name}.svg").read_text("utf-8").startswith("<?xml")


def test_a_larger_budget_goes_on_with_the_same_study_and_draws_no_trial_twice(
    scenes: Path, own: Path
) -> None:
    first = trials(own)
    call_verb(folder(scenes, own, sampler="random", pruner="none", n_trials=6), search_verb.main)
    table = trials(own)
    pd.testing.assert_frame_equal(table.iloc[:3], first)
    assert len(table) == 6 and table["train.lr"].nunique() == 6
    call_verb(folder(scenes, own, sampler="random", pruner="none", n_trials=2), search_verb.main)
    pd.testing.assert_frame_equal(trials(own), table)


@pytest.mark.slow
def test_another_space_is_another_study_in_which_whole_numbers_stay_whole(scenes: Path, own: Path) -> None:
    """0 to 1 of a weight is an interval, 1 to 2 blocks are two numbers, however the ends are written."""
    space = {
        "space.train": {
            "flips": {"choices": [True, False]},
            "covariance_weight": {"low": 0, "high": 1, "log": False},
        },
        "space.network": {"blocks": {"low": 1, "high": 2, "log": False}},
    }
    call_verb(folder(scenes, own, pruner="none", sampler="random", **space), search_verb.main)
    table = trials(own)
    assert len(table) == 3 and "train.flips" in table
    assert not set(table["train.covariance_weight"]) & {0.0, 1.0}
    assert set(table["network.blocks"]) <= {1, 2}
    assert len(list((own / "state/search").glob("*/journal.log"))) == 2


@pytest.mark.slow
def test_two_objectives(scenes: Path, tmp_path: Path) -> None:
    directory = folder(scenes, tmp_path, objectives=["found_rate", "seconds"], pruner="none")
    call_verb(directory, search_verb.main)
    assert (trials(directory)["seconds"] > 0.0).all()


@pytest.mark.slow
def test_a_training_that_diverges_is_pruned_and_says_why(scenes: Path, tmp_path: Path) -> None:
    """A learning rate at which single precision overflows, and one at which it does not."""
    space = {"lr": {"choices": [1e-3, 1e30]}}
    changes = {"space.train": space, "n_trials": 4, "sampler": "random", "pruner": "none"}
    directory = folder(scenes, tmp_path, **changes)
    call_verb(directory, search_verb.main)
    table = trials(directory)
    diverged = table["train.lr"] == 1e30
    assert diverged.any() and not diverged.all()
    assert (table.loc[diverged, "state"] == "pruned").all()
    assert table.loc[diverged, "found_rate"].isna().all()
    assert table.loc[diverged, "reason"].str.contains("finite").all()
    assert (table.loc[~diverged, "state"] == "complete").all()


@pytest.mark.slow
def test_a_space_in_which_everything_diverges_is_one_line(
    scenes: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    space = {"lr": {"choices": [1e29, 1e30]}}
    said = refusal(
        folder(scenes, tmp_path, **{"space.train": space, "pruner": "none"}), search_verb.main, capfd
    )
    assert re.search(shows("error: params.yaml: search.space: ... 3 trials"), said)
    assert "Traceback" not in said


@pytest.fixture
def killed(scenes: Path, tmp_path: Path) -> Iterator[Path]:
    """A search of 5 trials by two workers, killed while a trial runs, after one has finished."""
    directory = folder(scenes, tmp_path, n_trials=5, workers=2, epochs=60, pruner="none", sampler="random")
    command = [sys.executable, "-m", "stages.search"]
    with subprocess.Popen(
        command, cwd=directory, env=environment(), stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "1 of 5 trials" in line or "2 of 5 trials" in line:
                break
        os.kill(process.pid, signal.SIGKILL)
    yield directory


@pytest.mark.slow
def test_a_killed_search_ends_in_as_many_distinct_trials(killed: Path, scenes: Path) -> None:
    """Its workers end with it; what ran is run again with the same hyperparameters."""
    deadline = time.monotonic() + 20.0
    size = -1
    while (now := journal(killed).stat().st_size) != size and time.monotonic() < deadline:
        size = now
        time.sleep(1.0)
    with journal(killed).open("ab") as file:
        file.write(b'{"op_code": 5, "worker')
    done = run_verb(killed, "search")
    assert done.returncode == 0, done.stderr
    table = trials(killed)
    assert len(table) == 5 and table["train.lr"].nunique() == 5
    study = _reopened(killed)
    failed = study.get_trials(states=(TrialState.FAIL,))
    again = {trial.user_attrs.get("retry_of") for trial in study.get_trials(states=(TrialState.COMPLETE,))}
    assert failed and {trial.number for trial in failed} <= again
    assert not study.get_trials(states=(TrialState.RUNNING, TrialState.WAITING))


@pytest.mark.slow
def test_three_kills_at_random_moments_end_in_twenty_distinct_trials(scenes: Path, tmp_path: Path) -> None:
    directory = folder(scenes, tmp_path, n_trials=20, workers=2, epochs=60, pruner="none", sampler="random")
    command = [sys.executable, "-m", "stages.search"]
    delays_s = np.random.default_rng(20).uniform(0.0, 4.0, 3)
    for least, delay_s in zip((2, 7, 13), delays_s, strict=True):
        with subprocess.Popen(
            command, cwd=directory, env=environment(), stderr=subprocess.DEVNULL, start_new_session=True
        ) as process:
            deadline = time.monotonic() + 120.0
            while _n_complete(directory) < least:
                assert time.monotonic() < deadline and process.poll() is None
                time.sleep(0.2)
            time.sleep(delay_s)
            process.kill()
    done = run_verb(directory, "search")
    assert done.returncode == 0, done.stderr
    table = trials(directory)
    assert len(table) == 20 and table["train.lr"].nunique() == 20
    assert (table["state"] == "complete").all()
    study = _reopened(directory)
    assert not study.get_trials(states=(TrialState.RUNNING, TrialState.WAITING))
    assert len({trial.user_attrs["owner"] for trial in study.get_trials(states=(TrialState.COMPLETE,))}) > 2


def _n_complete(directory: Path) -> int:
    """What the journal says: to open it as a study takes its lock, which a search that starts removes."""
    texts = [path.read_text("utf-8") for path in (directory / "state/search").glob("*/journal.log")]
    return sum(text.count(f'"state":{TrialState.COMPLETE.value},"values"') for text in texts)


def _reopened(directory: Path) -> optuna.Study:
    params = search_params_of(directory)
    return open_study(params, journal(directory).parent, journal(directory).parent.name, 0)


def search_params_of(directory: Path) -> Search:
    tree = YAML(typ="safe").load((directory / "params.yaml").read_text("utf-8"))
    params: Search = Params.model_validate_json(json.dumps(tree)).search
    return params


@pytest.mark.slow
@pytest.mark.skipif(
    programs() is None,
    reason="NO POSTGRESQL HERE: apt install postgresql (.ci/run does), or nothing is tested",
)
def test_several_workers_share_a_study_on_postgresql(scenes: Path, tmp_path: Path) -> None:
    """Twelve trials by four workers on one host, then four more by the search of another working copy."""
    with postgres() as url:
        first = folder(scenes, tmp_path / "first", n_trials=12, workers=4, storage=url, sampler="random")
        assert run_verb(first, "search").returncode == 0
        table = trials(first)
        assert table["trial"].tolist() == list(range(12)) and table["train.lr"].nunique() == 12
        other = folder(scenes, tmp_path / "other", n_trials=16, workers=2, storage=url, sampler="random")
        assert run_verb(other, "search").returncode == 0
        extended = trials(other)
        assert len(extended) == 16 and extended["train.lr"].nunique() == 16
        pd.testing.assert_frame_equal(extended.iloc[:12], table)


@pytest.mark.slow
def test_four_workers_share_a_journal(scenes: Path, tmp_path: Path) -> None:
    directory = folder(scenes, tmp_path, n_trials=12, workers=4, sampler="random")
    assert run_verb(directory, "search").returncode == 0
    table = trials(directory)
    assert table["trial"].tolist() == list(range(12)) and table["train.lr"].nunique() == 12


def test_claims_stop_at_the_budget_with_what_runs(scenes: Path, tmp_path: Path) -> None:
    """Three trials asked for, one of them running and stale after a kill."""
    own = search_params_of(folder(scenes, tmp_path))
    study = open_study(own, tmp_path, "key", 0)
    taken = [claim(study, own, tmp_path) for _ in range(4)]
    assert [trial is not None for trial in taken] == [True, True, True, False]
    for trial in taken[:2]:
        assert trial is not None
        trial.suggest_float("train.lr", 1e-4, 1e-2, log=True)
        study.tell(trial, 0.5)
    assert n_finished(study) == 2 and claim(study, own, tmp_path) is None
    assert requeue_stale(study, True) == 0
    assert requeue_stale(study, False) == 1
    assert claim(study, own, tmp_path) is not None


def test_a_journal_goes_on_from_its_last_whole_line(tmp_path: Path) -> None:
    """A kill cuts the last line; a fault of the disk any: what the lines before it say is kept."""
    write_params(tmp_path)
    own = search_params_of(tmp_path)
    study = open_study(own, tmp_path, "key", 0)
    for value in (0.5, 0.6, 0.7):
        trial = study.ask()
        trial.suggest_float("train.lr", 1e-4, 1e-2, log=True)
        study.tell(trial, value)
    path = tmp_path / "journal.log"
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    path.write_bytes(whole + lines[-1][:7])
    (tmp_path / "journal.log.lock").touch()
    assert mend_journal(tmp_path) is None
    assert path.read_bytes() == whole and not list(tmp_path.glob("journal.log.*"))
    told = [number for number, line in enumerate(lines) if b'"values":[0.' in line]
    for place, damaged in enumerate(
        (b"\0" * 30 + b"\n", b"{}\n", b"[1]\n", b"\xff\n", lines[-1][:9] + b"\n")
    ):
        path.write_bytes(b"".join((*lines[: told[1]], damaged, *lines[told[1] + 1 :])))
        remark = mend_journal(tmp_path)
        assert remark is not None and f"line {told[1] + 1} of {len(lines)} is damaged" in remark
        assert path.read_bytes() == b"".join(lines[: told[1]])
        kept = tmp_path / f"journal.log.damaged-{place + 1}"
        assert kept.name in remark and damaged in kept.read_bytes()
        assert [trial.value for trial in open_study(own, tmp_path, "key", 0).trials] == [0.5, None]


def test_a_storage_that_cannot_be_reached_is_one_line(
    scenes: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    directory = folder(scenes, tmp_path, storage="postgresql+psycopg://user@127.0.0.1:9/none")
    said = refusal(directory, search_verb.main, capfd)
    (line,) = [line for line in said.splitlines() if line.startswith("error")]
    assert "search.storage: postgresql+psycopg://user@127.0.0.1:9/none: " in line


@pytest.mark.parametrize(
    "storage",
    [
        "postgresql+psycopg://me:SECRET@host/study",
        "postgresql+psycopg://me%3ASECRET@host/study",
        "postgresql+psycopg://:SECRET@host/study",
        "postgresql+psycopg://host/study?password=SECRET",
        "postgresql+psycopg://host/study?sslmode=require&pass%77ord=SECRET",
        "postgresql+psycopg://host/study?sslpassword=SECRET",
        "postgresql+psycopg://host/study?sslmode=require%26password%3DSECRET",
        "postgresql+psycopg://host/password=SECRET",
        "postgresql+psycopg://me:SECRET@host:port@host/study",
        "postgresql://me:SECRET@host/study",
        "mysql://me:SECRET@host/study",
        "sqlite:///SECRET.db",
        "journal://me:SECRET@host",
    ],
)
def test_a_password_is_refused_and_printed_nowhere(
    scenes: Path, tmp_path: Path, storage: str, capfd: pytest.CaptureFixture[str]
) -> None:
    said = refusal(folder(scenes, tmp_path, storage=storage), check_verb.main, capfd)
    assert re.fullmatch(r"error: params\.yaml:\d+: search\.storage: .*~/\.pgpass.*\n", said), said
    assert "SECRET" not in said
    values = params_text.read(tmp_path / "params.yaml").values
    with pytest.raises(ValidationError) as caught:
        Params.model_validate_json(json.dumps(values))
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize(
    "storage",
    [
        "journal",
        "postgresql+psycopg://host/study",
        "postgresql+psycopg://me@host.example.org:5432/my-study",
        "postgresql+psycopg://me@[::1]:5432/study?sslmode=require&sslrootcert=/etc/ca.pem",
        "postgresql+psycopg:///study?host=/run/postgresql",
    ],
)
def test_addresses_without_a_password_are_taken(tmp_path: Path, storage: str) -> None:
    assert read_params(write_params(tmp_path, {"search.storage": storage})).search.storage == storage


def test_an_address_in_the_wrong_place_is_not_repeated(
    scenes: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    address = "postgresql+psycopg://me:SECRET@host/study?password=SECRET"
    for changes in ({"sampler": address}, {"storage": [address]}, {"n_trials": address}):
        said = refusal(folder(scenes, tmp_path / next(iter(changes)), **changes), check_verb.main, capfd)
        assert "SECRET" not in said and said.startswith("error: params.yaml:")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"space.train": {"rate": {"low": 0.1, "high": 1.0, "log": False}}},
            "search.space.train.rate ... train",
        ),
        (
            {"space.train": {"epochs": {"low": 1, "high": 3, "log": False}}},
            "search.space.train.epochs: ... search.epochs",
        ),
        (
            {"space.train": {"processes": {"low": 1, "high": 3, "log": False}}},
            "search.space.train.processes: ... process",
        ),
        (
            {"space.train": {"batch_size": {"choices": [64, 8192]}}},
            "search.space.train.batch_size ... {'batch_size': 8192}: ... buffer",
        ),
        (
            {"space.train": {"lr": {"low": 1.0, "high": 0.1, "log": False}}},
            "low < high, finite; got 1.0 ... 0.1",
        ),
        ({"space.train": {"lr": {"low": 0.0, "high": 0.1, "log": True}}}, "low > 0, got 0.0"),
        ({"space.train": {"lr": {"low": -1.0, "high": 0.1, "log": False}}}, "search.space.train.lr ... 0"),
        (
            {"space.train": {"lr": {"low": 0.1, "hihg": 1.0, "log": False}}},
            "lr.hihg: unknown ... high?",
        ),
        ({"space.train": {"lr": {"choices": [0.1]}}}, "search.space.train.lr.choices: ... 2"),
        (
            {"space.train": {"lr": {"choices": [0.1, "fast"]}}},
            "search.space.train.lr ... {'lr': 'fast'}: ... number",
        ),
        (
            {"space.network": {"channels": {"low": 8.5, "high": 16.0, "log": False}}},
            "network.channels ... whole",
        ),
        ({"space.network": {"channels": {"choices": [8, 12]}}}, "channels ... groups"),
        (
            {"space.train": {"flips": {"low": 0, "high": 1, "log": False}}},
            "train.flips ... choices",
        ),
        ({"space.train": {}, "space.network": {}}, "search.space ... hyperparameter"),
        ({"objectives": ["seconds"]}, "search.objectives"),
        ({"objectives": ["found_rate", "seconds"]}, "search.pruner ... got hyperband"),
        ({"storage": "sqlite:///study.db"}, "search.storage"),
        ({"scene_fraction": 0.0}, "search.scene_fraction"),
    ],
)
def test_what_is_no_search_is_refused_with_its_line(
    scenes: Path, tmp_path: Path, changes: dict[str, Any], message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    (line,) = refusal(folder(scenes, tmp_path, **changes), check_verb.main, capfd).splitlines()
    assert re.search(shows(message), line)
    assert line.startswith("error: params.yaml:") and line.split(":")[2].strip().isdigit()
