"""How located sources agree with the true ones and with the spread that is claimed for them.

Conventions
-----------
Sources are rows (azimuth (rad), elevation (rad), inverse range (1/m)) of one scene, spreads rows of standard
deviations of azimuth (rad), elevation (rad) and range (m). Pairs are those of least total distance; sources
at infinity are paired as if they stood 1000 km away. Errors are estimate minus truth, of range in m.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from stages.metrics.assignment import match
from stages.metrics.localization import errors, found

_FARTHEST = 1e-6
"""1/m"""


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
    pairs = match(_positions(truth), _positions(estimate))
    true, located = truth[pairs.truth], estimate[pairs.estimate]
    error = errors(true, located)
    with np.errstate(divide="ignore", invalid="ignore"):
        claimed = spread[pairs.estimate].copy()
        claimed[:, 2] *= -(located[:, 2] ** 2)
        deviation: Float[np.ndarray, "pair 3"] = error / claimed
        error[:, 2] = 1.0 / located[:, 2] - 1.0 / true[:, 2]
    within = found(true, located, tolerance)
    return Agreement(pairs.truth, error, deviation, within, len(pairs.missed), len(pairs.false))


def _positions(sources: Float[np.ndarray, "source 3"]) -> Float[np.ndarray, "source 3"]:
    azimuth, elevation, inverse_range = sources.T
    reach = 1.0 / np.maximum(inverse_range, _FARTHEST)
    positions: Float[np.ndarray, "source 3"] = reach[:, None] * np.stack(
        (np.sin(azimuth) * np.cos(elevation), np.sin(elevation), np.cos(azimuth) * np.cos(elevation)), axis=-1
    )
    return positions
