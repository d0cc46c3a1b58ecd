"""What of an HDF5 file is read: what stands whole in the file itself, and one line for everything else."""

import ast
import os
import re
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from risolve.errors import ChangedFileError, MeasurementError
from risolve.files.reader import opened
from tests.architecture.source import modules
from tests.measurement_files import Change
from tests.messages import shows

VALUES = np.arange(24.0).reshape(6, 4)


READERS = {f"risolve/files/{name}.py" for name in ("hdf5", "hdf5_objects", "hdf5_survey")}


def file_with(path: Path, change: Change) -> Path:
    """A file of one data set `kept`, and whatever a change makes of `field` and `group/field`."""
    with h5py.File(path, "w") as file:
        file["kept"] = VALUES
        change(file)
    return path


def read(path: Path, name: str) -> np.ndarray:
    with opened(path, "make it") as reader:
        return reader.array(name, np.float64, "row column")


def soft(file: h5py.File) -> None:
    file["field"] = h5py.SoftLink("/kept")


def soft_group(file: h5py.File) -> None:
    file["elsewhere/field"] = VALUES
    file["group"] = h5py.SoftLink("/elsewhere")


def external_link(file: h5py.File) -> None:
    file["field"] = h5py.ExternalLink("other.h5", "/kept")


def virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((6, 4), "f8")
    layout[...] = h5py.VirtualSource(".", "kept", (6, 4))
    file.create_virtual_dataset("field", layout)


def external_storage(file: h5py.File) -> None:
    file.create_dataset("field", (6, 4), "f8", external=[("/etc/passwd", 0, 192)])


def unknown_filter(file: h5py.File) -> None:
    made = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    made.set_chunk((6, 4))
    made.set_filter(32001, h5py.h5z.FLAG_OPTIONAL, (2, 2))
    space, kind = h5py.h5s.create_simple((6, 4)), h5py.h5t.py_create(np.dtype("f8"))
    h5py.h5d.create(file.id, b"field", kind, space, dcpl=made).write_direct_chunk((0, 0), b"packed", 0)


def half_written(file: h5py.File) -> None:
    file.create_dataset("field", (6, 4), "f8", chunks=(1, 4))[:2] = 1.0


def expanding(file: h5py.File) -> None:
    made = file.create_dataset("field", (4000, 500), "f8", chunks=(4000, 500), compression="gzip")
    made.id.write_direct_chunk((0, 0), b"ten bytes!")


REFUSED: dict[str, tuple[Change, str, str]] = {
    "soft link": (soft, "field", "field: ... soft"),
    "soft link above": (soft_group, "group/field", "group: ... soft"),
    "external link": (external_link, "field", "field: ... external link"),
    "virtual": (virtual, "field", "field: a virtual"),
    "external storage": (external_storage, "field", "field: ... other files"),
    "filter": (unknown_filter, "field", "field: ... Blosc (32001)"),
    "never written": (
        lambda file: file.create_dataset("field", (6, 4), "f8"),
        "field",
        "field: 192 bytes",
    ),
    "half written": (
        half_written,
        "field",
        "field: 4 of 6 chunks",
    ),
    "nothing in it": (
        lambda file: file.__setitem__("field", h5py.Empty("f8")),
        "field",
        "field: ... null",
    ),
    "a type": (
        lambda file: file.__setitem__("field", np.dtype("f8")),
        "field",
        "field: ... data set ... group",
    ),
    "itself": (
        lambda file: file.__setitem__("group", file["/"]),
        "group/field",
        "group: ... itself",
    ),
    "a group": (lambda file: file.create_group("field"), "field", "field: ... float64"),
    "expansion": (expanding, "field", "field: 16000000 bytes ... 10"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_stand_whole_in_the_file_is_refused(tmp_path: Path, case: str) -> None:
    change, name, law = REFUSED[case]
    path = file_with(tmp_path / "file.h5", change)
    with pytest.raises(MeasurementError) as caught:
        read(path, name)
    assert re.match(shows(f"{path}: {law}"), str(caught.value))
    assert "\n" not in str(caught.value)
    # what is not asked for stands in nobody's way
    np.testing.assert_array_equal(read(path, "kept"), VALUES)


READ: dict[str, Callable[[h5py.File], object]] = {
    "chunks": lambda file: file.create_dataset("field", data=VALUES, chunks=(4, 3)),
    "packed": lambda file: file.create_dataset("field", data=VALUES, compression="gzip", shuffle=True),
    "lzf": lambda file: file.create_dataset("field", data=VALUES, compression="lzf", fletcher32=True),
    "a second name": lambda file: file.__setitem__("field", file["kept"]),
    "missing numbers": lambda file: file.create_dataset("field", data=VALUES, fillvalue=np.nan, chunks=True),
}


@pytest.mark.parametrize("case", READ)
def test_what_stands_in_the_file_is_read_in_every_layout(tmp_path: Path, case: str) -> None:
    def change(file: h5py.File) -> None:
        READ[case](file)

    path = file_with(tmp_path / "file.h5", change)
    np.testing.assert_array_equal(read(path, "field"), VALUES)


def test_a_fill_value_that_says_so_may_stand_for_what_is_missing(tmp_path: Path) -> None:
    def change(file: h5py.File) -> None:
        file.create_dataset("field", (6, 4), "f8", chunks=(1, 4), fillvalue=np.nan)[:2] = 1.0

    path = file_with(tmp_path / "file.h5", change)
    with opened(path, "make it") as reader:
        values = reader.array("field", np.float64, "row column", finite=False)
    assert np.isnan(values[2:]).all()
    assert (values[:2] == 1.0).all()


@pytest.mark.parametrize(
    ("value", "law"),
    [
        (h5py.Empty("f8"), "attribute size: ... nothing"),
        (np.zeros(3, [("a", "f8")]), "attribute size: ... string ... numbers"),
    ],
)
def test_attributes_that_are_neither_text_nor_numbers_are_refused(
    tmp_path: Path, value: object, law: str
) -> None:
    path = file_with(tmp_path / "file.h5", lambda file: file.attrs.__setitem__("size", value))
    with opened(path, "make it") as reader, pytest.raises(MeasurementError, match=shows(law)):
        reader.attribute("size")


@pytest.mark.parametrize(
    "value", [np.longdouble(0.5), np.float16(0.5), np.array([0.5]), np.array(0.5, ">f4")]
)
def test_numbers_of_every_type_are_positive_numbers(tmp_path: Path, value: object) -> None:
    path = file_with(tmp_path / "file.h5", lambda file: file.attrs.__setitem__("size", value))
    with opened(path, "make it") as reader:
        assert reader.positive("size") == 0.5


def test_text_that_is_not_utf8_is_text(tmp_path: Path) -> None:
    path = file_with(tmp_path / "file.h5", lambda file: file.attrs.__setitem__("name", b"a\xff\x1b"))
    with opened(path, "make it") as reader:
        reader.attribute("name").encode("utf-8")


def test_a_pipe_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "file.h5")
    with pytest.raises(MeasurementError, match=shows("file.h5: ... FIFO")):
        read(tmp_path / "file.h5", "kept")


def test_a_cut_inside_the_data_is_seen_before_they_are_read(tmp_path: Path) -> None:
    """A header that says where the file ends, and agrees with the cut."""
    path = file_with(tmp_path / "file.h5", lambda file: None)
    content = bytearray(path.read_bytes())
    place = content.index(VALUES.tobytes())
    end = len(content).to_bytes(8, "little")
    cut = place + 40
    content[content.index(end) : content.index(end) + 8] = cut.to_bytes(8, "little")
    path.write_bytes(content[:cut])
    with pytest.raises(MeasurementError, match=shows("file.h5: kept: ... damaged")):
        read(path, "kept")


@pytest.mark.parametrize("change", ["written", "replaced", "removed"])
def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path, change: str) -> None:
    path = file_with(tmp_path / "file.h5", lambda file: None)

    def read_twice() -> None:
        with opened(path, "make it") as reader:
            reader.array("kept", np.float64, "row column")
            if change == "written":
                os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))
            elif change == "replaced":
                copy = tmp_path / "copy.h5"
                copy.write_bytes(path.read_bytes())
                os.utime(copy, ns=(0, path.stat().st_mtime_ns))
                copy.replace(path)
            else:
                path.unlink()
            reader.array("kept", np.float64, "row column")

    with pytest.raises(ChangedFileError, match=shows("file.h5: ... changed")):
        read_twice()


def test_a_file_that_changes_after_its_last_numbers_is_refused(tmp_path: Path) -> None:
    path = file_with(tmp_path / "file.h5", lambda file: None)
    with pytest.raises(ChangedFileError), opened(path, "make it"):
        os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))


def imported(tree: ast.Module) -> set[str]:
    nodes = list(ast.walk(tree))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return plain | {str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)}


def test_h5py_is_behind_one_guard() -> None:
    """Whoever else imported h5py would read past the gate."""
    trees = modules("risolve", "stages", "flows")
    found = {path for path, tree in trees.items() if any(name.startswith("h5py") for name in imported(tree))}
    assert found == READERS
