"""CPU time a scene by method: the search, the refinement, both; told the number of sources, and not told."""

import math
from collections.abc import Mapping

import pandas as pd

from stages.page.figures import REFINED, MethodStyle
from stages.page.strata_tables import estimated, known
from stages.page.tables import ABSENT, Cell, Row, Table


def timing_table(timing: pd.DataFrame, styles: Mapping[str, MethodStyle]) -> Table:
    """One row a method. A method that seeks the maximum of the likelihood itself has no parts."""
    told, blind = (
        dict(zip(own["method"].astype(str), own["cpu_ms_per_scene"], strict=True))
        for own in (known(timing), estimated(timing))
    )
    rows = []
    for method, style in styles.items():
        total = told.get(method, math.nan)
        search = told.get(method.removesuffix(REFINED), math.nan)
        is_whole = method.removesuffix(REFINED) + REFINED not in styles
        times = (
            math.nan if is_whole else search,
            total - search if method.endswith(REFINED) else math.nan,
            total,
            blind.get(method, math.nan),
        )
        rows.append(Row(style.label, tuple(Cell(_milliseconds(value)) for value in times), style.limit))
    return Table(
        "method",
        (("K told", 3), ("K not told", 1)),
        ("search (ms)", "refinement (ms)", "whole (ms)", "whole (ms)"),
        tuple(rows),
    )


def _milliseconds(value: float) -> str:
    return ABSENT if math.isnan(value) else f"{value:.3g}" if value < 1e3 else f"{value:.0f}"
