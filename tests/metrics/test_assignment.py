"""Pairs of true and estimated sources: the most found, then the least angle, then the least 1/r."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import Float

from risolve.metrics.assignment import Matching, pair
from risolve.metrics.localization import found
from tests.oracles import pairing as oracle

Sources = Float[np.ndarray, "source 3"]
Draw = Callable[[int, int], Sources]
DEG = math.radians(1.0)
TOLERANCE = 5.0 * DEG
SAME = 1e-11
"""rad: of totals, far above rounding and far below what is told apart."""

COUNTS = {"n_truth": st.integers(0, 5), "n_estimate": st.integers(0, 5), "seed": st.integers(0, 2**16)}


def crowded(seed: int, count: int) -> Sources:
    """Sources so near each other that many pairings find some; a third of them at infinity."""
    random = np.random.default_rng(seed)
    angles = random.uniform(-6.0, 6.0, (count, 2)) * DEG
    inverse_range = random.uniform(0.1, 2.0, count) * (random.random(count) < 0.67)
    return np.concatenate((angles, inverse_range[:, None]), axis=1)


def on_a_lattice(seed: int, count: int) -> Sources:
    """Azimuths around +-180 degrees in whole steps of 2, one elevation, few ranges: ties everywhere."""
    random = np.random.default_rng(seed)
    azimuth = [oracle.wrapped((180.0 + 2.0 * step) * DEG) for step in random.integers(-3, 4, count)]
    return np.stack((azimuth, np.zeros(count), random.choice([0.0, 0.25, 1.0], count)), axis=-1)


def all_round(seed: int, count: int) -> Sources:
    """Any direction, the poles among them."""
    random = np.random.default_rng(seed)
    elevation = random.choice([-90.0, -89.0, 0.0, 88.0, 90.0], count) * DEG
    return np.stack((random.uniform(-math.pi, math.pi, count), elevation, random.uniform(0, 1, count)), -1)


def pairs_of(found: Matching, truth: Sources, estimate: Sources) -> list[tuple[list[float], list[float]]]:
    return list(zip(truth[found.truth].tolist(), estimate[found.estimate].tolist(), strict=True))


@pytest.mark.parametrize("draw", [crowded, on_a_lattice, all_round])
@given(**COUNTS)
def test_no_pairing_is_better(draw: Draw, n_truth: int, n_estimate: int, seed: int) -> None:
    """By the first law, the number of found ones; by each next among all that equal the best so far."""
    truth, estimate = draw(seed, n_truth), draw(seed + 1, n_estimate)
    own = oracle.totals(pairs_of(pair(truth, estimate, TOLERANCE), truth, estimate), TOLERANCE)
    every = [oracle.totals(pairs, TOLERANCE) for pairs in oracle.pairings(truth.tolist(), estimate.tolist())]
    assert own.n_found == max(one.n_found for one in every)
    rivals = [one for one in every if one.n_found == own.n_found]
    assert own.angle <= min(one.angle for one in rivals) + SAME
    rivals = [one for one in rivals if one.angle <= min(one.angle for one in rivals) + 1e-13]
    assert own.inverse_range <= min(one.inverse_range for one in rivals) + SAME


@given(**COUNTS)
def test_every_source_and_estimate_is_accounted_for_once(n_truth: int, n_estimate: int, seed: int) -> None:
    own = pair(crowded(seed, n_truth), crowded(seed + 1, n_estimate), TOLERANCE)
    assert own.truth.tolist() == sorted(own.truth)
    assert sorted([*own.truth, *own.missed]) == list(range(n_truth))
    assert sorted([*own.estimate, *own.false]) == list(range(n_estimate))
    assert len(own.truth) == len(own.estimate) == min(n_truth, n_estimate)


@pytest.mark.parametrize("draw", [crowded, on_a_lattice, all_round])
@given(**COUNTS)
def test_the_order_of_the_rows_has_no_say(draw: Draw, n_truth: int, n_estimate: int, seed: int) -> None:
    truth, estimate = draw(seed, n_truth), draw(seed + 1, n_estimate)
    random = np.random.default_rng(seed)
    turned, moved = random.permutation(truth), random.permutation(estimate)
    own = pairs_of(pair(truth, estimate, TOLERANCE), truth, estimate)
    assert sorted(own) == sorted(pairs_of(pair(turned, moved, TOLERANCE), turned, moved))


@given(count=st.integers(1, 12), seed=st.integers(0, 2**16))
def test_a_perfect_result_is_found_whole_whatever_its_ranges_are(count: int, seed: int) -> None:
    """Right directions, each range as good as infinite, or not known at all."""
    random = np.random.default_rng(seed)
    azimuth = random.permutation(np.arange(count)) * 10.0 * DEG
    truth, estimate = (
        np.stack((azimuth, np.zeros(count), random.choice([0.0, 1e-6, 0.2, 5.0], count)), axis=-1)
        for _ in range(2)
    )
    own = pair(truth, estimate, TOLERANCE)
    assert own.estimate.tolist() == own.truth.tolist() == list(range(count))
    assert found(truth[own.truth], estimate[own.estimate], TOLERANCE).all()


def rows(*degrees_and_inverse_ranges: tuple[float, float, float]) -> Sources:
    return np.array(degrees_and_inverse_ranges) * (DEG, DEG, 1.0)


def test_two_found_at_a_larger_angle_are_more_than_one_found_exactly() -> None:
    truth, estimate = rows((0.0, 0.0, 1.0), (4.0, 0.0, 1.0)), rows((4.0, 0.0, 1.0), (8.0, 0.0, 1.0))
    assert pair(truth, estimate, TOLERANCE).estimate.tolist() == [0, 1]
    assert pair(truth, estimate, 3.0 * DEG).estimate.tolist() == [1, 0]


def test_equal_angles_leave_the_choice_to_the_ranges() -> None:
    """On one line 3 + 3 and 5 + 1 degrees, all within the tolerance, are as good."""
    truth, estimate = rows((0.0, 0.0, 1.0), (2.0, 0.0, 0.2)), rows((3.0, 0.0, 0.2), (5.0, 0.0, 1.0))
    assert pair(truth, estimate, 6.0 * DEG).estimate.tolist() == [1, 0]
    estimate[:, 2] = estimate[::-1, 2]
    assert pair(truth, estimate, 6.0 * DEG).estimate.tolist() == [0, 1]


def test_sources_one_behind_the_other_are_told_apart_by_their_ranges() -> None:
    """Direction and angles are the same: 1/r alone decides, and infinity is 0."""
    truth = rows((10.0, 5.0, 0.0), (10.0, 5.0, 1.0))
    estimate = rows((10.5, 5.0, 0.9), (10.5, 5.0, 0.1))
    assert pair(truth, estimate, TOLERANCE).estimate.tolist() == [1, 0]


def test_what_is_far_off_is_paired_too_and_not_found() -> None:
    truth, estimate = rows((0.0, 0.0, 1.0), (40.0, 0.0, 1.0)), rows((80.0, 0.0, 1.0), (1.0, 0.0, 0.0))
    own = pair(truth, estimate, TOLERANCE)
    assert own.estimate.tolist() == [1, 0]
    assert found(truth[own.truth], estimate[own.estimate], TOLERANCE).tolist() == [True, False]


def test_empty_slots_and_impossible_tolerances_are_refused() -> None:
    full, empty_slot = rows((0.0, 0.0, 1.0)), np.full((1, 3), np.nan)
    with pytest.raises(ValueError, match=r"true .* rows \[0\]"):
        pair(empty_slot, full, TOLERANCE)
    with pytest.raises(ValueError, match=r"estimated .* rows \[1\]"):
        pair(full, np.concatenate((full, empty_slot)), TOLERANCE)
    with pytest.raises(ValueError, match="got 0"):
        pair(full, full, 0.0)
