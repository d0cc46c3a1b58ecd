"""A first look by a child: what it finds, what it does not survive, and that nobody touches it afterwards."""

import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest

from risolve.errors import ChangedFileError, MeasurementError, StateError
from risolve.files import first_look
from risolve.files.contents import Look
from risolve.files.extents import stamp_of_path
from risolve.files.first_look import looked_at
from risolve.files.reader import opened
from tests.messages import shows


def sound(path: Path) -> Path:
    with h5py.File(path, "w") as file:
        file.attrs["format"] = "any"
        file["field"] = np.arange(3.0)
        file["link"] = h5py.SoftLink("/field")
    return path


def test_each_file_has_a_look_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative names too, and a file that is none at all between two others."""
    monkeypatch.chdir(tmp_path)
    paths = [sound(Path("a b.h5")), Path("gone.h5"), sound(tmp_path / "c.h5")]
    looks = looked_at([*paths, paths[0]])
    assert list(looks) == paths
    assert [set(look.unread) for look in looks.values()] == [{"link"}, {""}, {"link"}]
    assert looks[paths[0]].stamp == stamp_of_path(paths[0])
    assert looks[paths[1]] == Look((), {"": "there is no such file"})
    gone = looks[paths[1]]
    with pytest.raises(MeasurementError, match=shows("gone.h5: ")), opened(paths[1], "", gone):
        pass


def test_a_file_that_the_child_does_not_survive_costs_that_file_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The child of a file that the library would never come to an end with says nothing more."""
    paths = [sound(tmp_path / f"{name}.h5") for name in "abc"]
    lines = [("attribute format", None), ("/", None), (None, None), ("/", None), ("field", None)]
    calls: list[list[Path]] = []

    def child(waiting: list[Path]) -> first_look.Said:
        calls.append(list(waiting))
        return first_look.Said(lines if len(calls) == 1 else [("/", None), (None, None)], "")

    monkeypatch.setattr(first_look, "heard", child)
    looks = looked_at(paths)
    assert calls == [paths, paths[2:]]
    assert [set(look.unread) for look in looks.values()] == [set(), {""}, set()]
    assert "field" in looks[paths[1]].unread[""]
    endless = looks[paths[1]]
    with (
        pytest.raises(MeasurementError, match=shows("b.h5: ... field ... 1536 MB")),
        opened(paths[1], "", endless),
    ):
        pass


def test_the_child_ends_at_its_limit_of_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A child that computes without end, after it has said where it is."""
    endless = (
        "import sys; sys.path.extend(sys.argv[1:]); from risolve.files import first_look as f\n"
        "f._say('field', None); f._allow(0.05)\nwhile True: pass"
    )
    monkeypatch.setattr(first_look, "CHILD", endless)
    path = sound(tmp_path / "a.h5")
    assert "field" in looked_at([path])[path].unread[""]


@pytest.mark.parametrize(
    ("program", "law"),
    [
        ("import nothing_of_this_name", "exit status 1, ModuleNotFoundError"),
        ("import os; os.kill(os.getpid(), 9)", "exit status -9"),
    ],
)
def test_a_child_that_fails_by_itself_is_no_fault_of_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, law: str
) -> None:
    monkeypatch.setattr(first_look, "CHILD", program)
    with pytest.raises(StateError, match=shows(law)):
        looked_at([sound(tmp_path / "a.h5")])


def test_the_limit_of_silence_counts_from_the_last_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many files there are; and silence is that of the file in work."""
    slow = "import os, time\nfor _ in range(3): time.sleep(0.8); os.write(1, b'[null, null]\\n')"
    monkeypatch.setattr(first_look, "CHILD", slow)
    monkeypatch.setattr(first_look, "MOST_S", 2.0)
    paths = [sound(tmp_path / f"{name}.h5") for name in "abc"]
    assert [set(look.unread) for look in looked_at(paths).values()] == [set()] * 3
    monkeypatch.setattr(first_look, "MOST_S", 0.1)
    monkeypatch.setattr(first_look, "CHILD", "import time; time.sleep(60)")
    assert "no end" in looked_at(paths[:1])[paths[0]].unread[""]


@pytest.mark.parametrize("packer", [None, "gzip"])
def test_a_recorder_that_appends_scene_by_scene_is_read(tmp_path: Path, packer: str | None) -> None:
    """A chunk a scene; to find the last one takes as long as to find the first."""
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.attrs["format"] = "any"
        file.create_dataset("field", data=np.ones(12_000), chunks=(1,), compression=packer)
    assert looked_at([path])[path].unread == {}


def test_what_failed_in_the_child_is_not_touched(tmp_path: Path) -> None:
    path = sound(tmp_path / "a.h5")
    look = Look(stamp_of_path(path), {"field": "needs much", "attribute format": "has none"})
    with opened(path, "", look) as reader:
        with pytest.raises(MeasurementError, match=shows("a.h5: field: needs much")):
            reader.dataset("field", "any")
        with pytest.raises(MeasurementError, match=shows("a.h5: attribute format: has none")):
            reader.attribute("format")


def test_a_file_that_changed_since_the_look_is_refused(tmp_path: Path) -> None:
    path = sound(tmp_path / "a.h5")
    look = looked_at([path])[path]
    with h5py.File(path, "r+") as file:
        file["more"] = 1.0
    with pytest.raises(ChangedFileError), opened(path, "", look):
        pass


def test_what_was_never_written_takes_no_time(tmp_path: Path) -> None:
    """NaN by the hundred terabytes, of which none is stored."""
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.attrs["format"] = "any"
        file.create_dataset("x", (10**5 * 64_000_000,), "f4", chunks=(64_000_000,), fillvalue=np.nan)
        file.create_dataset("y", (10**12,), "f4", chunks=(1,), fillvalue=np.nan)
    assert looked_at([path])[path].unread == {}


def test_a_name_that_no_file_has_costs_itself_alone(tmp_path: Path) -> None:
    paths = [tmp_path / ("a" * 300), sound(tmp_path / "b.h5")]
    assert [set(look.unread) for look in looked_at(paths).values()] == [{""}, {"link"}]


def test_a_packed_chunk_that_unpacks_to_gigabytes_is_refused(tmp_path: Path) -> None:
    """Deflate of a chunk of 8 kB that holds 2 GB, of which 2 MB are stored."""
    packer = zlib.compressobj(9)
    start = packer.compress(b"") + packer.flush(zlib.Z_FULL_FLUSH)
    # what follows a full flush stands by itself, and can be repeated
    block = packer.compress(bytes(2**24)) + packer.flush(zlib.Z_FULL_FLUSH)
    bomb = start + 128 * block + packer.flush()
    path = tmp_path / "bomb.h5"
    with h5py.File(path, "w") as file:
        file.attrs["format"] = "any"
        made = file.create_dataset("field", (1000,), "f8", chunks=(1000,), compression="gzip")
        made.id.write_direct_chunk((0,), bomb)
    assert path.stat().st_size < 3_000_000
    # at the limit of time or of memory, whichever comes first
    assert looked_at([path])[path].unread.keys() & {"", "field"}
