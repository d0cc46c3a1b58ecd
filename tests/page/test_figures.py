import pandas as pd
import pytest

from risolve.pictures.style import INK
from stages.page import curves, figures
from stages.page.bars import gospa_bars
from stages.page.curves import Quantity
from stages.page.figures import GLYPHS, method_styles, strongest

RATE = Quantity("found_rate", "found_low", "found_high", "found rate")


def _cells(**changes: object) -> pd.DataFrame:
    cells = {
        "method": ["learned", "learned", "music"],
        "snr_db": [0.0, 10.0, 0.0],
        "found_rate": [0.9, 0.95, 0.4],
        "found_low": [0.85, 0.9, 0.3],
        "found_high": [0.94, 0.98, 0.5],
    }
    return pd.DataFrame({**cells, **changes})


def _draw(cells: pd.DataFrame, snr_db: list[float]) -> bytes:
    styles = method_styles(["learned", "music"])
    draw = curves.by_snr(cells, styles, RATE, snr_db, "K = 1", curves.rate_axis)
    return figures.svg_row([draw, draw], styles.values(), 6.0, 3.0)


def test_same_numbers_draw_the_same_bytes() -> None:
    assert _draw(_cells(), [0.0, 10.0]) == _draw(_cells(), [0.0, 10.0])
    assert _draw(_cells(), [0.0, 10.0]) != _draw(_cells(found_rate=[0.9, 0.94, 0.4]), [0.0, 10.0])


def test_a_picture_has_no_date_and_no_version() -> None:
    picture = _draw(_cells(), [0.0, 10.0])
    assert b"<svg" in picture
    assert b"dc:date" not in picture and b"Matplotlib v" not in picture


def test_order_of_rows_draws_the_same_bytes() -> None:
    assert _draw(_cells().iloc[::-1], [0.0, 10.0]) == _draw(_cells(), [0.0, 10.0])


@pytest.mark.parametrize("absent", [[None] * 3, [0.9, None, 0.4]])
def test_absent_values_draw_no_point(absent: list[float | None]) -> None:
    """A point that was not measured leaves the figure that its row was never there."""
    cells = _cells(found_rate=pd.Series(absent, dtype=float))
    assert _draw(cells, [0.0, 10.0]) == _draw(cells.dropna(subset=["found_rate"]), [0.0, 10.0])


def test_a_limit_at_one_snr_is_drawn() -> None:
    """A line needs two points; the limit of a single cell is a bar across the methods there."""
    styles = method_styles(["learned", "genie"])
    cells = _cells(method=["learned", "learned", "genie"])
    drawn, other, without = (
        figures.svg(curves.by_snr(own, styles, RATE, [0.0, 10.0], "K = 1", curves.rate_axis), 3.0, 3.0)
        for own in (cells, cells.assign(found_rate=[0.9, 0.95, 0.5]), cells.iloc[:2])
    )
    assert len({drawn, other, without}) == 3


def test_one_snr_is_a_figure() -> None:
    assert _draw(_cells().query("snr_db == 0"), [0.0]).startswith(b"<?xml")


def test_the_strongest_method_of_each_estimator_comes_first_and_learned_leads() -> None:
    """Alone is strongest where nothing refines it: it seeks the maximum itself, or refining was not asked."""
    names = [
        "mvdr",
        "music",
        "learned_peaks",
        "genie",
        "nomp",
        "music+ml",
        "ml",
        "learned",
        "learned_peaks+ml",
    ]
    styles = method_styles(names)
    assert list(styles) == [
        *("learned", "ml", "nomp", "learned_peaks+ml", "music+ml", "mvdr", "learned_peaks", "music", "genie")
    ]
    assert [name for name, style in styles.items() if style.strongest] == list(styles)[:6]
    assert [name for name, style in styles.items() if style.dash] == ["learned_peaks", "music"]
    assert list(strongest(styles)) == [
        *("learned", "ml", "nomp", "learned_peaks+ml", "music+ml", "mvdr", "genie")
    ]
    assert list(strongest(styles, 2)) == ["learned", "ml", "genie"]


def test_an_estimator_keeps_its_look_and_shares_it_with_no_other() -> None:
    """Colour and marker follow the estimator, refined or not, whatever else is shown."""
    names = ["learned", "music", "mvdr", "music_blend", "mvdr_blend", "nomp", "sbl", "beamformer"]
    styles = method_styles([*names, *(f"{name}+ml" for name in names)])
    looks = {name: (styles[name].colour, styles[name].marker) for name in names}
    assert len({look[0] for look in looks.values()}) == len(names)
    assert all((styles[f"{n}+ml"].colour, styles[f"{n}+ml"].marker) == look for n, look in looks.items())
    alone = method_styles(["mvdr"])["mvdr"]
    assert (alone.colour, alone.marker) == looks["mvdr"]


def test_estimators_that_no_table_names_have_looks_of_their_own() -> None:
    """Twenty of them beside those of the table: as many pairs, each with a key for a legend."""
    further = [f"esprit_{number}" for number in range(20)]
    styles = method_styles([*figures._ESTIMATORS, *further, *(f"{name}+ml" for name in further)])
    strong = [style for style in styles.values() if style.strongest]
    assert len({(style.colour, style.marker) for style in strong}) == len(figures._ESTIMATORS) + 20
    assert {style.marker for style in styles.values()} <= GLYPHS.keys()
    assert styles["esprit_7"].label == "esprit_7" and styles["esprit_7+ml"].label == "esprit_7 + ML"
    assert list(styles).index("esprit_7+ml") < list(styles).index("nomp")


def test_a_limit_is_a_thin_dark_line_whatever_it_is_called() -> None:
    styles = method_styles(["genie", "genie_unconditional", "ml"])
    for name in ("genie", "genie_unconditional"):
        assert styles[name].limit and not styles[name].strongest
        assert styles[name].colour == INK and styles[name].marker == ""
        assert "(started at the truth, no method)" in styles[name].label
    assert figures.line(styles["genie"])["linewidth"] < figures.line(styles["ml"])["linewidth"]


def test_gospa_bars_divide_by_the_squares_of_the_parts() -> None:
    """Only the shares of the parts divide a bar of a given length; swapped parts draw another bar."""
    styles = method_styles(["music"])
    parts = {"gospa_m": [5.0], "gospa_location_m": [3.0], "gospa_missed_m": [4.0], "gospa_false_m": [0.0]}
    bars = {}
    for name, scale in (("as is", 1.0), ("same shares", 2.0)):
        cell = pd.DataFrame(
            {"method": ["music"], **{k: [v[0] * scale] for k, v in parts.items() if k != "gospa_m"}}
        )
        bars[name] = gospa_bars(cell.assign(gospa_m=5.0), styles, "K = 1", 6.0)
    swapped = pd.DataFrame({"method": ["music"], **parts}).rename(
        columns={"gospa_location_m": "gospa_missed_m", "gospa_missed_m": "gospa_location_m"}
    )
    assert bars["as is"] == bars["same shares"]
    assert gospa_bars(swapped, styles, "K = 1", 6.0) != bars["as is"]
