import pandas as pd
import pytest

from stages.page.confidence import bins_of, confidence_figure, confidence_table, mean_gap
from stages.page.figures import method_styles
from stages.page.tables import ABSENT


def _rows(**changes: object) -> pd.DataFrame:
    rows = {
        "method": ["learned", "learned", "learned", "nomp", "nomp"],
        "confidence_from": [0.5, 0.99, 0.0, 0.99, 0.0],
        "confidence_to": [0.7, 1.0, 1.0, 1.0, 1.0],
        "mean_confidence": [0.6, 0.995, 0.8963, 0.998, 0.998],
        "share_right": [0.5, 1.0, 0.875, 0.9, 0.9],
        "gap": [-0.1, 0.005, -0.0213, -0.098, -0.098],
        "n_scenes": [10.0, 30.0, 40.0, 20.0, 20.0],
    }
    return pd.DataFrame({**rows, **changes})


def test_the_row_of_all_scenes_is_no_bin() -> None:
    assert bins_of(_rows())["n_scenes"].tolist() == [10.0, 30.0, 20.0]


def test_the_mean_gap_is_that_of_the_bins_weighted_by_their_scenes() -> None:
    """(10 x .1 + 30 x .005) / 40; gaps of either sign do not cancel."""
    assert mean_gap(bins_of(_rows().query("method == 'learned'"))) == pytest.approx(1.15 / 40.0)


def test_a_row_a_method_and_a_column_a_bin() -> None:
    table = confidence_table(_rows(), method_styles(["learned", "nomp"]))
    assert table.columns == ("50 to 70", "99 to 100", "right · stated", "gap")
    learned, nomp = table.rows
    assert [cell.text for cell in learned.cells] == ["50 · 60", "100 · 100", "88 · 90", "3"]
    assert learned.cells[0].note == "10 scenes; 95 % interval of the share 24 to 76 %"
    assert [cell.text for cell in nomp.cells] == [ABSENT, "90 · 100", "90 · 100", "10"]


@pytest.mark.parametrize("column", ["mean_confidence", "share_right", "n_scenes"])
def test_statements_shares_and_their_numbers_are_drawn(column: str) -> None:
    styles = method_styles(["learned"])
    one, two = (
        confidence_figure(rows, styles).panels[0].uri
        for rows in (_rows(), _rows(**{column: _rows()[column] * 0.9}))
    )
    assert one != two
