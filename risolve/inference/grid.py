"""Search grid in direction and inverse range.

In front of an array uniform in (u, v, w): the width of a beam is then the same everywhere in (u, v), and the
curvature of the wave front is nearly linear in w, so that few range planes suffice. All around an array
uniform in (azimuth, elevation, w). A delay is linear in r = 1 / w: where it tells the range too, the third
coordinate is w - b r, along which no step is longer than one in w, nor than one in r. Points run over w
slowest and over u, or the azimuth, fastest.
"""

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Complex, Float, Int
from torch import Tensor

from risolve.inference.range_axis import bent, ends, straight
from risolve.physics.array import Array
from risolve.physics.geometry import (
    cosines_from_sources,
    is_line,
    line_tells,
    nearest_spacing,
    sources_from_cosines,
    turned,
)
from risolve.physics.limits import Limits
from risolve.shapes import Elements

_BEAM_SHARE = 0.5
"""Step of a grid in u and v, in beams lambda / D, and in r, in `Array.range_resolution`: half a beam."""

_FOCUS_PHASE = 2.5 * math.pi
"""Change of the quadratic phase at the farthest element from one range plane to the next: half of it, the
most that a source is off a plane, leaves a square array half of its gain."""

_STEEPEST = 5.0
"""Tangent of an angle from the front beyond which arrays that are not flat have a grid of angles."""

_ROUNDING = 1e-12
"""Of direction cosines, and of inverse ranges in 1/m."""

_SPARSE = 5.0
"""Wavelengths between neighbours from which another unit is likelier."""

MOST_POINTS = 1_000_000
"""Points of a grid: every one has a steering vector in memory."""


@dataclass(frozen=True, eq=False)
class Grid:
    """Points of a lattice (n_w, n_v, n_u), by their coordinates and as sources.

    coordinates: (u, v, w), or (azimuth, elevation, w) of a grid `around` the array. inside: where sources may
    be found. closed: the azimuths go all round, the first beside the last. delay_weight: b (1/m^2) of the
    third coordinate w - b / w, 0 where no delay tells the range.
    """

    shape: tuple[int, int, int]
    coordinates: Float[Tensor, "point 3"]
    sources: Float[Tensor, "point 3"]
    inside: Bool[Tensor, " point"]
    around: bool = False
    closed: bool = False
    delay_weight: float = 0.0

    @property
    def n_points(self) -> int:
        return self.coordinates.shape[0]

    @property
    def steps(self) -> Float[Tensor, " 3"]:
        """Distance of neighbouring points along the coordinates; 0 along an axis of one point."""
        return torch.stack([axis[min(1, len(axis) - 1)] - axis[0] for axis in self.axes])

    @property
    def axes(self) -> tuple[Float[Tensor, " u"], Float[Tensor, " v"], Float[Tensor, " w"]]:
        """Coordinates of the points along u, v and w, or azimuth, elevation and w."""
        lattice = self.coordinates.reshape(*self.shape, 3)
        return lattice[0, 0, :, 0], lattice[0, :, 0, 1], lattice[:, 0, 0, 2]

    def to(self, dtype: torch.dtype, device: torch.device | str) -> "Grid":
        """The same grid in another precision and on another device."""
        return replace(
            self,
            coordinates=self.coordinates.to(device, dtype),
            sources=self.sources.to(device, dtype),
            inside=self.inside.to(device),
        )

    @property
    def n_inside(self) -> int:
        """Points where sources may be found."""
        return int(self.inside.sum())

    def within(self, stated: Limits | None) -> "Grid":
        """The same, sources found no farther than a step from what is stated: every source within has such a
        point beside it.
        """
        if stated is None:
            return self
        own, held = (self.coordinates_of(places) for places in (self.sources, stated.held(self.sources)))
        return replace(self, inside=(self.apart(held, own) <= self.steps + _ROUNDING).all(-1))

    def coordinates_of(self, sources: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3"]:
        """Coordinates of sources; azimuths of a grid around are those nearest to its middle."""
        if self.around:
            azimuths = self.axes[0]
            places = turned(sources, (azimuths[:1] + azimuths[-1:]) / 2)
        else:
            places = cosines_from_sources(sources)
        return bent(places, self.delay_weight)

    def nearest(self, sources: Float[Tensor, "source 3"]) -> Int[Tensor, " source"]:
        """The points next to sources within the box."""
        number = torch.zeros(len(sources), dtype=torch.int64)
        for place, axis in zip(self.coordinates_of(sources).flip(-1).mT, self.axes[::-1], strict=True):
            number = number * len(axis) + (place[:, None] - axis).abs().argmin(-1)
        return number

    def neighbours(self, points: Int[Tensor, " point"]) -> Int[Tensor, "point 27"]:
        """Each point and those beside it in the lattice; on a boundary some stand for what is beyond."""
        n_w, n_v, n_u = self.shape
        w, v, u = (number[:, None] for number in (points // (n_v * n_u), points // n_u % n_v, points % n_u))
        step_w, step_v, step_u = torch.cartesian_prod(*[torch.tensor([-1, 0, 1])] * 3).mT
        u = (u + step_u) % n_u if self.closed else (u + step_u).clamp(0, n_u - 1)
        v, w = (v + step_v).clamp(0, n_v - 1), (w + step_w).clamp(0, n_w - 1)
        beside: Tensor = (w * n_v + v) * n_u + u
        return beside

    def sources_at(self, coordinates: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3"]:
        """Sources of coordinates."""
        places = straight(coordinates, self.delay_weight)
        return places if self.around else sources_from_cosines(places)

    def apart(
        self, first: Float[Tensor, "*first 3"], second: Float[Tensor, "*second 3"]
    ) -> Float[Tensor, "*both 3"]:
        """Distance of two places along every coordinate, of azimuths the shorter way round."""
        distance = (first - second).abs()
        if not self.around:
            return distance
        shorter = torch.minimum(distance[..., :1], (2.0 * math.pi - distance[..., :1]).abs())
        return torch.cat((shorter, distance[..., 1:]), dim=-1)

    def at_end(self, inverse_range: Float[Tensor, "*batch"]) -> Bool[Tensor, "*batch"]:
        """True within half a step of the nearest or farthest of several ranges; infinity is no end."""
        axis, half = self.axes[2], self.steps[2] / 2.0
        place = bent(inverse_range[..., None], self.delay_weight)[..., 0]
        has_end = (axis[0] > 0.0) | (self.delay_weight > 0.0)
        beyond: Tensor = (place < axis[0] + half) & has_end | (place > axis[-1] - half)
        return beyond & (len(axis) > 1)

    def in_box(self, coordinates: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3"]:
        """The nearest coordinates within the box that the lattice fills."""
        low, high = self.coordinates.amin(0), self.coordinates.amax(0)
        held = torch.minimum(torch.maximum(coordinates, low), high)
        return torch.cat((coordinates[..., :1], held[..., 1:]), dim=-1) if self.closed else held


def search_grid(
    n_u: int,
    n_v: int,
    n_w: int,
    azimuth: tuple[float, float],
    elevation: tuple[float, float],
    range_: tuple[float, float],
    delay_weight: float = 0.0,
) -> Grid:
    """Lattice uniform in (u, v, w) over the smallest box that holds all sources of the given ranges (rad, m).

        u in sin(azimuth) cos(elevation),   v in sin(elevation),   w in [1/r_max, 1/r_min]

    With the weight b of a delay it is uniform in w - b / w in place of w.
    Ranges symmetric about 0 give a lattice symmetric in u and v. A point of the box with u^2 + v^2 > 1 has no
    direction: its cosines keep their place in the lattice, its source is the one on the horizon (azimuth +-90
    degrees) with the same v.

    Raises:
        ValueError: an empty axis, angles outside +-pi/2, or ranges that are not 0 < nearest <= farthest.
    """
    if min(n_u, n_v, n_w) < 1:
        raise ValueError(f"a grid has at least one point along each axis, got {n_u} x {n_v} x {n_w}")
    quarter = math.pi / 2
    for name, (low, high), end in (
        ("azimuth", azimuth, quarter),
        ("elevation", elevation, math.nextafter(quarter, 0.0)),
    ):
        if not -end <= low <= high <= end:
            raise ValueError(f"{name} is [lowest, highest] within +-pi/2 rad, got [{low}, {high}]")
    nearest, farthest = range_
    if not 0.0 < nearest <= farthest:
        raise ValueError(f"range is 0 < nearest <= farthest (m), got [{nearest}, {farthest}]")
    smallest = min(math.cos(elevation[0]), math.cos(elevation[1]))
    largest = (
        1.0 if elevation[0] <= 0.0 <= elevation[1] else max(math.cos(elevation[0]), math.cos(elevation[1]))
    )
    u_low = math.sin(azimuth[0]) * (largest if azimuth[0] < 0.0 else smallest)
    u_high = math.sin(azimuth[1]) * (largest if azimuth[1] > 0.0 else smallest)
    u = _axis(u_low, u_high, n_u)
    v = _axis(math.sin(elevation[0]), math.sin(elevation[1]), n_v)
    w = _axis(*ends(range_, delay_weight), n_w)
    grid_w, grid_v, grid_u = torch.meshgrid(w, v, u, indexing="ij")
    coordinates = torch.stack((grid_u, grid_v, grid_w), dim=-1).reshape(-1, 3)
    inside = torch.ones(len(coordinates), dtype=torch.bool)
    sources = sources_from_cosines(straight(coordinates, delay_weight))
    return Grid((n_w, n_v, n_u), coordinates, sources, inside, delay_weight=delay_weight)


def grid_for(
    array: Array,
    azimuth: tuple[float, float],
    elevation: tuple[float, float],
    range_: tuple[float, float],
) -> Grid:
    """The grid of an array over a field of view (rad, m): half a beam in u and v, half a depth of focus in w.

    Along an axis on which nothing is unknown it has one point.

        Delta u <= lambda / (2 D_x),   Delta v <= lambda / (2 D_y),   k e^2 Delta w / 2 <= 2.5 pi

    and half of that along w for elements on a line, whose grid is small. With a common delay half a beam of
    it too, Delta r <= `Array.range_resolution` / 2, in a lattice uniform in w - (Delta w / Delta r) r.

    D_x and D_y are the extents of the array plus one spacing, e its farthest element from the origin. An
    element h out of the plane adds h u / q_z to the path, so that D_x and D_y grow by the extent in z times
    the largest u / q_z and v / q_z. Where azimuths reach beyond +-pi/2, or angles of an array that is not
    flat beyond 79 degrees, the steps are of azimuth and elevation instead, D_x and D_y the diameters of the
    array seen along y and of the whole. At least three points along u and v and two along w.

    Raises:
        ValueError: more than `MOST_POINTS` points, elements in a point, or on a line where neither angle is
            known, or what `search_grid` refuses.
    """
    elements, wavelength = array.places, array.wavelength
    delta_r = _BEAM_SHARE * array.range_resolution
    extent = elements.amax(0) - elements.amin(0)
    _require_told(elements, azimuth, elevation)
    spacing = nearest_spacing(elements)
    # how steep the view across an array that is not flat can be
    slopes = [math.tan(min(max(abs(angle) for angle in angles), 1.57)) for angles in (azimuth, elevation)]
    around = azimuth[0] < -math.pi / 2 or azimuth[1] > math.pi / 2
    around |= float(extent[2]) > 0.0 and max(slopes) > _STEEPEST
    closed = azimuth[1] - azimuth[0] >= 2.0 * math.pi
    if around:
        from_centre = elements - elements.mean(0)
        wide, high = (2.0 * float(e.norm(dim=-1).max()) + spacing for e in (from_centre[:, ::2], from_centre))
        span = [azimuth[1] - azimuth[0], elevation[1] - elevation[0]]
    else:
        box = search_grid(2, 2, 2, azimuth, elevation, range_).coordinates
        span = (box[-1] - box[0]).tolist()[:2]
        wide, high = (float(extent[axis] + extent[2] * slopes[axis]) + spacing for axis in (0, 1))
    phase = _FOCUS_PHASE / 2.0 if is_line(elements) else _FOCUS_PHASE
    steps = (
        _BEAM_SHARE * wavelength / wide,
        _BEAM_SHARE * wavelength / high,
        phase * wavelength / (math.pi * float(elements.square().sum(-1).max())),
    )
    weight = steps[2] / delta_r
    farthest, nearest = ends(range_, weight)
    span.append(nearest - farthest)
    # a step that divides the span exactly is not rounded up
    n_u, n_v, n_w = (
        max(math.ceil(side / step - 1e-9) + 1, least) if side > 0.0 else 1
        for side, step, least in zip(span, steps, (3, 3, 2), strict=True)
    )
    if n_u * n_v * n_w > MOST_POINTS:
        apart = spacing / wavelength
        delays = f", or {delta_r:.3g} m of delay" if weight else ""
        doubt = f"; neighbours are {apart:.3g} wavelengths apart: are both in m?" if apart > _SPARSE else ""
        raise ValueError(
            f"a grid has at most {MOST_POINTS} points, half a beam apart in angle and {phase:.3g} rad "
            f"of phase in range{delays}: {wide / wavelength:.3g} x {high / wavelength:.3g} wavelengths need "
            f"{n_u} x {n_v} x {n_w} = {n_u * n_v * n_w} in this field of view; narrow it{doubt}"
        )
    if around:
        return _grid_around(n_u - closed, n_v, n_w, azimuth, elevation, range_, weight)
    return search_grid(n_u, n_v, n_w, azimuth, elevation, range_, weight)


def _grid_around(
    n_azimuths: int,
    n_elevations: int,
    n_w: int,
    azimuth: tuple[float, float],
    elevation: tuple[float, float],
    range_: tuple[float, float],
    delay_weight: float,
) -> Grid:
    """Lattice uniform in (azimuth, elevation, w), or w - b / w as in `search_grid`; all azimuths from -pi on
    where they fill a whole turn.
    """
    closed = azimuth[1] - azimuth[0] >= 2.0 * math.pi
    end = math.pi - 2.0 * math.pi / n_azimuths
    azimuths = _axis(*((-math.pi, end) if closed else azimuth), n_azimuths)
    elevations, w = _axis(*elevation, n_elevations), _axis(*ends(range_, delay_weight), n_w)
    grid_w, grid_elevation, grid_azimuth = torch.meshgrid(w, elevations, azimuths, indexing="ij")
    coordinates = torch.stack((grid_azimuth, grid_elevation, grid_w), dim=-1).reshape(-1, 3)
    inside = torch.ones(len(coordinates), dtype=torch.bool)
    sources, shape = straight(coordinates, delay_weight), (n_w, n_elevations, n_azimuths)
    return Grid(shape, coordinates, sources, inside, True, closed, delay_weight)


def _require_told(elements: Elements, azimuth: tuple[float, float], elevation: tuple[float, float]) -> None:
    """Refuse elements that do not tell the angles that are unknown.

    Raises:
        ValueError: elements in a point; or on a line, where that tells less than is asked.
    """
    if not bool((elements != elements[:1]).any()):
        raise ValueError(f"a direction needs elements at two places or more; got {len(elements)} at one")
    if not is_line(elements):
        return
    told = line_tells(elements)
    asked = [
        name
        for name, (low, high) in (("azimuth", azimuth), ("elevation", elevation))
        if low < high and (told not in (name, "one of the two"))
    ]
    if asked or (azimuth[0] < azimuth[1] and elevation[0] < elevation[1]):
        raise ValueError(
            f"azimuth and elevation need elements in two dimensions, on a line they are one cone; got "
            f"{len(elements)} elements on a line that tells {told}: state the other as a number"
        )


def _axis(low: float, high: float, n: int) -> Float[Tensor, " n"]:
    """n points from low to high, exactly symmetric where low = -high; the middle for n = 1."""
    if n == 1:
        return torch.tensor([(low + high) / 2], dtype=torch.float64)
    place = torch.linspace(-1.0, 1.0, n, dtype=torch.float64)
    return (low + high) / 2 + (high - low) / 2 * (place - place.flip(0)) / 2


def grid_steering(grid: Grid, array: Array) -> Complex[Tensor, "element point"]:
    """Steering vectors of the grid as columns, complex64, computed in float64."""
    rows = array.steering(grid.sources)
    return rows.mT.to(torch.complex64).contiguous()
