"""Targets and losses. Each is a mean over the scenes of a batch that it applies to; over none it is 0.

No loss has an eigenvector in its backward pass: subspaces enter as projectors onto the span of true steering
vectors, by a triangular factor, and likelihoods by Cholesky factors.
"""

from typing import NamedTuple

import torch
import torch.nn.functional
from jaxtyping import Bool, Complex, Float, Int
from torch import Tensor

from risolve.covariance import BlendNorms, LoadedBlend, NormalizedCovariance
from risolve.modulus import squared_norms
from risolve.networks.covariance_network import count_log_probabilities


class Occupancy(NamedTuple):
    """Y_g of every point, and the source that occupies it, the one of the largest splat there."""

    target: Float[Tensor, "scene point"]
    source: Int[Tensor, "scene point"]


def occupancy(
    cosines: Float[Tensor, "scene source 3"],
    present: Bool[Tensor, "scene source"],
    axes: tuple[Float[Tensor, " u"], Float[Tensor, " v"], Float[Tensor, " w"]],
    width_cells: float,
    width_planes: float,
) -> Occupancy:
    """Occupancy of the grid: a Gaussian splat of every source, the largest where splats meet.

        log Y_g = max_k (-(x^2 + y^2) / (2 s^2) - z^2 / (2 t^2) - log peak_k)
        x = (u_g - u_k) / du,   y = (v_g - v_k) / dv,   z = (w_g - w_k) / dw

    du, dv, dw are the cells of the grid, s and t the widths in cells; peak_k makes the largest value of a
    splat 1. `axes` are the grid coordinates along u, v and w. A slot that is not `present` occupies nothing.
    """
    exponents = []
    for coordinate, (axis, width) in enumerate(
        zip(axes, (width_cells, width_cells, width_planes), strict=True)
    ):
        cells = (axis - cosines[..., coordinate, None]) / (axis[1] - axis[0])
        exponent = -0.5 * (cells / width).square()
        exponents.append(exponent - exponent.amax(-1, keepdim=True))
    along_u, along_v, along_w = exponents
    along_w = along_w.masked_fill(~present[..., None], -torch.inf)
    total = along_w[..., :, None, None] + along_v[..., None, :, None] + along_u[..., None, None, :]
    largest, source = total.flatten(2).max(1)
    return Occupancy(largest.exp(), source)


def detection_loss(
    logits: Float[Tensor, "scene point"],
    target: Float[Tensor, "scene point"],
    n_sources: Float[Tensor, " scene"],
    focal_exponents: tuple[float, float],
) -> Float[Tensor, ""]:
    """Focal loss with soft labels.

        -sum_g Y_g^b (1 - o_g)^a log o_g + (1 - Y_g)^b o_g^a log(1 - o_g),   o = sigmoid(z)

    a scene divided by max(K, 1). Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017, eq. (4); the
    weight (1 - Y)^b of points near a source is that of Zhou et al., "Objects as Points", 2019, eq. (1), here
    for both terms.
    """
    focus, softness = focal_exponents
    occupied = torch.nn.functional.logsigmoid(logits)
    empty = torch.nn.functional.logsigmoid(-logits)
    hit = target**softness * torch.exp(focus * empty) * occupied
    miss = (1.0 - target) ** softness * torch.exp(focus * occupied) * empty
    return -((hit + miss).sum(-1) / n_sources.clamp_min(1.0)).mean()


def covariance_errors(
    blend: LoadedBlend, norms: BlendNorms, truth: NormalizedCovariance
) -> Float[Tensor, " scene"]:
    """Normalized square error of the loaded blend, from its norms.

    ||R_blend - (R_true + eps I)||_F^2 / ||R_true + eps I||_F^2
    ||R + eps I||_F^2 = ||R||_F^2 + (2 eps + eps^2) N
    """
    n_elements = blend.n_elements
    reference = truth.squared_norm + (2.0 * blend.loading + blend.loading**2) * n_elements
    return blend.squared_distance(truth, norms) / reference


def covariance_loss(blend: LoadedBlend, norms: BlendNorms, truth: NormalizedCovariance) -> Float[Tensor, ""]:
    """Mean of `covariance_errors`.

    A batch in which no scene has a source has no covariance to miss, and adds nothing to the gradient.
    """
    errors = covariance_errors(blend, norms, truth)
    return errors.sum() / max(len(errors), 1)


def offset_loss(
    offsets: Float[Tensor, "scene point 3"],
    cosines: Float[Tensor, "scene source 3"],
    present: Bool[Tensor, "scene source"],
    points: Float[Tensor, "point 3"],
    steps: Float[Tensor, " 3"],
    occupied: Occupancy,
    softness: float,
) -> Float[Tensor, ""]:
    """Smooth absolute error of the places within the cells, at the points that sources occupy.

        sum_g Y_g^b sum_i h(offset_gi - (x_ki - x_gi) / d_i) / sum_g Y_g^b,   k the source that occupies g

    x = (u, v, w), d the steps of the grid, Y the occupancy, h(e) = e^2 / 2 for |e| < 1, |e| - 1/2 beyond. A
    scene without sources has no place to miss.

    References:
        Girshick, "Fast R-CNN", ICCV 2015, eq. (3): h.
    """
    places = cosines.gather(1, occupied.source[..., None].expand(-1, -1, 3))
    wanted = (places - points) / steps
    error = torch.nn.functional.smooth_l1_loss(offsets, wanted, reduction="none").sum(-1)
    weight = occupied.target**softness
    measured = present.any(-1)
    weighted = (weight * error).sum(-1)[measured] / weight.sum(-1)[measured]
    return weighted.sum() / max(len(weighted), 1)


def count_loss(counts: Float[Tensor, "scene step"], n_sources: Int[Tensor, " scene"]) -> Float[Tensor, ""]:
    """-log P(K) of the true count."""
    log_probabilities = count_log_probabilities(counts)
    return torch.nn.functional.nll_loss(log_probabilities, n_sources.long())


def subspace_loss(
    predicted: NormalizedCovariance, waves: Complex[Tensor, "scene source element"]
) -> Float[Tensor, ""]:
    """Share of R_pred outside the subspace of the true sources.

        1 - tr(P R_pred) / N,   P = A (A^H A)^-1 A^H

    waves: steering vectors of the true sources, zero in empty slots. By the triangular factor of A^H A: no
    eigenvector of R_pred is needed, whose derivative has the gaps of the eigenvalues as denominators.
    """
    n_elements = predicted.n_elements
    columns = waves.mT
    gram = columns.mH @ columns
    loading = 1e-6 * n_elements * torch.eye(columns.shape[-1], dtype=gram.dtype, device=gram.device)
    factor = torch.linalg.cholesky(gram + loading)
    inside = torch.linalg.solve_triangular(factor, columns.mH @ predicted.columns, upper=False)
    energy = squared_norms(inside)
    outside = 1.0 - (predicted.weights * energy).sum(-1) / n_elements
    return outside.sum() / max(len(outside), 1)
