"""Local maxima of a spectrum on a grid, and their places between its points."""

import math
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from risolve.inference.grid import Grid


class Maxima(NamedTuple):
    """Points of the highest local maxima of a spectrum, best first; a slot that is not usable holds none."""

    point: Int[Tensor, "scene peak"]
    usable: Bool[Tensor, "scene peak"]


class Peaks(NamedTuple):
    """Local maxima of a spectrum, best first: coordinates between the points, and the value at the point.

    NaN in both where a slot is not usable: the spectrum has fewer local maxima.
    """

    coordinates: Float[Tensor, "scene peak 3"]
    score: Float[Tensor, "scene peak"]
    usable: Bool[Tensor, "scene peak"]


def peaks(spectrum: Float[Tensor, "scene point"], grid: Grid, n_peaks: int) -> Peaks:
    """The highest local maxima of a spectrum, placed between the points in float64; see `placed`.

    Raises:
        ValueError: as `local_maxima`.
    """
    maxima = local_maxima(spectrum, grid, n_peaks)
    around = stencils(grid, maxima.point)
    values = spectrum.double().gather(1, around.flatten(1)).unflatten(1, around.shape[1:])
    return placed(values, maxima, grid)


def local_maxima(spectrum: Float[Tensor, "scene point"], grid: Grid, n_peaks: int) -> Maxima:
    """The points of the highest local maxima of a spectrum, best first.

    A local maximum is the highest of its (up to) 26 neighbours and itself, the first of equal ones; points of
    the boundary count, and points that are not inside do not, as neighbours either.

    Raises:
        ValueError: a spectrum of another size, or with values that are not finite.
    """
    if spectrum.shape[1] != grid.n_points:
        raise ValueError(f"a spectrum has one value a grid point, {grid.n_points}; got {spectrum.shape[1]}")
    finite = torch.isfinite(spectrum).all(1)
    if not bool(finite.all()):
        scenes = torch.nonzero(~finite).flatten().tolist()
        raise ValueError(f"a spectrum is finite; that of scenes {scenes} of this batch is not")
    n_scenes = spectrum.shape[0]
    spectrum = spectrum.masked_fill(~grid.inside, -math.inf)
    lattice = spectrum.reshape(n_scenes, 1, *grid.shape)
    number = torch.arange(grid.n_points)
    own = number
    if grid.closed:
        lattice, own = (
            torch.cat((values[..., -1:], values, values[..., :1]), dim=-1)
            for values in (lattice, number.reshape(grid.shape))
        )
    beside = (1, 1, 0 if grid.closed else 1)
    _, highest = torch.nn.functional.max_pool3d(lattice, 3, stride=1, padding=beside, return_indices=True)
    is_peak = own.flatten()[highest.reshape(n_scenes, -1)] == number
    n_kept = min(n_peaks, grid.n_points)
    score, point = spectrum.masked_fill(~is_peak, -math.inf).topk(n_kept, dim=1)
    missing = (0, n_peaks - n_kept)
    return Maxima(
        torch.nn.functional.pad(point, missing),
        torch.nn.functional.pad(score > -math.inf, missing, value=False),
    )


def stencils(grid: Grid, point: Int[Tensor, "scene peak"]) -> Int[Tensor, "scene peak 7"]:
    """Every point, then its neighbours before it along u, v, w, then those after it.

    Along an axis on whose boundary a point lies, the point stands for both neighbours, unless the grid is
    closed there.
    """
    n_w, n_v, n_u = grid.shape
    before: list[Tensor] = []
    after: list[Tensor] = []
    for n, stride, closed in ((n_u, 1, grid.closed), (n_v, n_u, False), (n_w, n_u * n_v, False)):
        index = (point // stride) % n
        has_both = torch.full_like(index, closed, dtype=torch.bool) | ((index > 0) & (index < n - 1))
        for side, neighbours in ((-1, before), (1, after)):
            neighbours.append(torch.where(has_both, (index + side) % n - index, 0) * stride)
    steps = torch.stack((torch.zeros_like(point), *before, *after), dim=-1)
    return point[..., None] + steps


def placed(values: Float[Tensor, "scene peak 7"], maxima: Maxima, grid: Grid) -> Peaks:
    """Local maxima placed between the points by a parabola along each axis, highest first.

        x = x_i + h vertex(f_{i-1}, f_i, f_{i+1})

    values: the spectrum on the stencil of each maximum, in float64 or of the precision in which it is known.
    The parabola is exact for a spectrum that is quadratic and separable. A maximum of the boundary stays on
    it. Where rounding of the search made a point the maximum that is not one in `values`, the place is at
    most half a step away all the same.
    """
    middle, before, after = values[..., :1], values[..., 1:4], values[..., 4:]
    places = grid.coordinates[maxima.point] + grid.steps * vertex(before, middle, after)
    score = middle[..., 0].masked_fill(~maxima.usable, -math.inf)
    order = score.argsort(dim=1, descending=True, stable=True)
    usable = maxima.usable.gather(1, order)
    places = places.gather(1, order[..., None].expand_as(places))
    return Peaks(
        places.masked_fill(~usable[..., None], math.nan),
        score.gather(1, order).masked_fill(~usable, math.nan),
        usable,
    )


def vertex(
    before: Float[Tensor, "*shape"], middle: Float[Tensor, "*#shape"], after: Float[Tensor, "*shape"]
) -> Float[Tensor, "*shape"]:
    """Vertex of the parabola through three equally spaced values, in steps from the middle.

        (f_- - f_+) / (2 (f_- - 2 f_0 + f_+)),   within half a step

    0 where the three are not concave, as where a point stands for its own neighbours.
    """
    curvature = before - 2.0 * middle + after
    place = 0.5 * (before - after) / torch.where(curvature < 0.0, curvature, -1.0)
    return torch.where(curvature < 0.0, place, 0.0).clamp(-0.5, 0.5)
