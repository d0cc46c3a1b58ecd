"""The localize flow: a folder of files, one of them bad, one with a bad scene."""

import csv
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client

from flows.localize import LocalizeError, localize
from tests.measurement_files import at, changed, spread_scenes, write_user_file

pytestmark = pytest.mark.usefixtures("prefect_server")


def test_the_files_of_a_folder_are_located_and_what_is_wrong_is_said(tmp_path: Path) -> None:
    write_user_file(tmp_path / "a.h5", spread_scenes(2))
    changed(write_user_file(tmp_path / "b.h5", spread_scenes(2)), at("snapshots", 1, 0.0))
    (tmp_path / "c.h5").write_bytes(b"no measurements")
    rows = localize(folder=str(tmp_path), n_sources=2)
    assert [row["file"] for row in rows] == ["a.h5", "b.h5", "c.h5"]
    assert [row["located"] for row in rows] == [
        "4 sources in 2 scenes",
        "2 sources in 1 scenes; 1 scenes left out",
        "",
    ]
    assert [row["left out"] for row in rows] == ["", "some scenes", ""]
    assert "not an HDF5 file" in rows[2]["error"] and not rows[2]["result"]
    with (tmp_path / "sources/a.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 4
    with get_client(sync_client=True) as client:
        keys = {artifact.key: artifact.data for artifact in client.read_artifacts()}
    assert "not an HDF5 file" in keys["sources"]


@pytest.mark.parametrize("content", [None, b"no measurements"])
def test_a_folder_without_anything_to_locate_fails(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "c.h5").write_bytes(content)
    with pytest.raises(
        LocalizeError, match=r"measurement files \(\*.h5\) is needed" if content is None else "c.h5: .*HDF5"
    ):
        localize(folder=str(tmp_path))
