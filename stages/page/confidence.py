"""Whether the stated probability of a count holds: share of scenes counted right beside it."""

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from risolve.metrics.intervals import wilson
from risolve.pictures.style import INK
from stages.page import figures
from stages.page.blocks import FigureBlock, panel
from stages.page.figures import MethodStyle, line
from stages.page.tables import ABSENT, Cell, Row, Table, number


def bins_of(confidence: pd.DataFrame) -> pd.DataFrame:
    """The rows that are not of all scenes."""
    return confidence[~_is_overall(confidence)]


def _is_overall(confidence: pd.DataFrame) -> "pd.Series[bool]":
    return (confidence["confidence_from"] == 0.0) & (confidence["confidence_to"] == 1.0)


def confidence_figure(confidence: pd.DataFrame, styles: Mapping[str, MethodStyle]) -> FigureBlock:
    """Share counted right against the mean stated probability, a point a bin."""
    alt = "Share of scenes counted right against the stated probability of the count, one line a method"
    image = figures.svg(_reliability(bins_of(confidence), styles), *figures.LARGE)
    return FigureBlock("one", (panel(image, alt),), tuple(styles.values()))


def _reliability(bins: pd.DataFrame, styles: Mapping[str, MethodStyle]) -> Callable[[Axes], None]:
    def draw(axes: Axes) -> None:
        axes.plot((0.0, 1.0), (0.0, 1.0), color=INK, linewidth=1.0, zorder=1.5)
        for method, style in styles.items():
            own = bins[bins["method"] == method].sort_values("mean_confidence")
            share = own["share_right"].to_numpy()
            ends = np.array([wilson(p, n) for p, n in zip(share, own["n_scenes"], strict=True)])
            low, high = ends.reshape(-1, 2).T
            spread = np.maximum(np.stack([share - low, high - share]), 0.0)
            axes.errorbar(own["mean_confidence"], share, yerr=spread, elinewidth=0.9, **line(style))
        axes.set_xlim(-0.02, 1.02)
        axes.set_ylim(-0.02, 1.03)
        axes.set_xlabel("stated probability")
        axes.set_ylabel("counted right")

    return draw


def mean_gap(bins: pd.DataFrame) -> float:
    """sum_b n_b |share right - mean stated probability|_b / sum_b n_b over the bins of one method.

    The expected calibration error: Naeini, Cooper and Hauskrecht, AAAI 2015, eq. (3).
    """
    return float(np.average(bins["gap"].abs(), weights=bins["n_scenes"]))


def confidence_table(confidence: pd.DataFrame, styles: Mapping[str, MethodStyle]) -> Table:
    """Share right and mean stated probability in percent by bin, of all scenes, and the mean gap."""
    edges = bins_of(confidence)[["confidence_from", "confidence_to"]].drop_duplicates()
    edges = edges.sort_values("confidence_from")
    bins = [(float(low), float(high)) for low, high in edges.itertuples(index=False)]
    rows = []
    for method, style in styles.items():
        own = confidence[confidence["method"] == method]
        cells = []
        for low, high in (*bins, (0.0, 1.0)):
            is_bin = (own["confidence_from"] == low) & (own["confidence_to"] == high)
            cells.append(_cell(own[is_bin]))
        cells.append(Cell(number(mean_gap(bins_of(own)), percent=True)))
        rows.append(Row(style.label, tuple(cells), style.limit))
    columns = tuple(f"{100.0 * low:g} to {100.0 * high:g}" for low, high in bins)
    return Table(
        "stated (%)", (("", len(bins)), ("all scenes", 2)), (*columns, "right · stated", "gap"), tuple(rows)
    )


def _cell(rows: pd.DataFrame) -> Cell:
    if rows.empty:
        return Cell(ABSENT, note="no scene")
    row = rows.iloc[0]
    share, stated, n_scenes = (float(row[name]) for name in ("share_right", "mean_confidence", "n_scenes"))
    low, high = (number(end, percent=True) for end in wilson(share, n_scenes))
    note = f"{n_scenes:.0f} scenes; 95 % interval of the share {low} to {high} %"
    return Cell(f"{number(share, percent=True)} · {number(stated, percent=True)}", note=note)
