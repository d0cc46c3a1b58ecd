"""The sum over scenes of what snapshots leave, expanded about an array and the places of sources.

    f(theta, x) = sum_s f_s(J_s) + sum_i theta_i^2 / (2 tau_i^2),   J_s = sum_l |(I - P_{G_l}) y_l|^2
    f(theta + t, x + d) ~ f - 2 (g^T t + sum_s u_s^T d_s) + t^T A t + sum_s (2 d_s^T B_s t + d_s^T C_s d_s)

Scenes share theta, and each has places x_s of its own: the curvature is an arrow, and d_s = C_s^-1 (u_s - B_s
t) leaves t to the Schur complement A - sum_s B_s^T C_s^-1 B_s. Its cost is linear in the number of scenes.

References:
    Kaufman, BIT 15 (1975), as in `inference.projection`; Triggs, McLauchlan, Hartley, Fitzgibbon, "Bundle
    adjustment - a modern synthesis", LNCS 1883 (2000), section 6.1: the arrow.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from scipy.stats import chi2
from torch import Tensor

from risolve.calibration.array_calibration import ArrayCalibration
from risolve.calibration.unknowns import Unknowns
from risolve.inference.likelihood import CHUNK_VALUES
from risolve.inference.projection import (
    grouped_snapshots,
    least_squares,
    real_rows,
    responses,
    source_responses,
)
from risolve.modulus import squared_modulus
from risolve.physics.observation import Observation

_OUTLYING, _BY_CHANCE = 4.0, 1e-4
"""J over what noise leaves on average, from which a scene loses weight; more where noise alone may leave as
much with this probability."""

_ROUNDING = 1e-20
"""J over |y|^2 that rounding alone leaves."""

_LEAST_ENERGY = 1e-9
"""Of the largest energy: numbers of less are told by nothing."""

_OWN_RIDGE = 1e-12
"""Of the diagonal of C_s: a coordinate that a scene does not tell must not divide by zero."""


@dataclass(frozen=True, eq=False)
class Placed:
    """Scenes of as many sources each, where these are, or are thought to be, and what is unknown of it."""

    observation: Observation
    sources: Float[Tensor, "scene source 3"]
    is_free: Bool[Tensor, "scene source 3"]


class Blocks(NamedTuple):
    """B, C and u of scenes, J, what noise of unit power leaves of J on average, and the weight df_s/dJ_s."""

    cross: Float[Tensor, "scene coordinate unknown"]
    own: Float[Tensor, "scene coordinate coordinate"]
    slope: Float[Tensor, "scene coordinate"]
    residual: Float[Tensor, " scene"]
    freedom: Float[Tensor, " scene"]
    weight: Float[Tensor, " scene"]

    @property
    def told(self) -> Float[Tensor, "scene coordinate unknown"]:
        """C^-1 B."""
        return _solved(self.own, self.cross)

    @property
    def alone(self) -> Float[Tensor, "scene coordinate"]:
        """C^-1 u."""
        return _solved(self.own, self.slope[..., None])[..., 0]

    def without(self, known: Bool[Tensor, "scene coordinate"]) -> "Blocks":
        """With some coordinates that do not move."""
        free = (~known).double()
        own = self.own * free[:, :, None] * free[:, None, :] + torch.diag_embed(known.double())
        return self._replace(cross=self.cross * free[..., None], own=own, slope=self.slope * free)

    def damped(self, damping: float) -> "Blocks":
        """With mu diag(C) beside C."""
        diagonal = torch.diag_embed(self.own.diagonal(dim1=-2, dim2=-1))
        return self._replace(own=self.own + damping * diagonal)


class Arrow(NamedTuple):
    """f and its expansion: A and g, with the priors; energy: the diagonal of A before any projection."""

    value: float
    shared: Float[Tensor, "unknown unknown"]
    slope: Float[Tensor, " unknown"]
    energy: Float[Tensor, " unknown"]
    scenes: tuple[Blocks, ...]

    @property
    def scale(self) -> Float[Tensor, " unknown"]:
        """energy^(-1/2), which makes numbers of any energy alike; what has none counts as next to nothing."""
        return self.energy.clamp_min(_LEAST_ENERGY * self.energy.amax()).rsqrt()

    def schur(self, prior: Float[Tensor, " unknown"] | None = None) -> Float[Tensor, "unknown unknown"]:
        """A - sum_s B_s^T C_s^-1 B_s; prior: what of A to leave out."""
        matrix = self.shared if prior is None else self.shared - torch.diag(prior)
        for part in self.scenes:
            matrix = matrix - part.cross.flatten(0, 1).mT @ part.told.flatten(0, 1)
        return (matrix + matrix.mT) / 2.0


def freedom(placed: Sequence[Placed], unknowns: Unknowns) -> list[Float[Tensor, " scene"]]:
    """What noise of unit power leaves of J_s on average: L M less the amplitudes, half the places, and the
    share of each scene in half the numbers of theta without a prior.

    Raises:
        ValueError: snapshots that do not determine as many unknowns.
    """
    left = [_beside_places(part) for part in placed]
    n_numbers = 2.0 * float(torch.cat(left).sum())
    n_unknowns = int((unknowns.prior == 0.0).sum())
    if min(float(own.min()) for own in left) <= 0.0 or n_numbers <= n_unknowns:
        raise ValueError(
            f"{', '.join(unknowns.names)}: {n_unknowns} numbers without a prior take more real numbers that "
            f"snapshots bring beside amplitudes and places; got {n_numbers:.0f} of all scenes, "
            f"{2.0 * min(float(own.min()) for own in left):.0f} of the least one: take more scenes, state "
            "more of the places, or leave unknowns out"
        )
    return [own * (1.0 - n_unknowns / n_numbers) for own in left]


def _beside_places(placed: Placed) -> Float[Tensor, " scene"]:
    """L M less the amplitudes and half the places."""
    seen = placed.observation
    n_groups = seen.n_snapshots if seen.source_model == "independent" else 1
    n_amplitudes = n_groups * placed.sources.shape[1]
    left: Tensor = seen.n_snapshots * seen.n_antennas - n_amplitudes - placed.is_free.sum((1, 2)) / 2.0
    return left.double()


def values_of(placed: Placed, calibration: ArrayCalibration) -> Float[Tensor, " scene"]:
    """f_s of scenes through an array of which nothing is unknown."""
    seen = calibration.of(placed.observation.to(torch.complex128))
    groups = grouped_snapshots(seen)
    fit = least_squares(responses(seen, seen.array.steering(placed.sources)), groups)
    residual, size = (squared_modulus(each).sum((1, 2)) for each in (fit.misfit, groups))
    return _weighed(residual, size, _beside_places(placed), seen.noise_power).value


def expanded(placed: Sequence[Placed], unknowns: Unknowns, theta: Float[Tensor, " unknown"]) -> Arrow:
    """f and its expansion about theta and the places; the observations in complex128.

    Raises:
        ValueError: as `freedom`.
    """
    prior = unknowns.prior
    shared, slope = torch.diag(prior), -prior * theta
    energy, value = prior.clone(), float((prior * theta.square()).sum())
    calibration, scenes = unknowns.calibration(theta), []
    for part, left in zip(placed, freedom(placed, unknowns), strict=True):
        pieces = []
        for rows in _pieces(part, unknowns.size):
            own = Placed(part.observation.select(rows), part.sources[rows], part.is_free[rows])
            lines = _lines(own, calibration.of(own.observation), unknowns, theta)
            size = squared_modulus(own.observation.snapshots).sum((1, 2))
            weighed = _weighed(
                lines.misfit.square().sum((1, 2)), size, left[rows], own.observation.noise_power
            )
            root = weighed.weight.sqrt()[:, None, None]
            by_theta, by_place, misfit = root * lines.by_theta, root * lines.by_place, root * lines.misfit
            flat = by_theta.flatten(0, 1)
            shared = shared + flat.mT @ flat
            slope = slope + flat.mT @ misfit.flatten()
            energy = energy + (weighed.weight[:, None] * lines.energy).sum(0)
            value += float(weighed.value.sum())
            known = torch.diag_embed((~own.is_free.flatten(1)).double())
            pieces.append(
                Blocks(
                    cross=by_place.mT @ by_theta,
                    own=by_place.mT @ by_place + known,
                    slope=(by_place.mT @ misfit)[..., 0],
                    residual=weighed.residual,
                    freedom=left[rows],
                    weight=weighed.weight,
                )
            )
        scenes.append(Blocks(*(torch.cat(values) for values in zip(*pieces, strict=True))))
    return Arrow(value, shared, slope, energy, tuple(scenes))


class _Lines(NamedTuple):
    """(I - P_G) V of theta and of the places, and the misfit, as real rows; |V_i|^2 of theta."""

    by_theta: Float[Tensor, "scene row unknown"]
    by_place: Float[Tensor, "scene row coordinate"]
    misfit: Float[Tensor, "scene row 1"]
    energy: Float[Tensor, "scene unknown"]


def _lines(placed: Placed, seen: Observation, unknowns: Unknowns, theta: Float[Tensor, " unknown"]) -> _Lines:
    is_stated = placed.observation.limits.is_free & ~placed.is_free
    sources, by_truth = unknowns.true_places(theta, placed.sources, is_stated)
    by_source = source_responses(seen, sources)
    columns, derivatives = by_source[..., 0, :], by_source[..., 1:, :]
    fit = least_squares(columns, grouped_snapshots(seen))
    by_place = (derivatives * fit.amplitudes[..., None, None]).flatten(2, 3)
    fitted = (fit.amplitudes[:, :, None] @ columns)[:, :, 0]
    by_snapshot = fitted.reshape(seen.snapshots.shape)
    slopes = unknowns.slopes(theta, placed.observation, sources, fit.amplitudes, by_snapshot)
    by_theta = slopes.flatten(1, 2)[:, None] if seen.source_model == "constant" else slopes
    if unknowns.truth(theta):
        by_theta = by_theta + by_place.mT @ by_truth.flatten(1, 2)[:, None].to(by_place.dtype)
    by_place = by_place * placed.is_free.flatten(1)[:, None, :, None]
    energy = squared_modulus(by_theta).sum((1, 2))
    both = torch.cat((by_theta.mT, by_place), 2)
    # rows of conj(Q), G = Q R with R^H the factor of G^H G
    basis = torch.linalg.solve_triangular(fit.factor, columns.conj(), upper=False)
    both = both - (both @ basis.mT) @ basis.conj()
    lines = real_rows(both.permute(0, 2, 1, 3)).mT
    n_theta = unknowns.size
    misfit = torch.view_as_real(fit.misfit).flatten(1)[..., None]
    return _Lines(lines[..., :n_theta], lines[..., n_theta:], misfit, energy)


class _Weighed(NamedTuple):
    residual: Float[Tensor, " scene"]
    value: Float[Tensor, " scene"]
    weight: Float[Tensor, " scene"]


def _weighed(
    residual: Float[Tensor, " scene"],
    size: Float[Tensor, " scene"],
    left: Float[Tensor, " scene"],
    noise_power: Float[Tensor, " scene"] | None,
) -> _Weighed:
    """f_s and df_s/dJ_s, with nu = `freedom`.

        sigma^2 known:      f = J / sigma^2 up to c nu, from there on c nu (1 + log(J / (c nu sigma^2)))
        sigma^2 not known:  f = nu log(J / nu), the likelihood with the noise power that the scene leaves

    A scene that does not fit loses its weight as 1 / J (Huber's loss on J, of a Student t its limit).
    """
    residual = residual.clamp_min(torch.finfo(torch.float64).tiny).maximum(_ROUNDING * size)
    if noise_power is None:
        return _Weighed(residual, left * (residual / left).log(), left / residual)
    chance = torch.from_numpy(chi2.isf(_BY_CHANCE, 2.0 * left.numpy()) / (2.0 * left.numpy()))
    edge = chance.clamp_min(_OUTLYING) * left * noise_power.double()
    beyond = residual > edge
    power = noise_power.double()
    value = torch.where(beyond, edge / power * (1.0 + (residual / edge).log()), residual / power)
    return _Weighed(residual, value, torch.where(beyond, edge / residual, 1.0) / power)


def _pieces(placed: Placed, n_unknowns: int) -> Iterator[slice]:
    """Pieces of the batch of bounded memory."""
    seen = placed.observation
    per_scene = seen.n_snapshots * seen.n_antennas * (n_unknowns + 4 * placed.sources.shape[1])
    size = max(1, CHUNK_VALUES // per_scene)
    for first in range(0, seen.n_scenes, size):
        yield slice(first, first + size)


def _solved(
    own: Float[Tensor, "scene coordinate coordinate"], right: Float[Tensor, "scene coordinate column"]
) -> Float[Tensor, "scene coordinate column"]:
    """C^-1 times columns, scaled to a unit diagonal."""
    diagonal = own.diagonal(dim1=-2, dim2=-1)
    scale = diagonal.clamp_min(torch.finfo(torch.float64).tiny).rsqrt()
    ridge = _OWN_RIDGE * torch.eye(own.shape[-1], dtype=own.dtype)
    factor = torch.linalg.cholesky(own * scale[:, :, None] * scale[:, None, :] + ridge)
    solved: Tensor = torch.cholesky_solve(right * scale[..., None], factor) * scale[..., None]
    return solved
