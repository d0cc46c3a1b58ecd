"""Pairs of places that a bound on one component of a source compares, and the prior that they come from.

The prior is that of the simulator: uniform in azimuth, elevation and range, so that the inverse range w has
density 1 / (w^2 (r_1 - r_0)).
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from risolve.bounds.local_information import RidgeField
from risolve.physics.scenario import SourceDistribution

COMPONENTS = ("azimuth", "elevation", "inverse_range", "range")
"""Rad, rad, 1/m, m. The first three are coordinates of a source; a change of range keeps the angles."""

_INVERSE_RANGE, _RANGE = 2, 3


class Pairs(NamedTuple):
    """Places x and g(x) whose component differs by h (node), sources as (azimuth, elevation, inverse range).

    weight: factor that makes a mean over the draws the integral over min(p(x), p(g(x)) |det dg/dx|).
    """

    first: Float[Tensor, "scene draw #node 3"]
    second: Float[Tensor, "scene draw node 3"]
    weight: Float[Tensor, "scene draw node"]


def prior_deviations(prior: SourceDistribution) -> Float[Tensor, " 4"]:
    """Standard deviation of each component: E w = ln(r_1 / r_0) / (r_1 - r_0) and E w^2 = 1 / (r_0 r_1)."""
    near, far = prior.range
    inverse = 1.0 / (near * far) - (math.log(far / near) / (far - near)) ** 2
    uniform = [width(prior, component) ** 2 / 12.0 for component in (0, 1, _RANGE)]
    return torch.tensor([*uniform[:2], inverse, uniform[2]], dtype=torch.float64).sqrt()


def width(prior: SourceDistribution, component: int) -> float:
    """Largest difference of a component under the prior."""
    near, far = prior.range
    low, high = (prior.azimuth, prior.elevation, (1.0 / far, 1.0 / near), prior.range)[component]
    return high - low


def lattice(n_scenes: int, n_draws: int, generator: torch.Generator) -> Float[Tensor, "scene draw 3"]:
    """Points k (g, g^2, g^3) + shift mod 1 of the unit cube, one uniform shift a scene.

    1/g is the real root of x^4 = x + 1 above 1, the analogue in three dimensions of the golden ratio.
    """
    shift = torch.rand((n_scenes, 1, 3), dtype=torch.float64, generator=generator)
    root = 1.2207440846057596
    steps = torch.tensor([root**-1, root**-2, root**-3], dtype=torch.float64)
    return (shift + torch.arange(n_draws, dtype=torch.float64)[:, None] * steps) % 1.0


def places(cube: Float[Tensor, "*draw 3"], prior: SourceDistribution) -> Float[Tensor, "*draw 3"]:
    """Sources (azimuth, elevation, inverse range) of points of the unit cube."""
    low, high = torch.tensor([prior.azimuth, prior.elevation, prior.range], dtype=torch.float64).unbind(-1)
    box = low + cube * (high - low)
    return torch.cat((box[..., :2], 1.0 / box[..., 2:]), dim=-1)


def straight_pairs(
    cube: Float[Tensor, "scene draw 3"],
    prior: SourceDistribution,
    component: int,
    shifts: Float[Tensor, " node"],
) -> Pairs:
    """g(x) = x + h e_i, with x drawn from min(p(x), p(x + h e_i)), whose integral is the weight."""
    weight = _overlap(prior, component, shifts).clamp_min(0.0)
    points = cube[:, :, None].repeat(1, 1, shifts.shape[0], 1)
    points[..., min(component, 2)] *= weight
    first = places(points, prior)
    second = first.clone()
    if component == _INVERSE_RANGE:
        first[..., 2] -= shifts
    elif component == _RANGE:
        second[..., 2] = 1.0 / (1.0 / first[..., 2] + shifts)
    else:
        second[..., component] += shifts
    return Pairs(first, second, weight.expand(first.shape[:-1]))


def _overlap(
    prior: SourceDistribution, component: int, shifts: Float[Tensor, " node"]
) -> Float[Tensor, " node"]:
    """Integral of min(p(x), p(x + h e_i)).

    Of the inverse range it is that of p(w + h), uniform in 1 / (w + h) from r_0 to 1 / (1 / r_1 + h).
    """
    if component != _INVERSE_RANGE:
        return 1.0 - shifts / width(prior, component)
    near, far = prior.range
    return (1.0 / (1.0 / far + shifts) - near) / (far - near)


def ridge_pairs(
    drawn: Float[Tensor, "scene draw 3"],
    ridge: RidgeField,
    prior: SourceDistribution,
    component: int,
    shifts: Float[Tensor, " node"],
) -> Pairs:
    """g(x) = x + h d(x), with x drawn from the prior and the weight min(1, p(g(x)) det(dg/dx) / p(x)).

    No weight where g leaves the prior, nor where h is so large that other places may come to lie on g(x).
    """
    first = drawn[:, :, None]
    moved = shifts[:, None] * ridge.direction[:, :, None, component]
    if component == _RANGE:
        reach = 1.0 / first[..., 2:] + moved[..., 2:]
        second = torch.cat((first[..., :2] + moved[..., :2], 1.0 / reach), dim=-1)
        density = torch.ones_like(second[..., 2])
    else:
        second = first + moved
        density = (first[..., 2] / second[..., 2]).square()
    divergence, minor = ridge.divergence[:, :, None, component], ridge.minor[:, :, None, component]
    determinant = 1.0 + shifts * divergence + shifts.square() * minor
    # h stretch < 1 keeps the determinant positive
    usable = (shifts * ridge.stretch[:, :, None, component] < 1.0) & _inside(second, prior)
    weight = torch.where(usable, (density * determinant).clamp(max=1.0), 0.0)
    return Pairs(first, torch.where(usable[..., None], second, first), weight)


def _inside(
    sources: Float[Tensor, "scene draw node 3"], prior: SourceDistribution
) -> Bool[Tensor, "scene draw node"]:
    near, far = prior.range
    box = [prior.azimuth, prior.elevation, (1.0 / far, 1.0 / near)]
    low, high = torch.tensor(box, dtype=torch.float64).unbind(-1)
    return ((sources >= low) & (sources <= high)).all(-1)
