"""A figure of a calibrated array: gains of its elements and antennas, and where the elements are."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse
from matplotlib.ticker import MaxNLocator

from risolve.files.calibrated_array import CalibratedArray
from risolve.pictures.marks import SIGMAS
from risolve.pictures.style import MUTED, RULE, VERMILION, styled

_WIDTH, _HEAD, _FOOT = 10.4, 0.45, 0.4
_GAINS, _PLACES = 2.2, 4.2
"""Heights of a row of gains and of the panels of places."""

_LEFT, _RIGHT, _BELOW, _ABOVE = 0.75, 0.15, 0.5, 0.35
"""Around a panel; all of them inches."""

_KINDS = (
    ("gain_db", "element", "gain (dB)"),
    ("gain_phase_deg", "element", "phase (degrees)"),
    ("antenna_gain_db", "antenna", "gain (dB)"),
    ("antenna_phase_deg", "antenna", "phase (degrees)"),
)
"""Deviation, what it is of, and what is drawn of the gains."""

_SHARE = 0.4
"""Of the least distance of two elements that the farthest displacement and its ellipse take, most."""

_FOUND: dict[str, Any] = {"color": VERMILION, "linestyle": "", "marker": "o", "markersize": 4.0}
_NOMINAL: dict[str, Any] = {
    "color": MUTED,
    "linestyle": "",
    "marker": "o",
    "markersize": 6.0,
    "fillstyle": "none",
}


_SPREAD: dict[str, Any] = {"fill": False, "edgecolor": VERMILION, "linewidth": 1.0}


def plot_array(calibrated: CalibratedArray) -> Figure:
    """Amplitudes and phases of the gains that were unknown, and the places of elements beside the nominal
    ones, all with two standard deviations; of matplotlib nothing else is touched.

    Displacements and their ellipses are drawn larger, as many times as the panel says.
    """
    stated = calibrated.deviations
    gains = {"element": calibrated.element_gains, "antenna": calibrated.antenna_gains}
    panels = [kind for kind in _KINDS if kind[0] in stated]
    high = _HEAD + math.ceil(len(panels) / 2) * _GAINS + _PLACES + _FOOT
    with styled():
        figure = Figure(figsize=(_WIDTH, high))
        for number, (name, of, unit) in enumerate(panels):
            axes = _panel(figure, number % 2, _HEAD + number // 2 * _GAINS, _GAINS)
            is_phase = unit.startswith("phase")
            values = np.rad2deg(np.angle(gains[of])) if is_phase else 20.0 * np.log10(np.abs(gains[of]))
            _draw_gains(axes, values, stated[name])
            axes.set_xlabel(of)
            axes.set_ylabel(unit)
        larger = _magnification(calibrated)
        first, *others = _axes_by_extent(calibrated)
        for column, other in enumerate(others):
            axes = _panel(figure, column, high - _PLACES - _FOOT, _PLACES)
            _draw_places(axes, calibrated, (first, other), larger)
        look: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 11.0, "weight": "bold"}
        figure.text(0.5, 1.0 - 0.2 / high, _heading(calibrated), **look)
        handles, labels = figure.axes[-1].get_legend_handles_labels()
        figure.legend(handles, labels, loc="lower center", ncols=3, frameon=False)
        # ticks are made when a figure is drawn
        figure.draw_without_rendering()
    return figure


def _heading(calibrated: CalibratedArray) -> str:
    n_elements, n_antennas = len(calibrated.element_gains), len(calibrated.antenna_gains)
    what = f"{n_elements} elements"
    if n_antennas != n_elements:
        what = f"{what} before {n_antennas} antennas"
    if not calibrated.is_better:
        return f"{what}: nominal, what was left out shows nothing better"
    return ", ".join((what, *calibrated.single))


def _panel(figure: Figure, column: int, top: float, height: float) -> Axes:
    """A panel in one of two columns, so many inches below the upper edge."""
    whole, high = figure.get_size_inches().tolist()
    wide, own = whole / 2.0 - _LEFT - _RIGHT, height - _ABOVE - _BELOW
    left, bottom = column * whole / 2.0 + _LEFT, high - top - _ABOVE - own
    return figure.add_axes((left / whole, bottom / high, wide / whole, own / high))


def _draw_gains(
    axes: Axes, values: Float[np.ndarray, " number"], deviations: Float[np.ndarray, " number"]
) -> None:
    axes.axhline(0.0, color=RULE)
    axes.errorbar(np.arange(len(values)), values, yerr=SIGMAS * deviations, elinewidth=1.0, **_FOUND)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _draw_places(axes: Axes, calibrated: CalibratedArray, plane: tuple[int, int], larger: float) -> None:
    """Elements in a plane, their displacements and deviations so many times larger."""
    nominal = calibrated.calibration.nominal.elements.numpy()
    drawn = nominal + larger * (calibrated.array.elements.numpy() - nominal)
    axes.plot(*nominal[:, plane].T, label="nominal", **_NOMINAL)
    axes.plot(*drawn[:, plane].T, label="found", **_FOUND)
    stated = calibrated.deviations.get("position_m")
    label = f"{SIGMAS:g} standard deviations"
    if stated is not None:
        for place, half in zip(drawn[:, plane], larger * SIGMAS * stated[:, plane], strict=True):
            if np.isfinite(half).all():
                centre, (width, height) = (float(place[0]), float(place[1])), (2.0 * half).tolist()
                axes.add_patch(Ellipse(centre, width, height, label=label, **_SPREAD))
                label = ""
    axes.set_aspect("equal", adjustable="datalim")
    axes.margins(0.15)
    axes.set_xlabel(f"{'xyz'[plane[0]]} (m)")
    axes.set_ylabel(f"{'xyz'[plane[1]]} (m)")
    axes.set_title(f"Places, displacements {larger:g} times larger" if larger > 1.0 else "Places")


def _axes_by_extent(calibrated: CalibratedArray) -> Sequence[int]:
    """Axes along which the nominal elements extend farthest, then those along which they moved most."""
    nominal = calibrated.calibration.nominal.elements.numpy()
    moved = np.abs(calibrated.array.elements.numpy() - nominal).max(0)
    return sorted(range(3), key=lambda axis: (-float(np.ptp(nominal[:, axis])), -float(moved[axis])))


def _magnification(calibrated: CalibratedArray) -> float:
    """1, 2 or 5 times a power of ten, or 1."""
    nominal = calibrated.calibration.nominal.elements
    off = float((calibrated.array.elements - nominal).abs().amax())
    stated = calibrated.deviations.get("position_m", np.zeros(1))
    off += SIGMAS * float(np.nan_to_num(stated).max())
    apart = (nominal[:, None] - nominal).norm(dim=-1)
    nearest = float(apart[apart > 0.0].amin()) if len(nominal) > 1 else 0.0
    if off == 0.0 or nearest == 0.0:
        return 1.0
    most = _SHARE * nearest / off
    decade = 10.0 ** math.floor(math.log10(most))
    return max(1.0, max(digit * decade for digit in (1.0, 2.0, 5.0) if digit * decade <= most))
