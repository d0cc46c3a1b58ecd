"""Points of a wide grid where one more source may explain much, found without the responses of the others.

    num(x) = sum_g |b_g(x)^H e_g|^2 = sum_g |a(x)^H B_g^H e_g|^2

is projected back to all points at once (`back_projection`), from e, what the other sources leave. Divided by
|b_g(x)|^2 in every group where these have few rows in all, else by their sum, it ranks the points. Its
highest maxima, and the points next to the other sources, are promising. Of that sum 16 random combinations of
the rows of all B_g tell an estimate at every point, which errs by a quarter; it is drawn towards the mean of
all points as far as they differ by that error alone (Efron and Morris, "Stein's estimation rule and its
competitors", J. Amer. Statist. Assoc. 68 (1973)).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar, TypeAlias

import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor

from risolve.batched import Batched
from risolve.inference.back_projection import BackProjection, back_projection, check_size
from risolve.inference.grid import Grid, grid_steering
from risolve.modulus import squared_modulus
from risolve.physics.array import Array
from risolve.physics.observation import Observation
from risolve.seeds import generator

_FEW_VALUES, _FEW_PRODUCTS = 5_000_000, 1_000_000_000
"""Steering values of a grid, 40 MB, and their products with the rows of a scene, up to either of which all
are held at little cost.
"""

_MOST_VALUES, _MOST_POINTS = 100_000_000, 50_000
"""Steering values and points of a grid beyond either of which not all can be held."""

_PROBES = 16
"""Random combinations of the rows, whose energy tells that of all of them."""

_EXACT_ROWS = 128
"""Rows of all B_g together up to which each is projected back."""

_MAXIMA, _MAXIMA_VALUES = 64, 32_768
"""Highest maxima of a hypothesis that are held: so many, or more where their responses have fewer numbers."""

_LEAST = 1e-3
"""Of the mean energy: a point that answers less explains nothing."""

_HIGHEST = 8000
"""Points of highest rank among which maxima are looked for."""

Matching: TypeAlias = Callable[[Complex[Tensor, "scene group element"]], Float[Tensor, "scene point"]]
"""Energy with which fields on the elements match the wave of each point."""


@dataclass(frozen=True, eq=False)
class Promising(Batched):
    """Points that are held, what projects back, and the energy |b_g|^2 of every group and point, or about the
    sum over groups.
    """

    SHARED: ClassVar[tuple[str, ...]] = ("energy",)

    points: Int[Tensor, "scene held"]
    energy: Float[Tensor, "#scene #group point"]
    projection: BackProjection

    def with_points(self, new: Int[Tensor, "scene new"]) -> "Promising":
        """These points too."""
        return replace(self, points=torch.cat((self.points, new), dim=1))

    def number_of(self, points: Int[Tensor, "scene some"]) -> Int[Tensor, "scene some"]:
        """Place of grid points among those that are held."""
        return (self.points[:, None] == points[..., None]).long().argmax(-1)

    def beyond(
        self,
        observation: Observation,
        grid: Grid,
        left: Complex[Tensor, "scene group row hypothesis"],
        others: Float[Tensor, "scene other 3"],
    ) -> Int[Tensor, "scene new"]:
        """Promising points of hypotheses that are not held yet; filled up where scenes have fewer."""
        n_maxima = max(_MAXIMA, _MAXIMA_VALUES // (observation.n_snapshots * observation.n_antennas))
        wanted, best = [], []
        for scene in range(len(left)):
            own = observation.select(slice(scene, scene + 1))
            energy = self.energy[min(scene, len(self.energy) - 1)]
            ranked = torch.stack(
                [self._ranked(_fields(own, rows), energy) for rows in left[scene].permute(2, 0, 1)]
            )
            at = torch.cat([*(_maxima(one, grid, n_maxima) for one in ranked), grid.nearest(others[scene])])
            is_wanted = torch.zeros(grid.n_points, dtype=torch.bool)
            is_wanted[at] = True
            is_wanted[self.points[scene]] = False
            wanted.append(is_wanted)
            best.append(ranked.amax(0).index_fill(0, self.points[scene], -1.0))
        n_new = max(int(one.sum()) for one in wanted)
        above = torch.stack(best) + torch.stack(wanted) * (torch.stack(best).amax() + 1.0)
        return above.topk(n_new, dim=1).indices

    def _ranked(
        self, fields: Complex[Tensor, "group element"], energy: Float[Tensor, "#group point"]
    ) -> Float[Tensor, " point"]:
        if len(energy) == 1:
            return self.projection.energy(fields) / energy[0]
        return (squared_modulus(self.projection(fields)) / energy.mT).sum(-1)


def is_wide(observation: Observation, grid: Grid) -> bool:
    """Whether the responses of some points are held alone: where not all can be, or at more cost."""
    n_values = grid.n_points * observation.n_elements
    n_products = n_values * observation.n_snapshots * observation.n_antennas
    is_costly = n_values > _FEW_VALUES and n_products > _FEW_PRODUCTS
    return is_beyond(grid, observation.array) or (is_costly and observation.gains == "free")


def is_beyond(grid: Grid, array: Array) -> bool:
    """Whether not all points can have their responses held."""
    return grid.n_points > _MOST_POINTS or grid.n_points * array.n_elements > _MOST_VALUES


def require_searchable(grid: Grid, array: Array, of_all_points: str | None) -> None:
    """Refuse a grid that is too large. of_all_points: what looks at all points at once, if anything does.

    Raises:
        ValueError: the law with its numbers.
    """
    if not is_beyond(grid, array):
        return
    if of_all_points is not None:
        raise ValueError(
            f"{of_all_points}: all points are looked at together, and {array.n_elements} elements and "
            f"{grid.n_points} points of the grid are too many; take ml with free gains, or narrow the "
            "field of view"
        )
    check_size(grid, array)


def matched_by(grid: Grid, array: Array) -> Matching:
    """sum_g |a(x)^H f_g|^2 at all points x, of fields f of scenes; of a large grid projected back."""
    if grid.n_points * array.n_elements > _FEW_VALUES:
        projection = back_projection(grid, array)
        return lambda back: torch.stack([projection.energy(own) for own in back])
    wave = grid_steering(grid, array)
    return lambda back: squared_modulus(back.to(wave.dtype) @ wave.conj()).sum(1)


def no_points(observation: Observation, grid: Grid) -> Promising:
    """Of the scenes of an observation: no point yet."""
    projection = back_projection(grid, observation.array)
    systems = [
        observation.select(slice(scene, scene + 1))
        for scene in range(max(len(observation.channel), len(observation.codes)))
    ]
    energy = torch.stack([_energies(one, projection) for one in systems])
    none = torch.empty((observation.n_scenes, 0), dtype=torch.int64)
    return Promising(none, energy, projection)


def _energies(observation: Observation, projection: BackProjection) -> Float[Tensor, "group point"]:
    """|b_g|^2 of one system, of every group or about their sum."""
    channel, codes = _system(observation)
    n_snapshots, n_antennas = observation.snapshots.shape[1:]
    if n_snapshots * n_antennas <= _EXACT_ROWS:
        by_snapshot = torch.stack([projection.energy(channel.conj() * one) for one in codes.conj()])
        is_one = observation.source_model == "constant"
        energy = by_snapshot.sum(0, keepdim=True) if is_one else by_snapshot
        return energy.clamp_min(_LEAST * float(energy.mean()))
    signs = generator(0, "promising").integers(0, 2, (_PROBES, n_snapshots, n_antennas)) * 2.0 - 1.0
    rows = torch.from_numpy(signs).to(torch.complex64)
    probed = projection.energy(((rows @ channel.conj()) * codes.conj()).sum(1)) / _PROBES
    return _settled(probed)[None]


def _settled(energy: Float[Tensor, " point"]) -> Float[Tensor, " point"]:
    """Estimates drawn towards their mean by the share of their spread that is error: 1 / n of the square."""
    mean, error = energy.mean(), energy.square().mean() / (_PROBES + 1.0)
    told = (1.0 - error / energy.var().clamp_min(1e-30)).clamp(0.0, 1.0)
    settled: Tensor = (mean + told * (energy - mean)).clamp_min(_LEAST * mean)
    return settled


def _maxima(ranked: Float[Tensor, " point"], grid: Grid, n_maxima: int) -> Int[Tensor, " maximum"]:
    """The highest local maxima, of the points of highest rank."""
    inside = ranked.masked_fill(~grid.inside, -1.0)
    highest = inside.topk(min(_HIGHEST, grid.n_points)).indices
    beside = inside[grid.neighbours(highest)].amax(-1)
    is_maximum = (inside[highest] >= beside) & grid.inside[highest]
    return highest[is_maximum][:n_maxima]


def _fields(observation: Observation, rows: Complex[Tensor, "group row"]) -> Complex[Tensor, "group element"]:
    """B_g^H e_g of one scene: what is received, back on the elements."""
    channel, codes = _system(observation)
    back = (rows.reshape(observation.snapshots.shape[1:]) @ channel.conj()) * codes.conj()
    return back.sum(0, keepdim=True) if observation.source_model == "constant" else back


def _system(
    observation: Observation,
) -> tuple[Complex[Tensor, "antenna element"], Complex[Tensor, "snapshot element"]]:
    """Channel and codes of one scene."""
    return observation.channel[0].to(torch.complex64), observation.codes[0].to(torch.complex64)
