"""Sources in an order that is asked for, and their tracks, as a table and in files."""

import csv
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from risolve.files.located_sources import ORDERS, SCENE_VALUES, VALUES, LocatedSources
from risolve.files.sources import KINDS, read_sources, write_sources
from tests.messages import shows

Source = tuple[float, float, float]
"""Azimuth (degrees), range (m) and power (dB)."""


def table(*scenes: Sequence[Source], files: tuple[str, ...] = ("a.h5",)) -> LocatedSources:
    """Scenes as a result; with two files every second one is of the second."""
    rows = np.full((sum(map(len, scenes)), len(VALUES)), np.nan)
    of = {name: number for number, name in enumerate(VALUES)}
    for row, (azimuth, reach, power) in zip(rows, [own for scene in scenes for own in scene], strict=True):
        row[[of[f"{name}_std_deg"] for name in ("azimuth", "elevation")]] = 0.2
        row[of["azimuth_deg"]], row[of["elevation_deg"]], row[of["power_db"]] = azimuth, -azimuth, power
        row[of["range_m"]], row[of["inverse_range_per_m"]] = reach, 1.0 / reach
        row[of["inverse_range_std_per_m"]] = 0.01
    counts = np.array([len(scene) for scene in scenes])
    n_files = len(files)
    order = sorted(range(len(scenes)), key=lambda i: i % n_files)
    in_order = np.concatenate([np.flatnonzero(np.repeat(np.arange(len(scenes)), counts) == i) for i in order])
    held = np.array([(i % n_files, i // n_files, counts[i]) for i in order])
    return LocatedSources(
        estimator="ml",
        files=files,
        file=np.repeat(held[:, 0], held[:, 2]),
        scene=np.repeat(held[:, 1], held[:, 2]),
        source=np.concatenate([np.arange(n) for n in held[:, 2]]),
        values=rows[in_order],
        scenes=held,
        scene_values=np.full((len(scenes), len(SCENE_VALUES)), np.nan),
        left_out=(),
    )


FOUND = table(
    [(20.0, 2.0, 1.0), (-10.0, np.inf, 3.0), (5.0, 1.0, -2.0)], [], [(-9.8, np.inf, 2.0), (20.1, 2.0, 0.0)]
)


@pytest.mark.parametrize(
    ("by", "azimuths"),
    [
        ("power", [-10.0, 20.0, 5.0, -9.8, 20.1]),
        ("azimuth", [-10.0, 5.0, 20.0, -9.8, 20.1]),
        ("elevation", [20.0, 5.0, -10.0, 20.1, -9.8]),
        ("range", [5.0, 20.0, -10.0, 20.1, -9.8]),
        ("track", [20.0, -10.0, 5.0, 20.1, -9.8]),
    ],
)
def test_sources_stand_in_the_order_that_is_asked_for(by: str, azimuths: list[float]) -> None:
    tracked = FOUND.tracked()
    ordered = tracked.ordered(by)
    assert ordered["azimuth_deg"].tolist() == azimuths
    assert ordered["scene"].tolist() == FOUND["scene"].tolist()
    assert ordered["source"].tolist() == [0, 1, 2, 0, 1]
    rows = {tuple(row) for row in np.column_stack((tracked["track"], tracked["azimuth_deg"])).tolist()}
    assert rows == {tuple(row) for row in np.column_stack((ordered["track"], azimuths)).tolist()}
    assert set(ORDERS) == {"power", "azimuth", "elevation", "range", "track"}


def test_values_that_are_equal_or_none_stay_as_they_were() -> None:
    found = table([(3.0, 1.0, np.nan), (1.0, 1.0, 0.0), (2.0, 1.0, 0.0)])
    assert found.ordered("power")["azimuth_deg"].tolist() == [1.0, 2.0, 3.0]
    assert found.ordered("range")["azimuth_deg"].tolist() == [3.0, 1.0, 2.0]


def test_tracks_are_of_the_scenes_of_each_file() -> None:
    scenes = [[(10.0, 1.0, 0.0)], [(-40.0, 1.0, 0.0)], [(10.2, 1.0, 0.0)], [(50.0, 1.0, 0.0)]]
    assert table(*scenes).tracked()["track"].tolist() == [0, 1, 0, 2]
    apart = table(*scenes, files=("a.h5", "b.h5")).tracked()
    assert apart["file"].tolist() == ["a.h5", "a.h5", "b.h5", "b.h5"]
    assert apart["track"].tolist() == [0, 0, 0, 1]


def test_a_scene_that_was_left_out_counts_as_one_without_the_source() -> None:
    found = table([(10.0, 1.0, 0.0)], [(10.0, 1.0, 0.0)])
    later = replace(found, scene=np.array([0, 3]), scenes=np.array([[0, 0, 1], [0, 3, 1]]))
    assert later.tracked(gap=2)["track"].tolist() == [0, 0]
    assert later.tracked(gap=1)["track"].tolist() == [0, 1]


def test_tracks_of_one_scene_and_of_none() -> None:
    assert FOUND.tracked()["track"].tolist() == [0, 1, 2, 1, 0]
    assert table([(1.0, 1.0, 0.0), (9.0, 1.0, 0.0)]).tracked()["track"].tolist() == [0, 1]
    assert table([]).tracked()["track"].tolist() == []


def test_what_is_no_order_or_no_tracking_is_refused() -> None:
    with pytest.raises(ValueError, match="time"):
        FOUND.ordered("time")
    with pytest.raises(ValueError, match="track"):
        FOUND.ordered("track")
    with pytest.raises(ValueError, match=shows("gap ... 0 ... -1")):
        FOUND.tracked(gap=-1)
    for gate in (0.0, 1.0, float("nan")):
        with pytest.raises(ValueError, match=shows(f"gate ... {gate:g}")):
            FOUND.tracked(gate=gate)


@pytest.mark.parametrize("files", [("a.h5",), ("a.h5", "b.h5")])
def test_tracks_in_files_of_every_kind(tmp_path: Path, files: tuple[str, ...]) -> None:
    tracked = table([(10.0, np.inf, 0.0)], [(-40.0, 1.0, 0.0)], [(10.2, 1.0, 0.0)], files=files).tracked()
    expected = tracked["track"].tolist()
    for suffix, is_earlier in KINDS.items():
        path = tmp_path / f"sources{suffix}"
        write_sources(path, tracked)
        assert is_earlier(path)
    with (tmp_path / "sources.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["track"]) for row in rows] == expected
    document = json.loads((tmp_path / "sources.json").read_text())
    sources = [source for scene in document["scenes"] for source in scene["sources"]]
    assert [source["track"] for source in sources] == expected
    assert (sources[0]["range_m"], sources[0]["inverse_range_per_m"]) == (None, 0.0)
    again = read_sources(tmp_path / "sources.h5", None)
    assert repr(list(again.rows())) == repr(list(tracked.rows()))
    assert "track" in again and "track" in repr(again).splitlines()[1]
