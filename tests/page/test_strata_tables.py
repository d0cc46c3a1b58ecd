import math
from pathlib import Path

import pandas as pd
import pytest

from stages.page import strata_tables
from stages.page.figures import method_styles
from stages.page.run_files import STRATA, read_table
from stages.page.tables import ABSENT, ratio
from tests.page.finished_run import FEW, FULL, write_run


@pytest.fixture(scope="module")
def strata(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    return read_table(write_run(tmp_path_factory.mktemp("run"), FULL), STRATA)


def _known(strata: pd.DataFrame, split: str) -> pd.DataFrame:
    own = strata_tables.with_sources(strata_tables.known(strata))
    return own[own["split"] == split]


def test_tables_show_every_method_in_every_cell(strata: pd.DataFrame) -> None:
    own = _known(strata, "test_independent")
    styles = method_styles(own["method"])
    table = strata_tables.rate_table(own, styles)
    assert table.groups == (("K = 1", 3), ("K = 2", 4), ("K = 3", 4), ("K = 5", 2))
    assert [row.label for row in table.rows] == [style.label for style in styles.values()]
    for row, method in zip(table.rows, styles, strict=True):
        values = own[own["method"] == method].sort_values(["n_sources", "snr_db"])["found_rate"]
        assert [cell.text for cell in row.cells] == [f"{value:.2f}" for value in values]
    for column in range(len(table.columns)):
        assert [row.limit for row in table.rows if row.cells[column].leads] == [False]


def test_a_limit_leads_no_column(strata: pd.DataFrame) -> None:
    """The genie finds every source; the best of the others is marked, and nothing where none is left."""
    own = _known(strata, "test_independent")
    own.loc[own["method"] == "genie", "found_rate"] = 1.0
    table = strata_tables.rate_table(own, method_styles(own["method"]))
    assert [row.limit for row in table.rows if any(cell.leads for cell in row.cells)] == [False]
    alone = own[own["method"] == "genie"]
    (row,) = strata_tables.rate_table(alone, method_styles(["genie"])).rows
    assert row.limit and not any(cell.leads for cell in row.cells)


def test_efficiency_is_the_inverse_ratio(strata: pd.DataFrame) -> None:
    own = _known(strata, "test_constant")
    styles = method_styles(own["method"])
    table = strata_tables.efficiency_table(own, styles)
    cell = strata_tables.of_cell(own, (1, 20.0)).set_index("method")
    column = strata_tables.cells_of(own).index((1, 20.0))
    for row, method in zip(table.rows, styles, strict=True):
        assert row.cells[column].text == f"{100.0 / cell[strata_tables.POOLED][method]:.0f}"


def test_absence_is_a_dash(strata: pd.DataFrame) -> None:
    own = _known(strata, "test_constant").query("n_sources == 1 and snr_db == 0")
    own = own.assign(rmse_over_bound_pooled=math.nan, rmse_over_bound_azimuth=math.nan, found_rate=math.nan)
    styles = method_styles(own["method"])
    tables = (
        strata_tables.ratio_table,
        strata_tables.efficiency_table,
        strata_tables.rate_table,
        strata_tables.count_table,
    )
    for table in tables:
        assert {cell.text for row in table(own, styles).rows for cell in row.cells} == {ABSENT}
    assert ABSENT in {cell.text for row in strata_tables.full_table(own, styles).rows for cell in row.cells}


def test_counting_has_the_noise_alone_and_intervals(strata: pd.DataFrame) -> None:
    own = strata_tables.estimated(strata).query("split == 'test_independent'")
    styles = method_styles(own["method"])
    table = strata_tables.count_table(own, styles)
    assert table.groups[0] == ("K = 0", 1) and table.columns[0] == "noise"
    cell = dict(zip(styles, (row.cells[0] for row in table.rows), strict=True))["nomp"]
    assert cell.text == "0.90"
    assert cell.note == "95 % interval 0.70 to 0.97; 20 scenes"


def test_the_full_table_has_both_counts(strata: pd.DataFrame) -> None:
    own = strata_tables.with_sources(strata.query("split == 'test_independent'"))
    table = strata_tables.full_table(own, method_styles(own["method"]))
    labels = [row.label for row in table.rows]
    assert len(set(labels)) == len(labels) == len(own)
    assert "K = 2, 5 dB · ML" in labels and "K = 2, 5 dB · ML, K not told" in labels
    assert sum(width for _, width in table.groups) == len(table.columns)


def test_main_cells_have_the_most_scenes_and_then_the_lowest_snr(strata: pd.DataFrame) -> None:
    own = _known(strata, "test_independent")
    assert strata_tables.main_cells(own) == [(1, 0.0), (2, 5.0), (3, 5.0), (5, 10.0)]
    assert strata_tables.main_cells(own.sample(frac=1.0, random_state=1)) == strata_tables.main_cells(own)


TITLES = {"test_independent": "Independent", "test_constant": "Constant"}


def test_short_table_fits_a_terminal(strata: pd.DataFrame) -> None:
    lines = strata_tables.short_table(strata, TITLES, 110, 24)
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 110
    methods = [
        "learned",
        "ml",
        "ml_unconditional",
        "nomp",
        "sbl",
        "learned_peaks+ml",
        "genie",
    ]
    assert lines[1].split() == ["K", "SNR", "scenes", *methods, "×bound", "count"]
    own = strata.query("split == 'test_independent'")
    told, blind = (
        strata_tables.of_cell(rows, (2, 5.0)).set_index("method")
        for rows in (strata_tables.known(own), strata_tables.estimated(own))
    )
    line = next(line.split() for line in lines if line.split()[:2] == ["2", "5"])
    assert line[3:10] == [f"{told['found_rate'][method]:.2f}" for method in methods]
    assert line[10] == ratio(told[strata_tables.POOLED]["learned"])
    assert line[11] == f"{blind['count_accuracy']['learned']:.2f}"


def test_short_table_has_a_dash_for_what_was_not_asked(strata: pd.DataFrame) -> None:
    """No method counted: no count; a split without R_pred: no learned estimator."""
    lines = strata_tables.short_table(strata_tables.known(strata), TITLES, 110, 24)
    rows = [line.split() for line in lines if line[0].isdigit() and "more" not in line]
    assert {row[-1] for row in rows} == {ABSENT}
    assert rows[-1][3] == ABSENT


@pytest.mark.parametrize(("width", "height", "hidden"), [(70, 24, "methods"), (110, 10, "cells")])
def test_short_table_counts_what_it_leaves_out(
    strata: pd.DataFrame, width: int, height: int, hidden: str
) -> None:
    lines = strata_tables.short_table(strata, TITLES, width, height)
    assert len(lines) <= height
    assert max(map(len, lines[1:2])) <= width
    assert hidden in lines[-1]


def test_short_table_of_a_small_run_hides_nothing(tmp_path: Path) -> None:
    few = read_table(write_run(tmp_path, FEW), STRATA).query("method == 'learned'")
    assert len(strata_tables.short_table(few, TITLES, 110, 24)) == 2 + 1 + 3
