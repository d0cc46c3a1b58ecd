"""Pictures as files: the same bytes for the same scenes, and a page that needs nothing but itself."""

import html
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from risolve.pictures.kinds import KINDS
from risolve.pictures.page import page
from risolve.pictures.space import shapes
from risolve.pictures.view import Shot, View
from risolve.pictures.written import write_picture
from tests.pictures.cases import one_view

PICTURE = b"<svg/>"


@pytest.fixture(scope="module")
def view() -> View:
    return one_view(range=2.5)


@pytest.mark.parametrize(
    ("ending", "start"), [(".png", b"\x89PNG"), (".svg", b"<?xml"), (".html", b"<!doctype html>")]
)
def test_equal_scenes_make_equal_bytes(view: View, ending: str, start: bytes, tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}{ending}" for number in range(2)]
    for path in paths:
        write_picture(path, [replace(view)], 1)
    first, second = (path.read_bytes() for path in paths)
    assert first == second and first.startswith(start)
    assert b"dc:date" not in first and b"Matplotlib v" not in first
    assert KINDS[ending](paths[0])
    paths[1].write_bytes(first[:10])
    assert not KINDS[ending](paths[1])


def test_a_page_names_no_other_place(view: View) -> None:
    text = page([view], 1, PICTURE)
    addresses = re.findall(r"(?:src|href|url)[=(]\"?([^\")\s]+)", text)
    assert addresses and all(address.startswith("data:") for address in addresses)
    assert set(re.findall(r"https?://[^\"' ]+", text)) == {"http://www.w3.org/2000/svg"}


def test_a_page_holds_what_turns(view: View) -> None:
    (told,) = re.findall(r'data-shapes="([^"]*)"', page([view], 1, PICTURE))
    held, drawn = json.loads(html.unescape(told)), shapes(view)
    assert [(kind, text) for kind, text, _ in held] == [(shape.kind, shape.text) for shape in drawn]
    points = np.concatenate([np.array(points) for *_, points in held])
    ends = np.concatenate([shape.points for shape in drawn])
    centre = (ends.min(0) + ends.max(0)) / 2.0
    assert np.linalg.norm(points, axis=1).max() == pytest.approx(1.0, abs=1e-5)
    scale = np.linalg.norm(ends - centre, axis=1).max()
    np.testing.assert_allclose(points * scale, ends - centre, atol=1e-5)


def test_the_tables_say_it_without_a_picture(view: View) -> None:
    text = page([view], 1, PICTURE)
    rows = re.findall(r"<tr>(.*?)</tr>", text)
    azimuth, elevation, _ = np.rad2deg(view.sources[1].numpy())
    deviation = np.rad2deg(float(view.deviations[1, 0]))
    cells = re.findall(r"<td>(.*?)</td>", rows[2])
    assert cells[0] == "1" and cells[1] == f"{azimuth:.3f} ± {deviation:.2g}" and cells[3] == "2.5"
    assert cells[2].startswith(f"{elevation:.3f} ± ")
    assert view.truth is not None
    assert float(cells[4]) == pytest.approx(np.rad2deg(float(view.truth[1, 0])), abs=1e-3)
    assert re.search(r'role="img" tabindex="0" aria-label="[^"]*15 elements', text)


def test_sources_that_were_missed_and_scenes_without_one_are_told(view: View) -> None:
    def first(n_sources: int) -> View:
        return replace(
            view,
            sources=view.sources[:n_sources],
            covariance=view.covariance[:n_sources],
            power_db=view.power_db[:n_sources],
            rivals=view.rivals[:n_sources],
        )

    missed = r"<tr><td>missed</td><td></td><td></td><td></td><td>[-\d.]+</td>"
    assert re.search(missed, page([first(1)], 1, PICTURE))
    assert re.search(r"<td[^>]*>no source", page([replace(first(0), truth=None)], 1, PICTURE))


def test_a_rival_is_told(view: View) -> None:
    rivals = view.sources.clone()
    rivals[0] = torch.tensor([0.5, -0.25, 0.0])
    rivals[1] = torch.nan
    text = page([replace(view, rivals=rivals)], 1, PICTURE)
    first, second = (re.findall(r"<td>(.*?)</td>", row) for row in re.findall(r"<tr>(.*?)</tr>", text)[1:])
    assert first[4:7] == [f"{np.rad2deg(0.5):.3f}", f"{np.rad2deg(-0.25):.3f}", "inf"]
    assert second[4:7] == ["", "", ""]


def test_a_name_is_no_markup(view: View) -> None:
    named = replace(view, shot=Shot('<b>"&.h5', 0, "ml"))
    text = page([named], 1, PICTURE)
    assert "<b>" not in text and "&lt;b&gt;&quot;&amp;.h5" in text
