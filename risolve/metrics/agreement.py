"""How located sources agree with the true ones and with the spread that is claimed for them.

Conventions
-----------
Sources are rows (azimuth (rad), elevation (rad), inverse range (1/m)) of one scene, spreads rows of standard
deviations of azimuth (rad), elevation (rad) and range (m). Pairs are those of `assignment.pair`. Errors are
estimate minus truth, of range in m; where one of the two is at infinity there is none: NaN.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from risolve.metrics.assignment import pair
from risolve.metrics.localization import errors, found


class Agreement(NamedTuple):
    """Pairs of true and located sources of one scene, and how many stay alone.

    deviation: error over the claimed standard deviation, of range through the inverse range, in which a place
    is far more nearly normal: (w - w^) / (sigma_r w^^2). NaN where none is claimed.
    """

    truth: Int[np.ndarray, " pair"]
    error: Float[np.ndarray, "pair 3"]
    deviation: Float[np.ndarray, "pair 3"]
    found: Bool[np.ndarray, " pair"]
    n_missed: int
    n_false: int


def agreement(
    truth: Float[np.ndarray, "truth 3"],
    estimate: Float[np.ndarray, "estimate 3"],
    spread: Float[np.ndarray, "estimate 3"],
    tolerance: float,
) -> Agreement:
    """Errors of one scene; a source is found within `tolerance` (rad) in both angles.

    Raises:
        ValueError: places that are not finite.
    """
    pairs = pair(truth, estimate, tolerance)
    true, located = truth[pairs.truth], estimate[pairs.estimate]
    error = errors(true, located)
    with np.errstate(divide="ignore", invalid="ignore"):
        claimed = spread[pairs.estimate].copy()
        claimed[:, 2] *= -(located[:, 2] ** 2)
        deviation: Float[np.ndarray, "pair 3"] = error / claimed
        metres = 1.0 / located[:, 2] - 1.0 / true[:, 2]
    error[:, 2] = np.where(np.isfinite(metres), metres, np.nan)
    within = found(true, located, tolerance)
    return Agreement(pairs.truth, error, deviation, within, len(pairs.missed), len(pairs.false))
