"""Curves over the SNR: one line a method, methods side by side, a limit as a thin line in its band."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from risolve.pictures.style import INK, MUTED
from stages.page.figures import DASHED, DOTTED, MethodStyle, limit_style, line


@dataclass(frozen=True)
class Quantity:
    """A column of the strata with the columns of its interval, and the name on its axis."""

    column: str
    low: str
    high: str
    label: str


def by_snr(
    cells: pd.DataFrame,
    styles: Mapping[str, MethodStyle],
    quantity: Quantity,
    snr_db: Sequence[float],
    title: str,
    finish: Callable[[Axes], None],
) -> Callable[[Axes], None]:
    """Draws one quantity against SNR, one line a method with its intervals; methods stand side by side.

    `snr_db` are all values of the axis, increasing, the same for panels that are compared.
    """
    width = snr_db[-1] - snr_db[0] if len(snr_db) > 1 else 10.0
    nearest = float(np.diff(snr_db).min()) if len(snr_db) > 1 else width
    side_by_side = [method for method, style in styles.items() if not style.limit]
    step = 0.4 * nearest / max(len(side_by_side), 4)

    def draw(axes: Axes) -> None:
        for method, style in styles.items():
            rows = cells[cells["method"] == method].sort_values("snr_db").dropna(subset=[quantity.column])
            if rows.empty:
                continue
            x = rows["snr_db"].to_numpy()
            y = rows[quantity.column].to_numpy()
            low, high = (
                rows[name].fillna(rows[quantity.column]).to_numpy() for name in (quantity.low, quantity.high)
            )
            if style.limit:
                axes.fill_between(x, low, high, color=style.colour, alpha=0.07, linewidth=0.0, zorder=2.0)
                axes.plot(x, y, zorder=35.0, **line(style))
                half = 0.6 * len(side_by_side) * step
                axes.hlines(y, x - half, x + half, color=style.colour, linewidth=1.0, zorder=35.0)
                continue
            position = side_by_side.index(method)
            axes.errorbar(
                x + (position - (len(side_by_side) - 1) / 2.0) * step,
                y,
                yerr=np.maximum(np.stack([y - low, high - y]), 0.0),
                elinewidth=0.9,
                zorder=30.0 - position,
                **line(style),
            )
        margin = 0.08 * width + len(side_by_side) / 2.0 * step
        axes.set_xlim(snr_db[0] - margin, snr_db[-1] + margin)
        axes.set_xticks(snr_db)
        axes.set_xlabel("SNR (dB)")
        axes.set_ylabel(quantity.label)
        axes.set_title(title)
        finish(axes)

    return draw


def overlaid(draws: Sequence[Callable[[Axes], None]]) -> Callable[[Axes], None]:
    """Draws several on the same axes."""

    def draw(axes: Axes) -> None:
        for one in draws:
            one(axes)

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
            mantissa * 10.0**power
            for power in range(-2, 4)
            for mantissa in (1.0, 2.0, 5.0)
            if lowest <= mantissa * 10.0**power <= highest
        ]
        axes.set_yticks(ticks, [f"{t:g}" for t in ticks])
        axes.set_yticks([], minor=True)

    return finish


def share_axis(nominal: Sequence[float], lowest: float) -> Callable[[Axes], None]:
    """Shares from `lowest` to 1 beside what they should be: a dark line at each."""

    def finish(axes: Axes) -> None:
        axes.set_ylim(lowest - 0.03, 1.03)
        axes.set_yticks([tick for tick in np.linspace(0.0, 1.0, 11) if tick >= lowest])
        for value in nominal:
            axes.axhline(value, color=INK, linewidth=1.0, zorder=1.5)

    return finish


LINES_OF_THRESHOLD = {
    "prior": limit_style("a guess from the prior", "prior", DOTTED, MUTED),
    "bound": limit_style("Cramér-Rao bound, root mean", "Cramér-Rao bound", DASHED),
    "ziv_zakai": limit_style("Ziv-Zakai bound", "Ziv-Zakai bound", ()),
}
"""Column of threshold.csv -> how its line looks."""


def threshold(
    bounds: pd.DataFrame, cells: pd.DataFrame, column: str, styles: Mapping[str, MethodStyle], title: str
) -> Callable[[Axes], None]:
    """Draws the bounds on one component over SNR, and the root mean square errors `column` of methods."""

    def draw(axes: Axes) -> None:
        rows = bounds.sort_values("snr_db")
        for name, style in LINES_OF_THRESHOLD.items():
            axes.plot(rows["snr_db"], rows[name], **line(style) | {"linewidth": 1.5})
        for number, (method, style) in enumerate(styles.items()):
            own = cells[cells["method"] == method].sort_values("snr_db").dropna(subset=[column])
            own = own[own[column] > 0.0]
            axes.plot(own["snr_db"], own[column], zorder=30.0 - number, **line(style))
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.set_xlabel("SNR (dB)")
        axes.set_ylabel("RMSE")
        axes.set_title(title)

    return draw
