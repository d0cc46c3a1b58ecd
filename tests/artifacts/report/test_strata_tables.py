import math
from pathlib import Path

import pandas as pd
import pytest

from stages.artifacts.report import strata_tables
from stages.artifacts.report.figures import method_styles
from stages.artifacts.report.run_files import STRATA, read_table
from tests.artifacts.report.finished_run import FEW, FULL, write_run


@pytest.fixture(scope="module")
def strata(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    return read_table(write_run(tmp_path_factory.mktemp("run"), FULL), STRATA)


def test_tables_show_every_method_in_every_cell(strata: pd.DataFrame) -> None:
    own = strata_tables.with_sources(strata.query("split == 'test_independent'"))
    styles = method_styles(own["method"])
    table = strata_tables.rate_table(own, styles)
    assert table.groups == (("K = 1", 3), ("K = 2", 4), ("K = 3", 4), ("K = 5", 2))
    assert [label for label, _ in table.rows] == [style.label for style in styles.values()]
    for (_, cells), method in zip(table.rows, styles, strict=True):
        values = own[own["method"] == method].sort_values(["n_sources", "snr_db"])["found_rate"]
        assert [cell.text for cell in cells] == [f"{value:.2f}" for value in values]
    for column in range(len(table.columns)):
        assert sum(cells[column].leads for _, cells in table.rows) == 1


def test_efficiency_is_the_inverse_ratio(strata: pd.DataFrame) -> None:
    own = strata_tables.with_sources(strata.query("split == 'test_constant'"))
    styles = method_styles(own["method"])
    table = strata_tables.efficiency_table(own, styles)
    cell = strata_tables.of_cell(own, (1, 20.0)).set_index("method")
    column = strata_tables.cells_of(own).index((1, 20.0))
    for (_, cells), method in zip(table.rows, styles, strict=True):
        assert cells[column].text == f"{100.0 / cell[strata_tables.POOLED][method]:.0f}"


def test_absence_is_a_dash(strata: pd.DataFrame) -> None:
    own = strata_tables.with_sources(strata).query("n_sources == 1 and snr_db == 0")
    own = own.assign(rmse_over_bound_pooled=math.nan, rmse_over_bound_azimuth=math.nan, found_rate=math.nan)
    own = own.query("split == 'test_constant'")
    styles = method_styles(own["method"])
    for table in (strata_tables.ratio_table, strata_tables.efficiency_table, strata_tables.rate_table):
        assert {cell.text for _, cells in table(own, styles).rows for cell in cells} == {strata_tables.ABSENT}
    assert strata_tables.ABSENT in {
        c.text for _, cells in strata_tables.full_table(own, styles).rows for c in cells
    }


def test_an_infinite_range_error_is_infinite() -> None:
    row = {"range_from_m": 5.0, "range_to_m": 10.0, "method": "music", "n_true": 4, "found_rate": 0.5}
    row |= {"median_relative_range_error": math.inf, "rmse_over_bound_inverse_range": math.nan}
    table = strata_tables.range_table(pd.DataFrame([row]), method_styles(["music"]))
    assert [cell.text for cell in table.rows[0][1]] == ["0.50", "∞", strata_tables.ABSENT]


def test_main_cells_have_the_most_scenes_and_then_the_lowest_snr(strata: pd.DataFrame) -> None:
    own = strata_tables.with_sources(strata.query("split == 'test_independent'"))
    assert strata_tables.main_cells(own) == [(1, 0.0), (2, 5.0), (3, 5.0), (5, 10.0)]
    assert strata_tables.main_cells(own.sample(frac=1.0, random_state=1)) == strata_tables.main_cells(own)


TITLES = {"test_independent": "Independent", "test_constant": "Constant"}


def test_short_table_fits_a_terminal(strata: pd.DataFrame) -> None:
    lines = strata_tables.short_table(strata, TITLES, 110, 24)
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 110
    columns = lines[1].split()
    assert columns[:6] == ["K", "SNR", "dB", "scenes", "learned+ml", "learned"]
    cell = strata_tables.of_cell(strata.query("split == 'test_independent'"), (2, 5.0)).set_index("method")
    line = next(line.split() for line in lines if line.split()[:2] == ["2", "5"])
    assert line[3] == f"{cell['found_rate']['learned+ml']:.2f}"
    assert line[-1] == strata_tables.ratio(cell[strata_tables.POOLED]["learned+ml"])


@pytest.mark.parametrize(("width", "height", "hidden"), [(60, 24, "methods"), (110, 10, "cells")])
def test_short_table_counts_what_it_leaves_out(
    strata: pd.DataFrame, width: int, height: int, hidden: str
) -> None:
    lines = strata_tables.short_table(strata, TITLES, width, height)
    assert len(lines) <= height
    assert max(map(len, lines[1:2])) <= width
    assert hidden in lines[-1]


def test_short_table_of_a_small_run_hides_nothing(tmp_path: Path) -> None:
    few = read_table(write_run(tmp_path, FEW), STRATA).query("method == 'learned+ml'")
    assert len(strata_tables.short_table(few, TITLES, 110, 24)) == 2 + 1 + 3
