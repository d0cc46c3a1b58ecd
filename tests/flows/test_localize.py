"""The localize flow: a folder of files, one of them bad, one with a bad scene."""

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from prefect.client.orchestration import get_client

import risolve
from flows.localize import MEASUREMENTS, LocalizeError, localize
from tests.measurement_files import as_npz, at, changed, spread_scenes, write_user_file
from tests.messages import shows

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_server", "served")]


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that the flows are served with."""
    folder = tmp_path / "measured; $(here)"
    folder.mkdir()
    monkeypatch.setenv(MEASUREMENTS, str(folder))
    return folder


def test_the_files_of_a_folder_are_located_and_what_is_wrong_is_said(served: Path) -> None:
    write_user_file(served / "a.h5", spread_scenes(2))
    changed(write_user_file(served / "b.h5", spread_scenes(2)), at("snapshots", 1, 0.0))
    (served / "c.h5").write_bytes(b"no measurements")
    rows = localize(folder="", n_sources=2)
    assert [row["file"] for row in rows] == ["a.h5", "b.h5", "c.h5"]
    assert [row["located"] for row in rows] == [
        "4 sources in 2 scenes",
        "2 sources in 1 scenes; 1 scenes left out",
        "",
    ]
    assert [row["left out"] for row in rows] == ["", "some scenes", ""]
    assert "HDF5" in rows[2]["error"] and not rows[2]["result"]
    with (served / "sources/a.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 4
    with get_client(sync_client=True) as client:
        keys = {artifact.key: artifact.data for artifact in client.read_artifacts()}
        runs = client.read_task_runs()
        states = {run.name: run.state_name for run in runs}
    assert "HDF5" in keys["sources"]
    assert [states[f"{name}.h5"] for name in "abc"] == ["Completed", "Completed", "Failed"]
    assert {run.run_count for run in runs} == {1}


def test_files_of_other_programs_have_tables_of_their_own(served: Path) -> None:
    for name in ("a", "b"):
        as_npz(write_user_file(served / f"{name}.h5", spread_scenes(1)))
    (served / "b.h5").unlink()
    rows = localize(folder="", n_sources=2)
    assert [row["file"] for row in rows] == ["a.h5", "a.npz", "b.npz"]
    assert {row["located"] for row in rows} == {"2 sources in 1 scenes"}
    assert [Path(row["result"]).name for row in rows] == ["a.h5.csv", "a.npz.csv", "b.csv"]


def test_a_form_takes_a_calibrated_array(served: Path, tmp_path: Path) -> None:
    """It is a file of the folder, and none to be located; one of other places is refused."""
    write_user_file(served / "a.h5", spread_scenes(1))
    seen = risolve.read_measurements(served / "a.h5")
    noise = torch.randn(seen.snapshots.shape, generator=torch.Generator().manual_seed(1))
    found = risolve.calibrate(
        replace(seen, snapshots=seen.snapshots + 1e-3 * noise), unknown=["antenna_gains"], sources=2, folds=0
    )
    turned = replace(found, excess=np.array([0.2, 0.0, 0.0]))
    risolve.write_array(served / "array.h5", turned)
    (row,) = localize(folder="", n_sources=2, array="array.h5")
    assert row["file"] == "a.h5" and row["located"] == "2 sources in 1 scenes"
    with (served / "sources/a.csv").open(newline="") as file:
        assert all(float(row["azimuth_std_deg"]) > np.rad2deg(0.19) for row in csv.DictReader(file))
    (served / "array.h5").rename(tmp_path / "array.h5")
    with pytest.raises(LocalizeError, match=shows(served.name[:8])):
        localize(folder="", array=str(tmp_path / "array.h5"))


def test_the_summary_stands_before_a_long_comparison_with_the_truth(served: Path) -> None:
    write_user_file(served / "a.h5", spread_scenes(14))
    (row,) = localize(folder="", n_sources=2)
    assert row["located"] == "28 sources in 14 scenes"


def test_limits_of_a_form_bind_and_are_numbers(served: Path) -> None:
    write_user_file(served / "a.h5", spread_scenes(1))
    localize(folder="", n_sources=2, azimuth="-40 -7.5", elevation="-1")
    with (served / "sources/a.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert all(-40.0 <= float(row["azimuth_deg"]) <= -7.5 for row in rows)
    assert {float(row["elevation_deg"]) for row in rows} == {-1.0} and len(rows) == 2
    with pytest.raises(LocalizeError, match="range.*'near'"):
        localize(folder="", range="near")


@pytest.mark.parametrize("content", [None, b"no measurements"])
def test_a_folder_without_anything_to_locate_fails(served: Path, content: bytes | None) -> None:
    if content is not None:
        (served / "c.h5").write_bytes(content)
    with pytest.raises(
        LocalizeError, match=shows("*.h5, *.npz, *.mat" if content is None else "c.h5: ... HDF5")
    ):
        localize(folder=str(served))


def test_a_name_is_no_option_and_no_code_of_the_folder_runs(served: Path) -> None:
    """The scene is located by this code, from the root of the repository, whatever lies beside it."""
    write_user_file(served / "--help.h5", spread_scenes(1))
    (served / "h5py.py").write_text("open('ran', 'w')")
    (row,) = localize(folder=".", results="a b", n_sources=2)
    assert row["located"] == "2 sources in 1 scenes"
    assert row["result"] == str(served / "a b" / "--help.csv")
    assert sorted(path.name for path in served.iterdir()) == ["--help.h5", "a b", "h5py.py"]


def test_a_name_is_text_in_logs_and_summary(served: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Whatever its bytes are: controls of a terminal, none of UTF-8."""
    name = "red\x1b[31m\udcff.h5"
    write_user_file(served / "a.h5", spread_scenes(1)).rename(served / name)
    (row,) = localize(n_sources=2)
    assert (row["file"], row["located"]) == ("red\\x1b[31m\\udcff.h5", "2 sources in 1 scenes")
    assert (served / "sources" / "red\x1b[31m\udcff.csv").is_file()
    assert "\x1b[31m" not in "".join(capfd.readouterr())
    with pytest.raises(LocalizeError, match=r"no\\x1b\[2J") as error:
        localize(folder="no\x1b[2J")
    assert "\x1b" not in str(error.value)


def test_the_reason_is_that_of_the_child(served: Path) -> None:
    write_user_file(served / "a.h5", spread_scenes(1))
    with pytest.raises(LocalizeError, match=r"a\.h5: .*--help.*exit status 2"):
        localize(estimator="--help")


@pytest.mark.parametrize("what", ["folder", "results", "file", "result", "sources"])
@pytest.mark.parametrize("how", ["path", "link"])
def test_a_form_reads_and_writes_under_what_is_served(
    served: Path, tmp_path: Path, what: str, how: str
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    write_user_file(outside / "a.h5", spread_scenes(1))
    (outside / "a.csv").write_text("kept")
    given: dict[str, Any] = {}
    if what in ("folder", "results"):
        if what == "results":
            write_user_file(served / "a.h5", spread_scenes(1))
        given[what] = str(outside) if how == "path" else "link"
        (served / "link").symlink_to(outside)
    elif what == "file":
        (served / "a.h5").symlink_to(outside / "a.h5" if how == "path" else "../outside/a.h5")
    else:
        write_user_file(served / "a.h5", spread_scenes(1))
        (served / ("a.csv" if what == "result" else "sources")).symlink_to(
            outside / "a.csv" if what == "result" else outside
        )
        given["results"] = "." if what == "result" else ""
    with pytest.raises(LocalizeError, match=shows(served.name[:8])):
        localize(**given)
    assert sorted(path.name for path in outside.iterdir()) == ["a.csv", "a.h5"]
    assert (outside / "a.csv").read_text() == "kept"
