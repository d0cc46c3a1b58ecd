"""Located sources beside true ones: pairs, errors, and errors over what was claimed."""

import math

import numpy as np
import pytest

from risolve.metrics.agreement import agreement

TRUTH = np.array([[0.1, -0.2, 0.5], [-0.6, 0.3, 0.25]])
SPREAD = np.array([[0.01, 0.02, 0.1], [0.02, 0.01, 0.4]])


def test_errors_in_the_order_of_the_truth() -> None:
    moved = TRUTH + np.array([[0.01, 0.02, 0.05], [-0.02, 0.01, 0.0]])
    found = agreement(TRUTH, moved[::-1], SPREAD[::-1], math.radians(5.0))
    assert found.truth.tolist() == [0, 1]
    np.testing.assert_allclose(found.error, [[0.01, 0.02, 1 / 0.55 - 2.0], [-0.02, 0.01, 0.0]], atol=1e-12)
    np.testing.assert_allclose(found.deviation[:, :2], [[1.0, 1.0], [-1.0, 1.0]])
    assert found.found.all()
    assert (found.n_missed, found.n_false) == (0, 0)


def test_the_deviation_of_range_is_that_of_the_inverse_range() -> None:
    """sigma_w = sigma_r w^2: an error of sigma_w is one deviation, with the sign of the error of range."""
    sigma_w = 0.02
    located = TRUTH[:1] - np.array([[0.0, 0.0, sigma_w]])
    spread = np.array([[0.01, 0.01, sigma_w / located[0, 2] ** 2]])
    found = agreement(TRUTH[:1], located, spread, 0.1)
    np.testing.assert_allclose(found.deviation[0, 2], 1.0)
    assert found.error[0, 2] > 0.0


def test_missed_and_false_sources_are_counted() -> None:
    nothing = np.empty((0, 3))
    assert agreement(TRUTH, nothing, nothing, 0.1).n_missed == 2
    assert agreement(nothing, TRUTH, SPREAD, 0.1).n_false == 2
    far = agreement(TRUTH[:1], TRUTH[:1] + 0.5, SPREAD[:1], 0.1)
    assert far.found.tolist() == [False]


@pytest.mark.parametrize("inverse_range", [0.0, 1e-9])
def test_a_source_at_infinity_has_a_direction(inverse_range: float) -> None:
    distant = np.array([[0.3, 0.1, inverse_range]])
    found = agreement(distant, distant, np.array([[0.01, 0.01, np.inf]]), 0.1)
    assert found.found.tolist() == [True]
    np.testing.assert_array_equal(found.error[:, :2], 0.0)


def test_an_infinite_range_has_no_metres_and_no_say() -> None:
    """Both directions are right: the one range that is known is that of the other source."""
    truth = np.array([[0.0, 0.0, 0.0], [0.4, 0.0, 0.2]])
    located = np.array([[0.4, 0.0, 0.0], [0.0, 0.0, 0.2]])
    result = agreement(truth, located, np.full((2, 3), np.nan), 0.1)
    assert result.found.tolist() == [True, True]
    np.testing.assert_array_equal(result.error, [[0.0, 0.0, np.nan]] * 2)
    same = agreement(truth, truth, np.full((2, 3), np.nan), 0.1)
    np.testing.assert_array_equal(same.error, [[0.0, 0.0, np.nan], [0.0, 0.0, 0.0]])
