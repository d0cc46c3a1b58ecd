"""One row a method: GOSPA with its parts, and times."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray

from risolve.pictures.style import INK, MUTED, PAPER
from stages.page.figures import REFINED, MethodStyle, svg

GOSPA_PARTS = {
    "gospa_location_m": ("location", "#2f4858"),
    "gospa_missed_m": ("missed", "#8da3b0"),
    "gospa_false_m": ("false", "#d3dbe0"),
}


def gospa_bars(cells: pd.DataFrame, styles: Mapping[str, MethodStyle], title: str, longest: float) -> bytes:
    """GOSPA of one cell by method, each bar divided in proportion to the squares of its parts."""
    rows = cells.set_index("method")
    shown = [method for method in styles if method in rows.index and rows["gospa_m"].notna()[method]]

    def draw(axes: Axes) -> None:
        squares = np.stack([rows.loc[shown, name].fillna(0.0).to_numpy() ** 2 for name in GOSPA_PARTS])
        total = squares.sum(axis=0)
        shares = np.divide(squares, total, out=np.zeros_like(squares), where=total > 0.0)
        lengths = rows.loc[shown, "gospa_m"].to_numpy()
        left: NDArray[np.floating[Any]] = np.zeros(len(shown))
        for share, (_, colour) in zip(shares, GOSPA_PARTS.values(), strict=True):
            axes.barh(np.arange(len(shown)), share * lengths, left=left, color=colour, height=0.68)
            left = left + share * lengths
        for position, length in enumerate(lengths):
            axes.text(
                length + 0.012 * longest, position, f"{length:.2f}", va="center", fontsize=8.0, color=MUTED
            )
        _name_rows(axes, [styles[method] for method in shown])
        axes.set_xlim(0.0, 1.12 * longest)
        axes.set_xlabel("GOSPA (m)")
        axes.set_title(title)

    return svg(draw, 5.4, 0.26 * len(shown) + 1.0)


def timing_dumbbells(timing: pd.DataFrame, styles: Mapping[str, MethodStyle]) -> bytes:
    """CPU time a scene of each estimator, logarithmic: alone a hollow marker, refined a filled one."""
    times = timing.set_index("method")["cpu_ms_per_scene"]
    times = times[times > 0.0]
    shown = [name for name, style in styles.items() if style.strongest and name in times.index]

    def draw(axes: Axes) -> None:
        for row, method in enumerate(shown):
            style, end = styles[method], float(times[method])
            start = float(times.get(method.removesuffix(REFINED), end))
            axes.plot([start, end], [row, row], color=style.colour, linewidth=2.4, alpha=0.45, zorder=2.0)
            for time, face in ((start, PAPER), (end, style.colour)):
                axes.plot(
                    time, row, style.marker, color=style.colour, markerfacecolor=face, markersize=7.0,
                    zorder=3.0,
                )  # fmt: skip
            axes.annotate(
                f"{end:.3g} ms", (end, row), (8.0, 0.0), textcoords="offset points",
                va="center", fontsize=8.5, color=INK,
            )  # fmt: skip
        axes.set_xscale("log")
        if shown:
            own = times[times.index.isin([*shown, *(name.removesuffix(REFINED) for name in shown)])]
            axes.set_xlim(0.7 * float(own.min()), 3.0 * float(own.max()))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        _name_rows(axes, [styles[method] for method in shown])
        axes.set_xlabel("CPU time a scene (ms)")

    return svg(draw, 7.6, 0.3 * len(shown) + 0.75)


def _name_rows(axes: Axes, styles: Sequence[MethodStyle]) -> None:
    names = [textwrap.fill(style.short, 30) for style in styles]
    axes.set_yticks(np.arange(len(names)), names, color=INK)
    axes.tick_params(axis="y", length=0.0)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)
