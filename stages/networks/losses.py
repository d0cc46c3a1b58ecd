"""Targets and losses. Each is a mean over the scenes of a batch; over none, the covariance loss is 0."""

import torch
import torch.nn.functional
from jaxtyping import Float
from torch import Tensor

from stages.covariance import BlendNorms, LoadedBlend, NormalizedCovariance


def occupancy_target(
    cosines: Float[Tensor, "scene source 3"],
    present: Float[Tensor, "scene source"],
    axes: tuple[Float[Tensor, " u"], Float[Tensor, " v"], Float[Tensor, " w"]],
    width_cells: float,
    width_planes: float,
) -> Float[Tensor, "scene point"]:
    """Occupancy of the grid: a Gaussian splat of every source, the largest where splats meet.

        Y_g = max_k exp(-(x^2 + y^2) / (2 s^2) - z^2 / (2 t^2)) / peak_k
        x = (u_g - u_k) / du,   y = (v_g - v_k) / dv,   z = (w_g - w_k) / dw

    du, dv, dw are the cells of the grid, s and t the widths in cells; peak_k makes the largest value of a
    splat 1. `axes` are the grid coordinates along u, v and w.
    """
    splats = []
    for coordinate, (axis, width) in enumerate(
        zip(axes, (width_cells, width_cells, width_planes), strict=True)
    ):
        cells = (axis - cosines[..., coordinate, None]) / (axis[1] - axis[0])
        exponent = -0.5 * (cells / width).square()
        splats.append(torch.exp(exponent - exponent.amax(-1, keepdim=True)))
    along_u, along_v, along_w = splats
    along_w = along_w * present[..., None]
    product = along_w[..., :, None, None] * along_v[..., None, :, None] * along_u[..., None, None, :]
    return product.amax(1).flatten(1)


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


def covariance_loss(blend: LoadedBlend, norms: BlendNorms, truth: NormalizedCovariance) -> Float[Tensor, ""]:
    """Normalized mean square error of the loaded blend, from its norms.

        ||R_blend - (R_true + eps I)||_F^2 / ||R_true + eps I||_F^2
        ||R + eps I||_F^2 = ||R||_F^2 + (2 eps + eps^2) N

    A batch in which no scene has a source has no covariance to miss, and adds nothing to the gradient.
    """
    n_elements = blend.n_elements
    reference = truth.squared_norm + (2.0 * blend.loading + blend.loading**2) * n_elements
    error = blend.squared_distance(truth, norms) / reference
    return error.sum() / max(len(error), 1)
