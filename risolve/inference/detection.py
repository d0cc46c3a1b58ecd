"""Where on the grid one more source, or two more, would explain most of the snapshots.

    J(sources) = sum_g |(I - P_{G_g}) y_g|^2

Groups g as in `projection`. The grid enters as its responses b_g = B_g a, made once a scene in complex64;
what is already explained is projected out in complex128. Of a wide grid (`promising`) only some points have
theirs: those of the highest maxima of what is projected back to all points (`back_projection`), for the
sources that are asked about.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor

from risolve.batched import Batched
from risolve.inference.grid import Grid, grid_steering
from risolve.inference.projection import grouped_snapshots, responses
from risolve.inference.promising import Promising, is_wide, no_points
from risolve.inference.scaling import unit_scale
from risolve.modulus import squared_modulus
from risolve.physics.observation import Observation, sensing

CHUNK_VALUES = 8_000_000
"""Complex numbers of the responses of one piece of the batch: bounds the memory, 64 MB."""

_HELD = 500
"""Points of a wide grid that are held at once, about."""

_OWN = 1e-3
"""Share of |b|^2 outside the span of other sources below which a place has no direction of its own."""


@dataclass(frozen=True)
class Detector(Batched):
    """Responses b_g of grid points and their energies |b_g|^2, beside the observation on unit scale.

    held: which points these are of a wide grid; None where they are all.
    """

    observation: Observation
    grid: Grid
    columns: Complex[Tensor, "scene group point row"]
    energy: Float[Tensor, "scene group point"]
    held: Promising | None = None

    def select(self, scenes: slice | Tensor) -> "Detector":
        """The same of some scenes; itself of all, for the responses are large."""
        if isinstance(scenes, Tensor) and torch.equal(scenes, torch.arange(self.n_scenes)):
            return self
        return super().select(scenes)

    def on_grid(
        self, values: Float[Tensor, "scene *hypothesis held"]
    ) -> Float[Tensor, "scene *hypothesis point"]:
        """Values of the points that it holds as values of all points, 0 of the others."""
        if self.held is None:
            return values
        every = values.new_zeros((*values.shape[:-1], self.grid.n_points))
        points = self.held.points
        return every.scatter(-1, points[:, None].expand_as(values) if values.ndim == 3 else points, values)

    def highest(self, gain: Float[Tensor, "scene point"], n_points: int) -> Int[Tensor, "scene some"]:
        """The points of largest gain, of those that it holds."""
        if self.held is None:
            return gain.topk(min(n_points, self.grid.n_points), dim=-1).indices
        points = self.held.points
        best = gain.gather(1, points).topk(min(n_points, points.shape[1]), dim=-1).indices
        return points.gather(1, best)


def detectors(observation: Observation, grid: Grid) -> Iterator[tuple[slice, Detector]]:
    """Pieces of a batch with their detector, of bounded memory; of a wide grid see `widened`.

    Raises:
        ValueError: as `unit_scale`.
    """
    if is_wide(observation, grid):
        yield from _wide_detectors(observation, grid)
        return
    wave = grid_steering(grid, observation.array)
    rows = wave.mT.contiguous()
    per_scene = observation.n_snapshots * observation.n_antennas * grid.n_points
    size = max(1, CHUNK_VALUES // per_scene)
    unit = unit_scale(observation)
    for first in range(0, observation.n_scenes, size):
        scenes = slice(first, min(first + size, observation.n_scenes))
        part = unit.select(scenes)
        received = rows @ sensing(part.to(torch.complex64)).mT
        columns = received.expand(part.n_scenes, -1, -1, -1)
        if observation.source_model == "constant":
            columns = columns.permute(0, 2, 1, 3).flatten(2)[:, None]
        yield scenes, Detector(part, grid, columns, _energy(columns))


def _wide_detectors(observation: Observation, grid: Grid) -> Iterator[tuple[slice, Detector]]:
    """Detectors that hold no point yet."""
    unit = unit_scale(observation)
    n_groups = 1 if unit.source_model == "constant" else unit.n_snapshots
    n_rows = unit.n_snapshots * unit.n_antennas
    size = max(1, CHUNK_VALUES // (_HELD * max(n_rows, unit.n_elements)))
    for first in range(0, observation.n_scenes, size):
        scenes = slice(first, min(first + size, observation.n_scenes))
        part = unit.select(scenes)
        columns = torch.empty((part.n_scenes, n_groups, 0, n_rows // n_groups), dtype=torch.complex64)
        yield scenes, Detector(part, grid, columns, _energy(columns), no_points(part, grid))


def widened(detector: Detector, others: Float[Tensor, "scene hypothesis source 3"]) -> Detector:
    """The same with the points too where one more source beside those of each hypothesis explains most.

    A detector that holds all points is returned as it is.
    """
    held = detector.held
    if held is None:
        return detector
    left = explained(detector, others).left
    new = held.beyond(detector.observation, detector.grid, left, others.flatten(1, 2))
    if new.shape[1] == 0:
        return detector
    waves = detector.observation.array.steering(detector.grid.sources[new].float())
    columns = responses(detector.observation.to(torch.complex64), waves)
    return replace(
        detector,
        columns=torch.cat((detector.columns, columns), dim=2),
        energy=torch.cat((detector.energy, _energy(columns)), dim=2),
        held=held.with_points(new),
    )


def alone(detector: Detector) -> Detector:
    """Widened for a source without others."""
    return widened(detector, torch.empty((detector.n_scenes, 1, 0, 3), dtype=torch.float64))


def _energy(columns: Complex[Tensor, "*scene point row"]) -> Float[Tensor, "*scene point"]:
    norms: Tensor = torch.linalg.vector_norm(torch.view_as_real(columns.resolve_conj()).flatten(-2), dim=-1)
    return norms.square()


class Explained(NamedTuple):
    """Orthonormal basis of the responses of some sources, and what they leave of the snapshots; complex64.

    Of equal gains, where no source explains anything without the others, basis is the sum of their responses,
    and all is left.
    """

    basis: Complex[Tensor, "scene group row hypothesis source"]
    left: Complex[Tensor, "scene group row hypothesis"]

    @property
    def residual(self) -> Float[Tensor, "scene hypothesis"]:
        """J of the sources of each hypothesis; of equal gains that of none."""
        return squared_modulus(self.left).sum((1, 2)).double()


def explained(detector: Detector, others: Float[Tensor, "scene hypothesis source 3"]) -> Explained:
    """What hypotheses of the same number of sources explain, computed in complex128."""
    observation = detector.observation
    snapshots = grouped_snapshots(observation)
    n_hypotheses, n_others = others.shape[1:3]
    if n_others == 0:
        left = snapshots[..., None].expand(-1, -1, -1, n_hypotheses).to(torch.complex64)
        return Explained(left.new_empty((*left.shape, 0)), left)
    waves = observation.array.steering(others.flatten(1, 2))
    received = responses(observation, waves).unflatten(2, (n_hypotheses, n_others))
    if observation.gains == "equal":
        summed = received.sum(3).mT[..., None].to(torch.complex64)
        return Explained(summed, snapshots[..., None].expand_as(summed[..., 0]).to(torch.complex64))
    basis, _ = torch.linalg.qr(received.mT)
    own = snapshots[:, :, None, :, None]
    left = (own - basis @ (basis.mH @ own))[..., 0]
    single = basis.permute(0, 1, 3, 2, 4).to(torch.complex64).contiguous()
    return Explained(single, left.mT.to(torch.complex64).contiguous())


def gains(detector: Detector, others: Explained) -> Float[Tensor, "scene hypothesis point"]:
    """Decrease of J by one source at each grid point, beside the other sources of a hypothesis.

        sum_g |b_g^H P^perp y_g|^2 / (b_g^H P^perp b_g),   P^perp = I - P_{G_g} of the others

    in the unit of the scaled snapshots. Of equal gains it is what all sources together explain, c the sum of
    the responses of the others,

        |(b + c)^H y|^2 / |b + c|^2

    0 where a place has no direction of its own, and outside the limits.
    """
    columns, energy = detector.columns, detector.energy[..., None]
    inside = detector.grid.inside[:, None]
    if detector.held is not None:
        inside = inside[detector.held.points][:, None]
    matched = squared_modulus(columns @ others.left.conj())
    n_hypotheses, n_others = others.basis.shape[3:]
    if n_others == 0:
        return detector.on_grid(torch.where((energy > 0.0) & inside, matched / energy, 0.0).sum(1).mT)
    if detector.observation.gains == "equal":
        c = others.basis[..., 0]
        matched = squared_modulus(columns @ others.left.conj() + _product(c, others.left))
        together = energy + 2.0 * (columns @ c.conj()).real + _product(c, c).real
        is_own = (together > _OWN * energy) & inside
        return detector.on_grid(torch.where(is_own, matched / together, 0.0).sum(1).mT)
    spanned = squared_modulus(columns @ others.basis.flatten(3).conj())
    free = energy - spanned.unflatten(-1, (n_hypotheses, n_others)).sum(-1)
    return detector.on_grid(torch.where((free > _OWN * energy) & inside, matched / free, 0.0).sum(1).mT)


def pair_gains(
    detector: Detector,
    others: Explained,
    points: Int[Tensor, "scene place"],
) -> Float[Tensor, "scene place place"]:
    """Decrease of J by two sources at each pair of points that are held, beside others of one hypothesis.

        sum_g (|t_i|^2 G_jj + |t_j|^2 G_ii - 2 Re(t_i^* G_ij t_j)) / (G_ii G_jj - |G_ij|^2),
        G = D^H P^perp D,   t = D^H P^perp y,   D = [b_i]

    0 for pairs that do not have two directions of their own. Of equal gains

        |t_i + t_j + c^H y|^2 / |b_i + b_j + c|^2

    with two places, as in `gains`.
    """
    if detector.held is not None:
        points = detector.held.number_of(points)
    columns = detector.columns.gather(
        2,
        points[:, None, :, None].expand(-1, detector.columns.shape[1], -1, detector.columns.shape[3]),
    )
    spanned = others.basis[:, :, :, 0]
    if detector.observation.gains == "equal":
        return _together(columns, spanned.sum(-1, keepdim=True), others.left)
    if spanned.shape[-1]:
        columns = columns - (columns @ spanned.conj()) @ spanned.mT
    conjugate = columns.conj()
    gram = conjugate @ columns.mT
    target = (conjugate @ others.left)[..., 0]
    own = gram.diagonal(dim1=-2, dim2=-1).real
    matched = squared_modulus(target)
    cross = (target.conj()[..., :, None] * target[..., None, :] * gram).real
    determinant = own[..., :, None] * own[..., None, :]
    independent = determinant - squared_modulus(gram)
    numerator = (
        matched[..., :, None] * own[..., None, :] + matched[..., None, :] * own[..., :, None] - 2 * cross
    )
    usable = independent > _OWN * determinant
    return torch.where(usable, numerator / independent, 0.0).sum(1)


def _together(
    columns: Complex[Tensor, "scene group place row"],
    c: Complex[Tensor, "scene group row 1"],
    y: Complex[Tensor, "scene group row 1"],
) -> Float[Tensor, "scene place place"]:
    """|(b_i + b_j + c)^H y|^2 / |b_i + b_j + c|^2 of pairs of two places."""
    conjugate = columns.conj()
    gram = (conjugate @ columns.mT).real
    own = gram.diagonal(dim1=-2, dim2=-1)
    alone = own + 2.0 * (conjugate @ c).real[..., 0]
    target = (conjugate @ y)[..., 0]
    of_pair = alone[..., :, None] + alone[..., None, :] + 2.0 * gram + _product(c, c).real
    matched = squared_modulus(target[..., :, None] + target[..., None, :] + _product(y, c))
    usable = of_pair > _OWN * (own[..., :, None] + own[..., None, :])
    usable &= ~torch.eye(own.shape[-1], dtype=torch.bool)
    return torch.where(usable, matched / of_pair, 0.0).sum(1)


def _product(
    first: Complex[Tensor, "scene group row hypothesis"],
    second: Complex[Tensor, "scene group row hypothesis"],
) -> Complex[Tensor, "scene group 1 hypothesis"]:
    """second^H first of every hypothesis."""
    product: Tensor = (first * second.conj()).sum(2, keepdim=True)
    return product
