"""Errors of matched sources, what counts as found, GOSPA with its parts, and how close sources stand.

Conventions
-----------
Sources are rows (azimuth (rad), elevation (rad), inverse range (1/m)), positions Cartesian rows (m), NumPy
float64, one scene a call. Errors are estimate minus truth. A source is found when the errors of azimuth and
elevation are both within the tolerance, limits included. What is given per pair or per source maps no rows to
no values; a rate over no sources is an error, never 0. GOSPA is a distance between finite sets: two empty
sets are at distance 0, a measured agreement. A source that has no neighbour has no separation: NaN. A source
at infinity has a direction and no position: its row of positions holds inf.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.optimize import linear_sum_assignment


@dataclass(frozen=True)
class Gospa:
    """GOSPA and its parts (m), total^p = location^p + missed^p + false^p, with the counts behind them."""

    total: float
    location: float
    missed: float
    false: float
    n_assigned: int
    n_missed: int
    n_false: int


def _validate_sources(name: str, sources: Float[np.ndarray, "source 3"]) -> None:
    rows = np.flatnonzero(~np.isfinite(sources).all(axis=1))
    if rows.size:
        raise ValueError(
            f"{name} sources are finite, but rows {rows.tolist()} hold {sources[rows].tolist()}; "
            "pass occupied slots only"
        )


def _validate_positions(name: str, points: Float[np.ndarray, "point 3"]) -> None:
    rows = np.flatnonzero(~(np.isfinite(points).all(axis=1) | np.isposinf(points).all(axis=1)))
    if rows.size:
        raise ValueError(
            f"{name} positions are finite, or inf at infinity, but rows {rows.tolist()} hold "
            f"{points[rows].tolist()}; pass occupied slots only"
        )


def errors(
    truth: Float[np.ndarray, "pair 3"], estimate: Float[np.ndarray, "pair 3"]
) -> Float[np.ndarray, "pair 3"]:
    """Estimate minus truth of (azimuth, elevation, inverse range), azimuth wrapped to [-pi, pi).

    Raises:
        ValueError: values that are not finite.
    """
    _validate_sources("true", truth)
    _validate_sources("estimated", estimate)
    difference: Float[np.ndarray, "pair 3"] = estimate - truth
    difference[:, 0] = (difference[:, 0] + math.pi) % (2.0 * math.pi) - math.pi
    return difference


def found(
    truth: Float[np.ndarray, "pair 3"], estimate: Float[np.ndarray, "pair 3"], tolerance: float
) -> Bool[np.ndarray, " pair"]:
    """|azimuth error| <= tolerance and |elevation error| <= tolerance (rad), pair by pair.

    Raises:
        ValueError: values that are not finite, or a tolerance that is not positive.
    """
    if not tolerance > 0.0:
        raise ValueError(f"the tolerance of a found source is positive, got {tolerance} rad")
    within: Bool[np.ndarray, " pair"] = (np.abs(errors(truth, estimate)[:, :2]) <= tolerance).all(axis=1)
    return within


def found_rate(n_found: int, n_true: int) -> float:
    """Share of the true sources, missed ones included, that were found.

    Raises:
        ValueError: no true source, or more found than true ones.
    """
    if n_true <= 0:
        raise ValueError(f"a found rate needs true sources, got {n_true}")
    if not 0 <= n_found <= n_true:
        raise ValueError(f"found sources number 0 to {n_true}, the true ones; got {n_found}")
    return n_found / n_true


def angles(
    first: Float[np.ndarray, "first 3"], second: Float[np.ndarray, "second 3"]
) -> Float[np.ndarray, "first second"]:
    """Angle (rad) between the directions q of all sources of two sets, along the great circle.

        psi_ik = 2 atan2(|q_i - q_k|, |q_i + q_k|)

    Raises:
        ValueError: values that are not finite.
    """
    for sources in (first, second):
        _validate_sources("given", sources)
    q, other = (
        np.stack((np.sin(phi) * np.cos(theta), np.sin(theta), np.cos(phi) * np.cos(theta)), axis=-1)
        for phi, theta in ((sources[:, 0], sources[:, 1]) for sources in (first, second))
    )
    apart, together = (np.linalg.norm(q[:, None] + sign * other[None], axis=-1) for sign in (-1.0, 1.0))
    psi: Float[np.ndarray, "first second"] = 2.0 * np.arctan2(apart, together)
    return psi


def separation(sources: Float[np.ndarray, "source 3"]) -> Float[np.ndarray, " source"]:
    """Angle (rad) from each source to the nearest other, seen from the origin; NaN for a lone source.

    Raises:
        ValueError: values that are not finite.
    """
    apart = angles(sources, sources)
    if len(sources) < 2:
        return np.full(len(sources), np.nan)
    np.fill_diagonal(apart, np.inf)
    nearest: Float[np.ndarray, " source"] = apart.min(axis=1)
    return nearest


def gospa(
    truth: Float[np.ndarray, "truth 3"], estimate: Float[np.ndarray, "estimate 3"], cutoff: float, p: int = 2
) -> Gospa:
    """Generalized optimal sub-pattern assignment of two finite sets of positions, with its parts.

        d = (min_pi sum_{i <= |X|} min(|x_i - y_pi(i)|, c)^p + c^p / 2 (|Y| - |X|))^(1/p),   |X| <= |Y|

    `cutoff` c (m). A pair at distance c or more is one missed and one false source, c^p / 2 each; and so are
    sources at infinity (rows of inf), which are at no distance of anything, of each other neither. The
    assignment pi is its own, in metres, whatever pairs are made by angle.

    Raises:
        ValueError: positions that are neither finite nor at infinity, a cutoff that is not positive and
            finite, p below 1.

    Rahmathullah, Garcia-Fernandez, Svensson, "Generalized optimal sub-pattern assignment metric", FUSION
    2017, eq. (1) with alpha = 2; the parts are those of its Proposition 1.

    >>> gospa(np.zeros((1, 3)), np.zeros((0, 3)), cutoff=2.0, p=1).missed
    1.0
    """
    for name, points in (("true", truth), ("estimated", estimate)):
        _validate_positions(name, points)
    if not 0.0 < cutoff < math.inf:
        raise ValueError(f"the cutoff distance of GOSPA is positive and finite, got {cutoff} m")
    if p < 1:
        raise ValueError(f"the exponent of GOSPA is at least 1, got {p}")
    near, located = (points[np.isfinite(points).all(axis=1)] for points in (truth, estimate))
    clipped = np.minimum(np.linalg.norm(near[:, None] - located[None], axis=-1), cutoff)
    rows, columns = linear_sum_assignment(clipped**p)
    paired = clipped[rows, columns]
    assigned = paired[paired < cutoff]
    n_missed, n_false = len(truth) - assigned.size, len(estimate) - assigned.size
    half = cutoff**p / 2.0
    powers = (float((assigned**p).sum()), half * n_missed, half * n_false)
    location, missed, false = (part ** (1.0 / p) for part in powers)
    return Gospa(sum(powers) ** (1.0 / p), location, missed, false, assigned.size, n_missed, n_false)
