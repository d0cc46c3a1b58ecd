"""How many sources the snapshots determine: no more real unknowns than independent real numbers received.

    independent   2 L min(M, N) >= 2 L K + 3 K      an amplitude a snapshot, three coordinates a source
    constant      2 min(L M, N) >= 2 K + 3 K        one amplitude a source
    equal gains   2 min(L M, N) >= 2 + 3 K          one amplitude in all

A coordinate that is known is no unknown, so that 3 K becomes 2 K, K or 0. min(M, N) and min(L M, N) bound the
rank of B_l and of the stacked B. The first makes K < M, without which the projection P_G^perp of a snapshot
leaves nothing. Where the rank of the channel is known it stands for M.

An unknown noise power of every antenna is told by the covariance of what `independent` sources leave, which
has (M - K)^2 real numbers for M powers.
"""

import math
from typing import Literal, NamedTuple


class Limit(NamedTuple):
    """Most sources, and the law that says so."""

    n_sources: int
    law: str


def most_sources(
    source_model: Literal["independent", "constant"],
    n_snapshots: int,
    n_antennas: int,
    n_elements: int,
    n_free: int = 3,
    gains: Literal["free", "equal"] = "free",
) -> Limit:
    """Most sources that L snapshots of N elements at M antennas, or through a channel of rank M, determine.

    n_free: coordinates of a source that are unknown. gains: of `constant` sources.

    >>> most_sources("independent", 16, 16, 144).n_sources, most_sources("constant", 16, 16, 144).n_sources
    (14, 57)
    >>> most_sources("constant", 1, 8, 8).n_sources, most_sources("constant", 1, 8, 8, n_free=1).n_sources
    (3, 5)
    >>> most_sources("constant", 1, 8, 8, n_free=1, gains="equal").n_sources
    14
    """
    L, M, N = n_snapshots, n_antennas, n_elements
    if source_model == "independent":
        # where all places are known, K < M is a law of its own
        most = min(2 * L * min(M, N) // (2 * L + n_free), M - 1)
        return Limit(most, f"2 L min(M, N) >= (2 L + {n_free}) K")
    if gains == "equal":
        # where all places are known, nothing more is
        return Limit((2 * min(L * M, N) - 2) // max(n_free, 1), f"2 min(L M, N) >= 2 + {n_free} K")
    return Limit(2 * min(L * M, N) // (2 + n_free), f"2 min(L M, N) >= {2 + n_free} K")


def most_beside_antenna_noise(most: Limit, n_antennas: int) -> Limit:
    """Most `independent` sources beside an unknown noise power of every antenna.

    >>> most_beside_antenna_noise(most_sources("independent", 16, 8, 8), 8).n_sources
    5
    """
    K = n_antennas - math.isqrt(n_antennas - 1) - 1
    return most if K >= most.n_sources else Limit(K, "(M - K)^2 >= M beside noise = antennas")
