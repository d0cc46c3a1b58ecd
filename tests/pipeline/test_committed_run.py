"""The committed dvc.lock is of the committed code: after `make run` in a fresh clone git sees no change."""

import hashlib

import pytest
from dvc.repo import Repo
from ruamel.yaml import YAML

from risolve.running.fingerprint import fingerprint
from stages.check import CODE, VERBS
from tests.architecture.source import ROOT

pytestmark = pytest.mark.slow


def test_every_stage_was_run_by_this_code() -> None:
    lock = YAML(typ="safe").load((ROOT / "dvc.lock").read_text("utf-8"))["stages"]
    run_by = {
        name: dep["md5"] for name, stage in lock.items() for dep in stage["deps"] if str(CODE) in dep["path"]
    }
    now = {verb: hashlib.md5(fingerprint(f"stages.{verb}").encode()).hexdigest() for verb in VERBS}
    assert {verb for verb in VERBS if verb in {name.partition("@")[0] for name in run_by}} == set(VERBS)
    assert [name for name, digest in run_by.items() if digest != now[name.partition("@")[0]]] == []


def test_the_code_was_looked_at_as_it_stands() -> None:
    """`dvc repro check` records an edit of words, which runs nothing else."""
    with Repo(str(ROOT)) as repo:
        check = repo.stage.load_one(name="check")
        assert [str(dep) for dep in check.deps if dep.changed_checksum()] == []
