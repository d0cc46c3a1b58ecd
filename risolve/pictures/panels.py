"""Panels of one scene: its spectrum over the field, and of each source a close-up and a cut along range."""

import math

import numpy as np
import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.image import AxesImage
from torch import Tensor

from risolve.physics.geometry import aperture
from risolve.pictures.marks import (
    SIGMAS,
    draw_numbers,
    draw_on_curve,
    draw_places,
    in_plane,
    name_axes,
    shown,
)
from risolve.pictures.style import BLUE, PAPER, SKY
from risolve.pictures.view import View

EXPLAINED = "energy explained (dB)"

DEPTH_DB = 10.0
"""Below the largest value of a map."""

_MAP = LinearSegmentedColormap.from_list("explained", [PAPER, SKY, BLUE, "#08306b"])

_POINTS_OF_BEAM, _FEWEST, _MOST = 5.0, 91, 301
"""Points of a side of a map for each beam lambda / D in it, and how few and how many there are."""

_CLOSE_UP = 2.0
"""Half a side of a close-up, in half axes of the ellipse."""

_MARGIN, _FARTHEST = 1.2, 4.0
"""Of a close-up that holds the true place, beyond it, and how many times it grows for that."""


def plane_of(view: View) -> tuple[int, ...]:
    """The unknown coordinates that a map runs over: both angles, or one and range, or one; none."""
    azimuth, elevation, reach = view.free
    angles = tuple(axis for axis, is_free in ((0, azimuth), (1, elevation)) if is_free)
    return (*angles, 2) if reach and len(angles) == 1 else angles


def draw_spectrum(axes: Axes, view: View) -> AxesImage | None:
    """The map of a scene with its sources, a curve where one angle alone is unknown."""
    plane = plane_of(view)
    if len(plane) == 1:
        _draw_curve(axes, view, plane[0])
        return None
    first, second = plane
    x, y = (_points(view, axis) for axis in plane)
    lattice = view.focus.repeat(len(y), len(x), 1)
    lattice[..., first], lattice[..., second] = x, y[:, None]
    explained = view.explained_db(lattice.flatten(0, 1), view.sources[:0]).unflatten(0, (len(y), len(x)))
    image = axes.imshow(
        explained.numpy(),
        extent=(*shown(first, x[[0, -1]]), *shown(second, y[[0, -1]])),
        origin="lower",
        aspect="auto",
        cmap=_MAP,
        vmin=float(explained.max()) - DEPTH_DB,
        vmax=float(explained.max()),
        interpolation="bilinear",
    )
    axes.grid(visible=False)
    # an ellipse may reach far beyond what was searched
    axes.autoscale(enable=False)
    name_axes(axes, plane)
    draw_places(axes, view, plane)
    numbered = torch.cat((view.sources, view.rivals))
    draw_numbers(axes, in_plane(numbered, plane), in_plane(view.places, plane))
    return image


def _draw_curve(axes: Axes, view: View, axis: int) -> None:
    line = _points(view, axis)
    lattice = view.focus.repeat(len(line), 1)
    lattice[:, axis] = line
    curve = np.stack((shown(axis, line), view.explained_db(lattice, view.sources[:0]).numpy()))
    axes.plot(*curve, color=BLUE)
    axes.set_xlim(*shown(axis, line[[0, -1]]))
    axes.set_ylabel(EXPLAINED)
    axes.margins(y=0.12)
    name_axes(axes, (axis,))
    marks = [draw_on_curve(axes, view, number, axis, curve) for number in range(view.n_sources)]
    places = np.reshape(marks, (-1, 2, 2)).swapaxes(0, 1).reshape(-1, 2)
    draw_numbers(axes, places, places[np.isfinite(places).all(-1)])


def draw_close_up(axes: Axes, view: View, number: int) -> None:
    """A source, its ellipse and its true place, some standard deviations around, in the plane of the map."""
    plane = plane_of(view)
    place = view.sources[number, [*plane]]
    half = _CLOSE_UP * SIGMAS * view.deviations[number, [*plane]]
    axes.set_title(f"Source {number}")
    if not bool(half.isfinite().all()):
        axes.set_axis_off()
        axes.text(0.5, 0.5, "no standard deviation", ha="center", transform=axes.transAxes)
        return
    if view.truth is not None:
        apart = _MARGIN * (view.truth[number, [*plane]] - place).abs()
        half = torch.fmax(half, torch.where(apart < _FARTHEST * half, apart, torch.nan))
    if 2 not in plane:
        half = half.amax().expand(2)
        axes.set_aspect("equal", adjustable="box")
    (left, right), (low, high) = (
        shown(axis, torch.stack((middle - beside, middle + beside)))
        for axis, middle, beside in zip(plane, place, half, strict=True)
    )
    axes.set(xlim=(left, right), ylim=(max(low, 0.0) if plane[1] == 2 else low, high))
    name_axes(axes, plane)
    draw_places(axes, view, plane)


def draw_cut(axes: Axes, view: View, number: int) -> None:
    """What a source in the direction of this one explains along range, beside the others."""
    line = _points(view, 2)
    places = view.sources[number].repeat(len(line), 1)
    places[:, 2] = line
    others = torch.cat((view.sources[:number], view.sources[number + 1 :]))
    explained = view.explained_db(places, others)
    curve = np.stack((shown(2, line), (explained - explained.max()).numpy()))
    axes.plot(*curve, color=BLUE)
    axes.set_xlim(*shown(2, line[[0, -1]]))
    axes.set_ylabel("to the best (dB)")
    axes.margins(y=0.15)
    name_axes(axes, (2,))
    draw_on_curve(axes, view, number, 2, curve)
    axes.set_title(f"Source {number}, along range")


def _points(view: View, axis: int) -> Float[Tensor, " place"]:
    """Places along a coordinate, close enough that no peak is missed."""
    low, high = view.window[axis]
    array = view.observation.array
    n_points = _MOST
    if axis != 2 and len(plane_of(view)) == 2:
        in_beams = (high - low) * aperture(array.elements) / array.wavelength
        n_points = min(max(math.ceil(_POINTS_OF_BEAM * in_beams), _FEWEST), _MOST)
    return torch.linspace(low, high, n_points, dtype=torch.float64)
