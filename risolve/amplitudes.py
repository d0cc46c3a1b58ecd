"""Ridge least-squares field on the surface, x with y_l = B_l x_l + n_l and B_l = H diag(c_l).

Of arbitrary scale: `risolve.covariance.sample_factor` alone takes it, and normalizes what it makes of it.
"""

from dataclasses import replace

import torch
from jaxtyping import Complex
from torch import Tensor

from risolve.modulus import squared_modulus
from risolve.physics.observation import Observation, stacked_gram, stacked_match
from risolve.shapes import Powers


def ls_amplitudes(observation: Observation, ridge: float) -> Complex[Tensor, "scene snapshot element"]:
    """Ridge least-squares field on the surface, one a snapshot (`independent` sources).

        x_l = B_l^H (B_l B_l^H + rho tr(B_l B_l^H) / M I)^-1 y_l

    For codes of unit modulus B_l B_l^H = H H^H, so one M x M Cholesky factor serves all snapshots of a scene.
    The snapshots are scaled by their root mean square before the solution, so that any scale of the input
    passes.
    """
    channel, codes = observation.channel, observation.codes
    gram = _loaded(_antenna_gram(observation), ridge)
    snapshots = observation.snapshots / _root_mean_square(observation)[:, None, None]
    if gram.ndim == 3:
        solved = torch.cholesky_solve(snapshots.mT, torch.linalg.cholesky(gram))
        return (channel.mH @ solved).mT * codes.conj()
    solved = torch.cholesky_solve(snapshots[..., None], torch.linalg.cholesky(gram))
    return (channel.mH[:, None] @ solved)[..., 0] * codes.conj()


def _antenna_gram(observation: Observation) -> Tensor:
    """B_l B_l^H: one M x M matrix a scene for codes of unit modulus, else one a scene and snapshot."""
    channel, codes = observation.channel, observation.codes
    gains = squared_modulus(codes)
    if bool((gains - 1.0).abs().max() < 1e-5):
        return channel @ channel.mH
    return (channel[:, None] * gains[:, :, None, :]) @ channel.mH[:, None]


def _loaded(gram: Tensor, ridge: float) -> Tensor:
    """gram + ridge tr(gram) / M I."""
    mean_power = gram.diagonal(dim1=-2, dim2=-1).real.mean(-1)
    identity = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    return gram + ridge * mean_power[..., None, None] * identity


def _root_mean_square(observation: Observation) -> Powers:
    """Root mean square of the snapshots of each scene.

    Raises:
        ValueError: a scene whose snapshots are all zero or not finite.
    """
    peak = observation.snapshots.abs().amax((1, 2))
    usable = torch.isfinite(peak) & (peak > 0.0)
    if not bool(usable.all()):
        scenes = torch.nonzero(~usable).flatten().tolist()
        raise ValueError(
            f"snapshots must be finite and not all zero; the largest |y| of scenes {scenes} of this batch is "
            f"{peak[~usable].tolist()}"
        )
    scaled = squared_modulus(observation.snapshots / peak[:, None, None]).mean((1, 2)).sqrt()
    return peak * scaled


def joint_ls_amplitudes(observation: Observation, ridge: float) -> Complex[Tensor, "scene 1 element"]:
    """Ridge least-squares field on the surface from all snapshots at once (`constant` sources).

        x = (B^H B + rho tr(B^H B) / N I)^-1 B^H y,   B = [B_1; ...; B_L]

    The normal matrix is N x N, `stacked_gram`.
    """
    normal = stacked_gram(observation)
    snapshots = observation.snapshots / _root_mean_square(observation)[:, None, None]
    match = stacked_match(replace(observation, snapshots=snapshots))[..., None]
    return torch.cholesky_solve(match, torch.linalg.cholesky(_loaded(normal, ridge))).mT
