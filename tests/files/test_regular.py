"""Only a regular file of a bounded size is opened, and nothing waits."""

import os
from pathlib import Path

import pytest

from risolve.files.regular import IrregularFileError, content, opened
from tests.messages import shows


def test_a_regular_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    assert content(tmp_path / "file", 3) == b"abc"
    (tmp_path / "link").symlink_to(tmp_path / "file")
    with opened(tmp_path / "link", 3) as file:
        assert file.read() == b"abc"


def test_a_larger_one_is_not(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abcd")
    with pytest.raises(IrregularFileError, match="3e-06 MB"):
        content(tmp_path / "file", 3)
    with pytest.raises(IrregularFileError, match="1 MB .* got 1000000"):
        sparse = tmp_path / "sparse"
        sparse.touch()
        os.truncate(sparse, 10**12)
        opened(sparse, 1_000_000)


def test_what_is_no_file_is_named_and_nothing_waits(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path, kind in (
        (tmp_path, "directory"),
        (tmp_path / "fifo", "FIFO"),
        (Path("/dev/zero"), "device"),
    ):
        with pytest.raises(IrregularFileError, match=shows(kind)):
            opened(path, 10**9)
    with pytest.raises(FileNotFoundError):
        opened(tmp_path / "nothing", 1)


def test_no_descriptor_stays_open(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with pytest.raises(IrregularFileError):
            opened(tmp_path, 1)
    assert len(os.listdir("/proc/self/fd")) == before
