"""Fields on an array projected back to all points of a grid at once, by sub-apertures.

    m_g = sum_e a_e(g)^* f_e ~ sum_b a_b(g)^* sum_{e in b} [a_e(t) / a_b(t)]^* f_e

b are sub-apertures, told by one of their elements, and t(g) the middle of the tile of grid points that g is
of. Across a tile the phase of an element against that of its sub-aperture changes as little as the phase
across the aperture does from a grid point to the next: both are half a beam wide. N G products become about
4 sqrt(N) G.

References:
    Ulander, Hellsten and Stenstroem, "Synthetic-aperture radar processing using fast factorized
    back-projection", IEEE Trans. Aerosp. Electron. Syst. 39 (2003).
"""

import math
from dataclasses import dataclass
from typing import NamedTuple
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Bool, Complex, Float, Int
from torch import Tensor

from risolve.inference.grid import Grid
from risolve.physics.array import Array

_SIDES = (1, 2, 3, 4, 6, 8, 10, 12, 16, 24, 32)
"""Sub-apertures side by side along the aperture, of which the cheapest number is taken."""

_TILE_SHARE = 0.5
"""Width of a tile in beams of a sub-aperture."""

_PIECE_VALUES = 4_000_000
"""Steering values computed at once."""

MOST_VALUES = 160_000_000
"""Complex numbers of the tables, 1.3 GB."""


class _Layout(NamedTuple):
    """Elements of each sub-aperture, 0 where it has fewer than others, which of them it has, and that which
    tells its place; steps of the lattice that a tile is long along v and u.
    """

    members: Int[Tensor, "block member"]
    held: Bool[Tensor, "block member"]
    told: Int[Tensor, " block"]
    tile: tuple[int, int]


@dataclass(frozen=True, eq=False)
class BackProjection:
    """The tables of an array and a grid, complex64.

    members: elements of each sub-aperture. inner: conjugate of what they answer to the middle of each tile,
    over what the sub-aperture does; 0 for members that it lacks. outer: conjugate of what sub-apertures
    answer to the points of a tile. place: of each grid point among the points of all tiles.
    """

    members: Int[Tensor, "block member"]
    inner: Complex[Tensor, "block tile member"]
    outer: Complex[Tensor, "tile of_tile block"]
    place: Int[Tensor, " point"]

    def __call__(self, fields: Complex[Tensor, "field element"]) -> Complex[Tensor, "point field"]:
        """a_g^H f at every point; up to a fifth of its amplitude is lost at the corners of tiles."""
        by_block = fields.mT.to(torch.complex64)[self.members]
        by_tile = torch.bmm(self.inner, by_block).transpose(0, 1)
        projected: Tensor = torch.bmm(self.outer, by_tile).flatten(0, 1)[self.place]
        return projected

    def energy(self, fields: Complex[Tensor, "field element"]) -> Float[Tensor, " point"]:
        """sum |a_g^H f|^2 over fields at every point."""
        parts = torch.view_as_real(self(fields)).flatten(-2)
        energy: Tensor = torch.linalg.vector_norm(parts, dim=-1).square()
        return energy


_held: "WeakKeyDictionary[Grid, tuple[Array, BackProjection]]" = WeakKeyDictionary()


def back_projection(grid: Grid, array: Array) -> BackProjection:
    """The tables of a grid and an array, kept while the grid is.

    Raises:
        ValueError: more than `MOST_VALUES` numbers.
    """
    kept = _held.get(grid)
    if kept is None or kept[0] is not array:
        kept = array, _made(grid, array)
        _held[grid] = kept
    return kept[1]


def check_size(grid: Grid, array: Array) -> None:
    """Refuse tables that are too large.

    Raises:
        ValueError: more than `MOST_VALUES` numbers.
    """
    n_values = _cheapest(grid, array)[1]
    if n_values > MOST_VALUES:
        raise ValueError(
            f"a search holds at most {MOST_VALUES:,} numbers, 1.3 GB; {array.n_elements} elements and "
            f"{grid.n_points} points, half a beam apart, need {n_values:,}; narrow the field of view"
        )


def _cheapest(grid: Grid, array: Array) -> tuple[_Layout, int]:
    """The layout of the smallest tables, and how many numbers they hold."""
    every = []
    for side in _SIDES:
        layout = _layout(grid, array, side)
        n_w, n_v, n_u = grid.shape
        n_tiles = n_w * math.ceil(n_v / layout.tile[0]) * math.ceil(n_u / layout.tile[1])
        n_blocks, n_members = layout.members.shape
        every.append((layout, n_blocks * n_tiles * (n_members + math.prod(layout.tile))))
    return min(every, key=lambda one: one[1])


def _layout(grid: Grid, array: Array, side: int) -> _Layout:
    """Sub-apertures as the cells of a cube lattice, so many along the largest extent."""
    places = array.places
    width = float((places.amax(0) - places.amin(0)).amax()) * (1.0 + 1e-9) / side
    cells = ((places - places.amin(0)) / max(width, 1e-300)).floor().clamp_max(side - 1)
    _, block, sizes = cells.unique(dim=0, return_inverse=True, return_counts=True)
    n_blocks, n_members = len(sizes), int(sizes.max())
    order = block.argsort(stable=True)
    rank = torch.arange(len(order)) - (sizes.cumsum(0) - sizes)[block[order]]
    members = torch.zeros((n_blocks, n_members), dtype=torch.int64)
    held = torch.zeros((n_blocks, n_members), dtype=torch.bool)
    members[block[order], rank], held[block[order], rank] = order, True
    middle = (places[members] * held[..., None]).sum(1) / sizes[:, None]
    distance = (places[members] - middle[:, None]).norm(dim=-1).masked_fill(~held, math.inf)
    told = members.gather(1, distance.argmin(1, keepdim=True))[:, 0]
    # bands of the same elements are sub-apertures of their own
    first = torch.arange(array.n_bands) * array.n_places
    members = (first[:, None, None] + members).flatten(0, 1)
    held = held.repeat(array.n_bands, 1)
    beam = _TILE_SHARE * array.wavelength / max(width, 1e-300)
    _, n_v, n_u = grid.shape
    step_u, step_v, _ = grid.steps.tolist()
    tile = tuple(
        n if step == 0.0 else max(1, min(n, int(beam / step + 1e-9)))
        for step, n in ((step_v, n_v), (step_u, n_u))
    )
    return _Layout(members, held, told, (tile[0], tile[1]))


def _made(grid: Grid, array: Array) -> BackProjection:
    check_size(grid, array)
    layout, _ = _cheapest(grid, array)
    n_w, n_v, n_u = grid.shape
    tile_v, tile_u = layout.tile
    across = math.ceil(n_u / tile_u)
    up = math.ceil(n_v / tile_v)
    first_v, first_u = torch.arange(up) * tile_v, torch.arange(across) * tile_u
    v = (first_v[:, None] + torch.arange(tile_v)).clamp_max(n_v - 1)
    u = (first_u[:, None] + torch.arange(tile_u)).clamp_max(n_u - 1)
    flat = v[:, None, :, None] * n_u + u[None, :, None, :]
    points = (torch.arange(n_w)[:, None, None, None, None] * (n_v * n_u) + flat).reshape(
        n_w * up * across, tile_v * tile_u
    )
    middles = points[:, (tile_v // 2) * tile_u + tile_u // 2]
    number = torch.arange(grid.n_points)
    of_w, of_v, of_u = number // (n_v * n_u), number // n_u % n_v, number % n_u
    tile = (of_w * up + of_v // tile_v) * across + of_u // tile_u
    place = tile * (tile_v * tile_u) + of_v % tile_v * tile_u + of_u % tile_u

    sources = grid.sources.float()
    blocks = array.only(layout.told)
    told = (torch.arange(array.n_bands)[:, None] * array.n_places + layout.told).flatten()
    n_blocks, n_members = layout.members.shape
    inner = torch.empty((n_blocks, len(points), n_members), dtype=torch.complex64)
    outer = torch.empty((*points.shape, n_blocks), dtype=torch.complex64)
    size = max(1, _PIECE_VALUES // max(array.n_elements, n_blocks * points.shape[1]))
    for first in range(0, len(points), size):
        tiles = slice(first, first + size)
        waves = array.steering(sources[middles[tiles]])
        ratio = waves[:, layout.members] / waves[:, told, None]
        inner[:, tiles] = (ratio * layout.held).conj().transpose(0, 1)
        outer[tiles] = blocks.steering(sources[points[tiles]]).conj()
    return BackProjection(layout.members, inner, outer, place)
