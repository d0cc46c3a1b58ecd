"""Figures of scenes: everything of one, or the spectra of several side by side."""

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from mpl_toolkits.mplot3d.axes3d import Axes3D

from risolve.pictures.marks import handles, metres
from risolve.pictures.panels import DEPTH_DB, EXPLAINED, draw_close_up, draw_cut, draw_spectrum, plane_of
from risolve.pictures.space import draw_space
from risolve.pictures.style import BLUE, styled
from risolve.pictures.view import View

Bounds: TypeAlias = tuple[float, float, float, float]
"""Left, lower edge, width and height of a panel, in shares of its figure."""

_SIDE_BY_SIDE = 4
"""Panels of sources, or of scenes, in a row."""

_NAME = 16
"""Letters of the name of a file over its panel."""

_WIDTH = 10.4
_HEAD, _FOOT = 0.45, 0.4
"""Of the heading and of the legend."""

_TOP, _ROW = 3.7, 2.35
"""Heights of the panels of the scene and of its sources."""

_LEFT, _RIGHT, _BELOW, _ABOVE = 0.75, 0.1, 0.55, 0.35
"""Around a panel, for its labels and its title."""

_SPECTRUM, _BAR, _SPACE = 5.2, 0.13, 3.6
"""Widths of the spectrum, of its scale and of the scene in space. All of them inches: a layout that is solved
for is another one in the last digit at another time.
"""


def heading_of(views: Sequence[View], n_scenes: int) -> str:
    """What is drawn, in words; n_scenes: how many there are."""
    shot, n_sources = views[0].shot, views[0].n_sources
    names = {view.shot.file for view in views}
    if len(views) == 1:
        number = {0: "no source", 1: "1 source"}.get(n_sources) or f"{n_sources} sources"
        what = f"scene {shot.scene}, {number}"
    else:
        what = f"{len(views)} of " * (len(views) < n_scenes) + f"{n_scenes} scenes"
    file = f"{shot.file}: " if shot.file and len(names) == 1 else ""
    return f"{file}{what}, by {shot.estimator}"


def figure_of(views: Sequence[View], n_scenes: int) -> Figure:
    """A figure of one scene, or of several of `n_scenes` in small; of matplotlib nothing else is touched."""
    with styled():
        figure = _of_one(views[0]) if len(views) == 1 else _of_several(views)
        high = float(figure.get_size_inches()[1])
        look: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 11.0, "weight": "bold"}
        figure.text(0.5, 1.0 - 0.2 / high, heading_of(views, n_scenes), **look)
        marks: list[Artist] = [*handles(views)]
        if len(views) > 1 and any(len(plane_of(view)) == 2 for view in views):
            marks.append(Patch(color=BLUE, label=f"energy explained, {DEPTH_DB:g} dB to dark"))
        figure.legend(handles=marks, loc="lower center", ncols=max(len(marks), 1), frameon=False)
        # ticks are made when a figure is drawn
        figure.draw_without_rendering()
    return figure


def _bounds(figure: Figure, left: float, top: float, width: float, height: float) -> Bounds:
    """A rectangle at a place from the left and the upper edge of a figure, in inches, as shares of it."""
    whole, high = figure.get_size_inches().tolist()
    return left / whole, 1.0 - (top + height) / high, width / whole, height / high


def _cell(figure: Figure, position: int, columns: int, top: float) -> Bounds:
    """A panel of rows of panels, of which the first begins below `top`."""
    (row, column), wide = divmod(position, columns), _WIDTH / columns
    height = _ROW - _ABOVE - _BELOW
    return _bounds(figure, column * wide + _LEFT, top + row * _ROW + _ABOVE, wide - _LEFT - _RIGHT, height)


def _of_one(view: View) -> Figure:
    plane = plane_of(view)
    kinds = [*([draw_close_up] if len(plane) == 2 else []), *([draw_cut] if view.free[2] else [])]
    panels = [(number, draw) for number in range(view.n_sources) for draw in kinds]
    n_rows = math.ceil(len(panels) / _SIDE_BY_SIDE)
    figure = Figure(figsize=(_WIDTH, _HEAD + _TOP + n_rows * _ROW + _FOOT))
    if plane:
        height = _TOP - _ABOVE - _BELOW
        axes = figure.add_axes(_bounds(figure, _LEFT, _HEAD + _ABOVE, _SPECTRUM, height))
        image = draw_spectrum(axes, view)
        axes.set_title(_caption(view, plane))
        if image is not None:
            beside = _bounds(figure, _LEFT + _SPECTRUM + _BAR, _HEAD + _ABOVE, _BAR, height)
            figure.colorbar(image, cax=figure.add_axes(beside), label=EXPLAINED, extend="min")
    left = _WIDTH - _SPACE if plane else (_WIDTH - _SPACE) / 2.0
    draw_space(_space(figure, _bounds(figure, left, _HEAD, _SPACE, _TOP)), view)
    for position, (number, draw) in enumerate(panels):
        draw(figure.add_axes(_cell(figure, position, _SIDE_BY_SIDE, _HEAD + _TOP)), view, number)
    return figure


def _caption(view: View, plane: tuple[int, ...]) -> str:
    """What a spectrum shows where it does not run over range."""
    at = "" if 2 in plane else f" at {metres(float(view.focus[2]))}"
    of_strongest = ", the range of the strongest source" if at and view.free[2] and view.n_sources > 1 else ""
    return f"Spectrum{at}{of_strongest}" + ("" if view.n_sources else ": no source")


def _of_several(views: Sequence[View]) -> Figure:
    columns = min(len(views), _SIDE_BY_SIDE)
    rows = math.ceil(len(views) / columns)
    figure = Figure(figsize=(_WIDTH, _HEAD + rows * _ROW + _FOOT))
    several_files = len({view.shot.file for view in views}) > 1
    for position, view in enumerate(views):
        cell = _cell(figure, position, columns, _HEAD)
        if plane_of(view):
            axes = figure.add_axes(cell)
            draw_spectrum(axes, view)
        else:
            axes = _space(figure, cell)
            draw_space(axes, view)
        file = f"{view.shot.file[:_NAME]} " if several_files else ""
        axes.set_title(f"{file}scene {view.shot.scene}" + ("" if view.n_sources else ": no source"))
    return figure


def _space(figure: Figure, bounds: Bounds) -> Axes3D:
    axes = figure.add_axes(bounds, projection="3d")
    assert isinstance(axes, Axes3D)
    return axes
