"""Which estimate stands for which source.

Conventions
-----------
Positions are Cartesian (m), NumPy float64, one row a source, one scene a call. Distance is Euclidean. The
pairing is the one of least total distance; as many pairs are made as the smaller set holds. A true source
without a partner is missed, an estimate without one is false. Either set may be empty: then nothing is paired
and all of the other set is missed or false. Positions that are not finite (empty slots) are refused.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment

_TIE = 1e-9
"""Weight of the unclipped distance: far below any difference of clipped costs that means something."""


@dataclass(frozen=True)
class Matching:
    """Row numbers: matched true sources and their estimates, pair by pair; missed sources; false ones."""

    truth: Int[np.ndarray, " pair"]
    estimate: Int[np.ndarray, " pair"]
    missed: Int[np.ndarray, " missed"]
    false: Int[np.ndarray, " false"]


def validate_positions(
    truth: Float[np.ndarray, "truth 3"], estimate: Float[np.ndarray, "estimate 3"]
) -> None:
    """Refuse positions that are not finite.

    Raises:
        ValueError: naming the set and its rows.
    """
    for name, points in (("true", truth), ("estimated", estimate)):
        rows = np.flatnonzero(~np.isfinite(points).all(axis=1))
        if rows.size:
            raise ValueError(
                f"{name} positions are finite, but rows {rows.tolist()} hold {points[rows].tolist()}; "
                "pass occupied slots only"
            )


def distances(
    truth: Float[np.ndarray, "truth 3"], estimate: Float[np.ndarray, "estimate 3"]
) -> Float[np.ndarray, "truth estimate"]:
    """d_ij = |p_i - p^_j| (m)."""
    norms: Float[np.ndarray, "truth estimate"] = np.linalg.norm(truth[:, None] - estimate[None], axis=-1)
    return norms


def match(
    truth: Float[np.ndarray, "truth 3"], estimate: Float[np.ndarray, "estimate 3"], cutoff: float = np.inf
) -> Matching:
    """Pairing pi of least total distance.

        min_pi sum_i min(|p_i - p^_pi(i)|, c)

    A finite cutoff c (m) keeps one estimate that went astray from deciding how the others are paired; pairs
    beyond it stay pairs. Pairs beyond it all cost c, so the least of d / (d + c) decides between pairings of
    equal cost: the order of the rows does not.

    Raises:
        ValueError: positions that are not finite, or a cutoff that is not positive.

    Assignment of least cost: Crouse, "On implementing 2D rectangular assignment algorithms", IEEE Trans.
    Aerosp. Electron. Syst. 52 (2016).

    >>> match(np.eye(3)[:2], np.eye(3)[[2, 1, 0]]).estimate.tolist()
    [2, 1]
    """
    validate_positions(truth, estimate)
    if not cutoff > 0.0:
        raise ValueError(f"the cutoff distance is positive, got {cutoff} m")
    apart = distances(truth, estimate)
    cost = np.minimum(apart, cutoff)
    if np.isfinite(cutoff):
        cost = cost + _TIE * cutoff * apart / (apart + cutoff)
    rows, columns = linear_sum_assignment(cost)
    return Matching(
        truth=rows,
        estimate=columns,
        missed=np.setdiff1d(np.arange(len(truth)), rows),
        false=np.setdiff1d(np.arange(len(estimate)), columns),
    )
