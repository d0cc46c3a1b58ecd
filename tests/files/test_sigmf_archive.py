"""SigMF archives: the same as the recording in them, and one line for what is no plain archive of one."""

import io
import re
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from risolve.errors import MeasurementError
from risolve.files.contents import Look
from risolve.files.extents import stamp_of_path
from risolve.files.measurement_stream import first_looks, measurement_stream
from risolve.files.naming import Naming
from risolve.words.inspection import inspect_lines
from tests.localization import column, localized
from tests.messages import shows
from tests.recordings import elements, geometry, paths, write_sigmf, write_sigmf_archive

POSITIONS = elements(4, 0.15)
PLACE = (20.0, -10.0, 1.5)
CAPTURE = {"core:sample_start": 0, "core:frequency": 1e9, "spatial:element_geometry": geometry(POSITIONS)}


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    random = np.random.default_rng(4)
    sent, noise = random.standard_normal((2, 40, 16, 2)) @ [1, 1j]
    wave = np.exp(-2j * np.pi / 0.2998 * paths(POSITIONS, *PLACE))
    return write_sigmf(
        tmp_path / "rec.sigmf-meta", 20.0 * sent[:, :1] * wave + noise, "ci16_le", captures=[CAPTURE]
    )


def snapshots_of(path: Path) -> np.ndarray:
    with measurement_stream(path, None) as stream:
        held = stream.chunk(0, 1).observation
    assert held is not None
    found: np.ndarray = held.snapshots.numpy()
    return found


def refusal(path: Path) -> str:
    looks = {path: Look(stamp_of_path(path), {}, Naming())}
    with pytest.raises(MeasurementError) as caught, measurement_stream(path, looks) as stream:
        stream.chunk(0, 1)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("folder", ["rec/", "./rec/", ""])
def test_an_archive_is_its_recording(tmp_path: Path, recording: Path, folder: str) -> None:
    expected = snapshots_of(recording)
    archive = write_sigmf_archive(tmp_path / "all.sigmf", recording, folder=folder)
    recording.unlink()
    recording.with_suffix(".sigmf-data").unlink()
    assert first_looks([archive])[archive].unread == {}
    np.testing.assert_array_equal(snapshots_of(archive), expected)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["all.sigmf"]


def test_an_archive_is_located_and_explained(tmp_path: Path, recording: Path) -> None:
    archive = write_sigmf_archive(tmp_path / "all.sigmf", recording)
    found = localized(archive, n_sources=1)
    assert column(found, "azimuth_deg")[0] == pytest.approx(PLACE[0], abs=1.0)
    lines, fault = inspect_lines(archive)
    assert fault is None and any("16 antennas" in line for line in lines)


def added(name: str, **stated: object) -> Callable[[tarfile.TarFile], None]:
    def add(archive: tarfile.TarFile) -> None:
        member = tarfile.TarInfo(name)
        for key, value in stated.items():
            setattr(member, key, value)
        archive.addfile(member, io.BytesIO(bytes(member.size)))

    return add


WRONG: dict[str, tuple[Callable[[tarfile.TarFile], None], str]] = {
    "a symbolic link": (added("rec/x", type=tarfile.SYMTYPE, linkname="/etc/passwd"), "rec/x"),
    "a hard link": (added("rec/x", type=tarfile.LNKTYPE, linkname="rec/rec.sigmf-meta"), "rec/x"),
    "a device": (added("rec/x", type=tarfile.CHRTYPE), "rec/x"),
    "a name above": (added("../x"), "../x"),
    "a name from the root": (added("/x"), "/x"),
    "a folder in a folder": (added("rec/more/x"), "rec/more/x"),
    "an empty folder in a folder": (added("rec/more", type=tarfile.DIRTYPE), "rec/more"),
    "a name twice": (added("rec/rec.sigmf-data"), "rec/rec.sigmf-data ... after 2"),
    "two recordings": (added("rec/b.sigmf-meta"), "2 ... .sigmf-meta"),
    "letters that are not printed": (added("rec/a\nb/c"), "rec/a\\nb/c"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_no_plain_archive_is_one_line(tmp_path: Path, recording: Path, case: str) -> None:
    add, law = WRONG[case]
    archive = write_sigmf_archive(tmp_path / "all.sigmf", recording)
    with tarfile.open(archive, "a") as held:
        add(held)
    assert re.search(shows(f"{archive}: ... {law}"), refusal(archive))
    assert first_looks([archive])[archive].unread


def test_archives_that_lack_a_file_are_named(tmp_path: Path, recording: Path) -> None:
    for name, law in (
        ("rec.sigmf-meta", "samples: ... rec.sigmf-data"),
        ("rec.sigmf-data", "0 ... .sigmf-meta"),
    ):
        with tarfile.open(tmp_path / "all.sigmf", "w") as archive:
            archive.add(recording.with_name(name), name)
        assert re.search(shows(law), refusal(tmp_path / "all.sigmf"))


def test_metadata_are_of_a_bounded_size(tmp_path: Path, recording: Path) -> None:
    recording.write_bytes(recording.read_bytes() + b" " * 10**7)
    archive = write_sigmf_archive(tmp_path / "all.sigmf", recording)
    assert re.search(shows(f"10000000 ... got {recording.stat().st_size}"), refusal(archive))


@pytest.mark.parametrize("kept", [0.0, 0.1, 0.4, 0.6])
def test_an_archive_that_is_cut_is_one_line(tmp_path: Path, recording: Path, kept: float) -> None:
    archive = write_sigmf_archive(tmp_path / "all.sigmf", recording)
    whole = archive.read_bytes()[: 512 * 7]
    archive.write_bytes(whole[: int(kept * len(whole))])
    assert str(archive) in refusal(archive)


def test_headers_upon_headers_are_one_line(tmp_path: Path) -> None:
    member = tarfile.TarInfo("rec/rec.sigmf-meta")
    member.type = tarfile.GNUTYPE_LONGNAME
    archive = tmp_path / "all.sigmf"
    archive.write_bytes(member.tobuf(tarfile.GNU_FORMAT) * 3000)
    assert str(archive) in refusal(archive)
