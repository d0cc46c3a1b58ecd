"""Levenberg-Marquardt descent of the concentrated likelihood, scene by scene in one batch."""

import math
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from stages.inference.projection import Projection, grouped_snapshots, project
from stages.physics.observation import Observation

_TOLERANCE = 1e-9
"""Decrease of J still to be had, over J, at which a scene has converged: 1e-3 standard deviations or less."""

_ROUNDING = 1e-24
"""The same relative to |y|^2, for snapshots without noise: 1e-12 of a radian of phase."""

_SLACK = 1e-14
"""Rise of J, relative to |y|^2, that rounding alone explains."""

_FIRST_DAMPING = 0.3
"""Of the diagonal of H: short first steps keep starts half a beam away in the basin, at one step more."""

_LEAST_SHRINK = 0.1
"""Of the damping after a step that did what it promised."""

_COMPACT = 0.75
"""Share of scenes still moving below which those that have ended leave the batch."""


class Descent(NamedTuple):
    """Where the descent ended, the fit there, and whether the minimum was reached."""

    sources: Float[Tensor, "scene source 3"]
    projection: Projection
    converged: Bool[Tensor, " scene"]


class _Step(NamedTuple):
    """Damped step, the decrease of J it promises, and the one that the undamped step promises."""

    step: Float[Tensor, "scene coordinate"]
    decrease: Float[Tensor, " scene"]
    remaining: Float[Tensor, " scene"]


class _State(NamedTuple):
    """Scenes still in the batch: their numbers, place and fit, damping and its growth at the next refusal."""

    scenes: Int[Tensor, " scene"]
    sources: Float[Tensor, "scene source 3"]
    projection: Projection
    damping: Float[Tensor, " scene"]
    growth: Float[Tensor, " scene"]
    moving: Bool[Tensor, " scene"]
    converged: Bool[Tensor, " scene"]


def descend(
    observation: Observation,
    start: Float[Tensor, "scene source 3"],
    n_iterations: int,
    spherical_amplitude: bool,
) -> Descent:
    """At most `n_iterations` steps from a start, each scene until it converges; see `likelihood.refine`."""
    low, high = _box(observation.wavelength)
    sources = start.clamp(low, high)
    n_scenes = start.shape[0]
    energy = grouped_snapshots(observation).abs().square().sum((1, 2))
    state = _State(
        scenes=torch.arange(n_scenes),
        sources=sources,
        projection=project(observation, sources, spherical_amplitude),
        damping=torch.full((n_scenes,), _FIRST_DAMPING, dtype=torch.float64),
        growth=torch.full((n_scenes,), 2.0, dtype=torch.float64),
        moving=torch.ones(n_scenes, dtype=torch.bool),
        converged=torch.zeros(n_scenes, dtype=torch.bool),
    )
    ended: list[_State] = []
    for _ in range(n_iterations):
        step = _damped_step(state, low, high)
        state = _stopped(state, step, energy)
        n_moving = int(state.moving.sum())
        if n_moving < _COMPACT * len(state.moving):
            kept = torch.nonzero(state.moving).flatten()
            ended.append(_select(state, torch.nonzero(~state.moving).flatten()))
            state, step, energy = _select(state, kept), _Step(*(v[kept] for v in step)), energy[kept]
            observation = observation.select(kept)
        if n_moving == 0:
            break
        state = _advance(state, step, observation, energy, spherical_amplitude)
    return _collected([*ended, state])


def _box(wavelength: float) -> tuple[Float[Tensor, " 3"], Float[Tensor, " 3"]]:
    """Limits of (azimuth, elevation, inverse range): front half space, no nearer than half a wavelength."""
    quarter = math.pi / 2
    below = math.nextafter(quarter, 0.0)
    low = torch.tensor([-quarter, -below, 0.0], dtype=torch.float64)
    high = torch.tensor([quarter, below, 2.0 / wavelength], dtype=torch.float64)
    return low, high


def _damped_step(state: _State, low: Float[Tensor, " 3"], high: Float[Tensor, " 3"]) -> _Step:
    """(H + mu diag H) d = g, H scaled to a unit diagonal; a coordinate pushed against its limit stays."""
    slope, curvature = state.projection.slope, state.projection.curvature
    place = state.sources
    direction = slope.reshape(place.shape)
    blocked = (((place <= low) & (direction < 0.0)) | ((place >= high) & (direction > 0.0))).flatten(1)
    diagonal = curvature.diagonal(dim1=-2, dim2=-1)
    # A coordinate without influence (a source without amplitude) must not divide by zero.
    least = 1e-12 * diagonal.amax(-1, keepdim=True) + torch.finfo(torch.float64).tiny
    scale = diagonal.clamp_min(least).rsqrt().masked_fill(blocked, 0.0)
    scaled = scale[:, :, None] * curvature * scale[:, None, :]
    right = scale * slope
    damping = torch.stack((state.damping, torch.zeros_like(state.damping))) + 1e-12
    identity = torch.eye(scaled.shape[-1], dtype=torch.float64)
    # A blocked coordinate has a zero row: the identity on the diagonal gives it a zero step.
    free = identity * blocked[:, None, :]
    system = scaled + free + damping[:, :, None, None] * identity
    factor, _ = torch.linalg.cholesky_ex(system)
    solution = torch.cholesky_solve(right[None, :, :, None].expand(2, -1, -1, -1), factor)[..., 0]
    quadratic = (solution[0][:, None, :] @ scaled @ solution[0][:, :, None])[:, 0, 0]
    return _Step(
        step=scale * solution[0],
        decrease=2.0 * (right * solution[0]).sum(-1) - quadratic,
        remaining=(right * solution[1]).sum(-1),
    )


def _stopped(state: _State, step: _Step, energy: Float[Tensor, " scene"]) -> _State:
    """Ends scenes whose undamped step promises nothing (converged) or whose damped step moves nothing."""
    threshold = _TOLERANCE * state.projection.residual + _ROUNDING * energy
    converged = step.remaining <= threshold
    stuck = ~(step.decrease > _TOLERANCE * threshold)
    return state._replace(
        converged=state.converged | (converged & state.moving), moving=state.moving & ~converged & ~stuck
    )


def _advance(
    state: _State,
    step: _Step,
    observation: Observation,
    energy: Float[Tensor, " scene"],
    spherical_amplitude: bool,
) -> _State:
    """Takes the steps that do not raise J and adapts the damping (Nielsen's rule)."""
    low, high = _box(observation.wavelength)
    moved = state.sources + step.step.reshape(state.sources.shape)
    trial = torch.where(torch.isfinite(moved), moved, state.sources).clamp(low, high)
    tried = project(observation, trial, spherical_amplitude)
    finite = torch.isfinite(tried.residual) & torch.isfinite(tried.curvature).all(-1).all(-1)
    decrease = state.projection.residual - tried.residual
    accepted = state.moving & finite & (decrease >= -_SLACK * energy)
    ratio = torch.where(accepted, decrease / step.decrease, 0.0).clamp(0.0, 1.0)
    shrink = (1.0 - (2.0 * ratio - 1.0) ** 3).clamp_min(_LEAST_SHRINK)
    return state._replace(
        sources=torch.where(accepted[:, None, None], trial, state.sources),
        projection=Projection(
            *(
                torch.where(accepted.reshape(-1, *[1] * (new.ndim - 1)), new, old)
                for new, old in zip(tried, state.projection, strict=True)
            )
        ),
        damping=state.damping * torch.where(accepted, shrink, state.growth),
        growth=torch.where(accepted, 2.0, 2.0 * state.growth),
    )


def _select(state: _State, scenes: Int[Tensor, " kept"]) -> _State:
    projection = Projection(*(value[scenes] for value in state.projection))
    rest = {name: value[scenes] for name, value in state._asdict().items() if name != "projection"}
    return _State(projection=projection, **rest)


def _collected(states: list[_State]) -> Descent:
    """The scenes of all states in their original order."""
    order = torch.cat([state.scenes for state in states]).argsort()
    projection = Projection(
        *(torch.cat(values)[order] for values in zip(*(s.projection for s in states), strict=True))
    )
    return Descent(
        sources=torch.cat([state.sources for state in states])[order],
        projection=projection,
        converged=torch.cat([state.converged for state in states])[order],
    )
