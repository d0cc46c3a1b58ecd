"""What `localize` tells that is asked for JSON, nothing but errors, or more, for an order or for tracks."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import risolve as library
from risolve.files.located_sources import SCENE_VALUES, VALUES
from tests.measurement_files import at, changed, spread_scenes, write_user_file
from tests.messages import shows
from tests.test_cli import risolve

FAST = ("--estimator", "nomp")


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three scenes of the same two sources, of which the second one is of zeros."""
    path = write_user_file(tmp_path_factory.mktemp("told") / "user.h5", spread_scenes(3))
    return changed(path, at("snapshots", 1, 0.0))


def test_json_is_all_that_is_printed(measured: Path, tmp_path: Path) -> None:
    """It is what --out writes, and the remarks."""
    status, out, err = risolve("localize", measured, *FAST, "--json", "--track")
    document = json.loads(out)
    assert status == 3
    assert [scene["scene"] for scene in document["scenes"]] == [0, 2]
    assert document["remarks"] and all(line in err for line in document["remarks"])
    assert any("nomp" in line for line in document["remarks"])
    risolve("localize", measured, *FAST, "--out", tmp_path / "sources.json", "--track")
    kept = json.loads((tmp_path / "sources.json").read_text())
    assert document == kept | {"remarks": document["remarks"]}
    scene = document["scenes"][0]
    assert set(scene) == {"file", "scene", "sources", *SCENE_VALUES}
    assert set(scene["sources"][0]) == {"source", "track", *VALUES}


def test_numbers_that_are_not_known_are_null_in_json(measured: Path) -> None:
    status, out, _ = risolve("localize", measured, *FAST, "--json", "--range", "inf")
    assert status == 3
    sources = [source for scene in json.loads(out)["scenes"] for source in scene["sources"]]
    for source in sources:
        assert source["range_m"] is None and source["x_m"] is None and source["range_std_m"] is None
        assert source["inverse_range_per_m"] == 0.0 and source["inverse_range_std_per_m"] is None


def test_quiet_says_errors_alone(measured: Path, tmp_path: Path) -> None:
    loud = risolve("localize", measured, *FAST)
    assert risolve("localize", measured, *FAST, "--quiet") == (3, loud[1], "")
    assert loud[2]
    out = tmp_path / "sources.csv"
    assert risolve("localize", measured, *FAST, "--quiet", "--out", out) == (3, "", "")
    assert out.exists()
    status, told, err = risolve("localize", tmp_path / "gone.h5", "--quiet")
    assert (status, told, len(err.splitlines())) == (2, "", 1)
    assert "gone.h5" in err


def test_quiet_of_other_commands(measured: Path, tmp_path: Path) -> None:
    assert risolve("convert", measured, tmp_path / "same.npz", "--quiet") == (0, "", "")
    picture = tmp_path / "scene.svg"
    assert risolve("plot", measured, "--scene", "0", *FAST, "--out", picture, "--quiet") == (0, "", "")
    assert picture.exists()


def test_more_is_said_where_it_is_asked_for(measured: Path) -> None:
    few, more = (risolve("localize", measured, *FAST, *verbose)[2] for verbose in ((), ("-v",)))
    assert re.search(shows("2 in 2 ... explained"), more)
    assert re.search(shows("fits ... of 2"), more)
    assert len(more.splitlines()) == len(few.splitlines()) + 3


@pytest.mark.parametrize(("by", "column", "sign"), [("azimuth", "azimuth_deg", 1), ("power", "power_db", -1)])
def test_sources_stand_in_the_order_asked_for(
    measured: Path, tmp_path: Path, by: str, column: str, sign: int
) -> None:
    risolve("localize", measured, *FAST, "--out", tmp_path / "sources.csv", "--sort", by)
    table = pd.read_csv(tmp_path / "sources.csv")
    assert (sign * table.groupby("scene")[column].diff().dropna() > 0.0).all()
    assert "track" not in table


def test_tracks_are_printed_and_are_an_order(measured: Path) -> None:
    _, out, _ = risolve("localize", measured, *FAST, "--track", "--sort", "track")
    lines = [line.split() for line in out.splitlines()]
    assert lines[0][:3] == ["scene", "source", "track"]
    assert [row[:3] for row in lines[1:5]] == [
        ["0", "0", "0"],
        ["0", "1", "1"],
        ["2", "0", "0"],
        ["2", "1", "1"],
    ]
    azimuths = [float(row[3]) for row in lines[1:5]]
    np.testing.assert_allclose(azimuths[:2], azimuths[2:], atol=2.0)
    assert "2 tracks" in out


def test_peaks_that_are_not_resolved_have_no_track_together(measured: Path) -> None:
    status, out, err = risolve("localize", measured, "--estimator", "music", "--json", "--track")
    assert status == 3
    sources = [source for scene in json.loads(out)["scenes"] for source in scene["sources"]]
    untold = [own["track"] for own in sources if own["azimuth_std_deg"] is None]
    assert len(set(untold)) == len(untold)
    assert bool(untold) == bool(re.search(shows(f"track ... {len(untold)}"), err))


def test_the_same_from_python() -> None:
    scenes = spread_scenes(3)
    located = library.locate(scenes.observation, sources=2, estimator="nomp")
    assert "track" not in located
    found = located.tracked().ordered("track")
    assert isinstance(found, library.FoundSources)
    assert found["track"].tolist() == [0, 1] * 3
    np.testing.assert_array_equal(np.argsort(found["azimuth_deg"][:2]), np.argsort(found["azimuth_deg"][2:4]))


@pytest.mark.parametrize(
    ("options", "law"),
    [
        (("--json", "--out", "sources.csv"), "--json ... --out ... sources.csv"),
        (("--quiet", "-v"), "-v ... --quiet"),
        (("--track-gap", "2"), "--track-gap 2 ... --track"),
        (("--track-gate", "0.1"), "--track-gate 0.1 ... --track"),
        (("--sort", "track"), "--sort track ... --track"),
        (("--track", "--track-gap", "-1"), "--track-gap ... -1"),
        (("--track", "--track-gate", "1.5"), "--track-gate ... 1.5"),
        (("--sort", "colour"), "--sort ... colour"),
    ],
)
def test_what_cannot_be_is_said_before_any_work(measured: Path, options: tuple[str, ...], law: str) -> None:
    status, out, err = risolve("localize", measured, *options)
    assert (status, out) == (2, "")
    assert re.search(shows(law), err.splitlines()[-1])
    assert "searches" not in err
