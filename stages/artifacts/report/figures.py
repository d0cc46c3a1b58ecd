"""Figures of the evaluation: one style for every method, SVG that is the same for the same numbers.

A method is an estimator, `name`, or an estimator refined by maximum likelihood, `name+ml`. An estimator has
one colour and one marker in every figure (palette of Okabe and Ito, told apart with any colour vision); a
refined method is a solid line with filled markers, an unrefined one a dashed line with hollow markers.
"""

import io
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter
from matplotlib.typing import RcKeyType
from numpy.typing import NDArray

REFINED = "+ml"

INK, MUTED, RULE, PAPER = "#1f2429", "#5c6670", "#d9dee3", "#ffffff"
BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9"

SMALL, LARGE = (3.7, 2.9), (4.8, 3.4)
"""Sizes of a panel (inches)."""

_STYLE: dict[RcKeyType, Any] = {
    "svg.hashsalt": "risolve",
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "axes.titlesize": 10.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 8.0,
    "axes.edgecolor": "#9aa4ad",
    "axes.linewidth": 0.8,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6eaed",
    "grid.linewidth": 0.7,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 3.0,
    "ytick.major.size": 3.0,
    "figure.facecolor": PAPER,
    "lines.linewidth": 1.5,
    "lines.markersize": 5.0,
}


@dataclass(frozen=True)
class MethodStyle:
    """How a method looks everywhere."""

    label: str
    colour: str
    marker: str
    refined: bool


_ESTIMATORS: dict[str, tuple[str, str, str]] = {
    "learned": ("learned", BLUE, "o"),
    "music_blend": ("MUSIC, R_blend", ORANGE, "s"),
    "mvdr_blend": ("MVDR, R_blend", PURPLE, "^"),
    "music": ("MUSIC, R_samp", VERMILION, "D"),
    "mvdr": ("MVDR, R_samp", GREEN, "v"),
    "beamformer": ("beamformer, R_samp", SKY, "P"),
    "modified_music": ("modified MUSIC, R_samp", "#8C6D00", "p"),
    "modified_music_blend": ("modified MUSIC, R_blend", "#6A6FB5", "h"),
}
GLYPHS = {
    "o": "M-4 0A4 4 0 1 0 4 0A4 4 0 1 0-4 0Z",
    "s": "M-3.6-3.6H3.6V3.6H-3.6Z",
    "D": "M0-4.8L4.8 0L0 4.8L-4.8 0Z",
    "^": "M0-4.6L4.4 3.6H-4.4Z",
    "v": "M0 4.6L4.4-3.6H-4.4Z",
    "P": "M-1.6-4.4H1.6V-1.6H4.4V1.6H1.6V4.4H-1.6V1.6H-4.4V-1.6H-1.6Z",
    "X": "M-4.2-2L-2-4.2L0-2.2L2-4.2L4.2-2L2.2 0L4.2 2L2 4.2L0 2.2L-2 4.2L-4.2 2L-2.2 0Z",
    "p": "M0-4.6L4.4-1.4L2.7 3.8H-2.7L-4.4-1.4Z",
    "h": "M0-4.6L4-2.3V2.3L0 4.6L-4 2.3V-2.3Z",
    "*": "M0-5L1.2-1.6H4.8L1.9 .6L3 4.1L0 2L-3 4.1L-1.9 .6L-4.8-1.6H-1.2Z",
}
"""Marker -> its outline in a legend outside the figures (SVG path)."""

_FURTHER = [("#000000", "X"), ("#7F7F7F", "*")]


def method_styles(methods: Iterable[str]) -> dict[str, MethodStyle]:
    """Method -> style in the order of reading: refined methods first, the learned estimator first of each."""
    names = set(methods)
    further = sorted({name.removesuffix(REFINED) for name in names} - _ESTIMATORS.keys())
    looks = dict(_ESTIMATORS)
    for position, name in enumerate(further):
        looks[name] = (name, *_FURTHER[position % len(_FURTHER)])
    rank = {name: position for position, name in enumerate(looks)}

    def key(name: str) -> tuple[bool, int]:
        return not name.endswith(REFINED), rank[name.removesuffix(REFINED)]

    styles = {}
    for name in sorted(names, key=key):
        label, colour, marker = looks[name.removesuffix(REFINED)]
        refined = name.endswith(REFINED)
        styles[name] = MethodStyle(label + " + ML" if refined else label, colour, marker, refined)
    return styles


def svg(draw: Callable[[Axes], None], width: float, height: float) -> bytes:
    """One panel of a size (inches); its bytes depend on what is drawn alone (no date, fixed identifiers)."""
    return svg_row([draw], (), width, height)


def svg_row(
    draws: Sequence[Callable[[Axes], None]], legend: Iterable[MethodStyle], width: float, height: float
) -> bytes:
    """Panels side by side, the whole of a size (inches), over a legend of methods where there is one."""
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        for position, draw in enumerate(draws):
            draw(figure.add_subplot(1, len(draws), position + 1))
        handles = [_handle(style) for style in legend]
        if handles:
            figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)
        buffer = io.BytesIO()
        # savefig would lay the figure out and draw it twice.
        FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None})  # type: ignore[no-untyped-call]
    return buffer.getvalue()


def _line(style: MethodStyle) -> dict[str, Any]:
    """How matplotlib draws a method."""
    return {
        "color": style.colour,
        "marker": style.marker,
        "linestyle": "-" if style.refined else (0, (3.0, 2.0)),
        "linewidth": 1.7 if style.refined else 1.1,
        "markerfacecolor": style.colour if style.refined else PAPER,
        "markeredgewidth": 1.1,
        "markersize": 5.5 if style.refined else 4.8,
    }


def _handle(style: MethodStyle) -> Line2D:
    return Line2D([], [], label=style.label, **_line(style))


@dataclass(frozen=True)
class Quantity:
    """A column of the strata with the columns of its interval, and the name on its axis."""

    column: str
    low: str
    high: str
    label: str


def by_snr(
    cells: pd.DataFrame,
    styles: dict[str, MethodStyle],
    quantity: Quantity,
    snr_db: Sequence[float],
    title: str,
    finish: Callable[[Axes], None],
) -> Callable[[Axes], None]:
    """Draws one quantity against SNR, one line a method with its intervals; methods stand side by side.

    `snr_db` are all values of the axis, increasing, the same for panels that are compared.
    """
    width = snr_db[-1] - snr_db[0] if len(snr_db) > 1 else 10.0
    step = 0.14 * width / max(len(styles), 4)

    def draw(axes: Axes) -> None:
        for position, (method, style) in enumerate(styles.items()):
            rows = cells[cells["method"] == method].sort_values("snr_db").dropna(subset=[quantity.column])
            if rows.empty:
                continue
            x = rows["snr_db"].to_numpy() + (position - (len(styles) - 1) / 2.0) * step
            y = rows[quantity.column].to_numpy()
            low, high = (
                rows[name].fillna(rows[quantity.column]).to_numpy() for name in (quantity.low, quantity.high)
            )
            axes.errorbar(
                x,
                y,
                yerr=np.maximum(np.stack([y - low, high - y]), 0.0),
                elinewidth=0.9,
                zorder=30.0 - position,
                **_line(style),
            )
        margin = 0.08 * width + len(styles) / 2.0 * step
        axes.set_xlim(snr_db[0] - margin, snr_db[-1] + margin)
        axes.set_xticks(snr_db)
        axes.set_xlabel("SNR (dB)")
        axes.set_ylabel(quantity.label)
        axes.set_title(title)
        finish(axes)

    return draw


def rate_axis(axes: Axes) -> None:
    """Rates: 0 to 1."""
    axes.set_ylim(-0.02, 1.03)
    axes.set_yticks(np.linspace(0.0, 1.0, 6))


def bound_axis(lowest: float, highest: float) -> Callable[[Axes], None]:
    """Ratios to the bound: logarithmic, the bound itself a line at 1."""

    def finish(axes: Axes) -> None:
        axes.set_yscale("log")
        axes.set_ylim(lowest, highest)
        axes.axhline(1.0, color=INK, linewidth=1.2, zorder=40.0)
        ticks = [
            t for t in (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0) if lowest <= t <= highest
        ]
        axes.set_yticks(ticks, [f"{t:g}" for t in ticks])
        axes.set_yticks([], minor=True)

    return finish


GOSPA_PARTS = {
    "gospa_location_m": ("location", "#2f4858"),
    "gospa_missed_m": ("missed", "#8da3b0"),
    "gospa_false_m": ("false", "#d3dbe0"),
}


def gospa_bars(cells: pd.DataFrame, styles: dict[str, MethodStyle], title: str, longest: float) -> bytes:
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
        axes.set_yticks(np.arange(len(shown)), [styles[method].label for method in shown], color=INK)
        axes.tick_params(axis="y", length=0.0)
        axes.set_ylim(len(shown) - 0.4, -0.6)
        axes.set_xlim(0.0, 1.12 * longest)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("GOSPA (m)")
        axes.set_title(title)

    return svg(draw, 5.4, 0.26 * len(shown) + 1.0)


def timing_bars(timing: pd.DataFrame, styles: dict[str, MethodStyle]) -> bytes:
    """CPU time a scene by method, logarithmic."""
    rows = timing.set_index("method")["cpu_ms_per_scene"]
    shown = [method for method in styles if method in rows.index]
    times = rows.loc[shown].to_numpy()
    positive = times[times > 0.0]
    shortest = float(positive.min()) if positive.size else 1.0
    start = 10.0 ** math.floor(math.log10(shortest) - 0.3)

    def draw(axes: Axes) -> None:
        for position, (method, time) in enumerate(zip(shown, times, strict=True)):
            style = styles[method]
            axes.barh(
                position, max(time, start) - start, left=start, height=0.62, linewidth=1.2,
                color=style.colour if style.refined else PAPER, edgecolor=style.colour,
            )  # fmt: skip
            axes.text(
                max(time, start) * 1.08, position, f"{time:.3g} ms", va="center", fontsize=8.5, color=INK
            )
        axes.set_xscale("log")
        axes.set_xlim(start, 4.0 * max(float(times.max()), shortest))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.set_ylim(len(shown) - 0.4, -0.6)
        axes.set_yticks(np.arange(len(shown)), [styles[method].label for method in shown], color=INK)
        axes.tick_params(axis="y", length=0.0)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("CPU time a scene (ms)")

    return svg(draw, 7.6, 0.28 * len(shown) + 0.7)
