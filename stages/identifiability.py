"""How many sources the snapshots determine: no more real unknowns than real numbers received.

    independent   2 L M >= 2 L K + 3 K      free amplitudes in every snapshot, three coordinates a source
    constant      2 L M >= 2 K + 3 K        one amplitude a source

The first makes K < M, without which the projection P_G^perp of a snapshot leaves nothing.
"""

from typing import Literal, NamedTuple


class Limit(NamedTuple):
    """Most sources, and the law that says so."""

    n_sources: int
    law: str


def most_sources(
    source_model: Literal["independent", "constant"], n_snapshots: int, n_antennas: int
) -> Limit:
    """Most sources that L snapshots at M antennas determine.

    >>> most_sources("independent", 16, 16).n_sources, most_sources("constant", 16, 16).n_sources
    (14, 102)
    """
    L, M = n_snapshots, n_antennas
    if source_model == "independent":
        return Limit(2 * L * M // (2 * L + 3), "2 L M >= (2 L + 3) K")
    return Limit(2 * L * M // 5, "2 L M >= 5 K")
