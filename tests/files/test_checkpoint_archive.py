"""Archives that only look like those of torch.save: one reason each, nothing run, nothing allocated."""

import io
import os
import pickle
import struct
import zipfile
import zlib
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.fuzz._archives import archive_of, files_of
from risolve.files import checkpoint_archive
from risolve.files.checkpoint_archive import Archive
from risolve.files.stored_zip import ArchiveError

CONTENT: dict[str, Any] = {
    "numbers": [1, -5, 10**12, 2.5, float("inf"), True, None, "x"],
    "pair": (1, (2.0,)),
    3: OrderedDict(a=torch.arange(6.0).reshape(2, 3), b=torch.tensor(2.0), none=torch.zeros(0, 3)),
    "kinds": [torch.zeros(2, dtype=kind) for kind in (torch.float64, torch.complex64, torch.int64)],
}


def saved(directory: Path, content: object) -> Path:
    torch.save(content, directory / "file.pt")
    return directory / "file.pt"


def loaded(path: Path) -> Any:
    with path.open("rb") as file:
        return Archive(file).loaded()


def refusal(path: Path) -> str:
    with path.open("rb") as file, pytest.raises(ArchiveError) as caught:
        archive = Archive(file)
        archive.declared()
        archive.loaded()
    return str(caught.value)


def alike(left: Any, right: Any) -> bool:
    if isinstance(left, torch.Tensor):
        return left.dtype == right.dtype and torch.equal(left, right)
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(alike(left[key], right[key]) for key in left)
    if isinstance(left, list | tuple):
        return type(left) is type(right) and len(left) == len(right) and all(map(alike, left, right))
    return type(left) is type(right) and left == right


def test_what_torch_saves_is_read_as_torch_reads_it(tmp_path: Path) -> None:
    path = saved(tmp_path, CONTENT)
    assert alike(loaded(path), torch.load(path, weights_only=True))


def test_the_state_of_a_training_is_read_as_torch_reads_it(tmp_path: Path) -> None:
    network = torch.nn.Sequential(torch.nn.Conv2d(2, 4, 3), torch.nn.GroupNorm(2, 4))
    optimizer = torch.optim.AdamW(network.parameters())
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5**step)
    network(torch.ones(1, 2, 5, 5)).sum().backward()
    optimizer.step()
    scheduler.step()
    parts = (network, optimizer, scheduler)
    path = saved(tmp_path, [part.state_dict() for part in parts])
    assert alike(loaded(path)[1:], torch.load(path, weights_only=True)[1:])
    assert alike(loaded(path)[0], dict(torch.load(path, weights_only=True)[0]))


def test_what_is_declared_takes_no_memory(tmp_path: Path) -> None:
    with saved(tmp_path, CONTENT).open("rb") as file:
        declared = Archive(file).declared()
    assert (declared[3]["a"].device.type, declared[3]["a"].shape) == ("meta", (2, 3))
    assert declared["kinds"][1].dtype == torch.complex64
    assert declared["numbers"] == CONTENT["numbers"]


def test_tensors_that_share_numbers_share_them_again(tmp_path: Path) -> None:
    one = torch.arange(4.0)
    first, second, part = loaded(saved(tmp_path, [one, one, one[1:3]]))
    second[1] = 9.0
    assert first[1] == 9.0
    assert part.tolist() == [9.0, 2.0]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (torch.eye(3).to_sparse(), "_rebuild_sparse_tensor"),
        (torch.ones(3, dtype=torch.bool), "BoolStorage"),
        (torch.ones(3, dtype=torch.float16), "HalfStorage"),
        (torch.ones(3, dtype=torch.uint8), "ByteStorage"),
        (torch.nn.Parameter(torch.ones(3)), "_rebuild_parameter"),
        (torch.ones(3, requires_grad=True), "plain numbers"),
        (torch.zeros(1).expand(10**9), "contiguous"),
        (torch.arange(6.0).reshape(2, 3).T, "contiguous"),
        (torch.ones(3, device="meta"), "_rebuild_meta_tensor"),
        (torch.nn.Linear(2, 2), "NEWOBJ"),
        (torch.float32, "torch.float32"),
        ({1.5: 0}, "keys"),
        ({(1, 2): 0}, "keys"),
        ({"a": {1, 2}}, "set"),
        (b"bytes", "encode"),
        (1j, "complex"),
    ],
    ids=str,
)
def test_what_is_no_plain_content_is_named(tmp_path: Path, value: object, reason: str) -> None:
    assert reason in refusal(saved(tmp_path, [value]))


def deep(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def wide(depth: int) -> list[Any]:
    value: list[Any] = [1]
    for _ in range(depth):
        value = [value] * 10
    return value


def in_itself() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


@pytest.mark.parametrize("value", [deep(17), deep(400), in_itself()], ids=["17", "400", "in itself"])
def test_nests_are_bounded(tmp_path: Path, value: object) -> None:
    assert "16 levels" in refusal(saved(tmp_path, value))


def test_references_are_counted_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint_archive, "MOST_STEPS", 10_000)
    assert "10000 values" in refusal(saved(tmp_path, wide(4)))


class _Command:
    def __reduce__(self) -> Any:
        return os.system, ("touch run",)


PICKLES = {
    "a command": (pickle.dumps(_Command(), protocol=2), "system"),
    "an instance": (pickle.dumps(ValueError("x"), protocol=2), "ValueError"),
    "steps of a later protocol": (pickle.dumps(bytearray(b"x"), protocol=5), "no step"),
    "a place far away": (b"\x80\x02]r\xff\xff\xff\xff.", "values at most"),
    "no end": (b"\x80\x02]", "data.pkl"),
    "nothing": (b"", "data.pkl"),
    "an empty stack": (b"\x80\x02.", "data.pkl"),
    "a list for a key": (b"\x80\x02}]]s.", "data.pkl"),
    "a call of a number": (b"\x80\x02K\x01)R.", "data.pkl"),
    "a reference to a number": (b"\x80\x02K\x01Q.", "data.pkl"),
    "a type": (b"\x80\x02ctorch\nFloatStorage\n.", "dtype"),
    "a state of a list": (b"\x80\x02]}b.", "data.pkl"),
}


@pytest.mark.parametrize("name", PICKLES)
def test_pickles_that_torch_does_not_write(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = saved(tmp_path, [torch.ones(3)])
    pickled, reason = PICKLES[name]
    path.write_bytes(archive_of({**files_of(path.read_bytes()), "data.pkl": pickled}))
    assert reason in refusal(path)
    assert [file.name for file in tmp_path.iterdir()] == ["file.pt"]


def tensor_of(numel: int, offset: int, size: tuple[int, ...], stride: tuple[int, ...]) -> bytes:
    """A pickle of one tensor whose declaration is free."""

    class Declared:
        def __reduce__(self) -> Any:
            return torch._utils._rebuild_tensor_v2, (_Numbers(), offset, size, stride, False, OrderedDict())

    class _Numbers:
        pass

    class Pickler(pickle.Pickler):
        def persistent_id(self, value: Any) -> Any:
            found = ("storage", torch.FloatStorage, "0", "cpu", numel)
            return found if isinstance(value, _Numbers) else None

    file = io.BytesIO()
    Pickler(file, protocol=2).dump(Declared())
    return file.getvalue()


@pytest.mark.parametrize(
    ("numel", "offset", "size", "stride"),
    [
        (10**9, 0, (10**9,), (1,)),
        (4, 0, (4,), (1,)),
        (-3, 0, (3,), (1,)),
        (3, 0, (4,), (1,)),
        (3, 0, (10**5, 10**5), (10**5, 1)),
        (3, 1, (3,), (1,)),
        (3, -1, (3,), (1,)),
        (3, 0, (-1,), (1,)),
        (3, 0, (3,), (0,)),
        (3, 0, (3,), (-1,)),
        (3, 0, (3,), ()),
        (3, 0, (2**63,), (1,)),
        (3, 0, (True,), (1,)),
        (3, 2**62, (2**62,), (1,)),
    ],
)
def test_declared_sizes_are_compared_with_the_bytes(
    tmp_path: Path, numel: int, offset: int, size: tuple[int, ...], stride: tuple[int, ...]
) -> None:
    path = saved(tmp_path, torch.ones(3))
    path.write_bytes(archive_of({**files_of(path.read_bytes()), "data.pkl": tensor_of(3, 0, (3,), (1,))}))
    assert torch.equal(loaded(path), torch.ones(3))
    path.write_bytes(
        archive_of({**files_of(path.read_bytes()), "data.pkl": tensor_of(numel, offset, size, stride)})
    )
    assert "data" in refusal(path) or "sizes" in refusal(path)


def overlapped(n_entries: int, n_bytes: int) -> bytes:
    """Entries that all lie on the same bytes."""
    name, data = b"a/data.pkl", b"\0" * n_bytes
    sizes = (zlib.crc32(data), n_bytes, n_bytes, len(name))
    local = struct.pack("<4s5H3I2H", b"PK\3\4", 20, 0, 0, 0, 0x21, *sizes, 0) + name + data
    entry = struct.pack("<4s6H3I5H2I", b"PK\1\2", 20, 20, 0, 0, 0, 0x21, *sizes, 0, 0, 0, 0, 0, 0) + name
    end = struct.pack(
        "<4s4H2IH", b"PK\5\6", 0, 0, n_entries, n_entries, len(entry) * n_entries, len(local), 0
    )
    return local + entry * n_entries + end


def test_tricks_with_zip_archives(tmp_path: Path) -> None:
    path = saved(tmp_path, torch.ones(3))
    files = files_of(path.read_bytes())
    whole = path.read_bytes()
    for content, reason in (
        (overlapped(100, 10**4), "lies over another"),
        (overlapped(20_000, 10), "over another"),
        (overlapped(40_000, 10), "2 MB at most"),
        (whole + b"comment", "no zip archive"),
        (whole[:-1], "no zip archive"),
        (whole[: len(whole) // 2], "no zip archive"),
        (b"", "cut off"),
        (b"PK\5\6" + bytes(18), "empty"),
    ):
        path.write_bytes(content)
        assert reason in refusal(path)
    long = struct.pack("<4s8xI6x", b"PK\5\6", 10**9)
    longer = struct.pack("<4s36xQ8x20x", b"PK\6\6", 10**15) + struct.pack("<4s8xI6x", b"PK\5\6", 2**32 - 1)
    for content in (long, longer):
        path.write_bytes(whole + content)
        assert "2 MB at most" in refusal(path)
    path.write_bytes(archive_of(files, zipfile.ZIP_DEFLATED))
    assert "stored" in refusal(path)
    path.write_bytes(archive_of({name: content for name, content in files.items() if name != "byteorder"}))
    assert "torch.save" in refusal(path)
    for outside in (set(files), {name for name in files if name.startswith("data/")}):
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in files.items():
                archive.writestr(name if name in outside else f"archive/{name}", content)
        assert "entries beside" in refusal(path)
    path.write_bytes(archive_of({**files, "byteorder": b"big"}))
    assert "byte order" in refusal(path)
    path.write_bytes(archive_of({**files, "data/0": files["data/0"] + b"\0"}))
    assert "data/0: " in refusal(path)
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(path, "a") as archive:
        archive.writestr("archive/data/0", b"")
    assert "one name" in refusal(path)
