"""Tables of the page: cells of text, a dash for what was not measured, never 0."""

import math
from dataclasses import dataclass

ABSENT = "–"


@dataclass(frozen=True)
class Cell:
    """Text of a table cell, its shade (0 none .. 1 best), whether it leads its column, what hovering adds."""

    text: str
    shade: float = 0.0
    leads: bool = False
    note: str = ""


@dataclass(frozen=True)
class Row:
    """A row: what it is of, its cells, and whether that is a limit instead of a method."""

    label: str
    cells: tuple[Cell, ...]
    limit: bool = False


@dataclass(frozen=True)
class Table:
    """A table: groups of columns (label, width), columns, rows."""

    corner: str
    groups: tuple[tuple[str, int], ...]
    columns: tuple[str, ...]
    rows: tuple[Row, ...]


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


def percentage(value: float) -> str:
    """A share in percent with two digits."""
    if math.isinf(value):
        return "∞"
    return (
        ABSENT
        if math.isnan(value)
        else f"{100.0 * value:.2g} %"
        if value < 0.995
        else f"{100.0 * value:.0f} %"
    )


def digits(value: float) -> str:
    """A quantity with two digits."""
    if math.isinf(value):
        return "∞"
    return ABSENT if math.isnan(value) else f"{value:.2g}" if value < 9.95 else f"{value:.0f}"
