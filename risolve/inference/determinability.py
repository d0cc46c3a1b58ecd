"""How many sources snapshots determine, by the rank of what they came through."""

from typing import NamedTuple

from risolve.identifiability import Limit, most_sources
from risolve.physics.observation import Observation, SourceModel, received_rank, sensing_rank


class Determined(NamedTuple):
    """What has the rank that counts, the rank, and most sources that it determines."""

    what: str
    rank: int
    most: Limit


def determined(observation: Observation) -> Determined:
    """How many sources a channel, or channel and codes together, determine, by their ranks."""
    L, N, n_free = observation.n_snapshots, observation.n_elements, observation.limits.n_free
    if observation.source_model == "independent":
        rank = received_rank(observation)
        return Determined("the channel", rank, most_sources("independent", L, rank, N, n_free))
    # of one scene: that of others differs by their codes alone
    rank = int(sensing_rank(observation.select(slice(0, 1)))[0])
    return Determined("channel and codes", rank, most_sources("constant", 1, rank, N, n_free))


def require_told(observation: Observation, n_sources: int | None) -> None:
    """Refuse scenes whose channel, or channel and codes together, bring too few independent numbers.

    Raises:
        ValueError: the law with its numbers.
    """
    L, M, N = observation.n_snapshots, observation.n_antennas, observation.n_elements
    what, rank, most = determined(observation)
    if most.n_sources < (1 if n_sources is None else n_sources):
        raise ValueError(
            f"{observation.source_model} sources need {most.law}, where M and L M count ranks: {what} of M = "
            f"{M} antennas, L = {L} snapshots and N = {N} elements have rank {rank}, which allows "
            f"{most.n_sources} sources, got {'a count of them' if n_sources is None else n_sources}"
            f"{way_out(observation.source_model, rank, M)}"
        )


def way_out(source_model: SourceModel, rank: int, n_antennas: int) -> str:
    """What helps where too little is received."""
    if source_model == "constant":
        return "; take more codes, or codes that differ more"
    if rank > 1:
        return "; take more snapshots, or more antennas"
    more = "antennas" if n_antennas == 1 else "paths between surface and antennas"
    return (
        f"; snapshots alone do not help: take more {more}, or, where what is sent is known, divide the "
        "snapshots by it and state source_model = constant"
    )
