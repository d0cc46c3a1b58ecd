"""`risolve plot` and `localize --plot` from outside: what is drawn, what is said, what is refused."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.measurement_files import as_npz, at, changed, spread_scenes, write_user_file
from tests.messages import shows
from tests.test_cli import risolve


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_user_file(tmp_path_factory.mktemp("plot") / "user.h5", spread_scenes(3))


def test_a_scene_is_located_alone_and_drawn(path: Path, tmp_path: Path) -> None:
    status, out, err = risolve("plot", path, "--scene", "1", "--sources", "2", "--out", tmp_path / "one.svg")
    assert status == 0
    *table, last = out.splitlines()
    assert [line.split()[:2] for line in table[1:]] == [["1", "0"], ["1", "1"]]
    assert last == f"1 of 3 scenes drawn: {tmp_path / 'one.svg'}"
    assert "localize user.h5: 1 of 1 scenes" in err
    _, whole, _ = risolve("localize", path, "--sources", "2")
    assert [line for line in whole.splitlines() if line.split()[:1] == ["1"]][:2] == table[1:]


def test_all_scenes_are_drawn_where_none_is_named(path: Path, tmp_path: Path) -> None:
    drawn = tmp_path / "all.png"
    known = ["--sources", "2", "--elevation", "-30", "30", "--range", "1", "9"]
    status, out, _ = risolve("plot", as_npz(path), *known, "--out", drawn)
    assert status == 0
    assert out.splitlines()[-1] == f"3 of 3 scenes drawn: {drawn}"


def test_what_localize_found_is_drawn_without_a_second_search(path: Path, tmp_path: Path) -> None:
    arguments = ["localize", path, "--sources", "2", "--plot", tmp_path / "found.html"]
    status, out, err = risolve(*arguments, "--out", tmp_path / "found.csv")
    assert status == 0
    assert f"3 of 3 scenes drawn: {tmp_path / 'found.html'}" in out.splitlines()
    assert err.count("localize user.h5: 3 of 3 scenes") == 1
    table = pd.read_csv(tmp_path / "found.csv")
    page = (tmp_path / "found.html").read_text("utf-8")
    assert all(f"<td>{azimuth:.3f} ± " in page for azimuth in table.azimuth_deg)
    assert page.count("<table>") == 3 and "true azimuth" in page


def test_shards_are_counted_through(path: Path, tmp_path: Path) -> None:
    shards = tmp_path / "shards"
    shards.mkdir()
    for number in range(2):
        (shards / f"shard-{number:04d}.h5").write_bytes(path.read_bytes())
    status, out, _ = risolve("plot", shards, "--scene", "4", "--sources", "2", "--out", tmp_path / "one.svg")
    assert status == 0
    assert [line.split()[0] for line in out.splitlines()[1:3]] == ["4", "4"]
    assert out.splitlines()[-1].startswith("1 of 6 scenes")


def test_a_scene_that_cannot_be_located_is_left_out(tmp_path: Path) -> None:
    path = changed(write_user_file(tmp_path / "user.h5", spread_scenes(3)), at("snapshots", 1, np.nan))
    status, out, err = risolve("plot", path, "--sources", "2", "--out", tmp_path / "all.svg")
    assert status == 3
    assert f"{path}: scene 1 is left out" in err
    assert out.splitlines()[-1].startswith("2 of 3 scenes")
    status, _, err = risolve("plot", path, "--scene", "1", "--out", tmp_path / "one.svg")
    assert status == 2 and not (tmp_path / "one.svg").exists()
    assert err.splitlines()[-1].startswith("error: ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--scene", "3", "--out", "a.png"], "error: --scene: ... 0 to 2 ... 3 scenes ... got 3"),
        (["--scene", "-1", "--out", "a.png"], "error: --scene: ... 0 to 2 ... got -1"),
        (["--out", "a.pdf"], "error: a.pdf: ... .png, .svg, .html, got .pdf"),
        (["--out", "gone/a.png"], "error: gone/a.png: ... gone ... directory"),
        (["--out", "a.png", "--estimator", "nobody"], "error: --estimator: ... 'nobody'"),
        (["--out", "a.png", "--model", "learned.pt"], "error: --model: ml"),
        (["--out", "a.png", "--azimuth", "9", "1"], "error: ... got 9 to 1"),
        ([], "--out"),
    ],
)
def test_what_cannot_be_drawn_is_said(
    path: Path, arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    status, out, err = risolve("plot", path, *arguments)
    assert status == 2 and out == ""
    assert re.search(shows(message), err)
    assert list(tmp_path.iterdir()) == []


def test_nothing_but_a_picture_is_replaced(path: Path, tmp_path: Path) -> None:
    target = tmp_path / "scene.svg"
    target.write_text("<svg/>", "utf-8")
    for command in (["plot", path, "--out", target], ["localize", path, "--plot", target]):
        status, out, err = risolve(*command)
        assert (status, out) == (2, "")
        assert f"error: {target}" in err and target.read_text("utf-8") == "<svg/>"
    target.write_text("<svg><!-- risolve plot --></svg>", "utf-8")
    assert risolve("plot", path, "--scene", "0", "--sources", "2", "--out", target)[0] == 0
    assert b"dc:title" in target.read_bytes()
