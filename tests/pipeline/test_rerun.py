"""What runs again after a change, and what a run gives the second time."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from stages.params.model import SPLITS
from tests.pipeline.working_copy import WorkingCopy, clone

pytestmark = pytest.mark.slow

# `check` reads params.yaml and the report shows its text, so these two follow every change.
STALE: list[tuple[dict[str, Any], set[str]]] = [
    ({"train.lr": 1e-3}, {"check", "train", "report"}),
    ({"simulate.workers": 2}, {"check", "report"}),
    ({"evaluate.workers": 2}, {"check", "report"}),
    ({"train.blend_beta_end": 0.25}, {"check", "train", "report"}),
    ({"evaluate.found_tolerance_deg": 4.0}, {"check", "evaluate", "report"}),
    (
        {"simulate.validation.strata": {"only": {"n_sources": [1, 2], "snr_db": [0.0, 9.0], "n_scenes": 5}}},
        {"check", "simulate@validation", "calibrate", "report"},
    ),
    (
        {"simulate.augmentation.spread_share": 0.25},
        {f"simulate@{split}" for split in SPLITS} | {"check", "report"},
    ),
    (
        {"covariance.ls_ridge": 2e-3},
        {f"normalize@{split}" for split in SPLITS} | {"check", "train", "calibrate", "evaluate", "report"},
    ),
]


def test_a_change_makes_stale_what_reads_it(finished: WorkingCopy, own: WorkingCopy) -> None:
    """Stages that read a changed parameter; what depends on them follows when they have run."""
    assert finished.stale() == set()
    found = []
    for changes, _ in STALE:
        own.write_params(changes)
        found.append((changes, own.stale()))
    assert found == STALE


def test_a_second_run_does_nothing(finished: WorkingCopy) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.root.glob("data/*/*")}
    assert finished.reproduce() == []
    assert {path: path.stat().st_mtime_ns for path in finished.root.glob("data/*/*")} == before


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"train.lr": 1e-3, "train.blend_beta_end": 0.25},
            ["check", "train", "calibrate", "evaluate", "report"],
        ),
        ({"simulate.workers": 2, "evaluate.workers": 2}, ["check", "report"]),
    ],
)
def test_a_change_runs_what_depends_on_it(
    own: WorkingCopy, changes: dict[str, Any], expected: list[str]
) -> None:
    own.write_params(changes)
    assert own.reproduce() == expected
    assert own.reproduce() == []


def test_other_code_runs_again_and_other_words_do_not(own: WorkingCopy) -> None:
    """Of an estimator that is loaded by its name, too; results that are the same as before run nothing."""
    steering, plug_in = own.root / "risolve/physics/steering.py", own.root / "risolve/estimators/nomp.py"
    steering.write_text(steering.read_text("utf-8").replace('"""', '"""Said otherwise. ', 1), "utf-8")
    assert own.reproduce() == ["check"]
    plug_in.write_text(plug_in.read_text("utf-8") + "\nNOTHING = 0\n", "utf-8")
    assert own.reproduce() == ["check", "calibrate", "evaluate"]


def test_refused_parameters_leave_every_result_where_it_is(own: WorkingCopy) -> None:
    """DVC removes the results of a stage before it runs; the parameters are refused before that.

    An unknown key is named before a value out of its range and one of the wrong type.
    """
    before = own.contents("data")
    own.write_params({"train.lr": -1.0, "train.epochz": 3, "array.wavelength_m": "0.3"})
    refused = own.run("dvc", "repro", "report")
    assert refused.returncode != 0
    law = r"params.yaml:\d+: train.epochz: unknown .* epochs\? \(and 2 more\)"
    assert re.search(law, refused.stdout + refused.stderr)
    after = own.contents("data")
    assert {name: after.get(name) for name in before if not name.startswith("data/check/")} == {
        name: text for name, text in before.items() if not name.startswith("data/check/")
    }


def test_two_runs_are_bit_identical_whatever_the_number_of_workers(
    finished: WorkingCopy, tmp_path: Path
) -> None:
    """HDF5, weights, history, health, tables, metrics, pictures, page: byte for byte, and so is dvc.lock."""
    other = clone(tmp_path / "repository", {"simulate.workers": 2, "evaluate.workers": 2})
    assert len(other.reproduce()) == 20
    other.write_params()
    assert other.reproduce() == ["check", "report"]
    first, second = finished.contents("data"), other.contents("data")
    assert set(first) == set(second)
    assert [name for name in first if first[name] != second[name]] == []
    suffixes = {Path(name).suffix for name in first}
    assert {".h5", ".pt", ".json", ".csv", ".npz", ".svg", ".html"} <= suffixes
    locks = [(copy.root / "dvc.lock").read_text("utf-8") for copy in (finished, other)]
    assert locks[0] == locks[1]


def test_what_is_left_of_an_experiment_is_a_checkout_away(own: WorkingCopy) -> None:
    """Applied, and back again: nothing is computed a second time, and git sees no change."""
    own.commit()
    before = own.contents("data")
    own.succeed("dvc", "exp", "run", "--temp", "--name", "short", "-S", "train.epochs=1", "train")
    own.succeed("dvc", "exp", "apply", "short")
    assert len((own.root / "data/models/history.csv").read_text("utf-8").splitlines()) == 1 + 1
    own.succeed("git", "checkout", "--quiet", ".")
    own.succeed("dvc", "checkout")
    assert own.reproduce() == []
    assert own.succeed("git", "status", "--porcelain").stdout == ""
    assert own.contents("data") == before
    # After a record of another processor DVC computes again what reads no data; the rest is in its cache.
    own.commit_results_of_another_processor()
    own.succeed("git", "checkout", "--quiet", ".")
    assert {name.partition("@")[0] for name in own.reproduce()} == {"simulate"}
    assert own.contents("data") == before


def test_metrics_and_experiments_of_dvc(own: WorkingCopy) -> None:
    """`dvc metrics show` and a temporary experiment, which leaves the working copy alone and keeps its state
    here.
    """
    shown = json.loads(own.succeed("dvc", "metrics", "show", "--json").stdout)
    own_metrics = json.loads((own.root / "data/evaluation/metrics.json").read_text("utf-8"))
    own_losses = json.loads((own.root / "data/models/metrics.json").read_text("utf-8"))
    assert shown[""]["data"] == {
        "data/evaluation/metrics.json": {"data": own_metrics},
        "data/models/metrics.json": {"data": own_losses},
    }

    own.succeed("git", "add", ".")
    own.succeed("git", "commit", "--quiet", "-m", "A finished run")
    before, works = own.contents("data"), set((own.root / "state/train").iterdir())
    own.succeed("dvc", "exp", "run", "--temp", "--name", "short", "-S", "train.epochs=1", "report")
    assert own.contents("data") == before
    assert own.succeed("git", "status", "--porcelain").stdout == ""
    assert len(set((own.root / "state/train").iterdir()) - works) == 1
    ref = own.succeed("git", "for-each-ref", "--format=%(refname)", "refs/exps/**/short").stdout.strip()
    history = own.succeed("git", "show", f"{ref}:data/models/history.csv").stdout
    assert len(history.splitlines()) == 1 + 1
    assert len(before["data/models/history.csv"].splitlines()) == 1 + 2
