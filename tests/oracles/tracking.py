"""Tracks by every pairing of every scene, with the Kalman filter of each coordinate in matrices.

Kalman, J. Basic Eng. 82 (1960); motion: `Motion` of `risolve.inference.tracking`.
"""

import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np
from scipy.stats import chi2

from risolve.inference.tracking import Motion, Scene


class Track:
    """One source: mean and covariance of (place, velocity) of each coordinate."""

    def __init__(self, number: int, place: np.ndarray, variance: np.ndarray, motion: Motion) -> None:
        self.number, self.seen_at = number, 0
        self.mean = [np.array([value, 0.0]) for value in place]
        self.covariance = [np.diag([own, s**2]) for own, s in zip(variance, motion.deviation, strict=True)]

    def expect(self, motion: Motion) -> None:
        a = motion.kept
        step = np.array([[1.0, 1.0], [0.0, a]])
        for k, s in enumerate(motion.deviation):
            self.mean[k] = step @ self.mean[k]
            noise = np.diag([0.0, (1.0 - a**2) * s**2])
            self.covariance[k] = step @ self.covariance[k] @ step.T + noise

    def see(self, place: np.ndarray, variance: np.ndarray) -> None:
        for k in range(3):
            seen = np.array([1.0, 0.0])
            gain = self.covariance[k] @ seen / (self.covariance[k][0, 0] + variance[k])
            self.mean[k] = self.mean[k] + gain * innovation(self, place, k)
            self.covariance[k] = (np.eye(2) - np.outer(gain, seen)) @ self.covariance[k]


def innovation(track: Track, place: np.ndarray, k: int) -> float:
    difference = float(place[k] - track.mean[k][0])
    return math.remainder(difference, 2.0 * math.pi) if k == 0 else difference


def cost(
    track: Track, place: np.ndarray, deviation: np.ndarray, extents: Sequence[float], gate: float
) -> float:
    """c of a pair; infinite behind the gate."""
    told = [k for k in range(3) if not math.isnan(deviation[k])]
    distance, total = 0.0, 0.0
    for k in told:
        variance = track.covariance[k][0, 0] + deviation[k] ** 2
        distance += innovation(track, place, k) ** 2 / variance
        total += math.log(2.0 * math.pi * variance / extents[k] ** 2)
    return math.inf if not told or distance > chi2.isf(gate, len(told)) else distance + total


def pairings(n_tracks: int, n_sources: int) -> Iterator[list[tuple[int, int]]]:
    """Every set of pairs in which nobody is twice."""
    for size in range(min(n_tracks, n_sources) + 1):
        for rows in itertools.combinations(range(n_tracks), size):
            for columns in itertools.permutations(range(n_sources), size):
                yield list(zip(rows, columns, strict=True))


def tracks(scenes: Sequence[Scene], motion: Motion, gap: int, gate: float) -> list[list[int]]:
    """The numbers of the tracks of all sources."""
    told = [
        place[2] + deviation[2]
        for scene in scenes
        for place, deviation in zip(scene.places, scene.deviations, strict=True)
        if not math.isnan(deviation[2])
    ]
    extents = (2.0 * math.pi, math.pi, max(told))
    known: list[Track] = []
    numbers: list[list[int]] = []
    clock = scenes[0].number
    for scene in scenes:
        while clock < scene.number:
            clock += 1
            for track in known:
                track.expect(motion)
        held = [track for track in known if scene.number - track.seen_at <= gap + 1]
        costs = [
            [cost(t, p, d, extents, gate) for p, d in zip(scene.places, scene.deviations, strict=True)]
            for t in held
        ]
        chosen = min(
            pairings(len(held), len(scene.places)), key=lambda pairs: sum(costs[i][j] for i, j in pairs)
        )
        variance = np.where(np.isnan(scene.deviations), extents, scene.deviations) ** 2
        own = [-1] * len(scene.places)
        for i, j in chosen:
            own[j] = held[i].number
            held[i].see(scene.places[j], variance[j])
            held[i].seen_at = scene.number
        for j, number in enumerate(own):
            if number < 0:
                own[j] = len(known)
                known.append(Track(len(known), scene.places[j], variance[j], motion))
                known[-1].seen_at = scene.number
        numbers.append(own)
    return numbers
