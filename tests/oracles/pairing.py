"""Pairings of true and estimated sources, every one of them."""

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

Source = Sequence[float]
"""(azimuth (rad), elevation (rad), inverse range (1/m))."""


class Totals(NamedTuple):
    """What is judged of one pairing."""

    n_found: int
    angle: float
    inverse_range: float


def wrapped(angle: float) -> float:
    """The same angle in -pi ... pi."""
    return math.remainder(angle, 2.0 * math.pi)


def great_circle(first: Source, second: Source) -> float:
    """Vincenty, Survey Review 23 (1975), on the sphere: atan2(|q x q'|, q . q')."""
    (phi, theta, _), (other, height, _) = first, second
    turn = other - phi
    across = math.hypot(
        math.cos(height) * math.sin(turn),
        math.cos(theta) * math.sin(height) - math.sin(theta) * math.cos(height) * math.cos(turn),
    )
    along = math.sin(theta) * math.sin(height) + math.cos(theta) * math.cos(height) * math.cos(turn)
    return math.atan2(across, along)


def totals(pairs: Sequence[tuple[Source, Source]], tolerance: float) -> Totals:
    """Number of found pairs, and sums over all pairs."""
    n_found = sum(
        abs(wrapped(estimate[0] - true[0])) <= tolerance and abs(estimate[1] - true[1]) <= tolerance
        for true, estimate in pairs
    )
    return Totals(
        n_found,
        math.fsum(great_circle(true, estimate) for true, estimate in pairs),
        math.fsum(abs(true[2] - estimate[2]) for true, estimate in pairs),
    )


def pairings(truth: Sequence[Source], estimate: Sequence[Source]) -> Iterator[list[tuple[Source, Source]]]:
    """All with as many pairs as the smaller set holds."""
    if len(truth) <= len(estimate):
        for chosen in itertools.permutations(estimate, len(truth)):
            yield list(zip(truth, chosen, strict=True))
    else:
        for left in itertools.permutations(truth, len(estimate)):
            yield list(zip(left, estimate, strict=True))
