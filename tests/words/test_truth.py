"""What is said of located sources beside the true ones."""

import math

import numpy as np

from risolve.metrics.agreement import agreement
from risolve.words.truth import SceneScore, score_lines

NOWHERE = math.inf
TOLERANCE_DEG = 5.0


def lines_of(*scenes: tuple[list[tuple[float, float]], list[tuple[float, float]]]) -> str:
    """The table of scenes of (azimuth (deg), range (m)) of true and of located sources; nothing claimed."""
    scores = []
    for scene, (true, located) in enumerate(scenes):
        truth, estimate = (
            np.array([(math.radians(azimuth), 0.0, 1.0 / reach) for azimuth, reach in sources])
            for sources in (true, located)
        )
        tolerance = math.radians(TOLERANCE_DEG)
        outcome = agreement(truth, estimate, np.full_like(estimate, np.nan), tolerance)
        scores.append(SceneScore(0, scene, truth, outcome))
    return "\n".join(score_lines(scores, TOLERANCE_DEG))


def test_a_result_of_right_directions_is_found_whole() -> None:
    """True ranges, located ones or both are infinite, or each is that of the other source."""
    pairs = [
        ([(0.0, NOWHERE), (20.0, NOWHERE)], [(20.0, NOWHERE), (0.0, NOWHERE)]),
        ([(0.0, NOWHERE), (20.0, 5.0)], [(0.0, 8.0), (20.0, NOWHERE)]),
        ([(0.0, 1.0), (20.0, 9.0)], [(0.0, 9.0), (20.0, 1.0)]),
        ([(0.0, NOWHERE), (20.0, 5.0)], [(0.0, NOWHERE), (20.0, 5.0)]),
    ]
    text = lines_of(*pairs)
    assert "Found 8 of 8 (100.0 %)" in text and "not found" not in text
    assert "right in 4 of 4" in text


def test_an_infinite_range_has_no_error_in_metres() -> None:
    far = lines_of(([(0.0, NOWHERE)], [(1.0, NOWHERE)]), ([(0.0, 5.0)], [(0.0, NOWHERE)]))
    mixed = lines_of(([(0.0, NOWHERE), (20.0, 5.0)], [(0.0, NOWHERE), (20.0, 5.5)]))
    assert "nan" not in far + mixed
    assert "range -" in far
    assert "range 0.5 m" in mixed


def test_a_deviation_that_is_claimed_is_judged_alone() -> None:
    """Of plane waves the angles have one, and the range has none."""
    truth, estimate = np.zeros((2, 3)), np.zeros((2, 3))
    truth[:, 0] = 0.0, 0.5
    estimate[:, 0] = 0.03, 0.54
    spread = np.array([[0.01, 0.01, np.nan]] * 2)
    outcome = agreement(truth, estimate, spread, math.radians(TOLERANCE_DEG))
    text = "\n".join(score_lines([SceneScore(0, 0, truth, outcome)], TOLERANCE_DEG))
    assert "azimuth 3.54, elevation 0.00, range -" in text
    assert "over standard deviation" not in lines_of(([(0.0, 5.0)], [(0.0, 5.0)]))
