"""How methods count that are not told the number of sources: accuracy by SNR, and confusion matrices."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from numpy.typing import NDArray

from risolve.metrics.intervals import wilson
from risolve.pictures.style import BLUE, INK, MUTED, PAPER
from stages.page import curves, figures
from stages.page.blocks import FigureBlock, columns_for, large, panel, snr_values
from stages.page.figures import MethodStyle
from stages.page.strata_tables import cells_by_count

_SHARES = LinearSegmentedColormap.from_list("shares", [PAPER, BLUE])


def confusion(
    shares: NDArray[np.floating[Any]], rows: Sequence[str], columns: Sequence[str], title: str
) -> Callable[[Axes], None]:
    """Draws shares in percent [true number, estimated number]; a row of NaN, not evaluated, is a dash."""

    def draw(axes: Axes) -> None:
        axes.imshow(np.nan_to_num(shares), cmap=_SHARES, vmin=0.0, vmax=1.3, aspect="auto")
        for (row, column), share in np.ndenumerate(shares):
            text = "–" if math.isnan(share) else f"{100.0 * share:.0f}" if share > 0.0 else ""
            right = rows[row] == columns[column]
            axes.text(
                column, row, text, ha="center", va="center", fontsize=9.0,
                color=PAPER if share > 0.65 else INK, fontweight="bold" if right else "normal",
            )  # fmt: skip
            if right and not math.isnan(share):
                box = [column - 0.5, column + 0.5, column + 0.5, column - 0.5, column - 0.5]
                axes.plot(box, [row - 0.5] * 2 + [row + 0.5] * 2 + [row - 0.5], color=MUTED, linewidth=0.9)
        axes.set_xticks(np.arange(len(columns)), columns)
        axes.set_yticks(np.arange(len(rows)), rows)
        axes.tick_params(length=0.0)
        axes.grid(visible=False)
        axes.set_xlabel("estimated K")
        axes.set_ylabel("true K")
        axes.set_title(title)

    return draw


def accuracy_figure(strata: pd.DataFrame, styles: Mapping[str, MethodStyle]) -> FigureBlock:
    """Share of scenes counted right by SNR, one panel a number of sources."""
    asked = strata[strata["count_accuracy"].notna()]
    intervals = [
        wilson(share, n) for share, n in zip(asked["count_accuracy"], asked["n_scenes"], strict=True)
    ]
    ends = np.array(intervals).reshape(-1, 2)
    asked = asked.assign(count_low=ends[:, 0], count_high=ends[:, 1])
    quantity = curves.Quantity("count_accuracy", "count_low", "count_high", "counted right")
    groups = cells_by_count(asked)
    layout, size = large(len(groups))
    panels = []
    for k, rows in groups.items():
        draw = curves.by_snr(rows, styles, quantity, snr_values(asked), f"K = {k}", curves.rate_axis)
        alt = f"Share of scenes in which K = {k} was counted right against SNR, one line a method"
        panels.append(panel(figures.svg(draw, *size), alt))
    return FigureBlock(layout, tuple(panels), tuple(styles.values()))


def confusion_shares(counts: pd.DataFrame, rows: Sequence[int], largest: int) -> NDArray[np.float64]:
    """Share of the scenes of each true number that was counted as 0 ... largest, and as more.

    NaN in the row of a number that was not evaluated.
    """
    shares = np.full((len(rows), largest + 2), np.nan)
    for row, true in enumerate(rows):
        own = counts[counts["n_sources"] == true]
        if own.empty:
            continue
        column = np.minimum(own["n_estimated"].to_numpy(dtype=np.intp), largest + 1)
        weights = own["n_scenes"].to_numpy()
        shares[row] = np.bincount(column, weights, minlength=largest + 2) / weights.sum()
    return shares


def confusion_figure(counts: pd.DataFrame, styles: Mapping[str, MethodStyle]) -> FigureBlock:
    """True by estimated number of sources, one row of panels a method, one panel an SNR.

    Noise alone has no SNR: its scenes are the first row of every panel.
    """
    noise, signal = counts[counts["n_sources"] == 0], counts[counts["n_sources"] > 0]
    rows = sorted({int(k) for k in counts["n_sources"]})
    largest = max(rows, default=0)
    names = [str(k) for k in rows]
    columns = [*(str(k) for k in range(largest + 1)), f">{largest}"]
    levels = snr_values(signal)
    panels = []
    for method, style in styles.items():
        for snr_db in levels:
            shown = pd.concat([noise, signal[signal["snr_db"] == snr_db]])
            shares = confusion_shares(shown[shown["method"] == method], rows, largest)
            title = f"{style.label}, {snr_db:g} dB"
            alt = f"True against estimated number of sources in percent of the scenes, {title}"
            image = figures.svg(confusion(shares, names, columns, title), 2.9, 0.36 * len(rows) + 0.95)
            panels.append(panel(image, alt))
    return FigureBlock(columns_for(len(levels)), tuple(panels), ())
