"""Flows in worktrees of the whole repository: parameters of a form, a search that is adopted."""

import ast
import csv
import re
import subprocess
import sys

import pytest
from ruamel.yaml import YAML

from tests.messages import shows
from tests.pipeline.working_copy import WorkingCopy

pytestmark = pytest.mark.slow

DRIVER = """
from pathlib import Path
from flows.experiment import experiment
from flows.replay import replay
from flows.search import search
from flows.server import free_port, server
from flows.worktree import read_parameters

parameters = read_parameters(Path.cwd())
with server(free_port()):
    {call}
"""


def drive(copy: WorkingCopy, call: str) -> subprocess.CompletedProcess[str]:
    return copy.run(sys.executable, "-c", DRIVER.format(call=call))


def test_parameters_and_changes_of_a_form_become_an_experiment(own: WorkingCopy) -> None:
    own.commit()
    before = own.contents("data", "stages")
    parameters = (own.root / "params.yaml").read_text("utf-8")
    form = "parameters['train']['epochs'] = 7"
    asked = "parameters=parameters, changes='train.epochs=1', target='train', name='one-epoch'"
    done = drive(own, f"{form}; print(experiment({asked}))")
    assert done.returncode == 0, done.stdout + done.stderr
    states = done.stdout.splitlines()[-1]
    assert "'train': 'Completed'" in states and "'normalize@train': 'UpToDate'" in states
    assert own.experiments() == ["one-epoch"]
    assert own.succeed("git", "status", "--porcelain").stdout == ""
    assert own.contents("data", "stages") == before
    assert (own.root / "params.yaml").read_text("utf-8") == parameters
    shown = own.succeed("dvc", "exp", "diff", "HEAD", "one-epoch").stdout
    assert "train.epochs" in shown
    own.succeed("dvc", "exp", "apply", "one-epoch")
    history = (own.root / "data/models/history.csv").read_text("utf-8")
    assert len(history.splitlines()) == 2


def test_a_wrong_value_and_files_that_are_not_committed_are_refused(own: WorkingCopy) -> None:
    own.commit()
    done = drive(own, "parameters['train']['epochs'] = 0; experiment(parameters=parameters, target='train')")
    assert done.returncode != 0
    assert re.search(shows("train.epochs ... 0"), done.stderr)
    for changes, words in (
        ("train.epoch=4", "train.epochs"),
        ("train.epochs=0", "train.epochs"),
    ):
        done = drive(own, f"experiment(changes='{changes}', target='train')")
        assert done.returncode != 0 and words in done.stderr
    (own.root / "stages/check.py").write_text("raise SystemExit(1)\n")
    done = drive(own, "experiment(parameters=parameters, target='train')")
    assert "HEAD; stages/check.py " in done.stderr
    assert own.experiments() == []


def test_a_search_is_adopted_in_its_worktree(own: WorkingCopy) -> None:
    own.commit()
    done = drive(own, "print(search(n_trials=2, workers=1, adopt_best=True, name='best'))")
    assert done.returncode == 0, done.stdout + done.stderr
    states = done.stdout.splitlines()[-1]
    assert "'search': 'Completed'" in states and "'report': 'Completed'" in states
    assert own.experiments() == ["best"]
    assert own.succeed("git", "status", "--porcelain").stdout == ""
    own.succeed("dvc", "exp", "apply", "best")
    assert "complete" in (own.root / "data/search/trials.csv").read_text("utf-8")
    # the study is shared: what the worktree found is known here
    assert len(list((own.root / "state/search").glob("*/journal.log"))) == 1


def test_the_best_trials_are_replayed_as_experiments_once(own: WorkingCopy) -> None:
    own.reproduce("search")  # and nothing is committed
    done = drive(own, "print(replay(top=2, target='train')); print(replay(top=2, target='train'))")
    assert done.returncode == 0, done.stdout + done.stderr
    first, second = (ast.literal_eval(line) for line in done.stdout.splitlines()[-2:])
    head = own.succeed("git", "rev-parse", "--short", "HEAD").stdout.strip()
    listed = own.succeed("risolve", "trials", "--top", "2").stdout.splitlines()[1:]
    names = list(first)
    for name, line in zip(names, listed, strict=True):
        assert re.fullmatch(rf"trial-{line.split()[0]}-{head}-[0-9a-f]{{6}}-train", name)
    assert first == dict.fromkeys(names, "Completed")
    assert second == dict.fromkeys(names, "Kept")
    assert sorted(own.experiments()) == sorted(names)
    best = YAML(typ="safe").load(own.root / "data/search/best.yaml")["parameters"]["train.lr"]
    shown = csv.DictReader(own.succeed("dvc", "exp", "show", "--csv").stdout.splitlines())
    (row,) = [row for row in shown if row["Experiment"] == names[0]]
    assert float(row["train.lr"]) == pytest.approx(best, rel=1e-7)
