"""A sample of the damaged models and texts of params.yaml: each accepted or refused in one line."""

from pathlib import Path

import pytest

from benchmarks.fuzz import _models, _parameters
from benchmarks.fuzz._frame import fuzz
from tests.architecture.source import ROOT

SUBJECTS = {subject.name: subject for subject in (*_models.SUBJECTS, _parameters.SUBJECT)}


@pytest.mark.parametrize("name", SUBJECTS)
def test_damage_is_refused_in_one_line(name: str) -> None:
    outcomes = fuzz(SUBJECTS[name], range(60))
    assert outcomes.bad == 0, outcomes.faults
    assert outcomes.counts["refused"] > 30
    assert sum(outcomes.counts.values()) == 60


@pytest.mark.parametrize("name", SUBJECTS)
def test_an_input_is_the_same_in_every_run(tmp_path: Path, name: str) -> None:
    for number in (0, 17, 20):
        for path in (tmp_path / "first", tmp_path / "second"):
            SUBJECTS[name].make(number, path)
        assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()


def test_what_is_not_damaged_is_accepted(tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(_models.model())
    SUBJECTS["models"].read(tmp_path / "model.pt")
    SUBJECTS["params.yaml"].read(ROOT / "params.yaml")
