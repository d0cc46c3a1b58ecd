"""Scenes with a lost snapshot or antenna are located from the others, as if these were all that there is."""

import csv
import json
import math
import re
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

import risolve as library
from risolve.errors import MeasurementError
from risolve.estimators.contract import Estimate
from risolve.files.located_sources import LocatedSources
from risolve.files.measurement_stream import first_looks, measurement_stream
from risolve.files.sources import write_sources
from risolve.localize import localize, localize_files
from risolve.locating import Localizer
from risolve.physics.observation import Observation
from risolve.words.inspection_measurements import measurement_lines
from tests.localization import OPTIONS, localized
from tests.measurement_files import (
    Change,
    at,
    attribute,
    changed,
    in_turn,
    spread_scenes,
    with_values,
    without,
    worlds,
    write_user_file,
)
from tests.messages import shows
from tests.test_cli import risolve
from tests.test_localize_model import fitting_scenes, tiny_model

ALL = slice(None)


def nothing(file: h5py.File) -> None:
    pass


def noise(name: str, values: np.ndarray) -> Change:
    """The noise of a file in another form."""

    def change(file: h5py.File) -> None:
        del file["noise_power"]
        file[name] = values

    return change


POWERS = 0.01 * np.linspace(0.5, 2.0, 6)
SHARED = with_values("channel", lambda v: v[:1]), with_values("codes", lambda v: v[:1])
CASES: dict[str, Change] = {
    "all of each scene": nothing,
    "one channel and one code set, no noise power": in_turn(*SHARED, without("noise_power")),
    "noise of each antenna": noise("noise_power", POWERS[None]),
    "a covariance of the noise of each scene": noise(
        "noise_covariance", np.stack([k * (np.diag(POWERS) + 0.002) for k in (1, 2, 3, 4)]).astype(complex)
    ),
    "a static background": in_turn(attribute("source_model", "constant"), attribute("background", "static")),
}


def cut(path: Path, scene: int, snapshots: list[int], antennas: list[int], elements: list[int]) -> Path:
    """One scene of a file, without some of its snapshots, antennas and elements, cut out by hand."""
    axes = {
        "snapshots": (snapshots, antennas),
        "channel": (antennas, elements),
        "codes": (snapshots, elements),
        "noise_covariance": (antennas, antennas),
        "noise_power": (antennas,),
    }
    with h5py.File(path) as file, h5py.File(path.with_name(f"{scene}.h5"), "w") as new:
        new.attrs.update(file.attrs)
        new["element_positions_m"] = np.delete(file["element_positions_m"][()], elements, 0)
        for name, gone in axes.items():
            if name in file:
                values = file[name][()]
                values = values[scene : scene + 1] if len(values) > 1 else values
                for axis in range(1, values.ndim):
                    values = np.delete(values, gone[axis - 1], axis)
                new[name] = values
    return path.with_name(f"{scene}.h5")


def require_same(found: LocatedSources, scene: int, expected: LocatedSources) -> None:
    np.testing.assert_allclose(found.values[found.scene == scene], expected.values, rtol=1e-6)


@pytest.mark.parametrize("case", CASES)
def test_what_is_lost_is_cut_out(tmp_path: Path, case: str) -> None:
    """A snapshot in scenes 0 and 3, an antenna in scene 2."""
    lost = at("snapshots", (0, 7, 2), math.nan), at("snapshots", (3, 1), math.inf)
    sound = changed(write_user_file(tmp_path / "sound.h5", spread_scenes(), truth=False), CASES[case])
    path = changed(write_user_file(tmp_path / "user.h5", spread_scenes(), truth=False), CASES[case], *lost)
    changed(path, at("snapshots", (2, ALL, 4), math.nan))
    remarks: list[str] = []
    found = localized(path, estimator="mvdr", remarks=remarks).sources
    assert found.left_out == ()
    assert found.scenes.tolist() == [[0, scene, 2] for scene in range(4)]
    assert found.scene.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert found.source.tolist() == [0, 1] * 4
    for scene, snapshots, antennas in ((0, [7], []), (2, [], [4]), (3, [1], [])):
        by_hand = localized(cut(sound, scene, snapshots, antennas, []), estimator="mvdr")
        require_same(found, scene, by_hand.sources)
    [said] = [line for line in remarks if line.startswith(f"{path}: snapshots: ")]
    assert shows_all(said, "1 of 9 snapshots ... 2 ... 0", "1 of 6 antennas ... 1 ... 2")


def shows_all(line: str, *parts: str) -> bool:
    return all(re.search(shows(part), line) for part in parts)


def test_an_antenna_that_is_an_element_takes_it_along(tmp_path: Path) -> None:
    """With the channel that is the identity, and with none in the file."""
    path = write_user_file(tmp_path / "user.h5", worlds()["no surface"], truth=False)
    by_hand = localized(cut(path, 1, [], [5], [5])).sources
    changed(path, at("snapshots", (1, ALL, 5), math.nan))
    require_same(localized(path).sources, 1, by_hand)
    changed(path, without("channel", "codes"))
    require_same(localized(path).sources, 1, by_hand)


def test_an_antenna_that_is_coupled_to_others_is_not_cut_out(tmp_path: Path) -> None:
    path = write_user_file(tmp_path / "user.h5", worlds()["no surface"], truth=False)
    changed(path, with_values("channel", lambda v: v + 0.01), at("snapshots", (1, ALL, 5), math.nan))
    [(_, scene, reason)] = localized(path, estimator="mvdr").sources.left_out
    assert scene == 1
    assert "1 antennas" in reason and "channel: " in reason


def test_scenes_of_which_too_little_is_left_are_left_out(tmp_path: Path) -> None:
    """Nothing finite, nothing but zeros besides, one antenna, and fewer snapshots than sources."""
    path = write_user_file(tmp_path / "user.h5", spread_scenes(5), truth=False)
    changed(
        path,
        at("snapshots", 0, math.nan),
        in_turn(at("snapshots", 1, 0.0), at("snapshots", (1, 2), math.nan)),
        at("snapshots", (2, ALL, slice(1, None)), math.nan),
        at("channel", (4, 0, 0), math.nan),
        at("snapshots", (4, 3), math.nan),
    )
    remarks: list[str] = []
    found = localized(path, estimator="mvdr", remarks=remarks).sources
    reasons = {scene: reason for _, scene, reason in found.left_out}
    assert list(reasons) == [0, 1, 2, 4]
    assert found.scenes[:, 1].tolist() == [3]
    assert reasons[0] == "snapshots: 54 of 54 numbers are not finite"
    assert shows_all(reasons[1], "1 snapshots ... 2 ... snapshots: all zero")
    assert shows_all(reasons[2], "5 antennas ... 1 ... M = 1")
    assert shows_all(reasons[4], "1 snapshots ... 3 ... channel: 1 of 240")
    assert not [line for line in remarks if line.startswith(f"{path}: snapshots: ")]


def test_a_model_of_another_size_locates_no_rest(tmp_path: Path) -> None:
    _, model = tiny_model(tmp_path)
    path = write_user_file(tmp_path / "user.h5", fitting_scenes(), truth=False)
    changed(path, at("snapshots", (1, 2), math.nan))
    found = localized(path, estimator="music_blend", n_sources=1, model=model).sources
    assert found.scenes[:, 1].tolist() == [0]
    [(_, scene, reason)] = found.left_out
    assert scene == 1
    assert shows_all(reason, "1 snapshots ... 2 ... 6 ... 7 ... ml")


def test_results_of_every_kind_have_the_scenes_in_order(tmp_path: Path) -> None:
    path = write_user_file(tmp_path / "user.h5", spread_scenes(3), truth=False)
    changed(path, at("snapshots", (0, 3), math.nan), at("snapshots", (1, ALL, 0), math.nan))
    found = localized(path, estimator="mvdr").sources
    for ending in ("csv", "json"):
        write_sources(tmp_path / f"sources.{ending}", found)
    with (tmp_path / "sources.csv").open() as file:
        assert [int(row["scene"]) for row in csv.DictReader(file)] == [0, 0, 1, 1, 2, 2]
    stored = json.loads((tmp_path / "sources.json").read_text("utf-8"))
    assert [scene["scene"] for scene in stored["scenes"]] == [0, 1, 2]


def test_a_stopped_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two scenes a batch, one of them with a gap; stopped in the second."""
    monkeypatch.setattr("risolve.files.measurement_stream.MOST_SCENES", 2)
    path = write_user_file(tmp_path / "user.h5", spread_scenes())
    changed(path, at("snapshots", (0, 3), math.nan), at("snapshots", (2, ALL, 0), math.nan))
    options, remarks, again = replace(OPTIONS, estimator="mvdr"), list[str](), list[str]()
    expected = localize_files([path], first_looks([path]), options, remarks.append, None, 1)
    calls: list[tuple[int, int]] = []

    def counted(observation: Observation, localizer: Localizer, n_sources: int | None) -> Estimate:
        calls.append((observation.n_snapshots, observation.n_antennas))
        if len(calls) == 4:
            raise KeyboardInterrupt
        return localize(observation, localizer, n_sources)

    monkeypatch.setattr("risolve.localize.localize", counted)
    with pytest.raises(KeyboardInterrupt):
        localize_files([path], first_looks([path]), options, again.append, tmp_path, 1)
    again.clear()
    found = localize_files([path], first_looks([path]), options, again.append, tmp_path, 1)
    assert calls == [(9, 6), (8, 6), (9, 6), (9, 5), (9, 6), (9, 5)]
    assert repr(list(found.sources.rows())) == repr(list(expected.sources.rows()))
    assert len(found.scores) == 4
    assert again == remarks


def test_a_scene_with_a_gap_is_drawn(tmp_path: Path) -> None:
    path = changed(write_user_file(tmp_path / "user.h5", spread_scenes(2)), at("snapshots", (1, 3), math.nan))
    drawn = tmp_path / "scene.svg"
    status, out, _ = risolve("plot", path, "--scene", "1", "--sources", "2", "--out", drawn)
    assert (status, drawn.is_file()) == (0, True)
    assert out.splitlines()[-1] == f"1 of 2 scenes drawn: {drawn}"


def test_gaps_are_told_and_python_refuses_them(tmp_path: Path) -> None:
    path = write_user_file(tmp_path / "user.h5", spread_scenes(2))
    changed(path, at("snapshots", (1, slice(3, 5)), math.nan))
    with measurement_stream(path, None) as stream:
        lines = measurement_lines(stream)
    assert any(shows_all(line, "2 of 9 snapshots ... 1 ... 1") for line in lines)
    assert not any(line.startswith("scene 1 ") for line in lines)
    with pytest.raises(MeasurementError, match=shows("scene 1: snapshots: 12 of 54 ... 2 snapshots ... 3")):
        library.read_measurements(path)


def test_an_antenna_of_zeros_is_remarked(tmp_path: Path) -> None:
    """In scene 2, and in scene 0, which lacks a snapshot and is located after it."""
    path = write_user_file(tmp_path / "user.h5", spread_scenes(3), truth=False)
    changed(path, at("snapshots", (ALL, ALL, 1), 0.0), at("snapshots", (0, 3), math.nan))
    with h5py.File(path, "r+") as file:
        file["snapshots"][1, :, 1] = 0.1
    remarks: list[str] = []
    found = localized(path, estimator="mvdr", remarks=remarks).sources
    assert found.scenes[:, 1].tolist() == [0, 1, 2]
    assert any(shows_all(line, "0 ... 2 scenes ... 0: ... NaN") for line in remarks)
