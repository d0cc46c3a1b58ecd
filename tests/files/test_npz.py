"""NumPy archives of measurements: the numbers of the HDF5 file, and one line for what is odd or hostile."""

import io
import re
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import risolve
from risolve.errors import ChangedFileError, MeasurementError
from risolve.files import hdf5
from risolve.files.measurement_stream import first_looks, measurement_stream
from risolve.files.registry import FORMATS
from risolve.words.inspection import inspect_lines
from tests.localization import localized
from tests.measurement_files import as_npz, spread_scenes, worlds, write_user_file
from tests.messages import shows

Files = dict[str, bytes]


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return as_npz(write_user_file(tmp_path / "user.h5", spread_scenes()))


def files_in(path: Path) -> Files:
    with zipfile.ZipFile(path) as held:
        return {name: held.read(name) for name in held.namelist()}


def rewritten(path: Path, files: Mapping[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as held:
        for name, content in files.items():
            held.writestr(name, content)
    return path


def npy(values: Any, **options: Any) -> bytes:
    held = io.BytesIO()
    np.lib.format.write_array(held, np.asanyarray(values), **options)
    return held.getvalue()


def header(text: str, version: bytes = b"\1\0", data: bytes = bytes(8)) -> bytes:
    """An array of this header."""
    line = text.encode() + b"\n"
    return b"\x93NUMPY" + version + len(line).to_bytes(2, "little") + line + data


def refusal(path: Path) -> str:
    """What `localize` says of a file, without its name."""
    with pytest.raises(MeasurementError) as caught, measurement_stream(path, first_looks([path])) as stream:
        stream.truth()
    line = str(caught.value)
    assert line.startswith(f"{path}: ") and "\n" not in line
    return line.removeprefix(f"{path}: ")


@pytest.mark.parametrize("name", list(worlds()))
def test_the_same_sources_as_of_the_hdf5_file(tmp_path: Path, name: str) -> None:
    path = write_user_file(tmp_path / "user.h5", worlds()[name])
    expected, found = localized(path), localized(as_npz(path))
    np.testing.assert_array_equal(found.sources.values, expected.sources.values)
    np.testing.assert_array_equal(found.sources.scenes, expected.sources.scenes)
    for one, other in zip(found.scores, expected.scores, strict=True):
        np.testing.assert_array_equal(one.agreement.deviation, other.agreement.deviation)


def test_the_same_observation_through_the_door(tmp_path: Path) -> None:
    seen = spread_scenes().observation
    risolve.write_measurements(tmp_path / "seen.h5", seen)
    risolve.write_measurements(tmp_path / "seen.npz", seen)
    risolve.write_measurements(tmp_path / "again.npz", seen)
    assert (tmp_path / "seen.npz").read_bytes() == (tmp_path / "again.npz").read_bytes()
    expected, found = (risolve.read_measurements(tmp_path / f"seen.{end}") for end in ("h5", "npz"))
    for name in ("snapshots", "channel", "codes", "noise_power"):
        assert torch.equal(getattr(found, name), getattr(expected, name)), name
    assert torch.equal(found.array.elements, expected.array.elements)
    assert (found.array.wavelength, found.source_model) == (0.3, "independent")
    with np.load(tmp_path / "seen.npz", allow_pickle=False) as held:
        np.testing.assert_array_equal(held["snapshots"], seen.snapshots.numpy())
        assert str(held["format"]) == "risolve-measurements"


def test_inspect_explains_an_archive(archive: Path) -> None:
    lines, fault = inspect_lines(archive)
    assert fault is None
    assert (
        lines[0]
        == f"{archive}: risolve-measurements 1: measurements: coded snapshots with the system behind them"
    )
    assert "attribute wavelength_m = 0.3" in lines
    assert "snapshots            complex64  (4, 9, 6)" in lines
    assert not [line for line in lines if line.startswith("version ")]


def test_a_format_is_known_by_its_first_bytes(archive: Path) -> None:
    expected = localized(archive).sources.values
    swapped = [archive.rename(archive.with_name("really.h5")), archive.with_suffix(".h5").rename(archive)]
    for path in swapped:
        np.testing.assert_array_equal(localized(path).sources.values, expected)


@pytest.mark.parametrize("name", ["user.csv", "user.txt", "user.npy", "user"])
def test_another_kind_of_file_is_told_which_are_read(tmp_path: Path, name: str) -> None:
    np.save(tmp_path / "array", np.ones(3))
    path = (tmp_path / "array.npy").rename(tmp_path / name)
    assert re.search(shows(".h5 ... .hdf5 ... .mat ... .npz"), refusal(path))
    with pytest.raises(ValueError, match=shows(".h5 ... .npz")):
        risolve.write_measurements(path, spread_scenes(1).observation)


def test_an_ending_is_written_in_one_format() -> None:
    endings = [ending for form in FORMATS if form.write is not None for ending in form.suffixes]
    assert sorted(endings) == sorted(set(endings)) == [".h5", ".hdf5", ".npz"]


@pytest.mark.parametrize(
    "turned",
    [
        pytest.param(np.asfortranarray, id="Fortran order"),
        pytest.param(lambda values: values.astype(values.dtype.newbyteorder(">")), id="big-endian"),
    ],
)
def test_numbers_may_lie_in_another_order(archive: Path, turned: Callable[[np.ndarray], np.ndarray]) -> None:
    expected = risolve.read_measurements(archive)
    with np.load(archive) as held:
        entries: dict[str, Any] = dict(held)
    np.savez(archive, **{name: turned(one) if one.ndim else one for name, one in entries.items()})
    found = risolve.read_measurements(archive)
    assert torch.equal(found.snapshots, expected.snapshots)
    assert torch.equal(found.channel, expected.channel)
    assert torch.equal(found.array.elements, expected.array.elements)


def test_columns_are_read_up_to_a_limit(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = files_in(archive) | {"codes.npy": npy(np.asfortranarray(np.ones((1, 9, 40), np.complex64)))}
    monkeypatch.setattr("risolve.formats.npz.MOST_BYTES", 2000)
    law = refusal(rewritten(archive, files))
    assert law.startswith("codes: at most 2000 bytes column by column (Fortran order), got 2880; ")


ENTRIES: dict[str, tuple[bytes | None, str]] = {
    "a pickle": (
        npy(np.array([print], dtype=object), allow_pickle=True),
        "snapshots: numbers or text, got Python objects (1,), a pickle, which is not loaded",
    ),
    "a bomb": (
        header("{'descr': '<c8', 'fortran_order': False, 'shape': (1000000000, 9, 6)}"),
        "snapshots: complex64 (1000000000, 9, 6) declared, 432000000000 bytes, 8 stored; the file is damaged",
    ),
    "more than is declared": (
        header("{'descr': '<c8', 'fortran_order': False, 'shape': (1, 1, 1)}", data=bytes(99)),
        "snapshots: complex64 (1, 1, 1) declared, 8 bytes, 99 stored; the file is damaged",
    ),
    "an endless axis": (
        header("{'descr': '<c8', 'fortran_order': False, 'shape': (0, 9, " + "9" * 60 + ")}"),
        "snapshots: at most 32 axes of 0 to 281474976710656, got (0, 9, 9999",
    ),
    "a negative axis": (
        header("{'descr': '<c8', 'fortran_order': False, 'shape': (-1, -1, 1)}"),
        "snapshots: at most 32 axes of 0 to 281474976710656, got (-1, -1, 1)",
    ),
    "many axes": (
        header("{'descr': '<c8', 'fortran_order': False, 'shape': (" + "1, " * 40 + ")}"),
        "snapshots: at most 32 axes",
    ),
    "a type without bytes": (
        header("{'descr': '|S0', 'fortran_order': False, 'shape': (9,)}"),
        "snapshots: numbers or text, got |S0 (9,), which has no bytes",
    ),
    "an unknown type": (
        header("{'descr': 'quaternion', 'fortran_order': False, 'shape': (1,)}"),
        "snapshots: no header of an array (descr is not a valid dtype descriptor: 'quaternion')",
    ),
    "an expression": (
        header("{'descr': '<c8', 'fortran_order': False, 'shape': (print(1),)}"),
        "snapshots: no header of an array (",
    ),
    "brackets": (header("(" * 9000), "snapshots: no header of an array ("),
    "half a header": (header("{'descr': '<c8'")[:14], "snapshots: no header of an array ("),
    "another version": (
        header("{'descr': '<c8', 'fortran_order': False, 'shape': (1,)}", b"\3\0"),
        "snapshots: a header of version 1.0 or 2.0, got 3.0",
    ),
    "no array": (b"text", "snapshots: no header of an array ("),
    "nothing": (b"", "snapshots: no header of an array ("),
    "missing": (
        None,
        "snapshots: missing; the file holds channel (4, 6, 40), codes (4, 9, 40), ",
    ),
    "another type": (
        npy(np.ones((4, 9, 6))),
        "snapshots: complex64 (or complex128), got float64: real numbers",
    ),
    "another shape": (
        npy(np.ones((4, 9, 6, 1), np.complex64)),
        "snapshots: 3 axes [scene, snapshot, antenna], got 4",
    ),
}


@pytest.mark.parametrize("case", ENTRIES)
def test_an_odd_entry_is_named(archive: Path, case: str) -> None:
    content, law = ENTRIES[case]
    files = files_in(archive)
    del files["snapshots.npy"]
    if content is not None:
        files["snapshots.npy"] = content
    assert refusal(rewritten(archive, files)).startswith(law)


@pytest.mark.parametrize("case", ["a pickle", "a bomb", "nothing"])
def test_what_nobody_asks_for_may_be_anything(archive: Path, case: str) -> None:
    content, _ = ENTRIES[case]
    assert content is not None
    expected = risolve.read_measurements(archive)
    found = risolve.read_measurements(rewritten(archive, files_in(archive) | {"mine.npy": content}))
    assert torch.equal(found.snapshots, expected.snapshots)


@pytest.mark.parametrize(
    ("name", "content", "law"),
    [
        (
            "wavelength_m",
            npy(np.array([0.3])),
            "attribute wavelength_m: missing",
        ),
        ("wavelength_m", npy(0.3j), "attribute wavelength_m: a positive, finite number, got 0.3j"),
        (
            "source_model",
            npy(np.array(["constant", "independent"])),
            "attribute source_model: 'independent' or",
        ),
        (
            "source_model",
            npy(np.array("constant", object), allow_pickle=True),
            "attribute source_model: numbers",
        ),
        (
            "source_model",
            npy("x" * 2**19),
            "attribute source_model: at most 1048576 bytes of text, got 2097152",
        ),
        (
            "format",
            npy(np.array([2**31 - 1], np.uint32).view("<U1")),
            "attribute format: text, got 2147483647",
        ),
        ("noise_power", npy("0.1"), "noise_power: real numbers [scene], got <U3 ()"),
        ("truth/n_sources", b"damage", "truth/n_sources: no header of an array"),
    ],
)
def test_an_odd_attribute_is_named(archive: Path, name: str, content: bytes, law: str) -> None:
    assert refusal(rewritten(archive, files_in(archive) | {f"{name}.npy": content})).startswith(law)


@pytest.mark.parametrize(
    "name",
    ["../codes.npy", "/codes.npy", "a/../codes.npy", "a\\codes.npy", "a//b.npy", "c\x1b[31m.npy", "codes"],
)
def test_names_that_lead_elsewhere_are_refused(archive: Path, name: str) -> None:
    law = refusal(rewritten(archive, files_in(archive) | {name: npy(1.0)}))
    assert law.startswith(f"no NumPy archive that is read: {name!r}: NAME.npy is read, or GROUP/NAME.npy; ")


def test_compressed_archives_are_refused(archive: Path) -> None:
    law = refusal(rewritten(archive, files_in(archive), zipfile.ZIP_DEFLATED))
    assert re.search(r"'\w+\.npy': not a file that is stored as it is \(\d+ bytes, \d+ in the archive\)", law)
    assert "numpy.savez" in law


def test_two_entries_of_one_name_are_refused(archive: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(archive, "a") as held:
        held.writestr("codes.npy", npy(1.0))
    assert "two entries of one name" in refusal(archive)


def test_an_entry_has_one_name(archive: Path) -> None:
    """The directory of the archive says `codes`, what stands before the bytes says `modes`."""
    archive.write_bytes(archive.read_bytes().replace(b"codes.npy", b"modes.npy", 1))
    assert "'codes.npy': has another name, 'modes.npy', where its bytes are" in refusal(archive)


@pytest.mark.parametrize("kept", [0.0, 0.01, 0.5, 0.9, 0.99, 0.9999])
def test_a_truncated_archive_is_named(archive: Path, kept: float) -> None:
    content = archive.read_bytes()
    archive.write_bytes(content[: int(kept * len(content))])
    assert refusal(archive).startswith(("not a NumPy archive; ", "no NumPy archive that is read: "))


def test_a_damaged_entry_is_named(archive: Path) -> None:
    with np.load(archive) as held:
        numbers = held["channel"].tobytes()
    content = archive.read_bytes()
    place = content.index(numbers) + 100
    archive.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
    assert re.match(
        r"channel: the \d+ bytes have the checksum [0-9a-f]{8}, the archive says ", refusal(archive)
    )


def test_an_archive_that_changes_is_refused(archive: Path) -> None:
    files = files_in(archive)
    with (
        pytest.raises(ChangedFileError, match="user.npz"),
        measurement_stream(archive, first_looks([archive])) as stream,
    ):
        rewritten(archive, files)
        stream.read(range(2))
    looks = first_looks([archive])
    hdf5.write(archive, {"format": "another"}, {})
    with pytest.raises(ChangedFileError), measurement_stream(archive, looks):
        pass


def test_scenes_that_are_not_finite_are_left_out(archive: Path) -> None:
    with np.load(archive) as held:
        entries = dict(held)
    entries["snapshots"][2, 3, 1] = np.nan
    np.savez(archive, **entries)
    with measurement_stream(archive, None) as stream:
        assert stream.read(range(4)).left_out == {2: "snapshots: 1 of 54 numbers are not finite"}
        assert stream.knows_noise_power
    with pytest.raises(MeasurementError, match="user.npz: scene 2: snapshots: 1 of 54"):
        risolve.read_measurements(archive)
