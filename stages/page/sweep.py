"""The figure of the sweep: found rate over RMSE/bound, one column of panels an impairment."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullFormatter

from risolve.pictures.style import INK
from stages.page.figures import REFINED, MethodStyle, method_styles, svg_row

_AXES = {
    "position_jitter_m": ("position jitter", "mm", 1e3),
    "phase_error_deg": ("phase error", "°", 1.0),
    "dead_fraction": ("dead elements", "%", 100.0),
    "channel_error": ("channel error", "%", 100.0),
}
"""Impairment -> its name, the unit of its axis, and the factor to it."""

_RATIO_TICKS = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0)

_WIDTH, _HEIGHT = 12.0, 6.4


@dataclass(frozen=True)
class _Limits:
    """Lowest found rate and highest ratio of all panels."""

    rate: float
    ratio: float


def impairment_figure(table: pd.DataFrame) -> bytes:
    """SVG of impairments.csv, one line a method: of each estimator the refined one where there is one.

    Intervals are left to the table, beside so many lines.
    """
    names = set(table["method"])
    styles = method_styles(name for name in names if name + REFINED not in names)
    shown = table[table["method"].isin(styles.keys())]
    highest = shown["rmse_over_bound_pooled"].max()
    limits = _Limits(
        math.floor(10.0 * shown["found_rate"].min()) / 10.0, 1.3 * (highest if highest > 1.0 else 1.0)
    )
    return svg_row(
        [_column(shown, impairment, styles, limits) for impairment in _AXES],
        styles.values(),
        _WIDTH,
        _HEIGHT,
    )


def _column(
    table: pd.DataFrame, impairment: str, styles: Mapping[str, MethodStyle], limits: _Limits
) -> Callable[[Axes], None]:
    """Draws two panels in the place of one."""
    name, unit, factor = _AXES[impairment]
    own = table[table["impairment"] == impairment]
    own = own.assign(level=factor * own["level"])

    def draw(axes: Axes) -> None:
        figure, place = axes.figure, axes.get_subplotspec()
        assert place is not None
        axes.remove()
        halves = place.subgridspec(2, 1)
        upper, lower = figure.add_subplot(halves[0]), figure.add_subplot(halves[1])
        _lines(upper, own, "found_rate", styles)
        upper.set_ylim(limits.rate - 0.02, 1.02)
        upper.set_ylabel("found rate")
        upper.set_title(name)
        _lines(lower, own, "rmse_over_bound_pooled", styles)
        lower.set_yscale("log")
        lower.set_ylim(0.8, limits.ratio)
        lower.set_yticks([tick for tick in _RATIO_TICKS if tick <= limits.ratio])
        lower.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        lower.yaxis.set_minor_formatter(NullFormatter())
        lower.axhline(1.0, color=INK, linewidth=1.2)
        lower.set_ylabel("RMSE/bound")
        lower.set_xlabel(f"{name} ({unit})")

    return draw


def _lines(axes: Axes, own: pd.DataFrame, column: str, styles: Mapping[str, MethodStyle]) -> None:
    for position, (method, style) in enumerate(styles.items()):
        rows = own[own["method"] == method].sort_values("level").dropna(subset=[column])
        axes.plot(
            rows["level"],
            rows[column],
            color=style.colour,
            marker=style.marker,
            markersize=5.0,
            linewidth=1.5,
            zorder=30.0 - position,
        )
    levels = sorted(own["level"].unique())
    axes.set_xticks(levels, [f"{level:g}" for level in levels])
