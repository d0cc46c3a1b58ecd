"""A stopped `risolve localize` goes on with what it located, never with what belongs to other work."""

import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import h5py
import pytest

from risolve.errors import ChangedFileError
from risolve.estimators.contract import Estimate
from risolve.field import FieldOfView
from risolve.files.located_sources import joined
from risolve.files.measurement_stream import first_looks
from risolve.files.naming import Naming
from risolve.files.sources import read_sources, write_sources
from risolve.localize import localization_key, localize, localize_files
from risolve.locating import Localizer, Options
from risolve.physics.observation import Observation
from risolve.running.target import parts_directory
from tests.measurement_files import at, changed, spread_scenes, write_user_file
from tests.messages import shows
from tests.tiny_run import environment

OPTIONS = Options(
    estimator="nomp", n_sources=2, field_of_view=FieldOfView(), false_alarm=0.01, model=Path("gone.pt")
)


def silent(line: str) -> None:
    pass


def test_a_stopped_run_goes_on_with_what_it_located(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One scene a batch, the first of them left out; stopped in the third."""
    monkeypatch.setattr("risolve.files.measurement_stream.MOST_SCENES", 1)
    path = changed(write_user_file(tmp_path / "user.h5", spread_scenes(4)), at("snapshots", 0, math.nan))
    expected = localize_files([path], first_looks([path]), OPTIONS, silent, None, 1)
    calls = 0

    def counted(observation: Observation, localizer: Localizer, n_sources: int | None) -> Estimate:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise KeyboardInterrupt
        return localize(observation, localizer, n_sources)

    monkeypatch.setattr("risolve.localize.localize", counted)
    with pytest.raises(KeyboardInterrupt):
        localize_files([path], first_looks([path]), OPTIONS, silent, tmp_path, 1)
    found = localize_files([path], first_looks([path]), OPTIONS, silent, tmp_path, 1)
    assert calls == 4
    assert repr(list(found.sources.rows())) == repr(list(expected.sources.rows()))
    assert found.sources.left_out == expected.sources.left_out != ()
    assert [score.scene for score in found.scores] == [score.scene for score in expected.scores]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    """Parts of two files, one with a scene that is left out; deviations that are not known stay so."""
    files = [write_user_file(tmp_path / f"{name}.h5", spread_scenes(2)) for name in "ab"]
    changed(files[1], at("snapshots", 1, 0.0))
    sources = localize_files(files, first_looks(files), OPTIONS, silent, None, 1).sources
    sources.values[0, 7:] = math.nan
    write_sources(tmp_path / "sources.h5", sources)
    again = joined([read_sources(tmp_path / "sources.h5", None)])
    assert repr(list(again.rows())) == repr(list(sources.rows()))
    assert (again.files, again.left_out) == (sources.files, sources.left_out)
    assert again.scenes.tolist() == sources.scenes.tolist() == [[0, 0, 2], [0, 1, 2], [1, 0, 2]]
    assert [scene for scene, _ in again.of_scenes()] == [0, 1, 0]


def test_other_measurements_and_other_options_are_another_piece_of_work(tmp_path: Path) -> None:
    path = write_user_file(tmp_path / "user.h5", spread_scenes(2))
    other = write_user_file(tmp_path / "other.h5", spread_scenes(2))
    first = localization_key([path], OPTIONS)
    assert localization_key([path], OPTIONS) == first
    assert localization_key([path], replace(OPTIONS, model=Path("also gone.pt"))) == first
    keys = {first, localization_key([other], OPTIONS), localization_key([path, other], OPTIONS)}
    keys.add(localization_key([path], OPTIONS, Naming(is_conjugate=True)))
    keys |= {
        localization_key([path], replace(OPTIONS, **option))
        for option in ({"n_sources": None}, {"false_alarm": 0.1})
    }
    changed(path, at("snapshots", (0, 0, 0), 1.0))
    assert localization_key([path], OPTIONS) not in keys
    assert len(keys) == 6


@pytest.mark.slow
def test_processes_change_no_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of two processes, one of them with a scene that is left out, against those of this one."""
    monkeypatch.setattr("risolve.localize.LEAST_CHUNKS", 1)
    path = changed(write_user_file(tmp_path / "user.h5", spread_scenes(66)), at("snapshots", 65, math.nan))
    looks = first_looks([path])
    alone, shared = (localize_files([path], looks, OPTIONS, silent, None, workers) for workers in (1, 2))
    assert repr(list(shared.sources.rows())) == repr(list(alone.sources.rows()))
    assert shared.sources.left_out == alone.sources.left_out != ()


@pytest.mark.slow
def test_a_killed_command_goes_on(tmp_path: Path) -> None:
    """kill -9 after the first batch; the second call says what it found and leaves the result alone."""
    path = write_user_file(tmp_path / "user.h5", spread_scenes(192))
    out = tmp_path / "sources.csv"
    command = [sys.executable, "-m", "risolve.cli", "localize", path, "--sources", "2", "--out", out]
    with subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE, text=True) as process:
        while not list(parts_directory(out).glob("*/*.h5")):
            assert process.poll() is None
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
    assert not out.exists()
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=120, check=True)
    assert "of 192 scenes found" in done.stderr
    assert done.stdout.startswith("384 sources in 192 scenes")
    assert len(out.read_text("utf-8").splitlines()) == 385
    assert sorted(file.name for file in tmp_path.iterdir()) == ["sources.csv", "user.h5"]


def test_a_damaged_part_is_located_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Damage of any kind: no HDF5, cut, another result, rows that are not those of the scenes."""
    monkeypatch.setattr("risolve.files.measurement_stream.MOST_SCENES", 1)
    path, work = write_user_file(tmp_path / "user.h5", spread_scenes(4)), tmp_path / "work"
    work.mkdir()
    expected = localize_files([path], first_looks([path]), OPTIONS, silent, work, 1).sources
    kept = sorted(work.iterdir())
    assert len(kept) == 4
    kept[0].write_bytes(b"nothing")
    kept[1].write_bytes(kept[1].read_bytes()[:-100])
    with h5py.File(kept[2], "r+") as file:
        file["scenes/n_sources"][0] = 7
    numbers: list[int] = []

    def counted(observation: Observation, localizer: Localizer, n_sources: int | None) -> Estimate:
        numbers.append(observation.n_scenes)
        return localize(observation, localizer, n_sources)

    monkeypatch.setattr("risolve.localize.localize", counted)
    found = localize_files([path], first_looks([path]), OPTIONS, silent, work, 1).sources
    assert numbers == [1, 1, 1]
    assert repr(list(found.rows())) == repr(list(expected.rows()))


def test_a_file_that_is_rewritten_while_it_is_located_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was located before is of the file as it was: a run on the file as it is then begins anew."""
    monkeypatch.setattr("risolve.files.measurement_stream.MOST_SCENES", 1)
    path, work = write_user_file(tmp_path / "user.h5", spread_scenes(3)), tmp_path / "work"
    work.mkdir()
    key = localization_key([path], OPTIONS)
    calls = 0

    def rewriting(observation: Observation, localizer: Localizer, n_sources: int | None) -> Estimate:
        nonlocal calls
        calls += 1
        if calls == 2:
            with path.open("r+b") as file:
                file.seek(-8, os.SEEK_END)
                file.write(b"\x55" * 8)
        return localize(observation, localizer, n_sources)

    monkeypatch.setattr("risolve.localize.localize", rewriting)
    with pytest.raises(ChangedFileError, match=shows("user.h5: ... changed")):
        localize_files([path], first_looks([path]), OPTIONS, silent, work, 1)
    assert (calls, len(list(work.iterdir()))) == (2, 2)
    assert localization_key([path], OPTIONS) != key


def test_a_file_that_is_rewritten_before_it_is_located_is_refused(tmp_path: Path) -> None:
    """Between the first look, or the digest that names the parts, and the opening."""
    path = write_user_file(tmp_path / "user.h5", spread_scenes(2))
    looks = first_looks([path])
    changed(path, at("snapshots", 0, 0.5))
    with pytest.raises(ChangedFileError):
        localize_files([path], looks, OPTIONS, silent, tmp_path, 1)
    assert list(tmp_path.glob("0*.h5")) == []


def test_a_shard_that_comes_later_is_refused(tmp_path: Path) -> None:
    write_user_file(tmp_path / "shard-0000.h5", spread_scenes(2))
    looks = first_looks([tmp_path])
    write_user_file(tmp_path / "shard-0001.h5", spread_scenes(2))
    with pytest.raises(ChangedFileError, match=shows("shard-0001.h5: ")):
        localize_files([tmp_path], looks, OPTIONS, silent, None, 1)
