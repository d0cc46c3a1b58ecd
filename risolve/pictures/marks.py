"""How places are marked in a plane of two coordinates: sources with numbers and ellipses, true places, axes.

Angles are drawn in degrees, a range by its inverse, which is nearly normal and has a place for infinity.
"""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from risolve.pictures.style import INK, PAPER, VERMILION
from risolve.pictures.view import View

SIGMAS = 2.0
"""Standard deviations to the edge of an ellipse, an ellipsoid and a band."""

LOCATED, TRUE, SPREAD = "located", "true", f"{SIGMAS:g} standard deviations"
RIVAL = "rival, nearly alike"

HALO = [patheffects.withStroke(linewidth=2.6, foreground=PAPER)]

_LOOKS: dict[str, dict[str, Any]] = {
    LOCATED: {
        "marker": "o",
        "color": VERMILION,
        "markeredgecolor": PAPER,
        "markersize": 7.0,
        "linestyle": "",
    },
    RIVAL: {"marker": "o", "color": VERMILION, "markersize": 8.0, "linestyle": "", "fillstyle": "none"},
    TRUE: {"marker": "x", "color": INK, "markersize": 7.0, "markeredgewidth": 1.8, "linestyle": ""},
    SPREAD: {"color": VERMILION, "linewidth": 1.3},
}
_NUMBER: dict[str, Any] = {
    "textcoords": "offset points",
    "ha": "center",
    "va": "center",
    "weight": "bold",
    "color": VERMILION,
    "path_effects": HALO,
    "zorder": 6.0,
}
_NAMES = ("azimuth (degrees)", "elevation (degrees)", "range (m)")

_TICKS, _EVEN = 0.13, 3.0
"""Least distance of two ticks of range, in sides of the axis, and the ratio of its ends below which they are
evenly apart.
"""

_EDGE = 73
"""Points of the edge of an ellipse."""

_AWAY = 10.0
"""Points from a marker to the middle of its number."""


def shown(axis: int, values: Float[Tensor, " place"]) -> Float[np.ndarray, " place"]:
    """Values of a coordinate as they are drawn: angles in degrees, range in 1/m."""
    drawn: Float[np.ndarray, " place"] = (values if axis == 2 else torch.rad2deg(values)).numpy()
    return drawn


def in_plane(places: Float[Tensor, "place 3"], plane: Sequence[int]) -> Float[np.ndarray, "place 2"]:
    """Places as they are drawn in the plane of two coordinates."""
    return np.stack([shown(axis, places[:, axis]) for axis in plane], -1)


def metres(inverse_range: float) -> str:
    """A range in words."""
    return f"{1.0 / inverse_range:.3g} m" if inverse_range > 0.0 else "infinity"


def handles(views: Sequence[View]) -> list[Line2D]:
    """What the marks in pictures of some views mean."""
    held = {
        LOCATED: any(view.n_sources for view in views),
        RIVAL: any(bool(view.rivals.isfinite().any()) for view in views),
        TRUE: any(view.truth is not None for view in views),
        SPREAD: any(bool(view.deviations.isfinite().any()) for view in views),
    }
    return [Line2D([], [], label=name, **_LOOKS[name]) for name, is_drawn in held.items() if is_drawn]


def draw_places(axes: Axes, view: View, plane: Sequence[int]) -> None:
    """Sources with their ellipses, their rivals, and true places, in the plane of two coordinates."""
    for place, covariance in zip(view.sources, view.covariance, strict=True):
        edge = place.repeat(_EDGE, 1)
        edge[:, [*plane]] += ellipse(covariance[[*plane]][:, [*plane]])
        edge[:, 2] = edge[:, 2].clamp_min(0.0)
        axes.plot(*in_plane(edge, plane).T, path_effects=HALO, zorder=3.0, **_LOOKS[SPREAD])
    axes.plot(*in_plane(view.rivals, plane).T, zorder=4.0, path_effects=HALO, **_LOOKS[RIVAL])
    axes.plot(*in_plane(view.sources, plane).T, zorder=4.0, **_LOOKS[LOCATED])
    axes.plot(*in_plane(view.true, plane).T, zorder=5.0, path_effects=HALO, **_LOOKS[TRUE])


def ellipse(covariance: Float[Tensor, "2 2"]) -> Float[Tensor, "point 2"]:
    """The edge x^T C^-1 x = 4, whose projections on the axes reach 2 deviations; NaN where C is not known."""
    angle = torch.linspace(0.0, 2.0 * math.pi, _EDGE, dtype=torch.float64)
    circle = torch.stack((angle.cos(), angle.sin()), -1)
    if not bool(covariance.isfinite().all()):
        return torch.full_like(circle, torch.nan)
    edge: Tensor = SIGMAS * circle @ root(covariance).mT
    return edge


def root(covariance: Float[Tensor, "n n"]) -> Float[Tensor, "n n"]:
    """S with S S^T = C, which may be singular, along the axes of its ellipsoid."""
    values, vectors = torch.linalg.eigh(covariance)
    along: Tensor = vectors * values.clamp_min(0.0).sqrt()
    return along


def draw_numbers(
    axes: Axes, places: Float[np.ndarray, "mark 2"], beside: Float[np.ndarray, "place 2"]
) -> None:
    """The number of each source, at the side of its mark where most room is beside all marks, "?" behind that
    of its rival; limits of the axes are set.

    places: of sources, then of their rivals, NaN where one has none.
    """
    extent = axes.get_window_extent()
    size = 72.0 / axes.figure.dpi * np.array([extent.width, extent.height])
    low, high = np.array([axes.get_xlim(), axes.get_ylim()]).T
    taken = list((beside - low) / (high - low) * size)
    turns = math.pi / 4.0 * np.arange(1, 9)
    sides = _AWAY * np.stack((np.cos(turns), np.sin(turns)), -1)
    n_sources = len(places) // 2
    for number, place in enumerate((places - low) / (high - low) * size):
        if not np.isfinite(place).all():
            continue
        middles = place + sides
        edge = np.minimum(middles, size - middles).min(-1)
        room = np.minimum(edge, np.hypot(*(middles[:, None] - np.array(taken)).T).min(0))
        # equal rooms are told apart by more than rounding
        best = int(room.round(6).argmax())
        taken.append(middles[best])
        text = str(number) if number < n_sources else f"{number - n_sources}?"
        axes.annotate(text, places[number].tolist(), sides[best].tolist(), **_NUMBER)


def draw_on_curve(
    axes: Axes, view: View, number: int, axis: int, curve: Float[np.ndarray, "2 place"]
) -> Float[np.ndarray, "2 2"]:
    """A source on a curve over one coordinate, the interval of its deviation, its rival in angle and its true
    place; where the marks of the source and of its rival are.
    """
    middle, half = view.sources[number, axis], SIGMAS * view.deviations[number, axis]
    low, x, high = shown(axis, torch.stack((middle - half, middle, middle + half)))
    level = float(np.interp(x, *curve))
    axes.plot([max(low, 0.0) if axis == 2 else low, high], [level, level], zorder=3.0, **_LOOKS[SPREAD])
    axes.plot([x], [level], zorder=4.0, clip_on=False, **_LOOKS[LOCATED])
    if view.truth is not None:
        true = shown(axis, view.truth[number, [axis]])
        look = _LOOKS[TRUE] | {"path_effects": HALO, "clip_on": False}
        axes.plot(true, np.interp(true, *curve), zorder=5.0, **look)
    rival = float(shown(axis, view.rivals[number, [axis]])[0]) if axis != 2 else math.nan
    rival_level = float(np.interp(rival, *curve))
    axes.plot([rival], [rival_level], zorder=4.0, path_effects=HALO, **_LOOKS[RIVAL])
    return np.array([[x, level], [rival, rival_level]])


def name_axes(axes: Axes, plane: Sequence[int]) -> None:
    """Names with units, and of range ticks in metres; limits of the axes are set."""
    for axis, side, ends in zip(
        plane, (axes.xaxis, axes.yaxis), (axes.get_xlim(), axes.get_ylim()), strict=False
    ):
        side.set_label_text(_NAMES[axis])
        if axis == 0 and max(map(abs, ends)) > 180.0:
            side.set_major_formatter(lambda degrees, _: f"{180.0 - (180.0 - degrees) % 360.0:g}")
        if axis == 2:
            ticks = range_ticks(*ends)
            side.set_ticks(list(ticks), list(ticks.values()))


def range_ticks(low: float, high: float) -> dict[float, str]:
    """Inverse ranges of round ranges between two, apart from one another, infinity among them -> label."""
    if high < _EVEN * low:
        even = MaxNLocator(3).tick_values(1.0 / high, 1.0 / low)
        return {1.0 / away: f"{away:g}" for away in map(float, even) if low <= 1.0 / away <= high}
    ticks = {0.0: "∞"} if low <= 0.0 else {}
    for decade, mantissa in itertools.product(range(6, -7, -1), (5.0, 2.0, 1.0)):
        inverse = 10.0**-decade / mantissa
        apart = min((abs(inverse - other) for other in ticks), default=math.inf)
        if low <= inverse <= high and apart >= _TICKS * (high - low):
            ticks[inverse] = f"{mantissa * 10.0**decade:g}"
    return ticks
