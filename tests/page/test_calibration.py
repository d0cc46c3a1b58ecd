import math

import pandas as pd
import pytest

from stages.page.calibration import NOMINAL, calibration_figure, calibration_table
from stages.page.figures import method_styles
from stages.page.tables import ABSENT


def _rows(**changes: object) -> pd.DataFrame:
    rows = {
        "method": ["ml", "ml", "ml", "genie"],
        "n_sources": [1, 1, 2, 1],
        "snr_db": [0.0, 0.0, 10.0, 0.0],
        "parameter": ["azimuth", "elevation", "azimuth", "azimuth"],
        "n_sources_found": [30.0, 10.0, 20.0, 30.0],
        "within_1_std": [0.7, 0.5, 0.65, 0.68],
        "within_2_std": [0.9, 1.0, 0.95, 0.95],
    }
    return pd.DataFrame({**rows, **changes})


def test_the_nominal_shares_are_those_of_a_gaussian() -> None:
    assert {n: round(share, 4) for n, share in NOMINAL.items()} == {1: 0.6827, 2: 0.9545}


def test_parameters_are_pooled_by_their_numbers_of_sources() -> None:
    """(30 x .7 + 10 x .5) / 40 = .65 and (30 x .9 + 10 x 1) / 40 = .925."""
    table = calibration_table(_rows(), method_styles(["ml", "genie"]))
    assert table.groups == (("K = 1", 1), ("K = 2", 1))
    ml, genie = table.rows
    assert [cell.text for cell in ml.cells] == ["65 · 92", "65 · 95"]
    assert "elevation 50 (24 to 76) % and 100 (72 to 100) %" in ml.cells[0].note
    assert genie.limit
    assert [cell.text for cell in genie.cells] == ["68 · 95", ABSENT]


def test_a_panel_a_number_of_sources_and_parameter() -> None:
    block = calibration_figure(_rows(), method_styles(["ml"]))
    assert len(block.panels) == 6
    assert block.panels[0].alt.endswith("K = 1, azimuth")


@pytest.mark.parametrize("column", ["within_1_std", "within_2_std", "n_sources_found"])
def test_both_shares_and_their_numbers_are_drawn(column: str) -> None:
    styles = method_styles(["ml"])
    other = _rows(**{column: _rows()[column] * 0.9})
    one, two = (calibration_figure(rows, styles).panels[0].uri for rows in (_rows(), other))
    assert one != two


def test_what_was_not_found_has_no_point() -> None:
    styles = method_styles(["ml"])
    panels = calibration_figure(_rows(), styles).panels
    without = calibration_figure(_rows().query("snr_db == 0 or n_sources == 1"), styles).panels
    assert len(panels) == 6 and len(without) == 3
    assert not any(math.isnan(value) for value in _rows()["within_1_std"])
