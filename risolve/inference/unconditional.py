"""Unconditional maximum likelihood of the source positions: Gaussian amplitudes of unknown powers.

    minimize V(sources, p, sigma^2) = sum_g [ log det R_g + y_g^H R_g^-1 y_g ],
    R_g = G_g diag(p) G_g^H + sigma^2 I

The amplitudes are CN(0, p_k), independent between sources and groups, with one power a source for all groups;
sigma^2 is known, or estimated with the rest. The expansion of V is that of `marginal`.
"""

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from risolve.batched import Batched
from risolve.inference.descent import Expansion, descend
from risolve.inference.likelihood import check_start, pieces
from risolve.inference.marginal import marginal
from risolve.inference.projection import grouped_snapshots, least_squares, source_responses
from risolve.modulus import squared_modulus
from risolve.physics.observation import Observation
from risolve.shapes import Powers

_LEAST_ENERGY = 1e-6
"""Energy of a source in a group, over sigma^2, at which it counts as absent: V differs by about as much."""

_MOST_ENERGY = 1e12
"""That of all sources above which an estimated sigma^2 is that of snapshots without noise."""

_LEAST_START = 0.1
"""Power to start from, over the noise power that a least-squares amplitude carries."""


@dataclass(frozen=True)
class UnconditionalRefinement(Batched):
    """Local maximum of the likelihood: sources (azimuth, elevation, inverse range), p, sigma^2 and V.

    cost is V in the unit of the snapshots, comparable between any sources of the same scene.
    """

    sources: Float[Tensor, "scene source 3"]
    powers: Float[Tensor, "scene source"]
    noise_power: Powers
    cost: Float[Tensor, " scene"]
    converged: Bool[Tensor, " scene"]

    def strongest_first(self) -> "UnconditionalRefinement":
        """The same with the sources of every scene in the order of their powers."""
        order = self.powers.argsort(dim=1, descending=True, stable=True)
        sources = self.sources.gather(1, order[..., None].expand(-1, -1, 3))
        return replace(self, sources=sources, powers=self.powers.gather(1, order))


def refine_unconditional(
    observation: Observation,
    start: Float[Tensor, "scene source 3"],
    n_iterations: int,
) -> UnconditionalRefinement:
    """Local minimum of V from given sources, by Levenberg-Marquardt on (azimuth, elevation, inverse range,
    log p / sigma^2).

    Powers start from the least-squares amplitudes s and sigma^2 from their misfit e:

        p_k = mean_g |s_gk|^2 - sigma^2 mean_g [(G_g^H G_g)^-1]_kk
        sigma^2 = sum_g |e_g|^2 / (equations less amplitudes)

    Sources start and stay within the limits of the observation, p_k |g_k|^2 above 1e-6 sigma^2, where a
    source whose power wants to fall further is absent: power 0, and no position that V could tell. A scene
    has converged when the undamped step promises a decrease of V below 1e-9 L M.

    Valid for K < M (`independent`) or K < L M (`constant`); sources that merge share their power.

    References:
        Jaffer, "Maximum likelihood direction finding of stochastic sources: a separable solution", ICASSP
        (1988), for sources that are correlated in any way; here they are not.

    Raises:
        ValueError: too many sources, a start that is not finite, a noise power that is not positive and
            finite, snapshots that are not finite, or all zero where their noise power is to be estimated.
    """
    check_start(observation, start)
    _check_powers(observation)
    low, high = observation.limits.of(start.shape[1])
    place = observation.limits.begun(start.double(), observation.mirrors).flatten(1)
    limits = (low.expand_as(place), high.expand_as(place))
    return _minimum(observation, place, limits, n_iterations)


def unconditional_cost(
    observation: Observation,
    sources: Float[Tensor, "scene source 3"],
    n_iterations: int,
) -> Float[Tensor, " scene"]:
    """V of sources that stay where they are, minimized over their powers (and sigma^2 where not known).

    Raises:
        ValueError: as `refine_unconditional`.
    """
    check_start(observation, sources)
    _check_powers(observation)
    place = sources.double().flatten(1)
    return _minimum(observation, place, (place, place), n_iterations).cost


class _Start(NamedTuple):
    """log p_k / sigma^2 to start from, and its limits."""

    log_ratios: Float[Tensor, "scene source"]
    low: Float[Tensor, "scene source"]
    high: Float[Tensor, "scene source"]


@dataclass(frozen=True)
class _Cost(Batched):
    """V as a function of the positions and log p / sigma^2, of snapshots scaled to unit mean power.

    A source whose power wants to fall below its limit has no say in its position: V falls with p_k, its
    slope by the position too, but its curvature with p_k^2, so that the steps would have no end.
    """

    observation: Observation
    low: Float[Tensor, "scene coordinate"]
    high: Float[Tensor, "scene coordinate"]

    @property
    def size(self) -> Float[Tensor, " scene"]:
        """The number of equations."""
        n_equations = self.observation.n_snapshots * self.observation.n_antennas
        return torch.full((len(self.low),), float(n_equations), dtype=torch.float64)

    def expand(self, place: Float[Tensor, "scene coordinate"]) -> Expansion:
        """V and its expansion, with sigma^2."""
        sources, log_ratios = _parted(place)
        n_positions = sources.flatten(1).shape[1]
        fit = marginal(self.observation, sources, log_ratios)
        absent = (log_ratios <= self.low[:, n_positions:]) & (fit.slope[:, n_positions:] < 0.0)
        heard = torch.cat((~absent.repeat_interleave(3, dim=1), torch.ones_like(absent)), dim=1).double()
        curvature = fit.curvature * heard[:, :, None] * heard[:, None, :]
        return Expansion(fit.value, fit.slope * heard, curvature, self.size, (fit.noise_power,))


def _parted(
    place: Float[Tensor, "scene coordinate"],
) -> tuple[Float[Tensor, "scene source 3"], Float[Tensor, "scene source"]]:
    """Sources and log p / sigma^2."""
    n_positions = 3 * place.shape[1] // 4
    return place[:, :n_positions].unflatten(1, (n_positions // 3, 3)), place[:, n_positions:]


def _minimum(
    observation: Observation,
    positions: Float[Tensor, "scene position"],
    limits: tuple[Float[Tensor, "scene position"], Float[Tensor, "scene position"]],
    n_iterations: int,
) -> UnconditionalRefinement:
    """The minimum of V from positions within their limits."""
    n_sources = positions.shape[1] // 3
    if n_sources == 0:
        return _no_sources(observation)
    parts = []
    for part in pieces(observation, 4 * n_sources):
        double = observation.select(part).to(torch.complex128)
        power = _mean_power(double)
        unit = _unit(double, power)
        start = _start(unit, positions[part].unflatten(1, (n_sources, 3)))
        low = torch.cat((limits[0][part], start.low), dim=1)
        high = torch.cat((limits[1][part], start.high), dim=1)
        place = torch.cat((positions[part], start.log_ratios), dim=1)
        found = descend(_Cost(unit, low, high), place, n_iterations)

        sources, log_ratios = _parted(found.place)
        present = log_ratios > start.low
        noise_power = found.expansion.carried[0] * power
        n_equations = observation.n_snapshots * observation.n_antennas
        parts.append(
            UnconditionalRefinement(
                sources=sources,
                powers=torch.where(present, log_ratios.exp() * noise_power[:, None], 0.0),
                noise_power=noise_power,
                cost=found.expansion.value + n_equations * power.log(),
                converged=found.converged,
            )
        )
    return UnconditionalRefinement.joined(parts)


def _no_sources(observation: Observation) -> UnconditionalRefinement:
    """The empty estimate: R_g = sigma^2 I."""
    n_scenes, n_equations = observation.n_scenes, observation.n_snapshots * observation.n_antennas
    mean = _mean_power(observation.to(torch.complex128))
    noise_power = mean if observation.noise_power is None else observation.noise_power.double()
    return UnconditionalRefinement(
        sources=torch.empty((n_scenes, 0, 3), dtype=torch.float64),
        powers=torch.empty((n_scenes, 0), dtype=torch.float64),
        noise_power=noise_power,
        cost=n_equations * (noise_power.log() + mean / noise_power),
        converged=torch.ones(n_scenes, dtype=torch.bool),
    )


def _start(observation: Observation, sources: Float[Tensor, "scene source 3"]) -> _Start:
    """Powers of the least-squares amplitudes, less the noise they carry, over sigma^2."""
    columns = source_responses(observation, sources)[..., 0, :]
    snapshots = grouped_snapshots(observation)
    fit = least_squares(columns, snapshots)
    n_groups, n_rows = snapshots.shape[1:]
    energy = squared_modulus(columns).sum(-1).mean(1)
    noise_power = observation.noise_power
    if noise_power is None:
        left = squared_modulus(fit.misfit).sum((1, 2)) / (n_groups * (n_rows - sources.shape[1]))
        # No more than the sources at the largest ratio of powers leave of snapshots of mean power 1.
        noise_power = left.clamp_min(1.0 / _MOST_ENERGY)
    identity = torch.eye(sources.shape[1], dtype=torch.complex128).expand_as(fit.factor)
    variances = torch.cholesky_solve(identity, fit.factor).diagonal(dim1=-2, dim2=-1).real
    carried = variances.mean(1) * noise_power[:, None]
    power = squared_modulus(fit.amplitudes).mean(1) - carried
    # Sources that merge have amplitudes of any size; none has more power than all that was received.
    usual = torch.minimum(torch.maximum(power, _LEAST_START * carried), n_rows / energy)
    silent = snapshots.abs().amax((1, 2)) == 0.0
    usual = usual.masked_fill(silent[:, None], 0.0)
    low = (_LEAST_ENERGY / energy).log()
    # Of all sources together, so that sources of one place explain no more than one does.
    most = _MOST_ENERGY / max(1, sources.shape[1]) if observation.noise_power is None else math.inf
    return _Start((usual / noise_power[:, None]).log(), low, (most / energy).log())


def _mean_power(observation: Observation) -> Powers:
    """Mean |y|^2, 1 where there is none."""
    power = squared_modulus(observation.snapshots).mean((1, 2))
    return torch.where(power > 0.0, power, 1.0)


def _unit(observation: Observation, power: Powers) -> Observation:
    """The observation over the root of a power."""
    noise_power = observation.noise_power
    return replace(
        observation,
        snapshots=observation.snapshots * power.rsqrt()[:, None, None],
        noise_power=None if noise_power is None else noise_power / power,
    )


def _check_powers(observation: Observation) -> None:
    """V exists: mean |y|^2 is finite, and sigma^2 positive or to be estimated from snapshots not all zero."""
    power = squared_modulus(observation.snapshots.to(torch.complex128)).mean((1, 2))
    _refuse("mean |y|^2 is finite", power, torch.isfinite(power))
    if observation.noise_power is None:
        _refuse(
            "a noise power is estimated from snapshots that are not all zero; mean |y|^2", power, power > 0.0
        )
        return
    noise_power = observation.noise_power
    _refuse(
        "the noise power is positive and finite",
        noise_power,
        torch.isfinite(noise_power) & (noise_power > 0.0),
    )


def _refuse(law: str, values: Powers, usable: Bool[Tensor, " scene"]) -> None:
    if not bool(usable.all()):
        scenes = torch.nonzero(~usable).flatten().tolist()
        raise ValueError(f"{law}; scenes {scenes} of the batch have {values[~usable].tolist()}")
