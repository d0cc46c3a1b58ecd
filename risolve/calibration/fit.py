"""Array and places of highest likelihood, together: Levenberg-Marquardt on the arrow of `information`.

    (S + mu diag) t = g - sum_s B_s^T C_s^-1 u_s,   d_s = C_s^-1 (u_s - B_s t),   S the Schur complement

What nothing tells does not move: along a null vector of S the slope is zero. Where the descent ends, theta is
brought back along these vectors to the least change from the nominal array, and the places go with it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from risolve.calibration.array_calibration import ArrayCalibration
from risolve.calibration.information import Arrow, Blocks, Placed, expanded
from risolve.calibration.null_space import NullSpace, null_space
from risolve.calibration.starts import phases_start
from risolve.calibration.unknowns import OF_TRUTH, Unknowns

_ENOUGH = 1e-6
"""Decrease of f still to be had at which the descent has converged: 1e-3 standard deviations."""

_FIRST_DAMPING, _LEAST_DAMPING, _MOST_DAMPING = 1e-2, 1e-10, 1e10
"""Of the diagonals."""

_LEAST_SHRINK = 0.1
"""Of the damping after a step that did what it promised."""

_ROUNDS = 4
"""Times that theta is brought back along what nothing tells, most: a turn is no straight line."""

_OUTLYING = 4.0
"""J over what noise leaves, relative to the median of all scenes, from which a scene is named."""


@dataclass(frozen=True, eq=False)
class ArrayFit:
    """The array of highest likelihood, and what is known of it.

    covariance: of theta, 0 along what nothing tells. placed: the scenes with the sources found. told: C^-1 B
    of every part: places move by -told t where theta moves by t. outlying: scenes, part by part, that leave
    more than four times what others do. log_likelihood: -f of the nominal array with the places that were
    given, and of this one with those found.
    """

    unknowns: Unknowns
    theta: Float[Tensor, " unknown"]
    covariance: Float[Tensor, "unknown unknown"]
    null_space: NullSpace
    placed: tuple[Placed, ...]
    told: tuple[Float[Tensor, "scene coordinate unknown"], ...]
    outlying: tuple[tuple[int, ...], ...]
    log_likelihood: tuple[float, float]
    converged: bool

    @property
    def calibration(self) -> ArrayCalibration:
        """Places and gains of the elements."""
        return self.unknowns.calibration(self.theta)

    def deviations(self, name: str) -> Float[Tensor, " number"]:
        """Standard deviations of the numbers of an unknown, as they stand in theta."""
        return self.covariance.diagonal()[self.unknowns.parts[name]].clamp_min(0.0).sqrt()


class _State(NamedTuple):
    theta: Float[Tensor, " unknown"]
    placed: tuple[Placed, ...]
    arrow: Arrow


class _Step(NamedTuple):
    """t, the d_s of every part, and the decrease of f that they promise."""

    theta: Float[Tensor, " unknown"]
    places: tuple[Float[Tensor, "scene coordinate"], ...]
    decrease: float


def fit_array(placed: Sequence[Placed], unknowns: Unknowns, n_iterations: int) -> ArrayFit:
    """Unknowns of an array, and of the places in its scenes, by maximum likelihood with the priors.

    Raises:
        ValueError: unknowns that the snapshots do not determine.
    """
    _require_stated(placed, unknowns)
    scenes = tuple(replace(part, observation=part.observation.to(torch.complex128)) for part in placed)
    nominal = _at(unknowns, unknowns.nothing(), scenes)
    state, phases = nominal, phases_start(scenes, unknowns)
    if phases is not None:
        state = min(nominal, _at(unknowns, phases, scenes), key=lambda start: start.arrow.value)
    state, converged = _descended(state, unknowns, n_iterations)
    found = null_space(state.arrow, unknowns, state.theta)
    for _ in range(_ROUNDS):
        back = -found.total @ (found.total.mT @ state.theta)
        if float(back.abs().sum()) < _ENOUGH:
            break
        state = _moved(state, unknowns, back, tuple(-(part.told @ back) for part in state.arrow.scenes))
        state, converged = _descended(state, unknowns, n_iterations)
        found = null_space(state.arrow, unknowns, state.theta)
    return ArrayFit(
        unknowns=unknowns,
        theta=state.theta,
        covariance=theta_covariance(state.arrow, found.total),
        null_space=found,
        placed=state.placed,
        told=tuple(part.told for part in state.arrow.scenes),
        outlying=_outlying(state),
        log_likelihood=(-nominal.arrow.value, -state.arrow.value),
        converged=converged,
    )


def theta_covariance(
    arrow: Arrow, lost: Float[Tensor, "unknown direction"]
) -> Float[Tensor, "unknown unknown"]:
    """(2 S)^-1 beside what nothing tells, along which it is 0."""
    schur = arrow.schur()
    size = arrow.energy.mean()
    whole: Tensor = torch.linalg.inv(schur + size * lost @ lost.mT) - lost @ lost.mT / size
    return (whole + whole.mT) / 4.0


def places_covariance(
    scenes: Blocks, is_free: Bool[Tensor, "scene source 3"], of_theta: Float[Tensor, "unknown unknown"]
) -> Float[Tensor, "scene coordinate coordinate"]:
    """(2 C)^-1 + C^-1 B cov(theta) (C^-1 B)^T of the places of each scene; 0 of a coordinate that is known.

    At the truth, of snapshots without noise, it is the Cramer-Rao bound with the array as a nuisance.
    """
    free = is_free.flatten(1).double()
    alone: Tensor = torch.linalg.inv(scenes.own) / 2.0 * free[:, :, None] * free[:, None, :]
    return alone + scenes.told @ of_theta @ scenes.told.mT


def _require_stated(placed: Sequence[Placed], unknowns: Unknowns) -> None:
    """Some source has what is thought to be wrong."""
    for name, coordinate in zip(OF_TRUTH, (0, 1, 2, 2), strict=True):
        if name in unknowns.names and all(bool(part.is_free[..., coordinate].all()) for part in placed):
            what = ("azimuths", "elevations", "ranges")[coordinate]
            raise ValueError(
                f"{name} is of {what} that a truth states; got none in {sum(len(p.sources) for p in placed)} "
                f"scenes: state {what}, or leave it out"
            )


def _at(unknowns: Unknowns, theta: Float[Tensor, " unknown"], placed: tuple[Placed, ...]) -> _State:
    return _State(theta, placed, expanded(placed, unknowns, theta))


def _descended(state: _State, unknowns: Unknowns, n_iterations: int) -> tuple[_State, bool]:
    """A minimum of f near a start, and whether it was reached; Nielsen's rule as in `inference.descent`."""
    damping, growth = _FIRST_DAMPING, 2.0
    for _ in range(n_iterations):
        if _step(state, _LEAST_DAMPING).decrease < _ENOUGH:
            return state, True
        step = _step(state, damping)
        trial = _moved(state, unknowns, step.theta, step.places)
        gained = state.arrow.value - trial.arrow.value
        if gained > 0.0:
            ratio = min(gained / step.decrease, 1.0)
            damping *= max(1.0 - (2.0 * ratio - 1.0) ** 3, _LEAST_SHRINK)
            state, damping, growth = trial, max(damping, _LEAST_DAMPING), 2.0
        else:
            damping, growth = damping * growth, 2.0 * growth
        if damping > _MOST_DAMPING:
            break
    return state, False


def _step(state: _State, damping: float) -> _Step:
    """The damped step; a coordinate pushed against its limit stays."""
    arrow = state.arrow
    held = tuple(_held(part, own) for part, own in zip(state.placed, arrow.scenes, strict=True))
    damped = arrow._replace(
        shared=arrow.shared + damping * torch.diag(arrow.scale**-2),
        scenes=tuple(part.damped(damping) for part in held),
    )
    reduced = arrow.slope
    for part in damped.scenes:
        reduced = reduced - (part.told * part.slope[..., None]).sum((0, 1))
    scale = arrow.scale
    factor = torch.linalg.cholesky(damped.schur() * scale[:, None] * scale)
    theta = torch.cholesky_solve((scale * reduced)[:, None], factor)[:, 0] * scale
    places = tuple(part.alone - part.told @ theta for part in damped.scenes)
    decrease = 2.0 * float(arrow.slope @ theta) - float(theta @ arrow.shared @ theta)
    for part, move in zip(held, places, strict=True):
        curved = (part.own @ move[..., None])[..., 0] + 2.0 * part.cross @ theta
        decrease += float((move * (2.0 * part.slope - curved)).sum())
    return _Step(theta, places, decrease)


def _held(placed: Placed, scenes: Blocks) -> Blocks:
    """Without the coordinates at a limit whose slope leads beyond."""
    limits = placed.observation.limits
    beyond = (placed.sources <= limits.low) & (scenes.slope.reshape(placed.sources.shape) < 0.0)
    beyond |= (placed.sources >= limits.high) & (scenes.slope.reshape(placed.sources.shape) > 0.0)
    return scenes.without(beyond.flatten(1))


def _moved(
    state: _State,
    unknowns: Unknowns,
    theta: Float[Tensor, " unknown"],
    places: tuple[Float[Tensor, "scene coordinate"], ...],
) -> _State:
    """theta + t and x_s + d_s, within the limits of places."""
    placed = []
    for part, move in zip(state.placed, places, strict=True):
        moved = part.observation.limits.held(part.sources + move.reshape(part.sources.shape))
        placed.append(replace(part, sources=torch.where(part.is_free, moved, part.sources)))
    return _at(unknowns, state.theta + theta, tuple(placed))


def _outlying(state: _State) -> tuple[tuple[int, ...], ...]:
    """Scenes of every part with J / nu, over sigma^2 where it is known, above 4 times the median of all."""
    ratios = []
    for part, own in zip(state.placed, state.arrow.scenes, strict=True):
        power = part.observation.noise_power
        ratios.append(own.residual / own.freedom / (1.0 if power is None else power.double()))
    median = torch.cat(ratios).median()
    return tuple(tuple(torch.nonzero(ratio > _OUTLYING * median).flatten().tolist()) for ratio in ratios)
