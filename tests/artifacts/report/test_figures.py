import pandas as pd
import pytest

from stages.artifacts.report import figures
from stages.artifacts.report.figures import GLYPHS, Quantity, method_styles

RATE = Quantity("found_rate", "found_low", "found_high", "found rate")


def _cells(**changes: object) -> pd.DataFrame:
    cells = {
        "method": ["learned+ml", "learned+ml", "music"],
        "snr_db": [0.0, 10.0, 0.0],
        "found_rate": [0.9, 0.95, 0.4],
        "found_low": [0.85, 0.9, 0.3],
        "found_high": [0.94, 0.98, 0.5],
    }
    return pd.DataFrame({**cells, **changes})


def _draw(cells: pd.DataFrame, snr_db: list[float]) -> bytes:
    styles = method_styles(["learned+ml", "music"])
    draw = figures.by_snr(cells, styles, RATE, snr_db, "K = 1", figures.rate_axis)
    return figures.svg_row([draw, draw], styles.values(), 6.0, 3.0)


def test_same_numbers_draw_the_same_bytes() -> None:
    assert _draw(_cells(), [0.0, 10.0]) == _draw(_cells(), [0.0, 10.0])
    assert _draw(_cells(), [0.0, 10.0]) != _draw(_cells(found_rate=[0.9, 0.94, 0.4]), [0.0, 10.0])


def test_order_of_rows_draws_the_same_bytes() -> None:
    assert _draw(_cells().iloc[::-1], [0.0, 10.0]) == _draw(_cells(), [0.0, 10.0])


@pytest.mark.parametrize("absent", [[None] * 3, [0.9, None, 0.4]])
def test_absent_values_draw_no_point(absent: list[float | None]) -> None:
    """A point that was not measured leaves the figure that its row was never there."""
    cells = _cells(found_rate=pd.Series(absent, dtype=float))
    assert _draw(cells, [0.0, 10.0]) == _draw(cells.dropna(subset=["found_rate"]), [0.0, 10.0])


def test_one_snr_is_a_figure() -> None:
    assert _draw(_cells().query("snr_db == 0"), [0.0]).startswith(b"<?xml")


def test_refined_methods_come_first_and_learned_leads() -> None:
    order = list(method_styles(["mvdr", "music", "learned", "nomp+ml", "music+ml", "learned+ml"]))
    assert order == ["learned+ml", "music+ml", "nomp+ml", "learned", "music", "mvdr"]


def test_an_estimator_keeps_its_look_and_shares_it_with_no_other() -> None:
    """Colour and marker follow the estimator, refined or not, whatever else is shown."""
    names = ["learned", "music", "mvdr", "music_blend", "mvdr_blend", "nomp", "sbl"]
    styles = method_styles([*names, *(f"{name}+ml" for name in names)])
    looks = {name: (styles[name].colour, styles[name].marker) for name in names}
    assert len(set(looks.values())) == len({look[0] for look in looks.values()}) == len(names)
    assert all((styles[f"{n}+ml"].colour, styles[f"{n}+ml"].marker) == look for n, look in looks.items())
    alone = method_styles(["mvdr"])["mvdr"]
    assert (alone.colour, alone.marker) == looks["mvdr"]
    assert {style.marker for style in styles.values()} <= GLYPHS.keys()


def test_gospa_bars_divide_by_the_squares_of_the_parts() -> None:
    """Only the shares of the parts divide a bar of a given length; swapped parts draw another bar."""
    styles = method_styles(["music"])
    parts = {"gospa_m": [5.0], "gospa_location_m": [3.0], "gospa_missed_m": [4.0], "gospa_false_m": [0.0]}
    bars = {}
    for name, scale in (("as is", 1.0), ("same shares", 2.0)):
        cell = pd.DataFrame(
            {"method": ["music"], **{k: [v[0] * scale] for k, v in parts.items() if k != "gospa_m"}}
        )
        bars[name] = figures.gospa_bars(cell.assign(gospa_m=5.0), styles, "K = 1", 6.0)
    swapped = pd.DataFrame({"method": ["music"], **parts}).rename(
        columns={"gospa_location_m": "gospa_missed_m", "gospa_missed_m": "gospa_location_m"}
    )
    assert bars["as is"] == bars["same shares"]
    assert figures.gospa_bars(swapped, styles, "K = 1", 6.0) != bars["as is"]
