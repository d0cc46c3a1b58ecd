"""Tables of the evaluation, from estimates placed by hand."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from risolve.estimators.comparison import Method
from stages.evaluation import counts as evaluation_counts
from stages.evaluation import strata as evaluation_strata
from stages.evaluation import tables as evaluation_tables
from stages.evaluation.estimates import MethodEstimates
from stages.evaluation.strata import Bootstrap, rate_interval
from stages.evaluation.tables import Scoring
from stages.evaluation.truth import SplitTruth
from stages.params.file import read_params
from tests.tiny_run import write_params

DEG = math.pi / 180.0
SCORING = Scoring(tolerance=5.0 * DEG, cutoff=3.0)
BOOTSTRAP = Bootstrap(seed=1, n_samples=200)
EMPTY = (math.nan, math.nan, math.nan)
BOUND_DEG = 0.5
BOUND_PER_M = 0.01
BOUND_M = 0.2


def truth_of(*scenes: list[tuple[float, float, float]], split: str = "test_independent") -> SplitTruth:
    """Scenes given as lists of (azimuth deg, elevation deg, range m), at 10 dB, every bound the same."""
    sources = padded(scenes, 3)
    known = np.where(np.isfinite(sources[..., 0]), 1.0, np.nan)
    return SplitTruth(
        split,
        sources,
        np.full(len(scenes), 10.0),
        {
            "bound_azimuth_deg": BOUND_DEG * known,
            "bound_elevation_deg": BOUND_DEG * known,
            "bound_range_m": 0.1 * known,
            "bound_inverse_range_per_m": BOUND_PER_M * known,
            "bound_position_m": BOUND_M * known,
        },
    )


def estimates_of(*scenes: list[tuple[float, float, float]], method: str = "learned") -> MethodEstimates:
    every = np.ones(len(scenes), dtype=bool)
    sources = padded(scenes, 3)
    nothing = np.full(len(scenes), np.nan)
    return MethodEstimates(
        Method("known", method), sources, np.full_like(sources, 0.1), nothing, nothing, every, every
    )


def padded(scenes: tuple[list[tuple[float, float, float]], ...], slots: int) -> np.ndarray:
    sources = np.full((len(scenes), slots, 3), np.nan)
    for scene, rows in enumerate(scenes):
        for slot, (azimuth, elevation, reach) in enumerate(rows):
            sources[scene, slot] = azimuth * DEG, elevation * DEG, 1.0 / reach
    return sources


def strata_of(truth: SplitTruth, estimates: MethodEstimates) -> pd.Series:
    sources, scenes = evaluation_tables.score(truth, estimates, SCORING)
    strata = evaluation_strata.strata_table(evaluation_tables.with_errors(sources), scenes, BOOTSTRAP)
    assert len(strata) == 1
    return strata.iloc[0]


def test_a_row_for_every_source_matched_missed_or_false() -> None:
    truth = truth_of([(10.0, 0.0, 2.0), (-20.0, 5.0, 4.0)], [(0.0, 0.0, 1.0)])
    estimates = estimates_of([(-20.0, 5.0, 4.0)], [(30.0, 0.0, 1.0), (1.0, 0.0, 1.0)])
    sources, scenes = evaluation_tables.score(truth, estimates, SCORING)
    assert list(sources.columns) == list(evaluation_tables.SOURCES)
    assert sources["outcome"].tolist() == ["missed", "matched", "matched", "false_alarm"]
    assert sources["found"].tolist() == [False, True, True, False]
    missed, matched, near, false = sources.to_dict("records")
    assert math.isnan(missed["estimated_azimuth_deg"])
    assert math.isnan(missed["distance_m"])
    assert matched["azimuth_deg"] == pytest.approx(-20.0)
    assert matched["distance_m"] == pytest.approx(0.0, abs=1e-12)
    assert near["estimated_azimuth_deg"] == pytest.approx(1.0)
    assert math.isnan(near["separation_deg"])
    assert false["estimated_azimuth_deg"] == pytest.approx(30.0)
    assert math.isnan(false["azimuth_deg"])
    assert math.isnan(false["bound_azimuth_deg"])
    assert scenes["n_false"].tolist() == [0, 1]


def test_ratios_are_errors_over_the_bound_of_their_scene() -> None:
    """Azimuth is off by +1 and -3 bounds, inverse range by 2 and 2: sqrt((1 + 9) / 2) and 2."""
    near, far = 1.0 / (0.5 + 2 * BOUND_PER_M), 1.0 / (0.25 + 2 * BOUND_PER_M)
    truth = truth_of([(10.0, 0.0, 2.0)], [(0.0, 0.0, 4.0)])
    cell = strata_of(
        truth, estimates_of([(10.0 + BOUND_DEG, 0.0, near)], [(-3.0 * BOUND_DEG, BOUND_DEG, far)])
    )
    assert cell["rmse_over_bound_azimuth"] == pytest.approx(math.sqrt(5.0))
    assert cell["rmse_over_bound_elevation"] == pytest.approx(math.sqrt(0.5))
    assert cell["rmse_over_bound_inverse_range"] == pytest.approx(2.0)
    assert cell["median_azimuth_deg"] == pytest.approx(2.0 * BOUND_DEG)
    assert cell["rmse_over_bound_azimuth_low"] == pytest.approx(1.0)
    assert cell["rmse_over_bound_azimuth_high"] == pytest.approx(3.0)


def test_only_found_sources_enter_the_ratio_and_all_matched_ones_the_median() -> None:
    truth = truth_of([(10.0, 0.0, 2.0)], [(0.0, 0.0, 4.0)], [(0.0, 0.0, 4.0)])
    estimates = estimates_of([(10.0 + BOUND_DEG, 0.0, 2.0)], [(20.0, 0.0, 4.0)], [(-30.0, 0.0, 4.0)])
    cell = strata_of(truth, estimates)
    assert cell["found_rate"] == pytest.approx(1.0 / 3.0)
    assert cell["rmse_over_bound_azimuth"] == pytest.approx(1.0)
    assert cell["median_azimuth_deg"] == pytest.approx(20.0)


def test_gospa_of_a_stratum_keeps_its_parts() -> None:
    truth = truth_of([(10.0, 0.0, 2.0), (-20.0, 5.0, 4.0)], [(0.0, 0.0, 1.0), (40.0, 0.0, 1.0)])
    cell = strata_of(truth, estimates_of([(12.0, 0.0, 2.0)], [(0.0, 0.0, 1.5), (-50.0, 0.0, 9.0)]))
    parts = [cell[f"gospa_{part}_m"] for part in ("location", "missed", "false")]
    assert cell["gospa_m"] ** 2 == pytest.approx(sum(part**2 for part in parts))
    # One of two is missed in scene 0, and the far pair of scene 1 is one missed and one false: c^2 / 2 each.
    assert parts[1] == pytest.approx(math.sqrt(9.0 / 2.0))
    assert parts[2] == pytest.approx(math.sqrt(9.0 / 4.0))


def test_nothing_measured_is_empty_and_never_zero() -> None:
    unasked = replace(estimates_of([], []), asked=np.zeros(2, dtype=bool))
    cell = strata_of(truth_of([], []), unasked)
    assert (cell["n_true"], cell["n_scenes"]) == (0, 2)
    measured = [
        name
        for name in cell.index
        if name.startswith(("found", "median", "rmse", "gospa", "false")) and pd.notna(cell[name])
    ]
    assert measured == []
    missed = strata_of(truth_of([(0.0, 0.0, 1.0)]), estimates_of([]))
    assert missed["found_rate"] == 0.0
    assert pd.isna(missed["rmse_over_bound_azimuth"])
    assert pd.isna(missed["median_range_m"])


def test_what_is_estimated_where_there_is_no_source_is_a_false_alarm() -> None:
    """Two of three scenes of noise get one estimate each: 2 alarms, GOSPA^2 = c^2 / 2 in two scenes of 3."""
    truth = truth_of([], [], [])
    cell = strata_of(truth, estimates_of([(0.0, 0.0, 1.0)], [], [(20.0, 0.0, 3.0)]))
    assert cell["false_alarms"] == 2
    assert cell["gospa_m"] == pytest.approx(math.sqrt(2.0 / 3.0 * 9.0 / 2.0))
    assert cell["gospa_false_m"] == pytest.approx(cell["gospa_m"])
    assert pd.isna(cell["found_rate"])


def test_pooled_ratio_is_that_of_all_errors_together() -> None:
    """Errors of 1, 2, 2 and -3, 0, 2 bounds of azimuth, elevation, inverse range: sqrt(22 / 6)."""
    near, far = 1.0 / (0.5 + 2 * BOUND_PER_M), 1.0 / (0.25 + 2 * BOUND_PER_M)
    truth = truth_of([(10.0, 0.0, 2.0)], [(0.0, 0.0, 4.0)])
    estimates = estimates_of([(10.0 + BOUND_DEG, 2.0 * BOUND_DEG, near)], [(-3.0 * BOUND_DEG, 0.0, far)])
    cell = strata_of(truth, estimates)
    assert cell["rmse_over_bound_pooled"] == pytest.approx(math.sqrt(22.0 / 6.0))
    assert cell["rmse_over_bound_pooled_low"] == pytest.approx(math.sqrt(9.0 / 3.0))
    assert cell["rmse_over_bound_pooled_high"] == pytest.approx(math.sqrt(13.0 / 3.0))


def test_distances_stand_beside_the_bound_of_the_position() -> None:
    truth = truth_of([(0.0, 0.0, 2.0), (40.0, 0.0, 1.0)])
    cell = strata_of(truth, estimates_of([(0.0, 0.0, 2.5)]))
    assert cell["median_position_m"] == pytest.approx(0.5)
    assert cell["median_bound_position_m"] == pytest.approx(BOUND_M)


def test_an_estimate_at_infinity_has_inverse_range_zero() -> None:
    estimates = estimates_of([(10.0, 0.0, math.inf)])
    sources, scenes = evaluation_tables.score(truth_of([(10.0, 0.0, 5.0)]), estimates, SCORING)
    row = evaluation_tables.with_errors(sources).iloc[0]
    assert row["found"]
    assert row["estimated_range_m"] == row["distance_m"] == math.inf
    assert row["error_inverse_range_per_m"] == pytest.approx(-0.2)
    assert scenes["gospa_m"].iloc[0] == pytest.approx(3.0)


def test_pairs_are_made_by_angle_and_gospa_assigns_in_metres() -> None:
    """Both directions are right and the ranges swapped; each place is nearer to the other source."""
    truth = truth_of([(0.0, 0.0, 10.0), (8.0, 0.0, 4.0)])
    sources, scenes = evaluation_tables.score(
        truth, estimates_of([(0.0, 0.0, 4.0), (8.0, 0.0, 10.0)]), SCORING
    )
    assert sources["found"].tolist() == [True, True]
    np.testing.assert_allclose(sources["distance_m"], 6.0)
    arcs = [2.0 * reach * math.sin(4.0 * DEG) for reach in (10.0, 4.0)]
    assert scenes["gospa_location_m"].iloc[0] == pytest.approx(math.hypot(*arcs))
    assert (scenes["gospa_missed_m"].iloc[0], scenes["n_false"].iloc[0]) == (0.0, 0)


def test_ranges_are_cut_where_the_sources_stand() -> None:
    truth = truth_of([(0.0, 0.0, 0.5), (30.0, 0.0, 2.0), (-40.0, 0.0, 8.0)], [(0.0, 0.0, 8.0)])
    estimates = estimates_of([(0.0, 0.0, 0.6), (30.0, 0.0, 2.0)], [(0.0, 0.0, 4.0)])
    sources, _ = evaluation_tables.score(truth, estimates, SCORING)
    table = evaluation_strata.range_table(evaluation_tables.with_errors(sources), (0.5, 8.0))
    bands = [[5.0, 8.0], [0.5, 1.0], [1.0, 3.0], [5.0, 8.0]]
    assert table["n_sources"].tolist() == [1, 3, 3, 3]
    assert table[["range_from_m", "range_to_m"]].to_numpy().tolist() == bands
    assert table["n_true"].tolist() == [1, 1, 1, 1]
    assert table["found_rate"].tolist() == [1.0, 1.0, 1.0, 0.0]
    np.testing.assert_allclose(table["median_relative_range_error"].iloc[:3], [0.5, 0.2, 0.0], atol=1e-12)


def test_rate_interval_between_scenes_and_sources() -> None:
    """Sources found together or not at all count as one a scene; found independently, all of them count."""
    together = np.array([3.0] * 50 + [0.0] * 50)
    single = np.array([1.0] * 50 + [0.0] * 50)
    np.testing.assert_allclose(rate_interval(together, 3), rate_interval(single, 1), rtol=1e-2)
    spread = np.array([1.0, 2.0] * 50)
    low, high = rate_interval(spread, 3)
    assert high - low < 0.65 * np.subtract(*rate_interval(together, 3)[::-1])


@pytest.mark.parametrize("n_found", [0, 20])
def test_rate_interval_of_all_or_none_is_not_a_point(n_found: int) -> None:
    """Wilson: the far end of the interval of 0 of n or n of n is z^2 / (n + z^2), n the scenes."""
    low, high = rate_interval(np.full(20, n_found / 20.0), 1)
    width = 1.959964**2 / (20 + 1.959964**2)
    assert high - low == pytest.approx(width, rel=1e-6)


def test_intervals_depend_on_the_cell_alone() -> None:
    """An added method leaves the intervals of the others as they are."""
    truth = truth_of(*[[(float(i), 0.0, 2.0)] for i in range(20)])
    noise = np.random.Generator(np.random.Philox(5)).normal(0.0, BOUND_DEG, 20)
    one = estimates_of(*[[(i + noise[i], 0.0, 2.0)] for i in range(20)])
    other = replace(one, method=Method("known", "music"))
    both = [evaluation_tables.score(truth, each, SCORING) for each in (other, one)]
    sources = evaluation_tables.with_errors(pd.concat([rows for rows, _ in both], ignore_index=True))
    scenes = pd.concat([rows for _, rows in both], ignore_index=True)
    table = evaluation_strata.strata_table(sources, scenes, BOOTSTRAP).set_index("method")
    name = "rmse_over_bound_azimuth_low"
    assert table.loc["learned", name] == strata_of(truth, one)[name]
    assert table.loc["learned", name] < table.loc["learned", "rmse_over_bound_azimuth"]


def test_headlines_exist_only_for_cells_that_do() -> None:
    truth = truth_of(*[[(10.0, 0.0, 2.0), (-10.0, 0.0, 2.0), (0.0, 20.0, 3.0)]] * 2)
    exact = estimates_of(*[[(10.0, 0.0, 2.0), (-10.0, 0.0, 2.0), (0.0, 20.0, 3.0)]] * 2)
    sources, scenes = evaluation_tables.score(truth, exact, SCORING)
    sources = evaluation_tables.with_errors(sources)
    strata = evaluation_strata.strata_table(sources, scenes, BOOTSTRAP)
    metrics = evaluation_strata.headline_metrics(strata, sources, 2)
    assert metrics["n_scenes"] == 2
    assert set(metrics) == {"n_scenes", "learned"}
    figures = metrics["learned"]
    assert isinstance(figures, dict)
    assert figures["found_rate_k3_10db"] == 1.0
    assert figures["gospa_m_k3_10db"] == pytest.approx(0.0, abs=1e-9)
    assert "found_rate_k2_5db" not in figures
    assert len(evaluation_strata.HEADLINES) + len(evaluation_strata.PARAMETERS) + 1 <= 10


def test_counts_and_their_accuracy_are_of_methods_that_count() -> None:
    truth = truth_of([], [(10.0, 0.0, 2.0)], [(10.0, 0.0, 2.0)], [(20.0, 0.0, 3.0), (-20.0, 0.0, 3.0)])
    found = estimates_of([], [(10.0, 0.0, 2.0)], [], [(20.0, 0.0, 3.0), (-20.0, 0.0, 3.0), (0.0, 9.0, 1.0)])
    counted = replace(found, method=Method("estimated", "ml"))
    tables = [evaluation_tables.score(truth, each, SCORING) for each in (found, counted)]
    scenes = pd.concat([rows for _, rows in tables], ignore_index=True)
    sources = evaluation_tables.with_errors(pd.concat([rows for rows, _ in tables], ignore_index=True))
    counts = evaluation_counts.count_table(scenes)
    assert counts[["method", "n_sources", "n_estimated", "n_scenes"]].to_numpy().tolist() == [
        ["ml", 0, 0, 1],
        ["ml", 1, 0, 1],
        ["ml", 1, 1, 1],
        ["ml", 2, 3, 1],
    ]
    strata = evaluation_strata.strata_table(sources, scenes, BOOTSTRAP)
    accuracy = strata[strata["count"] == "estimated"].set_index("n_sources")["count_accuracy"]
    assert accuracy.to_dict() == {0: 1.0, 1: 0.5, 2: 0.0}
    assert strata[strata["count"] == "known"]["count_accuracy"].isna().all()


def test_stated_confidences_are_held_against_the_share_that_is_right() -> None:
    """Of four scenes stated at .6, .6, .97 and 1.0 the second alone is counted wrong."""
    place = [(10.0, 0.0, 2.0)]
    truth = truth_of([], place, place, place)
    found = estimates_of([], [], place, place)
    counted = replace(
        found,
        method=Method("estimated", "learned"),
        count_confidence=np.array([0.6, 0.6, 0.97, 1.0]),
    )
    silent = replace(found, method=Method("estimated", "ml"))
    scenes = pd.concat(
        [evaluation_tables.score(truth, one, SCORING)[1] for one in (found, counted, silent)],
        ignore_index=True,
    )
    own = scenes[scenes["method"] == "learned"]
    assert own.loc[own["count"] == "estimated", "count_confidence"].tolist() == [0.6, 0.6, 0.97, 1.0]
    assert scenes.loc[scenes["count"] == "known", "count_confidence"].isna().all()
    table = evaluation_counts.confidence_table(scenes, (-5.0, 20.0))
    assert set(table["method"]) == {"learned"}
    numbers = table.drop(columns=["split", "method"]).to_numpy(dtype=float)
    expected = [
        [0.5, 0.7, 0.6, 0.5, -0.1, 2],
        [0.95, 0.99, 0.97, 1.0, 0.03, 1],
        [0.99, 1.0, 1.0, 1.0, 0.0, 1],
        [0.0, 1.0, 0.7925, 0.75, -0.0425, 4],
    ]
    np.testing.assert_allclose(numbers, expected, atol=1e-12)


def test_stated_confidences_are_of_scenes_with_an_snr_of_the_training() -> None:
    """The truth of these scenes is at one SNR; just beside it there is nothing to hold."""
    place = [(10.0, 0.0, 2.0)]
    truth = truth_of(place)
    found = replace(
        estimates_of(place), method=Method("estimated", "learned"), count_confidence=np.array([0.6])
    )
    _, scenes = evaluation_tables.score(truth, found, SCORING)
    snr_db = float(scenes["snr_db"].iloc[0])
    assert len(evaluation_counts.confidence_table(scenes, (snr_db, snr_db))) == 2
    for beside in ((snr_db - 9.0, snr_db - 0.1), (snr_db + 0.1, snr_db + 9.0)):
        assert evaluation_counts.confidence_table(scenes, beside).empty


def test_the_snr_of_the_training_is_that_of_all_its_strata(tmp_path: Path) -> None:
    strata = {
        "a": {"n_sources": [1, 1], "snr_db": [-3.0, 4.0], "n_scenes": 4},
        "b": {"n_sources": [0, 1], "snr_db": [2.0, 9.0], "n_scenes": 4},
    }
    high = {"only": {"n_sources": [1, 1], "snr_db": [5.0, 11.0], "n_scenes": 4}}
    changes = {"simulate.train.strata": strata, "simulate.train_constant.strata": high}
    params = read_params(write_params(tmp_path, changes))
    assert evaluation_counts.trained_snr_db(params) == (-3.0, 11.0)


def test_where_nobody_states_a_confidence_the_table_has_its_columns_alone() -> None:
    truth = truth_of([(10.0, 0.0, 2.0)])
    _, scenes = evaluation_tables.score(truth, estimates_of([(10.0, 0.0, 2.0)]), SCORING)
    table = evaluation_counts.confidence_table(scenes, (-5.0, 20.0))
    assert table.empty and "gap" in table


def test_calibration_is_the_share_inside_the_stated_deviations() -> None:
    """Errors of 0.5, 1.5 and 2.5 stated standard deviations of azimuth; a source astray is not among them."""
    std_deg = 0.4
    truth = truth_of(*[[(10.0, 0.0, 2.0)]] * 4)
    estimates = estimates_of(*[[(10.0 + n * std_deg, 0.0, 2.0)] for n in (0.5, -1.5, 2.5, 40.0)])
    stated = replace(estimates, deviations=np.full_like(estimates.sources, std_deg * DEG))
    sources, _ = evaluation_tables.score(truth, stated, SCORING)
    table = evaluation_counts.calibration_table(evaluation_tables.with_errors(sources))
    row = table[table["parameter"] == "azimuth"].iloc[0]
    assert row["n_sources_found"] == 3
    assert row["within_1_std"] == pytest.approx(1 / 3)
    assert row["within_2_std"] == pytest.approx(2 / 3)


def test_deviations_that_are_not_known_are_not_counted() -> None:
    truth = truth_of([(10.0, 0.0, 2.0)])
    unknown = replace(estimates_of([(10.0, 0.0, 2.0)]), deviations=np.full((1, 3, 3), np.nan))
    sources, _ = evaluation_tables.score(truth, unknown, SCORING)
    assert evaluation_counts.calibration_table(evaluation_tables.with_errors(sources)).empty
