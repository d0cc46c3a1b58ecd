"""Tables of the report, from the strata of the evaluation: for the page and, short, for a terminal.

A cell is one pair (number of sources, SNR) of a split. The pooled normalized RMSE of a cell is

    sqrt(mean over found sources and azimuth, elevation, inverse range of (error / bound)^2),

and its inverse is the efficiency. What was not measured is a dash, never 0.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from risolve.metrics.intervals import wilson
from stages.page.figures import MethodStyle, method_styles
from stages.page.tables import ABSENT, Cell, Row, Table, digits, number, ratio

PARAMETERS = {"azimuth": "azimuth", "elevation": "elevation", "inverse_range": "1 / range"}
POOLED = "rmse_over_bound_pooled"


def with_sources(strata: pd.DataFrame) -> pd.DataFrame:
    """The cells that hold sources."""
    return strata[strata["n_sources"] > 0]


def known(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of methods that were told the number of sources."""
    return table[table["count"] == "known"]


def estimated(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of methods that were not told the number of sources."""
    return table[table["count"] == "estimated"]


def cells_of(strata: pd.DataFrame) -> list[tuple[int, float]]:
    """(number of sources, SNR in dB) of each cell, in order."""
    pairs = strata[["n_sources", "snr_db"]].drop_duplicates().sort_values(["n_sources", "snr_db"])
    return [(int(k), float(snr)) for k, snr in pairs.itertuples(index=False)]


def cells_by_count(strata: pd.DataFrame) -> dict[int, pd.DataFrame]:
    """Number of sources -> its rows, in order."""
    counts = sorted({int(k) for k in strata["n_sources"]})
    return {k: strata[strata["n_sources"] == k] for k in counts}


def count_scenes(strata: pd.DataFrame) -> int:
    """Scenes of all cells, each counted once."""
    return int(strata.drop_duplicates(["split", "n_sources", "snr_db"])["n_scenes"].sum())


def main_cells(strata: pd.DataFrame) -> list[tuple[int, float]]:
    """For each number of sources the cell with the most scenes; of equal ones that of lowest SNR."""
    rows = strata.sort_values(["n_sources", "n_scenes", "snr_db"], ascending=[True, False, True])
    rows = rows.drop_duplicates("n_sources")
    return [(int(k), float(snr)) for k, snr in rows[["n_sources", "snr_db"]].itertuples(index=False)]


def of_cell(strata: pd.DataFrame, cell: tuple[int, float]) -> pd.DataFrame:
    """The rows of one cell."""
    return strata[(strata["n_sources"] == cell[0]) & (strata["snr_db"] == cell[1])]


def _records(strata: pd.DataFrame) -> dict[tuple[int, float, str], dict[Any, Any]]:
    """(number of sources, SNR, method) -> row of one split."""
    rows = strata.to_dict("records")
    return {(int(row["n_sources"]), float(row["snr_db"]), str(row["method"])): row for row in rows}


def rate_table(strata: pd.DataFrame, styles: Mapping[str, MethodStyle]) -> Table:
    """Found rate by method and cell, each with its interval."""

    def cell(row: dict[Any, Any]) -> tuple[str, float, str]:
        low, high = number(row["found_low"]), number(row["found_high"])
        note = f"95 % interval {low} to {high}; {row['n_scenes']:.0f} scenes"
        return number(row["found_rate"]), row["found_rate"], note

    return _by_cell(strata, styles, "found_rate", cell)


def ratio_table(strata: pd.DataFrame, styles: Mapping[str, MethodStyle]) -> Table:
    """RMSE over bound by method and cell, the three parameters pooled."""

    def cell(row: dict[Any, Any]) -> tuple[str, float, str]:
        shade = 1.0 - math.log(max(row[POOLED], 1.0)) / math.log(10.0)
        return ratio(row[POOLED]), shade, _with_intervals(row)

    return _by_cell(strata, styles, None, cell)


def efficiency_table(strata: pd.DataFrame, styles: Mapping[str, MethodStyle]) -> Table:
    """Efficiency, the inverse of RMSE over bound, in percent."""

    def cell(row: dict[Any, Any]) -> tuple[str, float, str]:
        value, low, high = (
            1.0 / row[name] if row[name] > 0.0 else math.nan
            for name in (POOLED, f"{POOLED}_high", f"{POOLED}_low")
        )
        note = f"95 % interval {number(low, percent=True)} to {number(high, percent=True)} %"
        return number(value, percent=True), value, note

    return _by_cell(strata, styles, None, cell)


def _with_intervals(row: dict[Any, Any]) -> str:
    parts = [
        f"{label} {ratio(row[f'rmse_over_bound_{name}'])} ({ratio(row[f'rmse_over_bound_{name}_low'])} to "
        f"{ratio(row[f'rmse_over_bound_{name}_high'])})"
        for name, label in {"pooled": "pooled", **PARAMETERS}.items()
    ]
    return "RMSE over bound with 95 % interval: " + ", ".join(parts)


def count_table(strata: pd.DataFrame, styles: Mapping[str, MethodStyle]) -> Table:
    """Share of scenes with the right number of sources, by method that counts and cell, noise alone too."""

    def cell(row: dict[Any, Any]) -> tuple[str, float, str]:
        share, n_scenes = row["count_accuracy"], row["n_scenes"]
        if math.isnan(share):
            return ABSENT, math.nan, ""
        low, high = wilson(share, n_scenes)
        return number(share), share, f"95 % interval {number(low)} to {number(high)}; {n_scenes:.0f} scenes"

    return _by_cell(strata, styles, "count_accuracy", cell)


def _by_cell(
    strata: pd.DataFrame,
    styles: Mapping[str, MethodStyle],
    leader: str | None,
    fill: Callable[[dict[Any, Any]], tuple[str, float, str]],
) -> Table:
    """Rows of methods, columns of cells; `leader` is the column of which the highest value of those that are
    no limit leads."""
    records = _records(strata)
    cells = cells_of(strata)
    counts = Counter(k for k, _ in cells)
    rows = []
    for method, style in styles.items():
        line = []
        for cell in cells:
            record = records.get((*cell, method))
            if record is None:
                line.append(Cell(ABSENT, note="not evaluated"))
                continue
            text, shade, note = fill(record)
            rivals = (records.get((*cell, name)) for name, other in styles.items() if not other.limit)
            leads = (
                leader is not None
                and not style.limit
                and all(
                    record[leader] >= own[leader] for own in rivals if own and not math.isnan(own[leader])
                )
            )
            line.append(Cell(text, 0.0 if math.isnan(shade) else min(max(shade, 0.0), 1.0), leads, note))
        rows.append(Row(style.label, tuple(line), style.limit))
    return Table(
        "SNR (dB)",
        tuple((f"K = {k}", count) for k, count in counts.items()),
        tuple(f"{snr:g}" if k else "noise" for k, snr in cells),
        tuple(rows),
    )


def full_table(strata: pd.DataFrame, styles: Mapping[str, MethodStyle]) -> Table:
    """Every stratum and method with all its figures."""
    columns: dict[str, Callable[[dict[Any, Any]], str]] = {
        "scenes": lambda r: f"{r['n_scenes']:.0f}",
        "sources": lambda r: f"{r['n_true']:.0f}",
        "found": lambda r: _with_interval(r, "found_rate", "found_low", "found_high", number),
        "azimuth (°)": lambda r: digits(r["median_azimuth_deg"]),
        "elevation (°)": lambda r: digits(r["median_elevation_deg"]),
        "range (m)": lambda r: digits(r["median_range_m"]),
        "position (m)": lambda r: digits(r["median_position_m"]),
        "its bound (m)": lambda r: digits(r["median_bound_position_m"]),
        "azimuth (°) ": lambda r: digits(r["rmse_azimuth_deg"]),
        "elevation (°) ": lambda r: digits(r["rmse_elevation_deg"]),
        "1 / range (1/m)": lambda r: digits(r["rmse_inverse_range_per_m"]),
        "range (m) ": lambda r: digits(r["rmse_range_m"]),
        **{label: _ratio_column(name) for name, label in PARAMETERS.items()},
        "GOSPA (m)": lambda r: digits(r["gospa_m"]),
        "K right": lambda r: number(r["count_accuracy"]),
        "false alarms": lambda r: ABSENT if math.isnan(r["false_alarms"]) else f"{r['false_alarms']:.0f}",
    }
    told = {"known": "", "estimated": ", K not told"}
    records = {count: _records(strata[strata["count"] == count]) for count in told}
    rows = []
    for cell in cells_of(strata):
        place = f"K = {cell[0]}, {cell[1]:g} dB" if cell[0] else "noise alone"
        for count, words in told.items():
            for method, style in styles.items():
                record = records[count].get((*cell, method))
                if record is not None:
                    name = f"{place} · {style.label}{words}"
                    texts = tuple(Cell(column(record)) for column in columns.values())
                    rows.append(Row(name, texts, style.limit))
    groups = (("", 3), ("median error", 5), ("RMSE, outliers included", 4), ("RMSE / bound", 3), ("", 3))
    return Table("cell and method", groups, tuple(columns), tuple(rows))


def _ratio_column(name: str) -> Callable[[dict[Any, Any]], str]:
    key = f"rmse_over_bound_{name}"
    return lambda row: _with_interval(row, key, f"{key}_low", f"{key}_high", ratio)


def _with_interval(row: dict[Any, Any], name: str, low: str, high: str, text: Callable[[float], str]) -> str:
    if math.isnan(row[name]):
        return ABSENT
    if math.isnan(row[low]) or math.isnan(row[high]):
        return text(row[name])
    return f"{text(row[name])} [{text(row[low])}, {text(row[high])}]"


SCORED = "learned"
"""Method whose RMSE over bound and count the short table shows, where it was evaluated."""


def short_table(strata: pd.DataFrame, titles: Mapping[Any, str], width: int, height: int) -> list[str]:
    """Found rate by method and cell, K known; of one method RMSE over bound, and how often it counts right.

    `titles` names the splits to show; methods and cells that do not fit are counted in the last line.
    """
    cells, counted = with_sources(known(strata)), with_sources(estimated(strata))
    styles = method_styles(cells["method"])
    methods = [name for name, style in styles.items() if not style.limit]
    limits = [name for name, style in styles.items() if style.limit]
    lead, last = ["K", "SNR", "scenes"], [*limits[:1], "×bound", "count"]
    shown: list[str] = []
    for name in methods:
        if (
            sum(max(len(title), 4) + 2 for title in (*shown, name))
            + sum(len(title) + 2 for title in (*lead, *last))
            > width + 2
        ):
            break
        shown.append(name)
    header = [name.rjust(4) if name in styles else name for name in (*lead, *shown, *last)]
    lines = [
        "Found rate by method, K known; of one method RMSE over bound, and share of scenes counted right",
        "  ".join(header),
    ]
    left_out = 0
    for split, title in titles.items():
        own, blind = cells[cells["split"] == split], counted[counted["split"] == split]
        if own.empty:
            continue
        here = set(own["method"])
        scored = next(name for name in (SCORED, *methods, *limits) if name in here)
        room = max(height - len(lines) - 2, 0)
        left_out += len(cells_of(own)[room:])
        if room:
            lines.append(f"{title} (×bound and count of {scored}):")
        for cell in cells_of(own)[:room]:
            rows, counts = (of_cell(table, cell).set_index("method") for table in (own, blind))
            values = [f"{cell[0]}", f"{cell[1]:g}", f"{rows['n_scenes'].iloc[0]:.0f}"]
            values += [
                number(float(rows["found_rate"].get(name, math.nan))) for name in (*shown, *limits[:1])
            ]
            values.append(ratio(float(rows[POOLED].get(scored, math.nan))))
            values.append(number(float(counts["count_accuracy"].get(scored, math.nan))))
            lines.append("  ".join(v.rjust(len(h)) for v, h in zip(values, header, strict=True)))
    n_hidden = len(methods) - len(shown)
    hidden = [f"{n} more {what}" for n, what in ((n_hidden, "methods"), (left_out, "cells")) if n]
    if hidden:
        lines.append(f"{' and '.join(hidden)} in the report")
    return lines
