"""A scene in space: elements, sources with the ellipsoids of their errors, rivals, true places; as lines."""

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from matplotlib.ticker import MaxNLocator
from mpl_toolkits.mplot3d.axes3d import Axes3D
from torch import Tensor

from risolve.physics.geometry import aperture, fraunhofer_distance, positions
from risolve.pictures.marks import HALO, SIGMAS, metres, root
from risolve.pictures.style import BLUE, INK, MUTED, RULE, VERMILION
from risolve.pictures.view import View

LOOKS: dict[str, dict[str, Any]] = {
    "ring": {"color": RULE, "linewidth": 1.0},
    "axis": {"color": MUTED, "linewidth": 1.0},
    "element": {"color": BLUE, "linestyle": "", "marker": ".", "markersize": 2.5},
    "stem": {"color": VERMILION, "linewidth": 0.7, "linestyle": ":"},
    "spread": {"color": VERMILION, "linewidth": 0.9},
    "located": {"color": VERMILION, "linestyle": "", "marker": "o", "markersize": 8.0},
    "rival": {
        "color": VERMILION,
        "linestyle": "",
        "marker": "o",
        "fillstyle": "none",
        "markersize": 8.0,
        "markeredgewidth": 1.2,
    },
    "true": {"color": INK, "linestyle": "", "marker": "x", "markersize": 6.0, "markeredgewidth": 1.6},
}
"""Kind of a shape -> how it is drawn."""

AZIMUTH_DEG, ELEVATION_DEG = 35.0, 25.0
"""Where one first looks from, in the coordinates of the array."""

_MARGIN, _APERTURES = 1.15, 4.0
"""How far a scene reaches: times the farthest place, and where all are too far, in apertures."""

_SIDE = math.pi / 3.0
"""To which azimuth rings reach at least."""

_ZOOM = 1.15


class Shape(NamedTuple):
    """A line through points (m), or points, and the text at the last one; "" for none."""

    kind: str
    points: Float[np.ndarray, "point 3"]
    text: str


def reach_of(view: View) -> float:
    """Radius (m) of what is drawn: all places within the Fraunhofer distance, or all of a common delay.

    Others stand at its edge.
    """
    array = view.observation.array
    width = aperture(array.elements)
    away = 1.0 / view.places[:, 2]
    told = fraunhofer_distance(width, array.wavelength) if math.isinf(array.unambiguous_range) else math.inf
    near = away[away <= told]
    return max(_MARGIN * float(near.amax()) if len(near) else 0.0, _APERTURES * width)


def shapes(view: View) -> list[Shape]:
    """Everything of a scene in space."""
    reach = reach_of(view)
    drawn = [
        Shape("axis", reach * np.array([[0.0, 0.0, 0.0], end]), name)
        for name, end in (("x", [0.3, 0.0, 0.0]), ("y", [0.0, 0.3, 0.0]), ("z", [0.0, 0.0, 1.1]))
    ]
    low, high = view.window[0]
    turn = np.linspace(max(high, _SIDE), min(low, -_SIDE), 49)
    arc = np.stack((np.sin(turn), np.zeros_like(turn), np.cos(turn)), -1)
    for radius in map(float, MaxNLocator(4).tick_values(0.0, reach)):
        if 0.0 < radius <= reach:
            drawn.append(Shape("ring", radius * arc, f"{radius:g} m"))
    drawn.append(Shape("element", view.observation.array.places.numpy(), ""))
    for number, (source, covariance) in enumerate(zip(view.sources, view.covariance, strict=True)):
        at, is_inside = _at(source, reach), float(source[2]) * reach >= 1.0
        path = (np.zeros(3), at * (1.0, 0.0, 1.0), at) if is_inside else (np.zeros(3), at)
        drawn.append(Shape("stem", np.stack(path), ""))
        if is_inside and bool(covariance.isfinite().all()):
            drawn += [Shape("spread", line, "") for line in ellipsoid(source, covariance, reach)]
        text = str(number) if is_inside else f"{number} at {metres(float(source[2]))}"
        drawn.append(Shape("located", at[None], text))
    for number, place in enumerate(view.rivals):
        if bool(place.isfinite().all()):
            drawn.append(Shape("rival", _at(place, reach)[None], f"{number}?"))
    return drawn + [Shape("true", _at(place, reach)[None], "") for place in view.true]


def _at(source: Float[Tensor, " 3"], reach: float) -> Float[np.ndarray, " 3"]:
    """Where a place is drawn (m): beyond the edge of the scene on it."""
    inside = torch.cat((source[:2], source[2:].clamp_min(1.0 / reach)))
    place: Float[np.ndarray, " 3"] = positions(inside).numpy()
    return place


def ellipsoid(
    source: Float[Tensor, " 3"], covariance: Float[Tensor, "3 3"], reach: float
) -> list[Float[np.ndarray, "point 3"]]:
    """The three ellipses through the axes of (x - s)^T C^-1 (x - s) = 4 in (azimuth, elevation, 1/r), in m.

    In these errors are nearly normal; in metres it is no ellipsoid, and may reach to infinity.
    """
    angle = torch.linspace(0.0, 2.0 * math.pi, 49, dtype=torch.float64)
    circle = torch.stack((angle.cos(), angle.sin()), -1)
    along = SIGMAS * root(covariance)
    lines = []
    for one, other in ((0, 1), (1, 2), (2, 0)):
        edge = source + circle @ along[:, [one, other]].mT
        edge[:, 2] = edge[:, 2].clamp_min(1.0 / reach)
        lines.append(positions(edge).numpy())
    return lines


def draw_space(axes: Axes3D, view: View) -> None:
    """A scene from where one first looks: z to the front, y upwards."""
    drawn = shapes(view)
    for kind, points, text in drawn:
        x, y, z = points.T
        axes.plot(z, x, y, **LOOKS[kind])
        if text:
            is_number = kind in {"located", "rival"}
            axes.text(
                *(z[-1], x[-1], y[-1], f"  {text}"),
                color=VERMILION if is_number else MUTED,
                weight="bold" if is_number else "normal",
                path_effects=HALO,
            )
    ends = np.concatenate([shape.points for shape in drawn])
    low, high = ends.min(0), ends.max(0)
    axes.set(xlim=(low[2], high[2]), ylim=(low[0], high[0]), zlim=(low[1], high[1]))
    axes.set_box_aspect((high - low)[[2, 0, 1]], zoom=_ZOOM)
    axes.view_init(elev=ELEVATION_DEG, azim=AZIMUTH_DEG)
    axes.set_axis_off()
