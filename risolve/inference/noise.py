"""Noise power of an observation that does not state one, before anything is known of its sources.

`constant`: what the joint least squares of all snapshots leaves, unbiased whatever the field. With
G = B^H B of the stacked B, a small ridge eps and T = G + eps I

    sigma^2 = (|y|^2 - y^H B T^-1 B^H y) / d,   d = L M - tr(T^-1 G) >= L M - N

`independent`, and `constant` where d is small: an isotropic field, y_l ~ CN(0, sigma^2 (rho B_l B_l^H + I)).
With eigenvalues lambda_i and energies e_i of the snapshots along the eigenvectors of all B_l B_l^H

    sigma^2(rho) = 1/(L M) sum_i e_i / (1 + rho lambda_i)
    -log p(y | rho) = L M log sigma^2(rho) + sum_i log(1 + rho lambda_i) + constant

for sigma^2 of density 1 / sigma^2, and log sigma^2 is the mean of log sigma^2(rho) over the posterior of rho,
uniform in decibels before the snapshots are seen. complex128, on unit scale.
"""

from typing import NamedTuple

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from risolve.inference.scaling import unit_scale
from risolve.modulus import squared_modulus
from risolve.physics.observation import Observation, stacked_gram, stacked_match
from risolve.shapes import Powers

CHUNK_VALUES = 4_000_000
"""Complex numbers of the largest array of one piece of the batch: bounds the memory, 64 MB."""

_LEAST_FREE = 8
"""Dimensions without signal, L M - N, from which their energy alone tells sigma^2: to 35 %."""

_RIDGE = 1e-9
"""Ridge eps over L M, the mean of the diagonal of G, so that a G of lower rank than N has a factor too."""

_LEAST = 1e-6
"""Noise power over mean |y|^2, at least: below it is what rounding and ridge leave."""

_RATIO_DB = (-30.0, 30.0)
"""Mean SNR rho tr(B_l B_l^H) / M between which the isotropic field is looked for."""

_RATIOS = 121


class _Energies(NamedTuple):
    """Eigenvalues of matrices B_l B_l^H, and the mean energies along the eigenvectors of each."""

    eigenvalues: Float[Tensor, "scene direction"]
    energies: Float[Tensor, "scene direction"]


def estimated_noise_power(observation: Observation) -> Powers:
    """sigma^2 of every scene from its snapshots, channel and codes alone.

    Notes:
        `constant`: relative deviation 1 / sqrt(L M - N). `independent`: M antennas see no direction without
        signal, so sigma^2 is told from the field by the spread of the eigenvalues alone: to 0.3 ... 0.7 dB up
        to an SNR of 0 dB, to 3 ... 4 dB from 10 dB on, where what is found hardly depends on it. Eigenvalues
        that are all the same (channel = identity) tell nothing: sigma^2 is then 8 dB below mean |y|^2.

    Raises:
        ValueError: as `unit_scale`.
    """
    free = observation.n_snapshots * observation.n_antennas - observation.n_elements
    is_joint = observation.source_model == "constant" and free >= _LEAST_FREE
    per_scene = max(
        observation.n_elements**2,
        observation.n_snapshots * observation.n_antennas * max(_RATIOS, observation.n_elements),
    )
    size = max(1, CHUNK_VALUES // per_scene)
    pieces = [torch.empty(0, dtype=torch.float64)]
    for first in range(0, observation.n_scenes, size):
        piece = observation.select(slice(first, first + size))
        unit = unit_scale(piece)
        relative = _left_by_least_squares(unit) if is_joint else _beside_isotropic_field(unit)
        mean_power = piece.snapshots.abs().double().square().mean((1, 2))
        pieces.append(relative.clamp_min(_LEAST) * mean_power)
    return torch.cat(pieces)


def _left_by_least_squares(observation: Observation) -> Powers:
    """(|y|^2 - y^H B T^-1 B^H y) / d."""
    gram = stacked_gram(observation)
    n_elements = observation.n_elements
    n_numbers = observation.n_snapshots * observation.n_antennas
    eps = _RIDGE * n_numbers
    identity = torch.eye(n_elements, dtype=gram.dtype)
    factor = torch.linalg.cholesky(gram + eps * identity)
    match = stacked_match(observation)[..., None]
    whitened = torch.linalg.solve_triangular(factor, match, upper=False)
    whitener = torch.linalg.solve_triangular(factor, identity.expand_as(factor), upper=False)
    left = _energy(observation.snapshots) - _energy(whitened)
    # tr(T^-1 G) = N - eps tr T^-1
    return left / (n_numbers - n_elements + eps * _energy(whitener))


def _beside_isotropic_field(observation: Observation) -> Powers:
    """exp of the posterior mean of log sigma^2(rho)."""
    directions = _directions(observation)
    mean_gain = directions.eigenvalues.mean(1, keepdim=True)
    ratios = torch.pow(10.0, torch.linspace(*_RATIO_DB, _RATIOS, dtype=torch.float64) / 10.0)
    spread = 1.0 + ratios[:, None] * (directions.eigenvalues / mean_gain)[:, None, :]
    log_noise = (directions.energies[:, None, :] / spread).mean(-1).log()
    n_numbers = observation.n_snapshots * observation.n_antennas
    weights = torch.softmax(-n_numbers * (log_noise + spread.log().mean(-1)), dim=1)
    return (weights * log_noise).sum(1).exp()


def _directions(observation: Observation) -> _Energies:
    """Of every B_l B_l^H = H diag(|c_l|^2) H^H, or of one for all snapshots that have the same |c_l|."""
    channel, snapshots = observation.channel, observation.snapshots
    gains = squared_modulus(observation.codes)
    if bool((gains - gains[:, :1]).abs().max() < 1e-5):
        gains = gains[:, :1]
    weighted = channel[:, None] * gains.sqrt()[:, :, None, :]
    eigenvalues, eigenvectors = torch.linalg.eigh(weighted @ weighted.mH)
    along = snapshots[:, :, None, :] @ eigenvectors.conj()
    n_scenes, n_own = snapshots.shape[0], gains.shape[1]
    energies = squared_modulus(along).reshape(n_scenes, -1, n_own, snapshots.shape[2]).mean(1)
    n_directions = n_own * snapshots.shape[2]
    return _Energies(
        eigenvalues.clamp_min(0.0).reshape(-1, n_directions).expand(n_scenes, -1),
        energies.reshape(n_scenes, n_directions),
    )


def _energy(values: Complex[Tensor, "scene row column"]) -> Float[Tensor, " scene"]:
    return squared_modulus(values).sum((1, 2))
