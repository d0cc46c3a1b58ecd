"""Ranks of what snapshots come through: how many numbers it brings independently of each other."""

import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor

from risolve.physics.observation import Observation, stacked_gram

_ROUNDING = 1e-10
"""Squared singular value over the largest, above rounding in single precision."""


def received_rank(observation: Observation) -> int:
    """Rank of the channel, the least of all scenes and bands: numbers that a snapshot brings independently of
    others.

    Counts singular values as `sensing_rank` does.
    """
    return int((received_energies(observation) > _ROUNDING).sum(-1).amin())


def sensing_rank(observation: Observation) -> Int[Tensor, " scene"]:
    """Rank of the stacked sensing matrix B = [B_1; ...; B_L]: K sources can be told apart only if K <= rank.

    Counts singular values above 1e-5 of the largest, which single-precision channels and codes can resolve.
    """
    count: Tensor = (sensing_energies(observation) > _ROUNDING).sum(-1)
    return count


def received_energies(observation: Observation) -> Float[Tensor, "#scene direction"]:
    """Squared singular values of the channel over the largest, in ascending order; of several bands the least
    of each.
    """
    by_band = observation.channel.to(torch.complex128).unflatten(-1, (-1, observation.array.n_coherent))
    channel = by_band.movedim(2, 1).flatten(0, 1)
    n_antennas, n_elements = channel.shape[1:]
    energies = _relative(channel @ channel.mH if n_antennas <= n_elements else channel.mH @ channel)
    least: Tensor = energies.unflatten(0, (-1, observation.array.n_free_bands)).amin(1)
    return least


def sensing_energies(observation: Observation) -> Float[Tensor, "#scene direction"]:
    """The same of the stacked sensing matrix, and zeros."""
    return _relative(stacked_gram(observation.to(torch.complex128)))


def _relative(gram: Complex[Tensor, "scene n n"]) -> Float[Tensor, "scene n"]:
    """Eigenvalues over the largest, in ascending order."""
    eigenvalues: Tensor = torch.linalg.eigvalsh(gram)
    return eigenvalues / eigenvalues[:, -1:]
