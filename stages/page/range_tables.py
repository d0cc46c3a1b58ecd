"""Tables by range of the true source, one a cell (number of sources, SNR)."""

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from stages.page.figures import MethodStyle
from stages.page.strata_tables import PARAMETERS, cells_of, of_cell
from stages.page.tables import ABSENT, Cell, Row, Table, number, percentage, ratio

COLUMNS = ("found", "error", *PARAMETERS.values())
"""Found rate, median relative range error, RMSE over bound of each parameter."""


@dataclass(frozen=True)
class RangeView:
    """The table of one cell, and whether it is one of those with the most scenes."""

    title: str
    table: Table
    is_main: bool


def range_views(
    ranges: pd.DataFrame, styles: Mapping[str, MethodStyle], main: list[tuple[int, float]]
) -> tuple[RangeView, ...]:
    """One table a cell of the range strata of a split."""
    return tuple(
        RangeView(f"K = {cell[0]}, {cell[1]:g} dB", range_table(of_cell(ranges, cell), styles), cell in main)
        for cell in cells_of(ranges)
    )


def range_table(ranges: pd.DataFrame, styles: Mapping[str, MethodStyle]) -> Table:
    """Figures of one cell by method and true range."""
    spans = ranges[["range_from_m", "range_to_m"]].drop_duplicates().sort_values("range_from_m")
    bands = [(float(low), float(high)) for low, high in spans.itertuples(index=False)]
    records = {
        (float(row["range_from_m"]), float(row["range_to_m"]), str(row["method"])): row
        for row in ranges.to_dict("records")
    }
    rows = []
    for method, style in styles.items():
        line: list[Cell] = []
        for band in bands:
            row = records.get((*band, method))
            if row is None:
                line.extend([Cell(ABSENT)] * len(COLUMNS))
                continue
            line.append(Cell(number(row["found_rate"])))
            line.append(Cell(percentage(row["median_relative_range_error"])))
            line.extend(Cell(ratio(row[f"rmse_over_bound_{name}"])) for name in PARAMETERS)
        rows.append(Row(style.label, tuple(line), style.limit))
    sizes = ranges.groupby(["range_from_m", "range_to_m"])["n_true"].max()
    groups = tuple(
        (f"{low:g} to {high:g} m, {sizes[low, high]:.0f} sources", len(COLUMNS)) for low, high in bands
    )
    return Table("true range", groups, COLUMNS * len(bands), tuple(rows))
