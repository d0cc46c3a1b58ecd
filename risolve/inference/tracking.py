"""Which sources of consecutive scenes are one source that moves.

Conventions
-----------
Places are rows (azimuth (rad), elevation (rad), inverse range (1/m)), NumPy float64, beside the standard
deviation of each coordinate, NaN where the snapshots do not tell it, or it was stated. Scenes have whole
numbers that grow; what lies between two of them is a gap. A velocity is a change from scene to scene.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment
from scipy.stats import chi2

_STEPS = (0.0, 1.0, 4.0, 16.0, 64.0, 256.0)
"""Standard deviations of a velocity that are tried, in typical deviations of the coordinate."""

_KEPT = (0.0, 0.97, 0.999)
"""Shares of a velocity that a scene keeps which are tried: of 0 the last place is the one to expect."""

_ANY_EXTENT = 1.0
"""Of inverse ranges (1/m) where none is told, which then take no part."""

_LEARNED_FROM = 100
"""Scenes, the first ones, that tell the motion."""


class Scene(NamedTuple):
    """Places of one scene and their standard deviations."""

    number: int
    places: Float[np.ndarray, "source 3"]
    deviations: Float[np.ndarray, "source 3"]


@dataclass(frozen=True)
class Motion:
    """How sources move from scene to scene: the velocity v keeps a share a of itself,

        x' = x + v,   v' = a v + u,   u ~ N(0, (1 - a^2) s^2)

    (Singer, IEEE Trans. Aerosp. Electron. Syst. 6 (1970)), so that it has the deviation s at any time.
    """

    deviation: Float[np.ndarray, " 3"]
    kept: float


class Followed(NamedTuple):
    """Tracks of every scene, and the log-likelihood ratio of their pairs."""

    tracks: list[Int[np.ndarray, " source"]]
    log_ratio: float


def require_tracking(gap: int, gate: float) -> None:
    """Refuse numbers that are none of tracks.

    Raises:
        ValueError: a gap below 0, or a gate that is no probability between 0 and 1.
    """
    if not gap >= 0:
        raise ValueError(f"gap: 0 scenes or more, got {gap}")
    if not 0.0 < gate < 1.0:
        raise ValueError(f"gate: a probability above 0 and below 1, got {gate:g}")


def learned_motion(scenes: Sequence[Scene], gap: int, gate: float) -> Motion:
    """The motion of the largest likelihood ratio of the tracks of the first scenes.

    Velocities of 0 to 256 typical deviations of a coordinate are tried for all coordinates together, with
    each share that is kept, then for each coordinate for itself.
    """
    first = scenes[:_LEARNED_FROM]
    deviations = np.concatenate([np.zeros((0, 3)), *(scene.deviations for scene in first)])
    told = [own[np.isfinite(own)] for own in deviations.T]
    typical = np.array([np.median(own) if own.size else 0.0 for own in told])

    def ratio(motion: Motion) -> float:
        return follow(first, motion, gap, gate).log_ratio

    best = max((Motion(step * typical, kept) for kept in _KEPT for step in _STEPS), key=ratio)
    for axis in np.flatnonzero(typical):
        alone = np.arange(3) == axis
        tried = [np.where(alone, step * typical, best.deviation) for step in _STEPS]
        best = max((best, *(Motion(deviation, best.kept) for deviation in tried)), key=ratio)
    return best


def follow(scenes: Sequence[Scene], motion: Motion, gap: int, gate: float) -> Followed:
    """Tracks of the sources of all scenes, counted from 0 in the order in which they begin.

    gap: scenes in a row without its source that a track survives. gate: probability that a source of a
    track is shut out. Sources of a scene go to the tracks so that the sum over pairs is least of

        c = d^2 + sum_k ln(2 pi S_k / D_k^2),   d^2 = sum_k v_k^2 / S_k

    over the coordinates of which the source has a deviation, with the innovation v, its variance S of place
    expected, motion and place found, and the extents D of all places; c / -2 is the log of the likelihood of
    the source as the one of the track over that as one of anywhere. Pairs of c >= 0 are none, nor are those
    of d^2 above the quantile of chi^2 of as many coordinates. A source without a partner begins a track.

    Global nearest neighbour: Blackman, "Multiple-Target Tracking with Radar Applications", Artech House
    (1986), ch. 4; the ratio: Bar-Shalom, Willett, Tian, "Tracking and Data Fusion", YBS (2011), ch. 6.
    """
    extents = _extents(scenes)
    gates = np.array(chi2.isf(gate, [1, 1, 2, 3]))
    kept = _Tracks.none()
    n_begun, last, log_ratio = 0, -1, 0.0
    tracks = []
    for scene in scenes:
        for _ in range(min(scene.number - last, gap + 2)):
            kept = kept.expected(motion).still_open(gap)
        last = scene.number
        told = np.isfinite(scene.deviations)
        variance = np.where(told, scene.deviations, extents) ** 2
        innovation = scene.places - kept.place[:, None]
        innovation[..., 0] = np.remainder(innovation[..., 0] + np.pi, 2.0 * np.pi) - np.pi
        spread = kept.place_variance[:, None] + variance
        distance = (innovation**2 / spread * told).sum(-1)
        cost = distance + (np.log(2.0 * np.pi * spread / extents**2) * told).sum(-1)
        cost = np.where(distance <= gates[told.sum(-1)], np.minimum(cost, 0.0), 0.0)
        rows, columns = linear_sum_assignment(cost)
        paired = cost[rows, columns] < 0.0
        rows, columns = rows[paired], columns[paired]
        log_ratio -= float(cost[rows, columns].sum()) / 2.0
        born = np.delete(np.arange(len(told)), columns)
        own = np.empty(len(told), dtype=np.int64)
        own[columns] = kept.number[rows]
        own[born] = n_begun + np.arange(len(born))
        n_begun += len(born)
        tracks.append(own)
        seen = kept.seen(rows, innovation[rows, columns], spread[rows, columns])
        kept = seen.with_begun(own[born], scene.places[born], variance[born], motion)
    return Followed(tracks, log_ratio)


def _extents(scenes: Sequence[Scene]) -> Float[np.ndarray, " 3"]:
    """Of every coordinate: all directions, and inverse ranges up to the largest that is told, and beyond."""
    nearest = [(scene.places + scene.deviations)[:, 2] for scene in scenes]
    told = [float(own[np.isfinite(own)].max(initial=0.0)) for own in nearest]
    return np.array([2.0 * np.pi, np.pi, max((*told, 0.0)) or _ANY_EXTENT])


class _Tracks(NamedTuple):
    """Open tracks: their numbers, the scenes since their sources were seen, and for each coordinate, which
    is filtered for itself (Kalman), place and velocity with their variances and their covariance.
    """

    number: Int[np.ndarray, " track"]
    missed: Int[np.ndarray, " track"]
    place: Float[np.ndarray, "track 3"]
    velocity: Float[np.ndarray, "track 3"]
    place_variance: Float[np.ndarray, "track 3"]
    covariance: Float[np.ndarray, "track 3"]
    velocity_variance: Float[np.ndarray, "track 3"]

    @classmethod
    def none(cls) -> "_Tracks":
        numbers, values = np.zeros(0, dtype=np.int64), np.zeros((0, 3))
        return cls(numbers, numbers, values, values, values, values, values)

    def expected(self, motion: Motion) -> "_Tracks":
        """One scene later."""
        kept = motion.kept
        return self._replace(
            missed=self.missed + 1,
            place=self.place + self.velocity,
            velocity=kept * self.velocity,
            place_variance=self.place_variance + 2.0 * self.covariance + self.velocity_variance,
            covariance=kept * (self.covariance + self.velocity_variance),
            velocity_variance=kept**2 * self.velocity_variance + (1.0 - kept**2) * motion.deviation**2,
        )

    def still_open(self, gap: int) -> "_Tracks":
        """Those that were not missed too long; a track whose source is seen next is one scene old."""
        return _Tracks(*(values[self.missed <= gap + 1] for values in self))

    def seen(
        self,
        rows: Int[np.ndarray, " pair"],
        innovation: Float[np.ndarray, "pair 3"],
        spread: Float[np.ndarray, "pair 3"],
    ) -> "_Tracks":
        """With the sources found of some rows."""
        to_place, to_velocity = self.place_variance[rows] / spread, self.covariance[rows] / spread
        gains = (0.0, to_place * innovation, to_velocity * innovation)
        shares = (self.place_variance[rows], self.covariance[rows])
        changes = (-to_place * shares[0], -to_place * shares[1], -to_velocity * shares[1])
        changed = [values.copy() for values in self[1:]]
        changed[0][rows] = 0
        for values, change in zip(changed[1:], (*gains[1:], *changes), strict=True):
            values[rows] += change
        return _Tracks(self.number, *changed)

    def with_begun(
        self,
        numbers: Int[np.ndarray, " begun"],
        places: Float[np.ndarray, "begun 3"],
        variance: Float[np.ndarray, "begun 3"],
        motion: Motion,
    ) -> "_Tracks":
        """With new tracks, of any velocity."""
        nothing = np.zeros_like(places)
        of_any = np.broadcast_to(motion.deviation**2, places.shape)
        begun = (numbers, 0 * numbers, places, nothing, variance, nothing, of_any)
        return _Tracks(*(np.concatenate(pair) for pair in zip(self, begun, strict=True)))
