"""Batches of cells: planned, made by any number of processes, gathered, and their estimates joined."""

import pickle
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from risolve.files import estimates, hdf5
from stages.evaluation.cells import Done, Once, SceneBatch, gathered, made, plan
from stages.evaluation.estimates import joined_estimates, timing_table
from stages.evaluation.truth import SplitTruth

PLANNED = plan([("a", range(5)), ("b", [7, 3, 9]), ("empty", [])], 3)


def read(calls: list[str], value: str) -> str:
    calls.append(value)
    return value


def write(bench: Once[str], batch: SceneBatch[str], path: Path) -> None:
    path.write_text(f"{bench()} {batch.cell} {batch.scenes}", "utf-8")


def write_methods(path: Path, methods: dict[str, int], n_scenes: int, first: float) -> None:
    """Estimates of a batch: method -> number of sources that it finds at (first, first, first), ..."""
    arrays: dict[str, np.ndarray] = {}
    for label, n_sources in methods.items():
        values = first + np.arange(float(n_scenes))
        arrays[f"{label}/sources"] = np.tile(values[:, None, None], (1, n_sources, 3))
        arrays[f"{label}/deviations"] = 0.1 * arrays[f"{label}/sources"]
        arrays[f"{label}/log_likelihood"] = -values
        arrays[f"{label}/count_confidence"] = np.full(n_scenes, np.nan)
        arrays[f"{label}/resolved"] = np.ones(n_scenes, dtype=bool)
        arrays[f"{label}/cpu_s"] = np.array([0.5])
    stamp: dict[str, str | int] = {
        "format": estimates.FORMAT,
        "version": estimates.VERSION,
        "methods": " ".join(methods),
    }
    hdf5.write(path, stamp, arrays)


def test_a_plan_has_every_scene_of_every_cell_once_and_in_order() -> None:
    assert PLANNED == (
        SceneBatch(0, "a", (0, 1, 2)),
        SceneBatch(1, "a", (3, 4)),
        SceneBatch(2, "b", (7, 3, 9)),
    )


def test_what_is_read_once_is_sent_as_how_to_read_it() -> None:
    calls: list[str] = []
    bench = Once(partial(read, calls, "bench"))
    assert bench() == bench() == "bench"
    assert calls == ["bench"]
    sent = pickle.loads(pickle.dumps(bench))
    assert sent() == "bench" and calls == ["bench"]


@pytest.mark.slow
def test_processes_make_the_same_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    found = []
    for workers in (1, 2):
        batches = plan([("a", range(6))], 1)
        make = partial(write, Once(partial(read, [], "bench")))
        with made("verb", f"key-{workers}", make, batches, workers) as (work, done):
            assert work == Path(f"state/verb/key-{workers}")
            found.append([path.read_text("utf-8") for _, path in done])
    assert found == [[f"bench a ({n},)" for n in range(6)]] * 2


def test_batches_are_gathered_by_what_their_cells_share() -> None:
    done = [(batch, Path(f"{batch.number}")) for batch in PLANNED]
    assert gathered(done, lambda cell: cell) == {"a": done[:2], "b": done[2:]}
    assert gathered(done, len) == {1: done}


def test_estimates_lie_in_the_scenes_that_they_are_of(tmp_path: Path) -> None:
    """A wider batch, a batch that a method was not asked about, and scenes in any order."""
    done: Done[str] = [
        (SceneBatch(0, "two", (4, 0)), tmp_path / "0.h5"),
        (SceneBatch(1, "none", (2,)), tmp_path / "1.h5"),
    ]
    write_methods(done[0][1], {"known/music": 2, "estimated/ml": 2}, 2, 1.0)
    write_methods(done[1][1], {"estimated/ml": 4}, 1, 7.0)
    truth = SplitTruth("test_independent", np.full((5, 3, 3), np.nan), np.zeros(5), {})
    music, ml = joined_estimates(truth, done)
    assert (music.method.label, ml.method.label) == ("known/music", "estimated/ml")
    assert music.sources.shape == (5, 3, 3) and ml.sources.shape == (5, 4, 3)
    assert music.asked.tolist() == [True, False, False, False, True]
    assert ml.asked.tolist() == [True, False, True, False, True]
    np.testing.assert_array_equal(ml.log_likelihood, [-2.0, np.nan, -7.0, np.nan, -1.0])
    np.testing.assert_array_equal(ml.sources[4, :, 0], [1.0, 1.0, np.nan, np.nan])
    np.testing.assert_array_equal(ml.deviations[2, :, 0], np.full(4, 0.1 * 7.0))
    assert not music.resolved[2]
    times = timing_table(done).set_index("method")
    assert times["n_scenes"].to_dict() == {"music": 2, "ml": 3}
    assert times.loc["ml", "cpu_ms_per_scene"] == pytest.approx(1000.0 / 3.0)
