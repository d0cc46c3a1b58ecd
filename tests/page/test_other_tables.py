"""Tables by range and of times."""

import math
from typing import Any

import pandas as pd

from stages.page.figures import method_styles
from stages.page.range_tables import range_table, range_views
from stages.page.tables import ABSENT
from stages.page.timing_table import timing_table


def _band(low: float, high: float, method: str, **changes: Any) -> dict[str, Any]:
    row = {"n_sources": 1, "snr_db": 0.0, "range_from_m": low, "range_to_m": high, "method": method}
    row |= {"n_true": 4, "found_rate": 0.5, "median_relative_range_error": 0.012}
    row |= {f"rmse_over_bound_{name}": 1.5 for name in ("azimuth", "elevation", "inverse_range")}
    return row | changes


def test_an_infinite_range_error_is_infinite_and_no_ratio_is_a_dash() -> None:
    row = _band(5.0, 10.0, "music", median_relative_range_error=math.inf, rmse_over_bound_azimuth=math.nan)
    (line,) = range_table(pd.DataFrame([row]), method_styles(["music"])).rows
    assert [cell.text for cell in line.cells] == ["0.50", "∞", ABSENT, "1.50", "1.50"]


def test_bands_are_in_order_with_their_sources_and_an_absent_one_is_a_dash() -> None:
    rows = [_band(1.0, 3.0, "music", n_true=9), _band(0.5, 1.0, "music"), _band(0.5, 1.0, "ml")]
    table = range_table(pd.DataFrame(rows), method_styles(["ml", "music"]))
    assert table.groups == (("0.5 to 1 m, 4 sources", 5), ("1 to 3 m, 9 sources", 5))
    assert len(table.columns) == 10
    assert [cell.text for cell in table.rows[0].cells[5:]] == [ABSENT] * 5
    assert table.rows[1].cells[1].text == "1.2 %"


def test_every_cell_has_a_table_and_the_main_ones_are_marked() -> None:
    rows = [_band(1.0, 3.0, "ml", snr_db=snr_db) for snr_db in (10.0, 0.0)]
    views = range_views(pd.DataFrame(rows), method_styles(["ml"]), [(1, 10.0)])
    assert [(view.title, view.is_main) for view in views] == [("K = 1, 0 dB", False), ("K = 1, 10 dB", True)]


def test_the_refinement_is_what_the_refined_method_takes_longer() -> None:
    timing = pd.DataFrame(
        [
            ("known", "music", 18.0),
            ("known", "music+ml", 31.0),
            ("known", "ml", 62.0),
            ("estimated", "ml", 1203.4),
            ("estimated", "sbl", 5.0),
        ],
        columns=["count", "method", "cpu_ms_per_scene"],
    )
    styles = method_styles(timing["method"])
    rows = {row.label: [cell.text for cell in row.cells] for row in timing_table(timing, styles).rows}
    assert rows == {
        "ML": [ABSENT, ABSENT, "62", "1203"],
        "SBL": [ABSENT, ABSENT, ABSENT, "5"],
        "MUSIC, R_samp + ML": ["18", "13", "31", ABSENT],
        "MUSIC, R_samp": ["18", ABSENT, "18", ABSENT],
    }


def test_a_refined_method_without_its_search_has_no_parts() -> None:
    timing = pd.DataFrame([("known", "music+ml", 31.0)], columns=["count", "method", "cpu_ms_per_scene"])
    (row,) = timing_table(timing, method_styles(["music+ml"])).rows
    assert [cell.text for cell in row.cells] == [ABSENT, ABSENT, "31", ABSENT]
