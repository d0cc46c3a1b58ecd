"""Likelihood of the snapshots under a predicted covariance: a loss that needs no truth."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from risolve.covariance import NormalizedCovariance
from risolve.modulus import squared_modulus
from risolve.networks.examples import by_source_model
from risolve.physics.observation import Observation, sensing

_LEAST_SIGNAL = 0.01
"""Share of the noise power that the signal has at least, where the snapshots show none."""


def likelihood_loss(
    predicted: NormalizedCovariance, observation: Observation, shared: Bool[Tensor, " scene"]
) -> Float[Tensor, ""]:
    """Negative log-likelihood of Gaussian snapshots, over its value for noise alone.

        (sum_l [ log det(S_l / sigma^2) + y_l^H S_l^-1 y_l ] + L M) / (L M + |y|^2 / sigma^2)
        S_l = p B_l R B_l^H + sigma^2 I
        p = max(mean |y|^2 - sigma^2, 0.01 sigma^2) / mean (B_l R B_l^H)_mm

    averaged over the scenes. R has trace N, and p gives the snapshots their mean power. `constant` sources
    see all snapshots stacked; `shared` says in which scenes they are that. Without the constants
    log(pi sigma^2) - 1 of every number, S = sigma^2 I gives 1, and any S a positive number: a scene of high
    SNR does not outweigh all others, and losses can be compared by their ratio.

    Raises:
        ValueError: the noise power is not known.
        torch.linalg.LinAlgError: S is not positive definite, as for a channel that is not finite.
    """
    parts = by_source_model(observation, shared)
    losses = [_of_model(predicted.select(scenes), part) for scenes, part in parts]
    return torch.cat(losses).mean()


def _of_model(predicted: NormalizedCovariance, observation: Observation) -> Float[Tensor, " scene"]:
    """Loss of scenes of one source model."""
    if observation.noise_power is None:
        raise ValueError("the likelihood loss reads the noise power of every scene; the observation has none")
    rows, snapshots = sensing(observation), observation.snapshots
    if observation.source_model == "constant":
        rows, snapshots = rows.flatten(1, 2)[:, None], snapshots.flatten(1)[:, None]
    noise = observation.noise_power.to(snapshots.real.dtype)[:, None, None]
    whitened = snapshots / noise.sqrt()
    weighted = rows @ predicted.dense()[:, None] / noise[..., None]
    signal = weighted @ rows.mH
    seen = (weighted * rows.conj()).sum(-1).real.mean((1, 2))
    energy = squared_modulus(whitened)
    power = (energy.mean((1, 2)) - 1.0).clamp_min(_LEAST_SIGNAL) / seen
    identity = torch.eye(signal.shape[-1], dtype=signal.dtype, device=signal.device)
    factor = torch.linalg.cholesky(power[:, None, None, None] * signal + identity)
    explained = torch.linalg.solve_triangular(factor, whitened[..., None], upper=False)
    misfit = squared_modulus(explained).sum((1, 2, 3))
    pivots = factor.diagonal(dim1=-2, dim2=-1).real
    log_det = 2.0 * pivots.log().sum((1, 2))
    n_numbers = energy[0].numel()
    loss: Tensor = (log_det + misfit + n_numbers) / (n_numbers + energy.sum((1, 2)))
    return loss
