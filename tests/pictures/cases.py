"""Located scenes as they are drawn, and what stands in a figure of them."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import risolve
from risolve.door import FoundSources
from risolve.physics.scenario import Scenes
from risolve.pictures.view import Shot, View, beside_truth, view_of
from tests.worlds import SPREAD_SOURCES, direct_array

TOLERANCE = np.deg2rad(5.0)


def two_sources(n_scenes: int = 1) -> Scenes:
    """Scenes of two sources before an ordinary array, 5 x 3 elements."""
    return direct_array(SPREAD_SOURCES[:2], 20.0, n_scenes)


def views_of(scenes: Scenes, found: FoundSources) -> list[View]:
    """Every scene beside its truth."""
    located = found.of_scenes()
    return [
        beside_truth(
            view_of(Shot("user.h5", scene, found.estimator), found.observation, scene, found.searched, rows),
            scenes.sources[scene, : int(scenes.n_sources[scene])].numpy(),
            TOLERANCE,
        )
        for scene, rows in located
    ]


def one_view(
    azimuth: float | None = None, elevation: float | None = None, range: float | None = None
) -> View:
    """The first of `two_sources`, moved to what is known of their places (degrees, m) and located with it."""
    known = {"azimuth": azimuth, "elevation": elevation, "range": range}
    values = [None if value is None else np.deg2rad(value) for value in (azimuth, elevation)]
    values.append(None if range is None else 1.0 / range)
    places = [
        tuple(own if told is None else told for own, told in zip(place, values, strict=True))
        for place in SPREAD_SOURCES[:2]
    ]
    scenes = direct_array(places, 20.0, 1)
    found = risolve.locate(scenes.observation, sources=2, **known)
    return views_of(scenes, found)[0]


def marks(axes: Axes, marker: str) -> np.ndarray:
    """Places of all filled marks of a kind, a row each."""
    lines = [line for line in axes.lines if (line.get_marker(), line.get_fillstyle()) == (marker, "full")]
    return np.concatenate(
        [np.column_stack(line.get_data()).astype(float) for line in lines] or [np.empty((0, 2))]
    )


def titled(figure: Figure, start: str) -> Axes:
    """The panel whose title begins so."""
    (axes,) = (axes for axes in figure.axes if axes.get_title(loc="left").startswith(start))
    return axes
