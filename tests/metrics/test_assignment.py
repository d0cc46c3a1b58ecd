import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import Float

from stages.metrics.assignment import match
from tests import tolerances
from tests.oracles import gospa as oracle

Points = Float[np.ndarray, "point 3"]


def points(seed: int, count: int) -> Points:
    return np.random.default_rng(seed).uniform(-2.0, 2.0, (count, 3))


@given(n_truth=st.integers(0, 5), n_estimate=st.integers(0, 5), seed=st.integers(0, 2**16))
def test_every_source_and_estimate_is_accounted_for_once(n_truth: int, n_estimate: int, seed: int) -> None:
    found = match(points(seed, n_truth), points(seed + 1, n_estimate))
    assert sorted([*found.truth, *found.missed]) == list(range(n_truth))
    assert sorted([*found.estimate, *found.false]) == list(range(n_estimate))
    assert len(found.truth) == len(found.estimate) == min(n_truth, n_estimate)


@pytest.mark.parametrize("cutoff", [np.inf, 1.5])
@given(n_truth=st.integers(1, 4), n_estimate=st.integers(1, 4), seed=st.integers(0, 2**16))
def test_total_distance_is_the_least_of_all_pairings(
    cutoff: float, n_truth: int, n_estimate: int, seed: int
) -> None:
    truth, estimate = points(seed, n_truth), points(seed + 1, n_estimate)
    found = match(truth, estimate, cutoff)
    pairs = np.linalg.norm(truth[found.truth] - estimate[found.estimate], axis=-1)
    least = oracle.least_total_distance(truth.tolist(), estimate.tolist(), cutoff)
    assert np.minimum(pairs, cutoff).sum() == pytest.approx(least, rel=tolerances.DOUBLE)


@given(seed=st.integers(0, 2**16))
def test_a_permutation_of_the_truth_is_undone(seed: int) -> None:
    truth = points(seed, 5)
    order = np.random.default_rng(seed).permutation(5)
    found = match(truth, truth[order])
    np.testing.assert_array_equal(order[found.estimate], found.truth)


def test_a_cutoff_keeps_a_stray_estimate_from_deciding_the_other_pairs() -> None:
    """Sources at 0 and 3, estimates at 2 and 11: 2 + 8 < 1 + 11, but clipped at 3 m 2 + 3 > 1 + 3."""
    on_axis = np.eye(3)[:1]
    truth, estimate = np.array([[0.0], [3.0]]) * on_axis, np.array([[2.0], [11.0]]) * on_axis
    assert match(truth, estimate).estimate.tolist() == [0, 1]
    assert match(truth, estimate, cutoff=3.0).estimate.tolist() == [1, 0]


def test_empty_slots_and_impossible_cutoffs_are_refused() -> None:
    empty_slot = np.full((1, 3), np.nan)
    with pytest.raises(ValueError, match=r"true positions are finite, but rows \[0\]"):
        match(empty_slot, points(1, 2))
    with pytest.raises(ValueError, match=r"estimated positions are finite, but rows \[2\]"):
        match(points(1, 2), np.concatenate((points(1, 2), empty_slot)))
    with pytest.raises(ValueError, match="positive, got 0"):
        match(points(1, 2), points(1, 2), cutoff=0.0)


def test_the_order_of_the_estimates_does_not_decide_between_pairs_beyond_the_cutoff() -> None:
    truth = np.array([[0.0, 0.0, 8.0], [4.0, 0.0, 8.0]])
    estimate = 1.5 * truth
    for order in ([0, 1], [1, 0]):
        assert match(truth, estimate[order], cutoff=3.0).estimate.tolist() == order
