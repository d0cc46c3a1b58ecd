"""Likelihood of Gaussian amplitudes, integrated out, and its expansion about given sources and powers.

    V = sum_g [ log det R_g + y_g^H R_g^-1 y_g ],   R_g = sigma^2 (I + G_g diag(rho) G_g^H)

with the ratios rho_k = p_k / sigma^2 of the powers of the amplitudes to that of the noise. Written with the
weighted columns G = G_g diag(rho)^1/2, and D for their derivatives by the positions, everything is in the
K x K matrix S = I + G^H G:

    det(I + G G^H) = det S,   (I + G G^H)^-1 = I - G S^-1 G^H,   (I + G G^H)^-1 G = G S^-1

where no difference of large numbers is left (Woodbury). With the mean mu = S^-1 G^H y of the weighted
amplitudes and the misfit e = y - G mu,

    y^H (I + G G^H)^-1 y = |e|^2 + |mu|^2

Coordinates are (azimuth, elevation, inverse range) source by source, then log rho of each source. A noise
power that is not known is the most likely one at every place, sigma^2 = sum_g (|e_g|^2 + |mu_g|^2) / (L M). A
group g is one snapshot for `independent` sources and all snapshots stacked for `constant` ones. All in
complex128.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from risolve.inference.projection import grouped_snapshots, real_rows, source_responses
from risolve.modulus import squared_modulus
from risolve.physics.observation import Observation
from risolve.shapes import Powers

_LOADING = 8.0 * torch.finfo(torch.float64).eps
"""Added to S, relative to its largest diagonal entry: what rounding may take from it."""


class Marginal(NamedTuple):
    """V, sigma^2 (the known or the most likely one), and the expansion about the place.

        V(x + d) ~ V - 2 g^T d + d^T H d

    slope g (exact: half the negative gradient), curvature H (positive semidefinite, without second
    derivatives of G).
    """

    value: Float[Tensor, " scene"]
    noise_power: Powers
    slope: Float[Tensor, "scene coordinate"]
    curvature: Float[Tensor, "scene coordinate coordinate"]


class _Posterior(NamedTuple):
    """Weighted columns G and D as rows, G^H D, factor and inverse of S, mean mu and misfit e."""

    columns: Complex[Tensor, "scene group source row"]
    slopes: Complex[Tensor, "scene group position row"]
    overlap: Complex[Tensor, "scene group source position"]
    factor: Complex[Tensor, "scene group source source"]
    inverse: Complex[Tensor, "scene group source source"]
    mean: Complex[Tensor, "scene group source"]
    misfit: Complex[Tensor, "scene group row"]

    def shares(self) -> Float[Tensor, "scene group source"]:
        """1 - (S^-1)_kk: of the power of each source that its snapshots tell from noise."""
        return 1.0 - self.inverse.diagonal(dim1=-2, dim2=-1).real

    def own_overlap(self) -> Complex[Tensor, "scene group source 3"]:
        """(S^-1 G^H D)_{k,ki}: of each source with its own derivatives."""
        n_sources = self.mean.shape[-1]
        by_source = self.overlap.unflatten(-1, (n_sources, 3))
        return torch.einsum("bgkn,bgnki->bgki", self.inverse, by_source)


def marginal(
    observation: Observation,
    sources: Float[Tensor, "scene source 3"],
    log_ratios: Float[Tensor, "scene source"],
) -> Marginal:
    """V and its expansion at the given sources and log p_k / sigma^2, all its parts summed over the groups.

        dV/dx_ki      = 2 Re{ (S^-1 G^H d_ki)_k - mu_k e^H d_ki / sigma^2 }
        dV/dlog rho_k = 1 - (S^-1)_kk - |mu_k|^2 / sigma^2
        H_ij          = Re{ v_i^H R^-1 v_j },   v_ki = d_ki mu_k,   v_k = g_k mu_k / sqrt 2

    For the positions H is that of `project` over sigma^2, for the ratios half the average information: both
    halves of the Hessian in the mean. Their mixed part is 1 / sqrt 2 of it, so that H is positive
    semidefinite. With sigma^2 the most likely one, V is minimized over it in all three.

    References:
        Kaufman, "A variable projection method for solving separable nonlinear least squares problems", BIT 15
        (1975); Gilmour, Thompson, Cullis, "Average information REML", Biometrics 51 (1995).
    """
    post = _posterior(observation, sources, log_ratios)
    n_equations = observation.n_snapshots * observation.n_antennas
    explained = _energy(post.misfit) + _energy(post.mean)
    noise_power = explained / n_equations if observation.noise_power is None else observation.noise_power
    pivots = post.factor.diagonal(dim1=-2, dim2=-1).real
    log_det = 2.0 * pivots.log().sum((1, 2))
    value = n_equations * noise_power.log() + log_det + explained / noise_power

    # what R^-1 y makes of every derivative of R
    matched = (post.slopes.conj() @ post.misfit[..., None])[..., 0]
    spread = post.mean.repeat_interleave(3, dim=-1)
    seen_positions = 2.0 * (matched.conj() * spread).real.sum(1)
    seen_ratios = (post.mean.real.square() + post.mean.imag.square()).sum(1)
    seen = torch.cat((seen_positions, seen_ratios), dim=1) / noise_power[:, None]
    curvature = _curvature(post, noise_power) / noise_power[:, None, None]
    if observation.noise_power is None:
        curvature = curvature - _common(seen, seen_positions.shape[1]) / n_equations
    return Marginal(value, noise_power, 0.5 * (seen - _expected(post)), curvature)


def _posterior(
    observation: Observation,
    sources: Float[Tensor, "scene source 3"],
    log_ratios: Float[Tensor, "scene source"],
) -> _Posterior:
    by_source = source_responses(observation, sources)
    weighted = by_source * (0.5 * log_ratios).exp()[:, None, :, None, None]
    columns, slopes = weighted[..., 0, :].contiguous(), weighted[..., 1:, :].flatten(2, 3)
    snapshots = grouped_snapshots(observation)
    n_sources = columns.shape[2]
    inner = columns.conj() @ torch.cat((columns, slopes, snapshots[:, :, None]), dim=2).mT
    gram, overlap, target = inner.split((n_sources, 3 * n_sources, 1), dim=-1)
    identity = torch.eye(n_sources, dtype=torch.complex128)
    # Merged sources of large power leave S an eigenvalue of 1 beside large ones, which rounding may cancel.
    loading = 1.0 + _LOADING * gram.diagonal(dim1=-2, dim2=-1).real.amax(-1)
    factor: Tensor = torch.linalg.cholesky_ex(gram + loading[..., None, None] * identity).L
    inverse = torch.cholesky_solve(identity.expand_as(factor), factor)
    mean = torch.cholesky_solve(target, factor)[..., 0]
    misfit = snapshots - (mean[:, :, None] @ columns)[:, :, 0]
    return _Posterior(columns, slopes, overlap, factor, inverse, mean, misfit)


def _expected(post: _Posterior) -> Float[Tensor, "scene coordinate"]:
    """E sum_g y^H R^-1 dR/di R^-1 y = sum_g tr(R^-1 dR/di)."""
    by_positions = 2.0 * post.own_overlap().real.sum(1).flatten(1)
    return torch.cat((by_positions, post.shares().sum(1)), dim=1)


def _curvature(post: _Posterior, noise_power: Powers) -> Float[Tensor, "scene coordinate coordinate"]:
    """sigma^2 H, its diagonal for the ratios at least a quarter of their information.

        v_i = a_i + G b_i,   a_ki = d_ki mu_k,   b_k = mu_k / sqrt 2
        sigma^2 v_i^H R^-1 v_j = a_i^H a_j + b_i^H b_j - (G^H a_i - b_i)^H S^-1 (G^H a_j - b_j)

    A power far too large has hardly any mu to show for it, and would fall in one step to nothing.
    """
    n_positions = post.slopes.shape[2]
    spread = post.mean.repeat_interleave(3, dim=-1)[..., None]
    along = real_rows((post.slopes * spread).permute(0, 2, 1, 3))
    inside = torch.diag_embed(math.sqrt(0.5) * post.mean)
    difference = torch.cat((post.overlap.mT * spread, -inside), dim=2)
    whitened = torch.linalg.solve_triangular(post.factor, difference.mT, upper=False)
    lost = real_rows(whitened.permute(0, 3, 1, 2))
    total = -lost @ lost.mT
    total[:, :n_positions, :n_positions] += along @ along.mT
    kept = 0.5 * (post.mean.real.square() + post.mean.imag.square()).sum(1)
    total[:, n_positions:, n_positions:] += torch.diag_embed(kept)
    diagonal = total.diagonal(dim1=1, dim2=2)[:, n_positions:]
    diagonal.copy_(torch.maximum(diagonal, 0.25 * post.shares().square().sum(1) * noise_power[:, None]))
    return total


def _common(
    seen: Float[Tensor, "scene coordinate"], n_positions: int
) -> Float[Tensor, "scene coordinate coordinate"]:
    """Re{v_i^H R^-1 y} Re{v_j^H R^-1 y}, which a scale of R explains as well; nothing for two positions.

    V is then L M log(|e|^2 + |mu|^2), and steps of the positions are those of |e|^2 + |mu|^2 itself.
    """
    share = math.sqrt(0.5) * seen
    share[:, :n_positions] *= math.sqrt(0.5)
    product = share[:, :, None] * share[:, None, :]
    product[:, :n_positions, :n_positions] = 0.0
    return product


def _energy(values: Complex[Tensor, "scene group entry"]) -> Float[Tensor, " scene"]:
    return squared_modulus(values).sum((1, 2))
