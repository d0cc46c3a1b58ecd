"""How many sources snapshots determine, by the rank of what they came through."""

import math
from dataclasses import replace
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from risolve.identifiability import Limit, most_sources
from risolve.inference.noise import estimated_noise_power
from risolve.physics.observation import Observation, SourceModel, estimated_snr
from risolve.physics.ranks import received_energies, received_rank, sensing_energies, sensing_rank

_MEASURED = 1e-2
"""Singular value over the largest, up to which it may be an error of a channel that was measured."""

_STRONG = 0.1
"""The same from which a direction counts, whatever the noise."""


class Determined(NamedTuple):
    """What has the rank that counts, the rank, and most sources that it determines."""

    what: str
    rank: int
    most: Limit


def determined(observation: Observation) -> Determined:
    """How many sources a channel, or channel and codes together, determine, by their ranks."""
    L, N, n_free = observation.n_snapshots, observation.array.n_coherent, observation.limits.n_free
    if observation.source_model == "independent":
        rank = received_rank(observation)
        return Determined("the channel", rank, most_sources("independent", L, rank, N, n_free))
    # of one scene: that of others differs by their codes alone
    rank = int(sensing_rank(observation.select(slice(0, 1)))[0])
    most = most_sources("constant", 1, rank, N, n_free, observation.gains)
    return Determined("channel and codes", rank, most)


def require_told(observation: Observation, n_sources: int | None) -> None:
    """Refuse scenes whose channel, or channel and codes together, bring too few independent numbers.

    Raises:
        ValueError: the law with its numbers.
    """
    L, M, N = observation.n_snapshots, observation.n_antennas, observation.array.n_coherent
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


class Heard(NamedTuple):
    """Directions of every scene that bring more than noise and errors, the largest singular value of the
    others over the largest of all, and most sources that they determine.
    """

    rank: Int[Tensor, " scene"]
    beside: Float[Tensor, " scene"]
    most: Int[Tensor, " scene"]


def heard(observation: Observation) -> Heard:
    """The rank of a channel, or of channel and codes, to which noise and errors of 1 % add nothing.

    With singular values t_i over the largest, in G groups of R numbers that share no amplitude, directions of
    t_i > 0.1 count, and those of 0.01 < t_i <= 0.1, n of them, count together where

        sqrt(G) R SNR sum_weak t_i^2 / sum_j t_j^2 > sqrt(n)

    so that what they bring of the sources is a standard deviation of the energy of noise in them.

    Notes:
        Measured behind channels of one path and others 10 to 40 dB weaker, 6 to 16 antennas: of one source
        most azimuths are wrong by more than 3 degrees below a ratio of the two sides of 0.9, few above 1;
        of two sources half are still wrong at 1.5.
    """
    L, M = observation.n_snapshots, observation.n_antennas
    if observation.source_model == "independent":
        n_groups, n_rows, energies = L, M, received_energies(observation)
    else:
        # of one scene: that of others differs by their codes alone
        n_groups, n_rows, energies = 1, L * M, sensing_energies(observation.select(slice(0, 1)))
    counts = energies > _STRONG**2
    weak = (energies > _MEASURED**2) & ~counts
    if bool(weak.any()):
        brought = torch.where(weak, energies, 0.0).sum(-1) / energies.sum(-1) * n_rows * _snr(observation)
        is_above = math.sqrt(n_groups) * brought > weak.sum(-1).sqrt()
        counts = counts | (weak & is_above[:, None])
    counts = counts.expand(observation.n_scenes, -1)
    rank, beside = counts.sum(-1), torch.where(counts, 0.0, energies).amax(-1).clamp_min(0.0).sqrt()
    model, N, n_free = observation.source_model, observation.array.n_coherent, observation.limits.n_free
    most = [
        most_sources(model, n_groups, own, N, n_free, observation.gains).n_sources for own in rank.tolist()
    ]
    return Heard(rank, beside, torch.tensor(most))


def _snr(observation: Observation) -> Float[Tensor, " scene"]:
    """The estimated SNR, beside an estimated noise power where none is known."""
    if observation.noise_power is None:
        estimated = estimated_noise_power(observation)
        observation = replace(observation, noise_power=estimated, noise="equal")
    return estimated_snr(observation)
