"""Levenberg-Marquardt descent of an objective, scene by scene in one batch.

    (H + T + mu diag(H + T)) d = g,   f(x + d) ~ f - 2 g^T d + d^T (H + T) d

H is the curvature that the objective knows, T what secants of the steps taken tell it leaves out. What f is,
where it may be searched and when its decrease no longer counts, the objective says.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

_TOLERANCE = 1e-9
"""Decrease of f still to be had, over its scale, at which a scene has converged: 1e-3 standard deviations or
less."""

_ROUNDING = 1e-24
"""The same relative to the size of f, for snapshots without noise: 1e-12 of a radian of phase."""

_SLACK = 1e-14
"""Rise of f, relative to its size, that rounding alone explains."""

_FIRST_DAMPING = 0.3
"""Of the diagonal of H: short first steps keep starts half a beam away in the basin, at one step more."""

_LEAST_SHRINK = 0.1
"""Of the damping after a step that did what it promised."""

_LEAST_CONVEX = 1e-2
"""Eigenvalue of H + T scaled by the diagonal of H, below which H alone is used."""

_COMPACT = 0.75
"""Share of scenes still moving below which those that have ended leave the batch."""


class Expansion(NamedTuple):
    """An objective f at a place, and its expansion about it.

        f(x + d) ~ f - 2 g^T d + d^T H d

    value f, slope g (half the negative gradient), curvature H (positive semidefinite), scale (what f takes
    from the noise alone: the unit in which its decrease counts); carried: what else belongs to the place.
    """

    value: Float[Tensor, " scene"]
    slope: Float[Tensor, "scene coordinate"]
    curvature: Float[Tensor, "scene coordinate coordinate"]
    scale: Float[Tensor, " scene"]
    carried: tuple[Tensor, ...]


@runtime_checkable
class Objective(Protocol):
    """A function of the coordinates of each scene, for the scenes still in the batch."""

    @property
    def low(self) -> Float[Tensor, "#scene coordinate"]:
        """Least coordinates."""

    @property
    def high(self) -> Float[Tensor, "#scene coordinate"]:
        """Largest coordinates."""

    @property
    def size(self) -> Float[Tensor, " scene"]:
        """Size of the terms that f is made of, which bounds its rounding."""

    def expand(self, place: Float[Tensor, "scene coordinate"]) -> Expansion:
        """f and its expansion about a place."""

    def select(self, scenes: Int[Tensor, " kept"]) -> "Objective":
        """The same of some scenes."""


class Descent(NamedTuple):
    """Where the descent ended, the objective there, and whether the minimum was reached."""

    place: Float[Tensor, "scene coordinate"]
    expansion: Expansion
    converged: Bool[Tensor, " scene"]


class _Step(NamedTuple):
    """Damped step, the decrease of f it promises, and the one that the undamped step promises."""

    step: Float[Tensor, "scene coordinate"]
    decrease: Float[Tensor, " scene"]
    remaining: Float[Tensor, " scene"]


class _State(NamedTuple):
    """Scenes still in the batch: numbers, place and f; T and whether it is used; damping and its growth at
    the next refusal.
    """

    scenes: Int[Tensor, " scene"]
    place: Float[Tensor, "scene coordinate"]
    expansion: Expansion
    missing: Float[Tensor, "scene coordinate coordinate"]
    trusted: Bool[Tensor, " scene"]
    damping: Float[Tensor, " scene"]
    growth: Float[Tensor, " scene"]
    moving: Bool[Tensor, " scene"]
    converged: Bool[Tensor, " scene"]


def descend(objective: Objective, start: Float[Tensor, "scene coordinate"], n_iterations: int) -> Descent:
    """At most `n_iterations` steps from a start, each scene until it converges.

    The damping mu follows the ratio of true to predicted decrease, scene by scene; a step that raises f, or
    leads where f is not finite, is not taken. Coordinates stay within the limits of the objective. A scene
    has converged when the undamped step by H alone promises a decrease below 1e-9 of the scale of f.

    References:
        Dennis, Gay, Welsch, "An adaptive nonlinear least-squares algorithm", ACM Trans. Math. Softw. 7
        (1981): T, used where it foretold the last decrease no worse than H alone did.
        Nielsen, "Damping parameter in Marquardt's method", IMM-REP-1999-05 (1999); here a good
        step divides mu by up to 10, not 3.
    """
    place = torch.minimum(torch.maximum(start, objective.low), objective.high)
    n_scenes = start.shape[0]
    state = _State(
        scenes=torch.arange(n_scenes),
        place=place,
        expansion=objective.expand(place),
        missing=torch.zeros((n_scenes, start.shape[1], start.shape[1]), dtype=torch.float64),
        trusted=torch.zeros(n_scenes, dtype=torch.bool),
        damping=torch.full((n_scenes,), _FIRST_DAMPING, dtype=torch.float64),
        growth=torch.full((n_scenes,), 2.0, dtype=torch.float64),
        moving=torch.ones(n_scenes, dtype=torch.bool),
        converged=torch.zeros(n_scenes, dtype=torch.bool),
    )
    ended: list[_State] = []
    for _ in range(n_iterations):
        step = _damped_step(state, objective)
        state = _stopped(state, step, objective.size)
        n_moving = int(state.moving.sum())
        if n_moving < _COMPACT * len(state.moving):
            kept = torch.nonzero(state.moving).flatten()
            ended.append(_select(state, torch.nonzero(~state.moving).flatten()))
            state, step = _select(state, kept), _Step(*(v[kept] for v in step))
            objective = objective.select(kept)
        if n_moving == 0:
            break
        state = _advance(state, step, objective)
    return _collected([*ended, state])


def _damped_step(state: _State, objective: Objective) -> _Step:
    """The damped step by H + T; a coordinate pushed against its limit stays."""
    slope, place = state.expansion.slope, state.place
    blocked = ((place <= objective.low) & (slope < 0.0)) | ((place >= objective.high) & (slope > 0.0))
    curvature = _convex(state)
    step = _solution(curvature, slope, blocked, state.damping)
    undamped = _solution(state.expansion.curvature, slope, blocked, torch.zeros_like(state.damping))
    quadratic = (step[:, None, :] @ curvature @ step[:, :, None])[:, 0, 0]
    return _Step(
        step=step,
        decrease=2.0 * (slope * step).sum(-1) - quadratic,
        remaining=(slope * undamped).sum(-1),
    )


def _convex(state: _State) -> Float[Tensor, "scene coordinate coordinate"]:
    """H + T where T is trusted and the sum safely positive definite, else H."""
    known = state.expansion.curvature
    curvature = known + state.missing
    scale = known.diagonal(dim1=-2, dim2=-1).clamp_min(torch.finfo(torch.float64).tiny).rsqrt()
    scaled = curvature * scale[:, :, None] * scale[:, None, :]
    least = _LEAST_CONVEX * torch.eye(scaled.shape[-1], dtype=torch.float64)
    _, fault = torch.linalg.cholesky_ex(scaled - least)
    return _where(state.trusted & (fault == 0), curvature, known)


def _solution(
    curvature: Float[Tensor, "scene coordinate coordinate"],
    slope: Float[Tensor, "scene coordinate"],
    blocked: Bool[Tensor, "scene coordinate"],
    damping: Float[Tensor, " scene"],
) -> Float[Tensor, "scene coordinate"]:
    """(C + mu diag C) d = g for a curvature C, scaled to a unit diagonal; d = 0 where blocked."""
    diagonal = curvature.diagonal(dim1=-2, dim2=-1)
    # A coordinate without influence (a source without amplitude) must not divide by zero.
    least = 1e-12 * diagonal.amax(-1, keepdim=True) + torch.finfo(torch.float64).tiny
    scale = diagonal.clamp_min(least).rsqrt().masked_fill(blocked, 0.0)
    scaled = scale[:, :, None] * curvature * scale[:, None, :]
    # A blocked coordinate has a zero row: the identity on the diagonal gives it a zero step.
    added = blocked.double() + damping[:, None] + 1e-12
    factor, _ = torch.linalg.cholesky_ex(scaled + torch.diag_embed(added))
    solution: Tensor = torch.cholesky_solve((scale * slope)[..., None], factor)[..., 0]
    return scale * solution


def _stopped(state: _State, step: _Step, size: Float[Tensor, " scene"]) -> _State:
    """Ends scenes whose undamped step promises nothing (converged) or whose damped step moves nothing."""
    threshold = _TOLERANCE * state.expansion.scale + _ROUNDING * size
    converged = step.remaining <= threshold
    stuck = ~(step.decrease > _TOLERANCE * threshold)
    return state._replace(
        converged=state.converged | (converged & state.moving), moving=state.moving & ~converged & ~stuck
    )


def _advance(state: _State, step: _Step, objective: Objective) -> _State:
    """Takes the steps that do not raise f and adapts the damping (Nielsen's rule)."""
    moved = state.place + step.step
    finite = torch.where(torch.isfinite(moved), moved, state.place)
    trial = torch.minimum(torch.maximum(finite, objective.low), objective.high)
    tried = objective.expand(trial)
    usable = torch.isfinite(tried.value) & torch.isfinite(tried.curvature).all(-1).all(-1)
    decrease = state.expansion.value - tried.value
    accepted = state.moving & usable & (decrease >= -_SLACK * objective.size)
    ratio = torch.where(accepted, decrease / step.decrease, 0.0).clamp(0.0, 1.0)
    shrink = (1.0 - (2.0 * ratio - 1.0) ** 3).clamp_min(_LEAST_SHRINK)
    return state._replace(
        place=torch.where(accepted[:, None], trial, state.place),
        expansion=_each(lambda new, old: _where(accepted, new, old), tried, state.expansion),
        missing=_where(accepted, _by_secant(state, trial, tried), state.missing),
        trusted=_foretold(state, trial, decrease),
        damping=state.damping * torch.where(accepted, shrink, state.growth),
        growth=torch.where(accepted, 2.0, 2.0 * state.growth),
    )


def _foretold(
    state: _State, trial: Float[Tensor, "scene coordinate"], decrease: Float[Tensor, " scene"]
) -> Bool[Tensor, " scene"]:
    """True where H + T foretold the decrease of f along a step no worse than H alone did."""
    step = trial - state.place
    by_known = (step[:, None, :] @ state.expansion.curvature @ step[:, :, None])[:, 0, 0]
    by_missing = (step[:, None, :] @ state.missing @ step[:, :, None])[:, 0, 0]
    fault = 2.0 * (state.expansion.slope * step).sum(-1) - by_known - decrease
    return (fault - by_missing).abs() <= fault.abs()


def _by_secant(
    state: _State, trial: Float[Tensor, "scene coordinate"], tried: Expansion
) -> Float[Tensor, "scene coordinate coordinate"]:
    """T' of least change with (H' + T') d = z along the step d just taken, z = g - g'; T where z^T d <= 0.

    T' = t T + (r z^T + z r^T) / z^T d - (r^T d) z z^T / (z^T d)^2,   r = z - H' d - t T d
    t  = min(1, |d^T (z - H' d)| / |d^T T d|)
    """
    step = trial - state.place
    change = state.expansion.slope - tried.slope
    along = (change * step).sum(-1)
    unknown = change - (tried.curvature @ step[..., None])[..., 0]
    held = (state.missing @ step[..., None])[..., 0]
    wanted, present = (unknown * step).sum(-1).abs(), (held * step).sum(-1).abs()
    sizing = torch.where(present > wanted, wanted / present, 1.0)
    left = unknown - sizing[:, None] * held
    half = left[:, :, None] * change[:, None, :] / along[:, None, None]
    both = change[:, :, None] * change[:, None, :] * ((left * step).sum(-1) / along.square())[:, None, None]
    updated = sizing[:, None, None] * state.missing + half + half.mT - both
    usable = (along > 0.0) & torch.isfinite(updated).all(-1).all(-1)
    return _where(usable, updated, state.missing)


def _where(accepted: Bool[Tensor, " scene"], new: Tensor, old: Tensor) -> Tensor:
    return torch.where(accepted.reshape(-1, *[1] * (new.ndim - 1)), new, old)


def _each(function: Callable[..., Tensor], *expansions: Expansion) -> Expansion:
    """The function of every tensor of the expansions."""
    value, slope, curvature, scale = (
        function(*values) for values in zip(*(each[:-1] for each in expansions), strict=True)
    )
    carried = zip(*(each.carried for each in expansions), strict=True)
    return Expansion(value, slope, curvature, scale, tuple(function(*values) for values in carried))


def _select(state: _State, scenes: Int[Tensor, " kept"]) -> _State:
    expansion = _each(lambda value: value[scenes], state.expansion)
    rest = {name: value[scenes] for name, value in state._asdict().items() if name != "expansion"}
    return _State(expansion=expansion, **rest)


def _collected(states: list[_State]) -> Descent:
    """The scenes of all states in their original order."""
    order = torch.cat([state.scenes for state in states]).argsort()
    return Descent(
        place=torch.cat([state.place for state in states])[order],
        expansion=_each(lambda *values: torch.cat(values)[order], *(state.expansion for state in states)),
        converged=torch.cat([state.converged for state in states])[order],
    )
