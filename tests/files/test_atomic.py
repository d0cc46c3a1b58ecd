"""Files that are whole or absent, and nothing else touched, whatever comes to stand under the names."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from risolve.errors import StateError
from risolve.files import hdf5
from risolve.files.atomic import remove_partial, write_bytes
from tests.messages import shows


def test_no_planted_link_is_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even one under the name that the temporary file would have."""
    monkeypatch.setattr("secrets.token_hex", lambda n: "0" * 2 * n)
    victim, planted = tmp_path / "victim", tmp_path / f".risolve-{'0' * 32}.part"
    victim.write_text("mine", "utf-8")
    planted.symlink_to(victim)
    with pytest.raises(StateError, match=shows("result: ... (File exists)")):
        write_bytes(tmp_path / "result", b"1")
    assert victim.read_text("utf-8") == "mine"
    assert planted.is_symlink()


def write_while(path: Path, happens: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> None:
    """Write a file; something happens after its content is on the disk and before it has its name."""
    monkeypatch.setattr("os.fsync", lambda number: happens())
    write_bytes(path, b"1")


def test_a_file_that_becomes_a_link_is_replaced_and_not_written_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim, path = tmp_path / "victim", tmp_path / "result"
    victim.write_text("mine", "utf-8")
    write_while(path, lambda: path.symlink_to(victim), monkeypatch)
    assert not path.is_symlink()
    assert (path.read_bytes(), victim.read_text("utf-8")) == (b"1", "mine")


def test_a_folder_that_becomes_a_link_leads_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, moved, elsewhere = (tmp_path / name for name in ("folder", "moved", "elsewhere"))
    folder.mkdir()
    elsewhere.mkdir()
    (elsewhere / "result").write_text("mine", "utf-8")

    def swap() -> None:
        folder.rename(moved)
        folder.symlink_to(elsewhere)

    write_while(folder / "result", swap, monkeypatch)
    assert (moved / "result").read_bytes() == b"1"
    assert [path.name for path in elsewhere.iterdir()] == ["result"]
    assert (elsewhere / "result").read_text("utf-8") == "mine"


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_the_mode_is_that_of_the_umask(tmp_path: Path, mask: int, mode: int) -> None:
    earlier = os.umask(mask)
    try:
        write_bytes(tmp_path / "result", b"1")
    finally:
        os.umask(earlier)
    assert stat.S_IMODE((tmp_path / "result").stat().st_mode) == mode


def test_a_name_may_be_as_long_as_the_file_system_allows(tmp_path: Path) -> None:
    path = tmp_path / ("a" * 255)
    write_bytes(path, b"1")
    assert [found.name for found in tmp_path.iterdir()] == [path.name]


def test_own_temporary_names_alone_are_removed(tmp_path: Path) -> None:
    strange = {"notes.part", "shard-0000.h5.123.part", ".risolve-1.part", f".risolve-{'g' * 32}.part"}
    for name in (*strange, f".risolve-{'0' * 32}.part"):
        (tmp_path / name).touch()
    remove_partial(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == strange


def test_hdf5_of_memory_is_what_the_library_writes_itself(tmp_path: Path) -> None:
    """The same bytes, small and beyond the blocks by which the file in memory grows."""
    random = np.random.default_rng(1)
    attributes = {"format": "some", "version": 1, "wavelength_m": 0.1, "shape": [3, 4]}
    for n in (0, 3, 70_000):
        values = {"a/b": random.standard_normal((n, 3)), "c": np.arange(n), "d": np.array([b"x", b"yz"])}
        hdf5.write(tmp_path / "memory.h5", attributes, values)
        with h5py.File(tmp_path / "disk.h5", "w", libver=("v108", "v110")) as file:
            file.attrs.update(attributes)
            for name, content in values.items():
                dataset = file.create_dataset(name, content.shape, content.dtype, track_times=False)
                dataset.write_direct(content)
        assert (tmp_path / "memory.h5").read_bytes() == (tmp_path / "disk.h5").read_bytes()
