"""`calibrate` from the door: what is known of sources, what is left out, what is refused."""

import math
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import risolve
from risolve.calibration.unknowns import Priors
from risolve.files.located_sources import VALUES
from risolve.leaving_out import LeftOut
from tests.calibration.worlds import (
    COUPLING,
    HEADING,
    LOG_GAIN,
    LOG_SCALE,
    PHASE,
    RANGE_OFFSET,
    World,
    world,
)
from tests.messages import shows

LINE = risolve.linear(8, 0.05, 0.1)
PLANE: dict[str, Any] = {"elevation": 0, "range": np.inf}


def line(n_sources: int = 1, n_scenes: int = 16, snr_db: float = 15.0, **changes: Any) -> World:
    """Plane waves on eight antennas of unlike gains."""
    far = {"nearest": math.inf, "farthest": math.inf, "elevation": 0.0}
    return world(
        "gains",
        array=LINE,
        n_antennas=None,
        n_sources=n_sources,
        n_scenes=n_scenes,
        snr_db=snr_db,
        **far,
        **changes,
    )


def azimuths(made: World) -> np.ndarray:
    found: np.ndarray = torch.rad2deg(made.placed.sources[..., 0]).numpy()
    return found


def phase_errors(found: risolve.CalibratedArray, made: World) -> np.ndarray:
    """Degrees, beside a common phase."""
    off = np.angle(found.element_gains / made.true.element_gains.numpy())
    return np.rad2deg(off - off.mean())


def test_known_places_show_the_gains_and_the_sources_are_found_better() -> None:
    made = line()
    seen = made.placed.observation
    found = risolve.calibrate(seen, unknown=["gains"], truth={"azimuth": azimuths(made)}, folds=4, **PLANE)
    assert found.is_better and not found.outlying
    stated = found.deviations["gain_phase_deg"]
    assert np.sqrt(np.mean((phase_errors(found, made) / stated) ** 2)) < 2.0
    # nothing is said of scenes that fit
    after = risolve.locate(seen, sources=1, calibration=found, **PLANE)["azimuth_deg"] - azimuths(made)[:, 0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nominal = risolve.locate(seen, sources=1, **PLANE)["azimuth_deg"] - azimuths(made)[:, 0]
    assert np.sqrt(np.mean(after**2)) < 0.7 * np.sqrt(np.mean(nominal**2))
    table = found.to_pandas()
    assert list(table.columns[:4]) == ["element", "x_m", "y_m", "z_m"] and len(table) == 8
    np.testing.assert_allclose(table.gain_std_phase_deg, stated)
    assert "common phase" in repr(found)


def test_every_known_source_is_left_out_once_with_the_others_at_its_place() -> None:
    made = line()
    sources = made.placed.sources[[0, 0, *range(2, 16)]]
    seen = made.placed.observation
    twice = replace(seen, snapshots=seen.snapshots[[0, 0, *range(2, 16)]])
    truth = {"azimuth": np.rad2deg(sources[..., 0].numpy())}
    found = risolve.calibrate(twice, unknown=["gains"], truth=truth, folds=3, **PLANE)
    assert isinstance(found.left_out, pd.DataFrame)
    assert sorted(found.left_out.scene) == list(range(16))
    first, second = (found.left_out[found.left_out.scene == scene].iloc[0] for scene in (0, 1))
    assert first.azimuth_error_after_deg == pytest.approx(second.azimuth_error_after_deg, abs=1e-6)
    assert risolve.calibrate(twice, unknown=["gains"], truth=truth, folds=0, **PLANE).left_out is None


def test_several_observations_of_some_known_scenes_make_one_array() -> None:
    """NaN is not known: such scenes are found with the array."""
    made = line(n_scenes=24, priors=Priors(LOG_GAIN, PHASE, None))
    seen, known = made.placed.observation, azimuths(made)
    parts = [seen.select(slice(0, 10)), seen.select(slice(10, 24))]
    truth = [{"azimuth": known[:10]}, {"azimuth": np.where(np.arange(14)[:, None] < 6, known[10:], np.nan)}]
    found = risolve.calibrate(
        parts,
        unknown=["gains"],
        truth=truth,
        folds=0,
        gain_deviation_db=1.0,
        phase_deviation_deg=20.0,
        **PLANE,
    )
    assert np.sqrt(np.mean((phase_errors(found, made) / found.deviations["gain_phase_deg"]) ** 2)) < 2.0


def test_sources_of_which_a_coordinate_is_known_are_told_apart_by_it() -> None:
    """Two near sources in any order: their azimuths are known, ranges and elevations are not."""
    made = world("heading", n_antennas=None, n_scenes=10, n_sources=2, snr_db=20.0, farthest=0.8, seed=3)
    found = risolve.calibrate(
        made.placed.observation,
        unknown=["heading"],
        truth={"azimuth": azimuths(made)},
        range=(0.2, 3.0),
        folds=0,
    )
    assert found.heading_deg is not None
    off = found.heading_deg - math.degrees(made.true.heading or 0.0)
    assert abs(off) < 4.0 * float(found.deviations["heading_deg"][0])


BLIND: dict[str, Any] = {"sources": 1, "gain_deviation_db": 1.0, "phase_deviation_deg": 20.0, **PLANE}


def test_blind_scenes_that_are_left_out_say_whether_the_array_is_better() -> None:
    """Without a prior that says as much, plane waves leave a turn of all that is not known."""
    made = line(snr_db=20.0, n_scenes=24, priors=Priors(LOG_GAIN, PHASE, None))
    found = risolve.calibrate(made.placed.observation, unknown=["gains"], folds=3, **BLIND)
    assert found.is_better and found.left_out is None and found.held_out is not None
    assert sorted(found.held_out.scene) == list(range(24))
    gained = found.held_out.log_likelihood_after - found.held_out.log_likelihood_before
    assert (gained > 0.0).mean() > 0.7
    # the linear phase is told by the stated deviations alone, which leave the turn of a line of 8
    x = 2.0 * math.pi / 0.1 * LINE.elements[:, 0].numpy()
    turn = PHASE / np.sqrt(np.sum(x**2))
    assert found.excess[0] == pytest.approx(turn, rel=0.5) and np.isnan(found.excess[1:]).all()
    error = (
        azimuths(made)[:, 0]
        - risolve.locate(made.placed.observation, sources=1, calibration=found, **PLANE).to_pandas()[
            "azimuth_deg"
        ]
    )
    assert abs(error.mean()) < 3.0 * np.rad2deg(found.excess[0])
    none = risolve.calibrate(made.placed.observation, unknown=["gains"], folds=0, **BLIND)
    assert none.held_out is None and np.isnan(none.excess).all()


def test_blind_scenes_of_other_arrays_leave_it_nominal() -> None:
    """Every scene through gains of its own: the others show nothing of it."""
    made = line(snr_db=20.0, n_scenes=6)
    wild = torch.from_numpy(np.exp(1j * np.random.default_rng(1).uniform(-1.0, 1.0, (6, 1, 8))))
    seen = replace(made.placed.observation, snapshots=made.placed.observation.snapshots * wild)
    with pytest.warns(UserWarning, match=shows("log-likelihood ... nominal")):
        found = risolve.calibrate(seen, unknown=["gains"], folds=6, **BLIND)
    assert not found.is_better and np.isnan(found.excess).all()
    np.testing.assert_array_equal(found.element_gains, np.ones(8))


def test_blind_scenes_do_not_tell_a_turn() -> None:
    made = line()
    with pytest.warns(UserWarning, match="nominal"):
        found = risolve.calibrate(made.placed.observation, unknown=["heading"], sources=1, folds=2, **PLANE)
    assert found.heading_deg == pytest.approx(0.0, abs=1e-6)
    assert np.isnan(found.deviations["heading_deg"]).all() and np.isnan(found.excess).all()
    assert len(found.not_told) == 1 and "heading" in found.not_told[0]


def test_a_turntable_that_is_off_is_found_beside_the_coupling_of_an_array() -> None:
    made = world(
        "coupling",
        "truth_azimuth",
        array=LINE,
        n_antennas=None,
        n_scenes=16,
        nearest=math.inf,
        farthest=math.inf,
        elevation=0.0,
    )
    found = risolve.calibrate(
        made.placed.observation,
        unknown=["truth_azimuth", "coupling"],
        truth={"azimuth": azimuths(made)},
        folds=4,
        **PLANE,
    )
    assert found.is_better and found.coupling is not None and list(found.truth) == ["azimuth_deg"]
    off = np.array([found.coupling.real, found.coupling.imag]) - COUPLING
    assert (np.abs(off) < 4.0 * found.deviations["coupling"]).all()
    off_by = found.truth["azimuth_deg"] - math.degrees(HEADING)
    assert abs(off_by) < 4.0 * float(found.deviations["truth_azimuth_deg"][0]) < 0.5
    true = azimuths(made)[:, 0] + math.degrees(HEADING)
    located = risolve.locate(made.placed.observation, sources=1, calibration=found, **PLANE)["azimuth_deg"]
    assert np.sqrt(np.mean((located - true) ** 2)) < 0.5


def test_ranges_of_a_truth_have_a_scale_and_an_offset() -> None:
    made = world(
        "truth_range", "truth_scale", n_antennas=None, n_scenes=16, nearest=0.2, farthest=0.6, snr_db=20.0
    )
    azimuth, elevation, by_range = (values.numpy() for values in made.placed.sources.unbind(-1))
    places = {"azimuth": np.rad2deg(azimuth), "elevation": np.rad2deg(elevation), "range": 1.0 / by_range}
    found = risolve.calibrate(
        made.placed.observation, unknown=["truth_range", "truth_scale"], truth=places, folds=2
    )
    for name, true in (("range_m", RANGE_OFFSET), ("range_scale", math.exp(LOG_SCALE))):
        assert abs(found.truth[name] - true) < 4.0 * float(found.deviations[f"truth_{name}"][0]) < 0.1


def test_a_wrong_truth_is_a_warning() -> None:
    made = line()
    wrong = azimuths(made)
    wrong[5] = -wrong[5] + 20.0
    with pytest.warns(UserWarning, match=shows("observation 0 ... [5]")):
        found = risolve.calibrate(
            made.placed.observation, unknown=["gains"], truth={"azimuth": wrong}, folds=3, **PLANE
        )
    assert found.outlying == ((0, 5),) and found.is_better


def test_what_is_not_better_stays_nominal_and_is_a_warning() -> None:
    """A truth of other scenes shows nothing."""
    made = line()
    other = {"azimuth": azimuths(made)[::-1].copy()}
    with pytest.warns(UserWarning, match="nominal"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="observation 0")
        found = risolve.calibrate(made.placed.observation, unknown=["gains"], truth=other, folds=2, **PLANE)
    assert not found.is_better
    np.testing.assert_array_equal(found.element_gains, np.ones(8))


def test_excess_is_what_errors_have_beside_their_deviations() -> None:
    """Of equal deviations tau^2 = mean e^2 - s^2; scenes that do not fit take no part."""
    errors = np.full((4, 3), np.nan)
    errors[:, 0] = [0.03, -0.05, 0.04, 0.9]
    errors[:, 2] = [0.01, 0.01, np.inf, 0.01]
    stated = np.full((4, 3), 0.02)
    rows = np.zeros((4, 3), dtype=np.int64)
    outlying = np.array([0, 0, 0, 1])
    checked = LeftOut(rows, 2.0 * errors, stated, errors, stated, outlying, of_ranges=False)
    found = checked.excess()
    assert found[0] ** 2 == pytest.approx((0.0009 + 0.0025 + 0.0016) / 3.0 - 0.0004)
    assert np.isnan(found[1]) and found[2] == 0.0


def test_one_error_does_not_outweigh_the_others() -> None:
    """What is not found, or found far away, counts as 5 degrees; ranges alone are judged by their median."""
    before, after = np.full((2, 8, 3), np.nan)
    before[:, 0] = np.deg2rad(2.0)
    after[:, 0] = np.deg2rad([1.0, -1.0, 1.0, -1.0, 1.0, 1.0, 60.0, np.inf])
    rows, stated = np.zeros((8, 3), dtype=np.int64), np.ones((8, 3))
    checked = LeftOut(rows, before, stated, after, stated, np.zeros(8, dtype=np.int64), of_ranges=False)
    assert np.rad2deg(checked.typical(after)) == pytest.approx((6 * 1.0 + 2 * 5.0) / 8)
    assert checked.typical(before) == pytest.approx(np.deg2rad(2.0)) and not checked.is_better
    assert replace_after(checked, np.deg2rad([1.0] * 7 + [60.0])).is_better
    by_range = np.full((3, 3), np.nan)
    by_range[:, 2] = [0.1, -0.2, np.inf]
    assert checked._replace(of_ranges=True).typical(by_range) == pytest.approx(0.2)


def replace_after(checked: LeftOut, azimuth: np.ndarray) -> LeftOut:
    """With other errors of azimuth behind the calibration."""
    after = np.full_like(checked.after, np.nan)
    after[:, 0] = azimuth
    return checked._replace(after=after)


def test_located_deviations_hold_the_excess() -> None:
    made = line()
    seen, truth = made.placed.observation, {"azimuth": azimuths(made)}
    found = risolve.calibrate(seen, unknown=["gains"], truth=truth, folds=0, **PLANE)
    wide = replace(found, excess=np.array([0.01, np.nan, np.nan]))
    narrow = replace(found, excess=np.zeros(3))
    one, other = (
        risolve.locate(seen, sources=1, calibration=each, **PLANE)["azimuth_std_deg"]
        for each in (narrow, wide)
    )
    np.testing.assert_allclose(other**2, one**2 + np.rad2deg(0.01) ** 2)
    values = np.full((1, len(VALUES)), 1.0)
    values[0, VALUES.index("range_m")] = 2.0
    by_range = replace(found, excess=np.array([0.0, 0.0, 0.5])).widened(values)[0]
    assert by_range[VALUES.index("range_std_m")] == pytest.approx(math.hypot(1.0, 0.5 * 4.0))


MADE = line(n_scenes=4)
SEEN, TRUTH = MADE.placed.observation, {"azimuth": azimuths(MADE)}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"unknown": []}, "got []"),
        ({"unknown": ["phases"]}, "got ['phases']"),
        ({"unknown": ["positions"]}, "position_deviation"),
        ({"unknown": ["positions"], "position_deviation": 0.0}, "position_deviation ... got 0"),
        ({"gain_deviation_db": -1.0}, "gain_deviation ... got -"),
        ({"truth": None}, "sources"),
        ({"truth": {"angle": 1.0}}, "got 'angle'"),
        ({"truth": {"azimuth": np.zeros(5)}}, "4 scenes ... {'azimuth': [5]}"),
        ({"truth": {"azimuth": np.zeros((4, 2))}, "sources": 1}, "1 sources ... [4, 2]"),
        ({"truth": {"azimuth": np.full(4, 100.0)}}, "azimuth ... got 100"),
        ({"truth": {"azimuth": np.full(4, math.pi / 4)}}, "radians"),
        ({"truth": {**TRUTH, "elevation": 5.0}}, "elevation ... got 5"),
        ({"truth": {**TRUTH, "range": -1.0}}, "range ... got -1"),
        ({"truth": [TRUTH, TRUTH]}, "1; got 2"),
        ({"azimuth": (-5, 5)}, "azimuth ... scene"),
        ({"observations": [SEEN, replace(SEEN, array=risolve.linear(8, 0.05, 0.2))]}, "0.1 ... 0.2 in 1"),
        ({"observations": [SEEN, replace(SEEN, array=risolve.linear(8, 0.04, 0.1))]}, "m between"),
        ({"observations": replace(SEEN, noise_power=None, noise="antennas")}, "noise ... observation 0"),
        (
            {"observations": replace(SEEN, source_model="constant", gains="equal")},
            "gains = equal ... observation 0",
        ),
        ({"observations": []}, "none"),
        ({"folds": 1}, "folds ... got 1"),
    ],
)
def test_what_is_impossible_is_refused(changes: dict[str, Any], said: str) -> None:
    arguments = {"observations": SEEN, "unknown": ["gains"], "truth": TRUTH, **PLANE, **changes}
    with pytest.raises(ValueError, match=shows(said)):
        risolve.calibrate(arguments.pop("observations"), **arguments)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"unknown": "gains"}, "'gains'"),
        ({"truth": 3.0}, "truth"),
        ({"truth": {"azimuth": np.zeros(4, dtype=complex)}}, "azimuth ... complex128"),
        ({"observations": 3}, "int"),
        ({"observations": [3]}, "int"),
    ],
)
def test_what_is_of_another_kind_is_refused(changes: dict[str, Any], said: str) -> None:
    arguments = {"observations": SEEN, "unknown": ["gains"], "truth": TRUTH, **PLANE, **changes}
    with pytest.raises(TypeError, match=shows(said)):
        risolve.calibrate(arguments.pop("observations"), **arguments)


def test_a_calibration_is_asked_for_by_its_kind() -> None:
    with pytest.raises(TypeError, match="float"):
        risolve.locate(SEEN, sources=1, calibration=1.0, **PLANE)  # type: ignore[arg-type]
