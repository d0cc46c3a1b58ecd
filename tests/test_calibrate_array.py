"""The command `calibrate-array`: scenes of files in, an array out, one line for what is wrong."""

import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
import torch

import risolve
from risolve import cli
from risolve.files.measurement_stream import first_looks, measurement_stream
from risolve.localize import localization_key
from tests.calibration.worlds import World, world
from tests.localization import OPTIONS
from tests.measurement_files import at, changed, with_values, without
from tests.messages import shows

PLACES = ("--elevation", "0", "--range", "inf")


def written(path: Path, made: World, counts: np.ndarray | None = None) -> Path:
    """A file with the true places; counts: of the sources that the truth states."""
    risolve.write_measurements(path, made.placed.observation)
    azimuth, elevation, inverse_range = np.moveaxis(made.placed.sources.numpy(), -1, 0)
    with h5py.File(path, "r+") as file, np.errstate(divide="ignore"):
        n_scenes, n_sources = azimuth.shape
        file["truth/n_sources"] = np.full(n_scenes, n_sources) if counts is None else counts
        file["truth/azimuth_deg"], file["truth/elevation_deg"] = np.rad2deg(azimuth), np.rad2deg(elevation)
        file["truth/range_m"] = 1.0 / inverse_range
    return path


def line(**changes: Any) -> World:
    far = {"nearest": math.inf, "farthest": math.inf, "elevation": 0.0, "n_scenes": 12, "snr_db": 20.0}
    return world("gains", array=risolve.linear(8, 0.05, 0.1), n_antennas=None, **(far | changes))


def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str | Path
) -> tuple[int, str, str]:
    """Exit status and both streams of `calibrate-array`."""
    return command(monkeypatch, capsys, "calibrate-array", *arguments)


def command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str | Path
) -> tuple[int, str, str]:
    """Exit status and both streams."""
    monkeypatch.setattr("sys.argv", ["risolve", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    out, err = capsys.readouterr()
    assert isinstance(ended.value.code, int)
    return ended.value.code, out, err


def test_the_truth_of_several_files_shows_the_array(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One scene has a wrong truth, one states no source, one holds no number."""
    made, target = line(), tmp_path / "array.h5"
    first = written(tmp_path / "first.h5", made, np.where(np.arange(12) == 2, 0, 1))
    second = changed(
        written(tmp_path / "second.h5", made),
        with_values(
            "truth/azimuth_deg", lambda values: np.where(np.arange(12)[:, None] == 5, -values, values)
        ),
        with_values("snapshots", lambda values: np.where(np.arange(12)[:, None, None] == 1, np.nan, values)),
    )
    arguments = (first, second, "--unknown", "gains", *PLACES, "--folds", "2", "--out", target)
    status, out, err = run(monkeypatch, capsys, *arguments)
    assert status == cli.LEFT_OUT
    assert "8 elements" in out and str(target) in out
    assert "second.h5: scene 1 " in err and "second.h5: scenes [5]" in err
    found = risolve.read_array(target)
    assert found.outlying == ((1, 5),) and found.is_better
    assert found.left_out is not None
    pairs = list(zip(found.left_out.observation, found.left_out.scene, strict=True))
    expected = [(0, scene) for scene in range(12) if scene != 2] + [
        (1, scene) for scene in range(12) if scene != 1
    ]
    assert sorted(pairs) == expected
    off = np.angle(found.element_gains / made.true.element_gains.numpy(), deg=True)
    assert np.std(off) < 3.0


def test_scenes_of_different_numbers_of_sources_are_used_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [written(tmp_path / f"{n_sources}.h5", line(n_sources=n_sources)) for n_sources in (1, 2)]
    arguments = ("--unknown", "heading", *PLACES, "--folds", "0", "--out", tmp_path / "array.h5")
    status, _, _ = run(monkeypatch, capsys, *files, *arguments)
    assert status == 0
    assert risolve.read_array(tmp_path / "array.h5").heading_deg is not None


def test_blind_scenes_need_no_truth(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = changed(written(tmp_path / "blind.h5", line()), without("truth"))
    blind = ("--known", "none", "--sources", "1", "--gain-deviation", "1", "--phase-deviation", "20")
    target = tmp_path / "array.h5"
    status, out, _ = run(monkeypatch, capsys, path, "--unknown", "gains", *blind, *PLACES, "--out", target)
    assert status == 0 and "linear phase" in out
    found = risolve.read_array(target)
    assert found.left_out is None and found.held_out is not None
    assert sorted(found.held_out.scene) == list(range(12)) and set(found.held_out.observation) == {0}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--unknown", "gain"), "got ['gain']"),
        (("--unknown", "gains", "--known", "height"), "--known ... got height"),
        (("--unknown", "gains", "--known", "none"), "sources"),
        (("--unknown", "positions"), "position_deviation"),
        (("--unknown", "gains", "--elevation", "5"), "elevation ... scene 0"),
        (("--unknown", "gains", "--folds", "1"), "folds ... got 1"),
    ],
)
def test_what_is_impossible_is_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    said: str,
) -> None:
    path = written(tmp_path / "known.h5", line(n_scenes=4))
    status, out, err = run(monkeypatch, capsys, path, *arguments, "--out", tmp_path / "array.h5")
    assert (status, out) == (cli.FAULTY, "") and not (tmp_path / "array.h5").exists()
    assert len(err.splitlines()) == 1 and re.search(shows(said), err)


def test_a_file_without_truth_and_a_target_of_another_kind_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = changed(written(tmp_path / "bare.h5", line(n_scenes=4)), without("truth"))
    for target, said in ((tmp_path / "array.h5", "bare.h5: truth"), (tmp_path / "array.csv", "array.csv")):
        status, _, err = run(monkeypatch, capsys, path, "--unknown", "gains", "--out", target)
        assert status == cli.FAULTY and said in err and not target.exists()


def test_localize_through_a_calibrated_array_is_locate_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A lost snapshot and a dead antenna are left out of what the calibration made."""
    made = line()
    path, target = written(tmp_path / "known.h5", made), tmp_path / "array.h5"
    arguments = ("--unknown", "gains", *PLACES, "--folds", "2", "--out", target)
    assert run(monkeypatch, capsys, path, *arguments)[0] == 0
    wide = replace(risolve.read_array(target), excess=np.array([0.01, np.nan, np.nan]))
    risolve.write_array(target, wide)
    out = tmp_path / "sources.csv"
    options = ("--sources", "1", *PLACES, "--array", target, "--out", out)
    status, _, err = command(monkeypatch, capsys, "localize", path, *options)
    assert status == 0, err
    found = pd.read_csv(out)
    expected = risolve.locate(
        risolve.read_measurements(path),
        sources=1,
        elevation=0,
        range=np.inf,
        calibration=risolve.read_array(target),
    )
    for name in ("azimuth_deg", "azimuth_std_deg", "fits", "explained"):
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-4, atol=1e-5)
    assert (found.azimuth_std_deg > math.degrees(0.01)).all()
    changed(path, at("snapshots", (3, 2), np.nan), at("snapshots", (4, slice(None), 5), np.nan))
    status, _, err = command(monkeypatch, capsys, "localize", path, *options)
    assert status == 0, err
    lacking = pd.read_csv(out)
    assert len(lacking) == 12
    assert (lacking.azimuth_deg - found.azimuth_deg).abs().max() < 1.0
    drawn = tmp_path / "scene.png"
    status, _, err = command(monkeypatch, capsys, "plot", path, "--scene", "4", *options[:-2], "--out", drawn)
    assert status == 0 and drawn.exists(), err


def test_a_file_is_seen_through_the_coupling_that_was_found(tmp_path: Path) -> None:
    made = world("gains", "coupling", n_scenes=6)
    seen = made.placed.observation
    azimuth, elevation, by_range = (values.numpy() for values in made.placed.sources.unbind(-1))
    truth = {"azimuth": np.rad2deg(azimuth), "elevation": np.rad2deg(elevation), "range": 1.0 / by_range}
    found = risolve.calibrate(seen, unknown=["coupling"], truth=truth, folds=0)
    assert found.coupling is not None and abs(found.coupling) > 0.1
    path = tmp_path / "seen.h5"
    risolve.write_measurements(path, seen)
    with measurement_stream(path, first_looks([path], array=found)) as stream:
        held = stream.read(range(6)).observation
    assert held is not None
    torch.testing.assert_close(held.channel, found.apply(seen).channel.to(held.channel.dtype))


def test_an_array_is_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path, array = written(tmp_path / "known.h5", line(n_scenes=4)), tmp_path / "array.h5"
    assert (
        run(monkeypatch, capsys, path, "--unknown", "gains", *PLACES, "--folds", "0", "--out", array)[0] == 0
    )
    drawn = [tmp_path / name for name in ("array.png", "array.svg", "again.svg")]
    for picture in drawn:
        status, out, err = command(monkeypatch, capsys, "plot", array, "--out", picture)
        assert (status, err) == (0, "") and str(picture) in out
    assert drawn[0].read_bytes().startswith(b"\x89PNG") and drawn[1].read_bytes() == drawn[2].read_bytes()
    for options, said in (
        (("--out", tmp_path / "array.html"), ".png, .svg, got .html"),
        (("--scene", "1", "--out", drawn[0]), "--scene"),
        (("--out", array), "array.h5"),
    ):
        status, _, err = command(monkeypatch, capsys, "plot", array, *options)
        assert status == cli.FAULTY and len(err.splitlines()) == 1 and said in err


def test_what_is_located_depends_on_the_array(tmp_path: Path) -> None:
    path = written(tmp_path / "known.h5", line(n_scenes=2))
    for name in ("one", "other"):
        (tmp_path / name).write_text(name, "utf-8")
    keys = [localization_key([path], OPTIONS, array=tmp_path / name) for name in ("one", "one", "other")]
    assert keys[0] == keys[1] != keys[2]
    assert localization_key([path], OPTIONS) not in keys


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (risolve.linear(8, 0.05, 0.2), "attribute wavelength_m ... 0.1 ... got 0.2"),
        (risolve.linear(8, 0.04, 0.1), "element_positions_m ... m beside"),
        (risolve.linear(7, 0.05, 0.1), "channel ... 8, 8 ... (1, 7, 7)"),
    ],
)
def test_measurements_of_another_array_are_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    array: risolve.Array,
    said: str,
) -> None:
    made, target = line(n_scenes=6), tmp_path / "array.h5"
    own = written(tmp_path / "own.h5", made)
    assert (
        run(monkeypatch, capsys, own, "--unknown", "heading", *PLACES, "--folds", "0", "--out", target)[0]
        == 0
    )
    seen = made.placed.observation
    n_elements = array.n_elements
    other = risolve.Observation(seen.snapshots[..., :n_elements], array)
    risolve.write_measurements(tmp_path / "other.h5", other)
    arguments = (tmp_path / "other.h5", "--sources", "1", *PLACES, "--array", target)
    status, out, err = command(monkeypatch, capsys, "localize", *arguments)
    assert (status, out) == (cli.FAULTY, "")
    assert len(err.splitlines()) == 1 and re.search(shows(f"other.h5: {said}"), err), err
