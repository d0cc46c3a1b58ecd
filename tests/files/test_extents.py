"""Rows of contiguous data sets: what HDF5 reads, and what is no longer what was checked."""

import os
from pathlib import Path

import h5py
import numpy as np
import pytest

from risolve.errors import MeasurementError
from risolve.files import hdf5
from risolve.files.extents import Extent, stamp_of
from risolve.files.reader import opened
from tests.messages import shows

VALUES = (np.arange(7 * 3 * 2) - 20j).reshape(7, 3, 2).astype(np.complex64)


def written(directory: Path) -> Path:
    path = directory / "file.h5"
    hdf5.write(
        path, {"format": "f", "version": 1}, {"first": np.arange(5.0), "field": [VALUES[:4], VALUES[4:]]}
    )
    return path


def extent_of(path: Path, name: str = "field") -> Extent:
    with opened(path, "make it") as reader:
        return reader.extent(name, np.complex64, "scene 3 2")


@pytest.mark.parametrize(("first", "last"), [(0, 7), (2, 5), (6, 7), (3, 3)])
def test_rows_are_those_of_hdf5(tmp_path: Path, first: int, last: int) -> None:
    found = extent_of(written(tmp_path)).read(first, last)
    assert found.dtype == np.complex64
    np.testing.assert_array_equal(found, VALUES[first:last])


def test_a_file_that_is_read_in_pieces_is_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A system call may give fewer bytes than it is asked for."""
    whole = os.preadv

    def few(descriptor: int, buffers: list[memoryview], offset: int) -> int:
        return whole(descriptor, [buffers[0][:10]], offset)

    extent = extent_of(written(tmp_path))
    monkeypatch.setattr(os, "preadv", few)
    np.testing.assert_array_equal(extent.read(0, 7), VALUES)


def test_no_file_stays_open(tmp_path: Path) -> None:
    extent = extent_of(written(tmp_path))
    before = os.listdir("/proc/self/fd")
    for _ in range(3):
        extent.read(0, 7)
    assert os.listdir("/proc/self/fd") == before


def test_a_changed_file_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path)
    extent = extent_of(path)
    with h5py.File(path, "r+") as file:
        file["field"][0, 0, 0] = 1.0
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))
    with pytest.raises(MeasurementError, match=shows("file.h5: field: ... changed")):
        extent.read(0, 1)


def test_a_cut_file_that_looks_unchanged_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path)
    extent = extent_of(path)
    stamp = path.stat()
    path.write_bytes(path.read_bytes()[: extent.offset + 40])
    os.utime(path, ns=(0, stamp.st_mtime_ns))
    with pytest.raises(MeasurementError, match=shows("file.h5: field: ... changed")):
        extent.read(0, 7)
    cut = Extent(path, "field", extent.offset, extent.dtype, extent.shape, stamp_of(path.stat()))
    with pytest.raises(MeasurementError, match=shows("file.h5: field: ... cut")):
        cut.read(0, 7)


def test_a_file_that_is_gone_is_named(tmp_path: Path) -> None:
    path = written(tmp_path)
    extent = extent_of(path)
    path.unlink()
    with pytest.raises(MeasurementError, match=shows("file.h5: field: ... (No such file")):
        extent.read(0, 1)


def test_numbers_that_are_not_finite_are_counted_from_the_first_scene(tmp_path: Path) -> None:
    extent = extent_of(written(tmp_path))
    values = extent.read(2, 5)
    extent.require_finite(values, 2)
    values[1, 2, 0] = np.nan
    with pytest.raises(MeasurementError, match=shows("file.h5: field: ... 1 of 18 ... (3, 2, 0) ... nan")):
        extent.require_finite(values, 2)


def test_a_data_set_in_chunks_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("field", data=VALUES, chunks=(1, 3, 2))
    with pytest.raises(MeasurementError, match=shows("field: contiguous ... compressed ... `simulate`")):
        extent_of(path)


def test_another_shape_or_type_is_refused_as_when_it_is_read(tmp_path: Path) -> None:
    path = written(tmp_path)
    with opened(path, "make it") as reader:
        for dtype, shape in ((np.complex64, "scene 4 2"), (np.float32, "scene 3 2")):
            with pytest.raises(MeasurementError) as extent:
                reader.extent("field", dtype, shape)
            with pytest.raises(MeasurementError) as array:
                reader.array("field", dtype, shape)
            assert str(extent.value) == str(array.value)
