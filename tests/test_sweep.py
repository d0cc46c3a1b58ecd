"""The sweep over impairments: one thing changes at a time, resumable, the same for any number of workers."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from risolve.errors import CheckpointError, ParameterError
from risolve.estimators.registry import REGISTRY
from risolve.files.model import read_network
from risolve.networks.trained import uncalibrated
from stages import sweep as sweep_verb
from stages.bound import bound
from stages.evaluation.cells import Once, SceneBatch
from stages.evaluation.departures import Point, draw_scenes, points, truth_of
from stages.page import sweep as sweep_figure
from stages.params import estimators
from stages.params.file import read_params
from stages.params.model import Params
from stages.sweep import plan, sweep
from tests import tolerances
from tests.checkpoints import write_untrained
from tests.messages import shows
from tests.tiny_run import call_verb, run_verb, write_params

FEW = {
    "evaluate.estimators": ["music", "learned"],
    "evaluate.blind": [],
    "evaluate.batch_size": 2,
    "evaluate.workers": 1,
    "evaluate.bootstrap_samples": 20,
    "sweep.n_scenes": 3,
    "sweep.points.position_jitter_m": [0.0, 0.02],
    "sweep.points.phase_error_deg": [0.0],
    "sweep.points.dead_fraction": [0.0],
    "sweep.points.channel_error": [0.0, 0.5],
}
CSV, SVG = Path("data/sweep/impairments.csv"), Path("data/sweep/impairments.svg")
METHODS = ["music", "music+ml", "learned"]
IMPAIRED = [
    Point("position_jitter_m", 0.02),
    Point("phase_error_deg", 60.0),
    Point("dead_fraction", 0.3),
    Point("channel_error", 0.5),
]


def make_inputs(directory: Path, **changes: object) -> Params:
    """Parameters, and a network that was not trained."""
    params = read_params(write_params(directory, {**FEW, **changes}))
    (directory / "data/calibration").mkdir(parents=True)
    write_untrained(directory / "data/calibration/learned.pt", uncalibrated(0.3), params)
    return params


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working copy in which `sweep` has run; tests change copies of it."""
    root = tmp_path_factory.mktemp("swept")
    make_inputs(root)
    call_verb(root, sweep_verb.main)
    return root


@pytest.fixture(scope="module")
def params(swept: Path) -> Params:
    return read_params(swept / "params.yaml")


def test_level_0_of_every_impairment_is_the_same_system(swept: Path) -> None:
    table = pd.read_csv(swept / CSV)
    clean = {name: rows.drop(columns="impairment") for name, rows in table.groupby("impairment")}
    clean = {name: rows[rows["level"] == 0.0].reset_index(drop=True) for name, rows in clean.items()}
    assert len(clean) == 4
    for rows in clean.values():
        assert len(rows) == len(METHODS)
        pd.testing.assert_frame_equal(rows, clean["dead_fraction"])


def test_every_point_has_a_row_a_method(swept: Path, params: Params) -> None:
    table = pd.read_csv(swept / CSV)
    keys = table[["impairment", "level"]].drop_duplicates().itertuples(index=False, name=None)
    assert list(keys) == [(point.impairment, point.level) for point in points(params)]
    for _, rows in table.groupby(["impairment", "level"]):
        assert rows["method"].tolist() == METHODS
        assert set(rows["count"]) == {"known"}
        assert set(rows["n_sources"]) == {2}
        assert set(rows["n_scenes"]) == {3}
        assert rows["found_rate"].between(0.0, 1.0).all()


def test_the_default_holds_every_estimator_and_the_clean_system(tmp_path: Path) -> None:
    params = read_params(write_params(tmp_path))
    assert set(params.evaluate.estimators) <= set(REGISTRY)
    assert "learned" in params.evaluate.estimators
    own = params.sweep.points.model_dump()
    assert all(levels[0] == 0.0 for levels in own.values())
    # the clean system once, every other point once
    assert len({batch.cell.label for batch in plan(params)}) == 1 + sum(len(own[k]) - 1 for k in own)


def test_batches_hold_every_scene_of_every_different_point_once(params: Params) -> None:
    batches = plan(params)
    labels = list(dict.fromkeys(batch.cell.label for batch in batches))
    assert len(labels) == 3
    for label in labels:
        numbers = [batch.scenes for batch in batches if batch.cell.label == label]
        assert numbers == [(0, 1), (2,)]


@pytest.mark.parametrize("point", IMPAIRED, ids=[point.impairment for point in IMPAIRED])
def test_a_level_changes_the_snapshots_and_nothing_that_is_known(params: Params, point: Point) -> None:
    clean, found = (draw_scenes(params, own, range(4)) for own in (Point("channel_error", 0.0), point))
    assert torch.equal(found.sources.nan_to_num(), clean.sources.nan_to_num())
    assert torch.equal(found.amplitudes.nan_to_num(), clean.amplitudes.nan_to_num())
    assert torch.equal(found.observation.channel, clean.observation.channel)
    assert torch.equal(found.observation.codes, clean.observation.codes)
    assert torch.equal(found.observation.array.elements, clean.observation.array.elements)
    difference = found.observation.snapshots - clean.observation.snapshots
    assert (difference.abs().amax((1, 2)) > 0.0).all()


def test_a_small_level_is_close_to_none(params: Params) -> None:
    """The draws of a departure are scaled: its effect on the snapshots is linear where it is small."""
    clean, small, double = (
        draw_scenes(params, Point("channel_error", level), range(4)).observation.snapshots
        for level in (0.0, 1e-3, 2e-3)
    )
    ratio = (double - clean).norm() / (small - clean).norm()
    torch.testing.assert_close(ratio, torch.tensor(2.0), rtol=0.02, atol=0.0)


def test_a_scene_does_not_depend_on_the_scenes_with_it(params: Params) -> None:
    point = Point("phase_error_deg", 60.0)
    together = draw_scenes(params, point, range(5)).observation
    alone = draw_scenes(params, point, range(3, 4)).observation
    torch.testing.assert_close(alone.snapshots[0], together.snapshots[3], rtol=1e-5, atol=1e-6)
    assert torch.equal(alone.channel[0], together.channel[3])


def test_a_fixed_installation_is_that_of_the_data_sets(tmp_path: Path) -> None:
    params = read_params(write_params(tmp_path, {**FEW, "channel.per_scene": False}))
    clean, found = (
        draw_scenes(params, Point("phase_error_deg", level), range(3)).observation for level in (0.0, 20.0)
    )
    assert found.channel.shape[0] == 1
    assert torch.equal(found.channel, clean.channel)


def test_the_truth_has_the_bound_of_the_known_system(params: Params) -> None:
    """The conditional bound of the verb `bound`, at the noise of the impaired scene."""
    point = Point("phase_error_deg", 60.0)
    expected = bound(draw_scenes(params, point, range(3))).conditional
    truth = truth_of(params, point)
    assert truth.n_sources.tolist() == [2] * 3
    for name, values in (
        ("bound_azimuth_deg", torch.rad2deg(expected.azimuth)),
        ("bound_elevation_deg", torch.rad2deg(expected.elevation)),
        ("bound_range_m", expected.range),
        ("bound_inverse_range_per_m", expected.inverse_range),
        ("bound_position_m", expected.position),
    ):
        torch.testing.assert_close(torch.from_numpy(truth.bounds[name]), values[:, :2])


def test_estimates_are_of_the_number_of_sources_told(swept: Path, params: Params) -> None:
    network = read_network(swept / "data/calibration/learned.pt", params.of_model())
    comparison = replace(estimators.comparison(params), genie_starts=0)
    found = sweep(draw_scenes(params, IMPAIRED[0], range(3)), network, comparison, params)
    assert [method.name for method in found] == METHODS
    assert all(timed.estimate.sources.shape[:2] == (3, 2) for timed in found.values())


def test_an_interrupted_run_ends_with_the_same_bytes(
    swept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_inputs(tmp_path)
    whole = sweep_verb.make_batch
    made: list[int] = []

    def interrupted(
        params: Params, bench: Once[sweep_verb.SweepBench], batch: SceneBatch[Point], path: Path
    ) -> None:
        made.append(batch.number)
        if made.count(4) == 1 and batch.number == 4:
            raise KeyboardInterrupt
        whole(params, bench, batch, path)

    monkeypatch.setattr(sweep_verb, "make_batch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        call_verb(tmp_path, sweep_verb.main)
    assert not (tmp_path / CSV).exists()
    call_verb(tmp_path, sweep_verb.main)
    assert made == [0, 1, 2, 3, 4, 4, 5]
    for path in (CSV, SVG):
        assert (tmp_path / path).read_bytes() == (swept / path).read_bytes(), path
    assert not list((tmp_path / "state/sweep").glob("*/"))


@pytest.mark.slow
def test_workers_change_no_byte(swept: Path, tmp_path: Path) -> None:
    shutil.copytree(swept / "data/calibration", tmp_path / "data/calibration")
    write_params(tmp_path, {**FEW, "evaluate.workers": 2})
    ended = run_verb(tmp_path, "sweep")
    assert ended.returncode == 0, ended.stderr
    assert "sweep: 6 of 6 batches" in ended.stderr
    for path in (CSV, SVG):
        assert (tmp_path / path).read_bytes() == (swept / path).read_bytes(), path


@pytest.mark.slow
def test_more_impairment_finds_less(tmp_path: Path) -> None:
    """A rate over n sources has a variance of at most 1 / (4 n), the difference of two of at most 1 / (2 n).

    The same draws at every level only lower that.
    """
    n, levels = 120, [0.0, 30.0, 60.0, 120.0]
    make_inputs(
        tmp_path,
        **{
            "evaluate.estimators": ["music", "nomp"],
            "evaluate.batch_size": 60,
            "sweep.n_scenes": n,
            "sweep.n_sources": 1,
            "sweep.snr_db": 20.0,
            "sweep.points.position_jitter_m": [0.0],
            "sweep.points.phase_error_deg": levels,
            "sweep.points.channel_error": [0.0],
        },
    )
    call_verb(tmp_path, sweep_verb.main)
    table = pd.read_csv(tmp_path / CSV)
    own = table[table["impairment"] == "phase_error_deg"]
    most = tolerances.SIGMAS * (2.0 * n) ** -0.5
    for method in ("music+ml", "nomp"):
        rates = own[own["method"] == method]["found_rate"].to_numpy()
        assert len(rates) == len(levels)
        assert (np.diff(rates) < most).all(), (method, rates)
        assert rates[0] - rates[-1] > most, (method, rates)


def test_the_figure_has_eight_panels(swept: Path) -> None:
    """It is drawn from the table, so that the table alone makes it again."""
    drawn = sweep_figure.impairment_figure(pd.read_csv(swept / CSV))
    assert drawn == (swept / SVG).read_bytes()
    assert drawn.count(b'<g id="axes_') == 8


def test_nothing_found_leaves_panels_empty(swept: Path) -> None:
    table = pd.read_csv(swept / CSV)
    table["found_rate"], table["rmse_over_bound_pooled"] = 0.0, np.nan
    assert sweep_figure.impairment_figure(table).count(b'<g id="axes_') == 8


def test_what_is_wrong_is_named(swept: Path, tmp_path: Path) -> None:
    write_params(tmp_path, FEW)
    with pytest.raises(CheckpointError, match=r"data/calibration/learned\.pt"):
        call_verb(tmp_path, sweep_verb.main)
    shutil.copytree(swept / "data/calibration", tmp_path / "data/calibration")
    write_params(tmp_path, {**FEW, "sweep.points.dead_fraction": [0.9999]})
    message = "sweep.points.dead_fraction: ... SNR ... scenes [0, 1] ... 0.9999"
    with pytest.raises(ParameterError, match=shows(message)):
        call_verb(tmp_path, sweep_verb.main)
    assert not (tmp_path / CSV).exists()
