import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from risolve.metrics.normalized import CONFIDENCE, bootstrap_interval, normalized_rmse, root_mean_square
from tests import tolerances
from tests.messages import shows


@given(seed=st.integers(0, 2**16), scale=st.floats(1e-6, 1e6))
def test_errors_and_bounds_in_another_unit_change_nothing(seed: int, scale: float) -> None:
    random = np.random.default_rng(seed)
    errors, bounds = random.standard_normal(7), random.uniform(0.1, 2.0, 7)
    expected = normalized_rmse(errors, bounds)
    assert normalized_rmse(scale * errors, scale * bounds) == pytest.approx(expected, rel=tolerances.DOUBLE)


def test_each_error_is_divided_by_its_own_bound() -> None:
    """A scene with a bound 100 times wider does not drown the others: (1 + 4) / 2."""
    assert normalized_rmse(np.array([100.0, 2.0]), np.array([100.0, 1.0])) == pytest.approx(math.sqrt(2.5))


def test_an_efficient_estimator_scores_one() -> None:
    """Errors N(0, sigma_i^2) have a normalized RMSE of 1 with a standard error of about 1 / sqrt(2 n)."""
    random = np.random.default_rng(1)
    bounds = random.uniform(0.01, 10.0, 20_000)
    score = normalized_rmse(random.standard_normal(20_000) * bounds, bounds)
    assert abs(score - 1.0) < tolerances.SIGMAS / math.sqrt(2 * 20_000)


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    """Coverage of 200 intervals: binomial, standard error sqrt(p (1 - p) / 200), less a small bias."""
    random = np.random.default_rng(2)
    covered = 0
    for _ in range(200):
        low, high = bootstrap_interval(random.standard_normal(100), root_mean_square, random, 200)
        covered += low <= 1.0 <= high
    error = math.sqrt(CONFIDENCE * (1.0 - CONFIDENCE) / 200)
    assert CONFIDENCE - 3.0 * error - 0.02 < covered / 200 < CONFIDENCE + 3.0 * error


@pytest.mark.parametrize("statistic", [np.mean, np.median, root_mean_square])
def test_the_interval_narrows_as_one_over_the_root_of_the_count(statistic: object) -> None:
    random = np.random.default_rng(3)
    widths = []
    for count in (100, 6400):
        values = random.standard_normal(count) + 3.0
        low, high = bootstrap_interval(values, statistic, random, 1000)  # type: ignore[arg-type]
        assert low < high
        widths.append(high - low)
    # a quantile width over 1,000 resamples is known to about 4 %, the spread of 100 values to about 10 %
    assert widths[0] / widths[1] == pytest.approx(8.0, rel=0.4)


def test_the_interval_is_the_same_for_the_same_generator_and_scales_with_the_values() -> None:
    values = np.random.default_rng(4).uniform(0.0, 1.0, 30)
    intervals = [
        bootstrap_interval(c * values, np.mean, np.random.default_rng(5), 100) for c in (1.0, 1.0, 4.0)
    ]
    assert intervals[0] == intervals[1]
    np.testing.assert_allclose(intervals[2], np.multiply(4.0, intervals[0]), rtol=tolerances.DOUBLE)


def test_the_interval_of_one_value_is_not_known() -> None:
    low, high = bootstrap_interval(np.array([2.0]), np.mean, np.random.default_rng(1), 100)
    assert math.isnan(low) and math.isnan(high)


def test_nothing_measured_is_an_error() -> None:
    nothing, one = np.zeros(0), np.ones(1)
    random = np.random.default_rng(1)
    with pytest.raises(ValueError, match=shows("error ... got none")):
        normalized_rmse(nothing, nothing)
    with pytest.raises(ValueError, match=shows("values, got none")):
        bootstrap_interval(nothing, np.mean, random, 10)
    with pytest.raises(ValueError, match=shows("resample, got 0")):
        bootstrap_interval(one, np.mean, random, 0)


@pytest.mark.parametrize("broken", [0.0, -1.0, math.nan, math.inf])
def test_a_bound_that_is_none_is_refused(broken: float) -> None:
    with pytest.raises(ValueError, match=shows(f"bounds ... rows [1] ... [{broken}]")):
        normalized_rmse(np.ones(2), np.array([1.0, broken]))


def test_missing_errors_are_refused() -> None:
    with pytest.raises(ValueError, match=shows("errors ... rows [0] ... [nan]")):
        normalized_rmse(np.array([math.nan, 1.0]), np.ones(2))
    with pytest.raises(ValueError, match=shows("values ... rows [0] ... [nan]")):
        bootstrap_interval(np.array([math.nan, 1.0]), np.mean, np.random.default_rng(1), 10)
