import math

import numpy as np
import pandas as pd
import pytest

from risolve.metrics.intervals import wilson
from stages.page.counting import accuracy_figure, confusion_figure, confusion_shares
from stages.page.figures import method_styles
from tests.messages import shows


def _counts(**changes: object) -> pd.DataFrame:
    cells = {
        "method": ["ml", "ml", "ml", "ml", "ml"],
        "n_sources": [0, 1, 1, 3, 3],
        "snr_db": [0.0, 10.0, 10.0, 10.0, 20.0],
        "n_estimated": [0, 1, 2, 7, 3],
        "n_scenes": [20, 15, 5, 4, 6],
    }
    return pd.DataFrame({**cells, **changes})


def test_rows_of_a_confusion_matrix_are_shares_of_the_scenes_of_a_true_number() -> None:
    shares = confusion_shares(_counts().query("snr_db <= 10"), [0, 1, 2, 3], 3)
    expected = np.array([[1, 0, 0, 0, 0], [0, 0.75, 0.25, 0, 0], [math.nan] * 5, [0, 0, 0, 0, 1]])
    np.testing.assert_allclose(shares, expected)
    np.testing.assert_allclose(shares[[0, 1, 3]].sum(axis=1), 1.0)


def test_there_is_a_matrix_for_every_method_and_snr_and_the_noise_is_in_each() -> None:
    counts = pd.concat([_counts(), _counts(method="nomp", n_estimated=[1, 1, 2, 7, 3])])
    styles = method_styles(["ml", "nomp"])
    block = confusion_figure(counts, styles)
    titles = ["ML, 10 dB", "ML, 20 dB", "NOMP, 10 dB", "NOMP, 20 dB"]
    assert [panel.alt.rpartition("scenes, ")[2] for panel in block.panels] == titles
    without = confusion_figure(counts[counts["n_sources"] > 0], styles)
    assert all(a.uri != b.uri for a, b in zip(block.panels, without.panels, strict=True))


def test_nothing_counted_is_no_picture() -> None:
    assert confusion_figure(_counts().iloc[:0], {}).panels == ()


def test_accuracy_has_a_panel_a_number_of_sources() -> None:
    cells = pd.DataFrame(
        {
            "method": ["ml", "ml", "nomp"],
            "n_sources": [1, 2, 1],
            "snr_db": [0.0, 0.0, 0.0],
            "n_scenes": [20.0, 20.0, 20.0],
            "count_accuracy": [0.9, math.nan, 0.8],
        }
    )
    block = accuracy_figure(cells, method_styles(["ml", "nomp"]))
    assert [panel.alt for panel in block.panels] == [
        "Share of scenes in which K = 1 was counted right against SNR, one line a method"
    ]


def test_an_interval_solves_its_own_equation() -> None:
    """Wilson's ends are where |p - share| = z sqrt(p (1 - p) / n)."""
    for share, n_cases in ((0.0, 20.0), (0.3, 7.0), (0.95, 120.0), (1.0, 20.0)):
        low, high = wilson(share, n_cases)
        assert 0.0 <= low <= share <= high <= 1.0
        for end in {low, high} - {0.0, 1.0}:
            deviation = 1.959963985 * math.sqrt(end * (1.0 - end) / n_cases)
            assert abs(end - share) == pytest.approx(deviation, rel=1e-6)


def test_a_share_of_no_cases_is_refused() -> None:
    with pytest.raises(ValueError, match=shows("share ... got 0.0")):
        wilson(0.5, 0.0)
