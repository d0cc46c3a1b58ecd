"""Whether stated standard deviations hold: shares of errors inside one and two of them, beside the nominal.

P(|error| <= n sigma) = erf(n / sqrt 2)        .683 at n = 1, .954 at n = 2, for a Gaussian error
"""

import math
from collections import Counter
from collections.abc import Mapping

import numpy as np
import pandas as pd

from risolve.metrics.intervals import wilson
from stages.page import curves, figures
from stages.page.blocks import FigureBlock, panel, snr_values
from stages.page.figures import MethodStyle
from stages.page.strata_tables import PARAMETERS, cells_by_count, cells_of, of_cell
from stages.page.tables import ABSENT, Cell, Row, Table, number

NOMINAL = {n: math.erf(n / math.sqrt(2.0)) for n in (1, 2)}
"""Number of standard deviations -> share of a Gaussian error inside."""


def calibration_figure(calibration: pd.DataFrame, styles: Mapping[str, MethodStyle]) -> FigureBlock:
    """Shares by SNR, one row of panels a number of sources, one panel a parameter."""
    shown = calibration[calibration["method"].isin(list(styles))]
    tables = {n: _with_interval(shown, n) for n in NOMINAL}
    lowest = min(0.5, *(float(table["low"].min()) for table in tables.values()))
    axis = curves.share_axis(tuple(NOMINAL.values()), math.floor(10.0 * lowest) / 10.0)
    panels = []
    for k in cells_by_count(shown):
        for name, label in PARAMETERS.items():
            title = f"K = {k}, {label}"
            draws = []
            for n, table in tables.items():
                own = table[(table["n_sources"] == k) & (table["parameter"] == name)]
                quantity = curves.Quantity(f"within_{n}_std", "low", "high", "share inside")
                draws.append(curves.by_snr(own, styles, quantity, snr_values(shown), title, axis))
            image = figures.svg(curves.overlaid(draws), *figures.SMALL)
            alt = f"Share of errors inside one and two stated standard deviations against SNR, {title}"
            panels.append(panel(image, alt))
    return FigureBlock("three", tuple(panels), tuple(styles.values()))


def _with_interval(rows: pd.DataFrame, n: int) -> pd.DataFrame:
    cases = zip(rows[f"within_{n}_std"], rows["n_sources_found"], strict=True)
    ends = np.array([wilson(share, n_cases) for share, n_cases in cases]).reshape(-1, 2)
    return rows.assign(low=ends[:, 0], high=ends[:, 1])


def calibration_table(calibration: pd.DataFrame, styles: Mapping[str, MethodStyle]) -> Table:
    """Shares in percent inside one and two standard deviations by method and cell, the parameters pooled."""
    cells = cells_of(calibration)
    counts = Counter(k for k, _ in cells)
    rows = []
    for method, style in styles.items():
        own = calibration[calibration["method"] == method]
        line = tuple(_pooled(of_cell(own, cell)) for cell in cells)
        rows.append(Row(style.label, line, style.limit))
    return Table(
        "SNR (dB)",
        tuple((f"K = {k}", count) for k, count in counts.items()),
        tuple(f"{snr:g}" for _, snr in cells),
        tuple(rows),
    )


def _pooled(rows: pd.DataFrame) -> Cell:
    if rows.empty:
        return Cell(ABSENT, note="nothing found, or not evaluated")
    weights = rows["n_sources_found"].to_numpy()
    shares = [float(np.average(rows[f"within_{n}_std"], weights=weights)) for n in NOMINAL]
    notes = [
        f"{PARAMETERS.get(str(row['parameter']), row['parameter'])} "
        + " and ".join(_with_ends(float(row[f"within_{n}_std"]), row["n_sources_found"]) for n in NOMINAL)
        for row in rows.to_dict("records")
    ]
    note = f"{weights.max():.0f} found sources; with 95 % intervals: {', '.join(notes)}"
    return Cell(" · ".join(number(share, percent=True) for share in shares), note=note)


def _with_ends(share: float, n_cases: float) -> str:
    low, high = wilson(share, n_cases)
    return f"{number(share, percent=True)} ({number(low, percent=True)} to {number(high, percent=True)}) %"
