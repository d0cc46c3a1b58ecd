"""Tables of the report, from the strata of the evaluation: for the page and, short, for a terminal.

A cell is one pair (number of sources, SNR) of a split. The pooled normalized RMSE of a cell is

    sqrt(mean over found sources and azimuth, elevation, inverse range of (error / bound)^2),

and its inverse is the efficiency. What was not measured is a dash, never 0.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from stages.artifacts.report.figures import REFINED, MethodStyle, method_styles

PARAMETERS = {"azimuth": "azimuth", "elevation": "elevation", "inverse_range": "1 / range"}
ABSENT = "–"
POOLED = "rmse_over_bound_pooled"


@dataclass(frozen=True)
class Cell:
    """Text of a table cell, its shade (0 none .. 1 best), whether it leads its column, what hovering adds."""

    text: str
    shade: float
    leads: bool
    note: str


@dataclass(frozen=True)
class Table:
    """A table: groups of columns, columns, rows of (method, cells)."""

    corner: str
    groups: tuple[tuple[str, int], ...]
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]


def with_sources(strata: pd.DataFrame) -> pd.DataFrame:
    """The cells that hold sources."""
    return strata[strata["n_sources"] > 0]


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


def rate_table(strata: pd.DataFrame, styles: dict[str, MethodStyle]) -> Table:
    """Found rate by method and cell, each with its interval."""

    def cell(row: dict[Any, Any]) -> tuple[str, float, str]:
        low, high = number(row["found_low"]), number(row["found_high"])
        note = f"95 % interval {low} to {high}; {row['n_scenes']:.0f} scenes"
        return number(row["found_rate"]), row["found_rate"], note

    return _by_cell(strata, styles, "found_rate", cell)


def ratio_table(strata: pd.DataFrame, styles: dict[str, MethodStyle]) -> Table:
    """RMSE over bound by method and cell, the three parameters pooled."""

    def cell(row: dict[Any, Any]) -> tuple[str, float, str]:
        shade = 1.0 - math.log(max(row[POOLED], 1.0)) / math.log(10.0)
        return ratio(row[POOLED]), shade, _with_intervals(row)

    return _by_cell(strata, styles, None, cell)


def efficiency_table(strata: pd.DataFrame, styles: dict[str, MethodStyle]) -> Table:
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


def _by_cell(
    strata: pd.DataFrame,
    styles: dict[str, MethodStyle],
    leader: str | None,
    fill: Callable[[dict[Any, Any]], tuple[str, float, str]],
) -> Table:
    """Rows of methods, columns of cells; `leader` is the column of which the highest value leads."""
    records = _records(strata)
    cells = cells_of(strata)
    counts = Counter(k for k, _ in cells)
    rows = []
    for method, style in styles.items():
        line = []
        for cell in cells:
            record = records.get((*cell, method))
            if record is None:
                line.append(Cell(ABSENT, 0.0, leads=False, note="not evaluated"))
                continue
            text, shade, note = fill(record)
            others = [own for own in (records.get((*cell, name)) for name in styles) if own is not None]
            leads = leader is not None and all(record[leader] >= own[leader] for own in others)
            line.append(Cell(text, 0.0 if math.isnan(shade) else min(max(shade, 0.0), 1.0), leads, note))
        rows.append((style.label, tuple(line)))
    return Table(
        "SNR (dB)",
        tuple((f"K = {k}", count) for k, count in counts.items()),
        tuple(f"{snr:g}" for _, snr in cells),
        tuple(rows),
    )


def range_table(ranges: pd.DataFrame, styles: dict[str, MethodStyle]) -> Table:
    """Found rate, median relative range error, normalized RMSE of 1/r by method and true range."""
    strata = (
        ranges[["range_from_m", "range_to_m"]].drop_duplicates().sort_values(["range_from_m", "range_to_m"])
    )
    spans = [(float(low), float(high)) for low, high in strata.itertuples(index=False)]
    rows = []
    for method, style in styles.items():
        line: list[Cell] = []
        for low, high in spans:
            own = ranges[
                (ranges["range_from_m"] == low)
                & (ranges["range_to_m"] == high)
                & (ranges["method"] == method)
            ]
            if own.empty:
                line.extend([Cell(ABSENT, 0.0, leads=False, note="not evaluated")] * 3)
                continue
            row = own.iloc[0]
            rate, error, ratio_ = (
                float(row[name])
                for name in ("found_rate", "median_relative_range_error", "rmse_over_bound_inverse_range")
            )
            note = f"{row['n_true']:.0f} true sources"
            line.append(Cell(number(rate), 0.0 if math.isnan(rate) else rate, leads=False, note=note))
            line.append(Cell(_percent(error), 0.0, leads=False, note=note))
            line.append(Cell(ratio(ratio_), 0.0, leads=False, note=note))
        rows.append((style.label, tuple(line)))
    return Table(
        "true range",
        tuple((f"{low:g} to {high:g} m", 3) for low, high in spans),
        ("found", "error", "× bound") * len(spans),
        tuple(rows),
    )


def full_table(strata: pd.DataFrame, styles: dict[str, MethodStyle]) -> Table:
    """Every stratum and method with all its figures."""
    columns: dict[str, Callable[[dict[Any, Any]], str]] = {
        "scenes": lambda r: f"{r['n_scenes']:.0f}",
        "sources": lambda r: f"{r['n_true']:.0f}",
        "found": lambda r: _with_interval(r, "found_rate", "found_low", "found_high", number),
        "azimuth (°)": lambda r: _digits(r["median_azimuth_deg"]),
        "elevation (°)": lambda r: _digits(r["median_elevation_deg"]),
        "range (m)": lambda r: _digits(r["median_range_m"]),
        "position (m)": lambda r: _digits(r["median_position_m"]),
        "its bound (m)": lambda r: _digits(r["median_bound_position_m"]),
        **{label: _ratio_column(name) for name, label in PARAMETERS.items()},
        "GOSPA (m)": lambda r: _digits(r["gospa_m"]),
        "false alarms": lambda r: ABSENT if math.isnan(r["false_alarms"]) else f"{r['false_alarms']:.0f}",
    }
    records = _records(strata)
    rows = []
    for cell in cells_of(strata):
        for method, style in styles.items():
            record = records.get((*cell, method))
            if record is not None:
                texts = [column(record) for column in columns.values()]
                name = f"K = {cell[0]}, {cell[1]:g} dB · {style.label}"
                rows.append((name, tuple(Cell(text, 0.0, leads=False, note="") for text in texts)))
    groups = (("", 3), ("median error", 5), ("RMSE / bound", 3), ("", 2))
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


def number(value: float, percent: bool = False) -> str:
    """A rate with two digits, or a percentage."""
    if math.isnan(value):
        return ABSENT
    return f"{100.0 * value:.0f}" if percent else f"{value:.2f}"


def ratio(value: float) -> str:
    """A ratio to the bound: two digits after the point below 10, none above."""
    if math.isnan(value):
        return ABSENT
    return f"{value:.2f}" if value < 9.995 else f"{value:.0f}"


def _percent(value: float) -> str:
    if math.isinf(value):
        return "∞"
    return (
        ABSENT
        if math.isnan(value)
        else f"{100.0 * value:.2g} %"
        if value < 0.995
        else f"{100.0 * value:.0f} %"
    )


def _digits(value: float) -> str:
    if math.isinf(value):
        return "∞"
    return ABSENT if math.isnan(value) else f"{value:.2g}" if value < 9.95 else f"{value:.0f}"


def short_table(strata: pd.DataFrame, titles: Mapping[Any, str], width: int, height: int) -> list[str]:
    """Found rate by method and cell, and RMSE over bound of the first method of a split, as lines of a
    terminal.

    `titles` names the splits to show; methods and cells that do not fit are counted in the last line.
    """
    strata = with_sources(strata)
    styles = list(method_styles(strata["method"]))
    estimator = styles[0].removesuffix(REFINED)
    order = sorted(styles, key=lambda name: name.removesuffix(REFINED) != estimator)
    lead, last = ["K", "SNR dB", "scenes"], "RMSE/bound"
    shown: list[str] = []
    for name in order:
        if sum(len(title) + 2 for title in (*lead, *shown, name, last)) > width:
            break
        shown.append(name)
    header = [*lead, *shown, last]
    lines = ["Found rate by method; RMSE/bound of one, its three parameters pooled", "  ".join(header)]
    left_out = 0
    for split, title in titles.items():
        own = strata[strata["split"] == split]
        if own.empty:
            continue
        first = next(name for name in order if name in set(own["method"]))
        room = max(height - len(lines) - 2, 0)
        left_out += len(cells_of(own)[room:])
        if room:
            lines.append(f"{title} (RMSE/bound of {first}):")
        for cell in cells_of(own)[:room]:
            here = of_cell(own, cell).set_index("method")
            values = [f"{cell[0]}", f"{cell[1]:g}", f"{here['n_scenes'].iloc[0]:.0f}"]
            values += [number(float(here["found_rate"].get(name, math.nan))) for name in shown]
            values.append(ratio(float(here[POOLED].get(first, math.nan))))
            lines.append("  ".join(v.rjust(len(h)) for v, h in zip(values, header, strict=True)))
    hidden = [
        f"{n} more {what}" for n, what in ((len(order) - len(shown), "methods"), (left_out, "cells")) if n
    ]
    if hidden:
        lines.append(f"{' and '.join(hidden)} in the report")
    return lines
