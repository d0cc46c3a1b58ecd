import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from risolve.metrics import localization
from risolve.metrics.localization import gospa
from tests import tolerances
from tests.messages import shows
from tests.oracles import gospa as oracle
from tests.oracles.steering import position


def points(seed: int, count: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-2.0, 2.0, (count, 3))


SETS = {"n_truth": st.integers(0, 4), "n_estimate": st.integers(0, 4), "seed": st.integers(0, 2**16)}


@pytest.mark.parametrize("p", [1, 2])
@given(**SETS, cutoff=st.floats(0.1, 5.0))
def test_gospa_is_the_least_over_all_pairings(
    p: int, n_truth: int, n_estimate: int, seed: int, cutoff: float
) -> None:
    truth, estimate = points(seed, n_truth), points(seed + 1, n_estimate)
    expected = oracle.gospa(truth.tolist(), estimate.tolist(), cutoff, p)
    assert gospa(truth, estimate, cutoff, p).total == pytest.approx(expected, rel=tolerances.DOUBLE)


@given(**SETS)
def test_gospa_is_the_sum_of_its_parts(n_truth: int, n_estimate: int, seed: int) -> None:
    score = gospa(points(seed, n_truth), points(seed + 1, n_estimate), cutoff=1.5)
    assert score.total**2 == pytest.approx(
        score.location**2 + score.missed**2 + score.false**2, rel=tolerances.DOUBLE
    )
    assert score.n_assigned + score.n_missed == n_truth
    assert score.n_assigned + score.n_false == n_estimate
    assert score.missed**2 == pytest.approx(score.n_missed * 1.5**2 / 2)
    assert score.false**2 == pytest.approx(score.n_false * 1.5**2 / 2)


@given(counts=st.tuples(*[st.integers(0, 4)] * 3), seed=st.integers(0, 2**16))
def test_gospa_is_a_metric(counts: tuple[int, int, int], seed: int) -> None:
    """Symmetric, zero on the diagonal, and obeying the triangle inequality."""
    x, y, z = (points(seed + offset, count) for offset, count in enumerate(counts))

    def distance(first: np.ndarray, second: np.ndarray) -> float:
        return gospa(first, second, cutoff=1.5).total

    assert distance(x, x) == 0.0
    assert distance(x, y) == pytest.approx(distance(y, x), rel=tolerances.DOUBLE)
    assert distance(x, z) <= distance(x, y) + distance(y, z) + tolerances.DOUBLE


def test_gospa_parts_tell_missed_from_false() -> None:
    truth = np.array([[0.0, 0.0, 1.0], [0.0, 0.0, 5.0]])
    missed = gospa(truth, truth[:1], cutoff=2.0)
    assert (missed.n_missed, missed.n_false, missed.missed**2) == (1, 0, pytest.approx(2.0))
    astray = gospa(truth, truth + np.array([[0.0, 0.0, 0.3], [0.0, 0.0, 2.0]]), cutoff=2.0)
    assert (astray.n_assigned, astray.n_missed, astray.n_false) == (1, 1, 1)
    assert astray.location == pytest.approx(0.3)
    assert astray.total == pytest.approx(math.sqrt(0.09 + 4.0))


@given(**SETS, cutoff=st.floats(0.1, 1e9))
def test_a_source_at_infinity_is_missed_or_false_and_no_pair(
    n_truth: int, n_estimate: int, seed: int, cutoff: float
) -> None:
    """c^2 / 2 more each, whatever the cutoff is."""
    near, located = points(seed, n_truth), points(seed + 1, n_estimate)
    infinite = np.full((1, 3), np.inf)
    score = gospa(near, located, cutoff)
    truth, estimate = np.concatenate((infinite, near)), np.concatenate((located, infinite, infinite))
    far = gospa(truth, estimate, cutoff)
    assert (far.n_assigned, far.location) == (score.n_assigned, score.location)
    assert (far.n_missed, far.n_false) == (score.n_missed + 1, score.n_false + 2)
    assert far.total**2 == pytest.approx(score.total**2 + 3.0 * cutoff**2 / 2.0, rel=tolerances.DOUBLE)


def test_gospa_refuses_what_has_no_distance() -> None:
    with pytest.raises(ValueError, match=r"rows \[0\] hold"):
        gospa(np.full((1, 3), np.nan), points(1, 1), cutoff=1.0)
    with pytest.raises(ValueError, match=shows("cutoff ... got inf")):
        gospa(points(1, 1), points(1, 1), cutoff=math.inf)
    with pytest.raises(ValueError, match=shows("exponent ... 1, got 0")):
        gospa(points(1, 1), points(1, 1), cutoff=1.0, p=0)


def test_errors_are_estimate_minus_truth_with_azimuth_on_the_circle() -> None:
    truth = np.array([[0.1, 0.2, 0.5], [3.1, 0.0, 1.0]])
    estimate = np.array([[0.15, 0.1, 0.7], [-3.1, 0.0, 1.0]])
    found = localization.errors(truth, estimate)
    np.testing.assert_allclose(found, [[0.05, -0.1, 0.2], [2 * math.pi - 6.2, 0.0, 0.0]], atol=1e-14)
    assert localization.errors(truth[:0], estimate[:0]).shape == (0, 3)


@pytest.mark.parametrize(
    ("offset", "expected"),
    [((0.25, 0.25), True), ((-0.25, 0.0), True), ((0.26, 0.0), False), ((0.0, -0.26), False)],
)
def test_found_asks_both_angles_and_not_the_range(offset: tuple[float, float], expected: bool) -> None:
    truth = np.array([[0.5, -0.25, 0.5]])
    estimate = truth + np.array([[*offset, 7.0]])
    assert localization.found(truth, estimate, tolerance=0.25).tolist() == [expected]


def test_a_tolerance_is_positive() -> None:
    with pytest.raises(ValueError, match=shows("tolerance ... got 0.0")):
        localization.found(np.zeros((1, 3)), np.zeros((1, 3)), tolerance=0.0)
    with pytest.raises(ValueError, match=shows("estimated sources ... rows [0]")):
        localization.found(np.zeros((1, 3)), np.full((1, 3), np.nan), tolerance=0.1)


def test_a_rate_over_nothing_is_an_error() -> None:
    assert localization.found_rate(0, 4) == 0.0
    assert localization.found_rate(3, 4) == 0.75
    with pytest.raises(ValueError, match=shows("true sources, got 0")):
        localization.found_rate(0, 0)
    with pytest.raises(ValueError, match="got 5"):
        localization.found_rate(5, 4)


@given(count=st.integers(2, 5), seed=st.integers(0, 2**16))
def test_separation_is_the_smallest_angle_between_directions(count: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    sources = np.stack([random.uniform(-1, 1, count), random.uniform(-0.5, 0.5, count), np.ones(count)], -1)
    q = [position(azimuth, elevation, 1.0) for azimuth, elevation, _ in sources]
    expected = [
        min(math.acos(min(np.dot(q[i], q[k]), 1.0)) for k in range(count) if k != i) for i in range(count)
    ]
    # acos loses half the digits near angle 0
    np.testing.assert_allclose(localization.separation(sources), expected, rtol=1e-7, atol=1e-7)


def test_angles_are_as_exact_at_the_antipodes_and_the_poles_as_nearby() -> None:
    """Azimuth says nothing at a pole; acos and asin lose half the digits at one end or the other."""
    tiny, half = 1e-9, math.pi / 2.0
    first = np.array([[0.0, 0.0, 1.0], [2.0, half, 1.0]])
    second = np.array([[tiny, 0.0, 0.0], [math.pi - tiny, 0.0, 1.0], [-1.0, half - tiny, 1.0]])
    expected = [[tiny, math.pi - tiny, half - tiny * math.cos(1.0)], [half, half, tiny]]
    np.testing.assert_allclose(localization.angles(first, second), expected, rtol=0.0, atol=1e-15)


def test_separation_resolves_tiny_angles_and_says_when_there_is_none() -> None:
    close = np.array([[0.3, 0.0, 1.0], [0.3 + 1e-9, 0.0, 0.2]])
    np.testing.assert_allclose(localization.separation(close), 1e-9, rtol=1e-6)
    opposite = np.array([[-math.pi / 2, 0.0, 1.0], [math.pi / 2, 0.0, 1.0]])
    np.testing.assert_allclose(localization.separation(opposite), math.pi, rtol=1e-7)
    assert np.isnan(localization.separation(close[:1])).all()
    assert localization.separation(close[:0]).shape == (0,)
