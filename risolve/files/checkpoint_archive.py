"""The archive that torch.save writes, read without torch.load: what it declares first, its bytes afterwards.

A zip archive of `data.pkl`, a pickle of plain values and of references to stored numbers, and of those
numbers, one file each. Nothing in it is trusted: no code of it runs, no size in it is believed before it is
compared with the bytes that are there.
"""

import io
import math
import pickle
import pickletools
import sys
import warnings
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, NamedTuple

import torch
from torch import Tensor

from risolve.files.stored_zip import DAMAGED, ArchiveError, opened_zip

MOST_STEPS = 2_000_000
"""Of the pickle, and values in it: 4 s, and the state of 4,000 epochs."""

_DEEPEST = 16

_DTYPES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "ComplexFloatStorage": torch.complex64,
    "ComplexDoubleStorage": torch.complex128,
    "IntStorage": torch.int32,
    "LongStorage": torch.int64,
}
"""Numbers that a checkpoint holds, by the names that torch.save has for them."""

_STEPS = """
PROTO STOP MARK NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1 BINFLOAT BINUNICODE EMPTY_TUPLE TUPLE
TUPLE1 TUPLE2 TUPLE3 EMPTY_LIST APPEND APPENDS EMPTY_DICT SETITEM SETITEMS GLOBAL REDUCE BUILD BINPERSID
BINPUT LONG_BINPUT BINGET LONG_BINGET
"""
"""Of a pickle, as torch.save writes them."""


class _Storage(NamedTuple):
    """Numbers of the archive: the name of their file, their type, how many."""

    key: str
    dtype: torch.dtype
    numel: int


class _Stored(NamedTuple):
    """A tensor: a contiguous piece of a storage."""

    storage: _Storage
    offset: int
    size: tuple[int, ...]


class _Ordered(dict[Any, Any]):
    """An OrderedDict of the pickle."""

    def __setstate__(self, state: object) -> None:
        """Versions of the modules whose weights these are."""


@dataclass(frozen=True)
class _Entries:
    """Entries of an archive that have been checked: sizes in bytes by the name within their folder."""

    zip: zipfile.ZipFile
    folder: str
    sizes: dict[str, int]

    def read(self, name: str) -> bytes:
        """The bytes of an entry."""
        return self.zip.read(f"{self.folder}{name}")


class Archive:
    """An archive of an open file; plain values and tensors.

    Raises:
        ArchiveError: as its law.
    """

    def __init__(self, file: BinaryIO) -> None:
        try:
            self._entries = _opened(file)
            self._contents = _contents(self._entries)
        except DAMAGED as error:
            raise ArchiveError(str(error) or "cut off") from None

    def declared(self) -> Any:
        """What the archive holds, its tensors on the meta device: shapes and types, nothing of their size."""
        return _Plain(lambda stored: torch.empty(stored.size, dtype=stored.storage.dtype, device="meta")).of(
            self._contents
        )

    def loaded(self) -> Any:
        """What the archive holds, its tensors on the CPU."""
        return _Plain(_Reader(self._entries).tensor).of(self._contents)


def _opened(file: BinaryIO) -> _Entries:
    """The archive, all files of it in one folder, of the right checksum."""
    archive = opened_zip(file)
    entries = archive.infolist()
    if damaged := archive.testzip():
        raise ArchiveError(f"{damaged!r}: its checksum is another")
    first = min(entries, key=lambda entry: entry.header_offset)
    folder = first.filename.partition("/")[0] + "/"
    if any(not entry.filename.startswith(folder) for entry in entries):
        raise ArchiveError(f"entries beside {folder}, the folder that torch.save makes")
    sizes = {entry.filename.removeprefix(folder): entry.file_size for entry in entries}
    return _Entries(archive, folder, sizes)


def _contents(archive: _Entries) -> Any:
    """What `data.pkl` says, tensors as `_Stored`."""
    if {"data.pkl", "byteorder"} - archive.sizes.keys():
        raise ArchiveError("no archive of torch.save")
    if archive.read("byteorder").decode("ascii", "replace") != sys.byteorder:
        raise ArchiveError(f"numbers in the byte order of this machine, {sys.byteorder}, are read here")
    pickled, steps = archive.read("data.pkl"), frozenset(_STEPS.split())
    try:
        with warnings.catch_warnings():
            # of the escapes of strings of the first protocol, which are refused
            warnings.simplefilter("ignore", DeprecationWarning)
            for number, (step, argument, _) in enumerate(pickletools.genops(pickled)):
                if step.name not in steps:
                    raise ArchiveError(f"data.pkl: {step.name}: no step of a checkpoint")
                # a place of the memory of the pickle is made with all places before it
                if number >= MOST_STEPS or (step.name == "LONG_BINPUT" and argument not in range(number)):
                    raise ArchiveError(f"data.pkl: {MOST_STEPS} values at most")
        return _Unpickler(archive.sizes, pickled).load()
    except (
        pickle.UnpicklingError,
        EOFError,
        AttributeError,
        IndexError,
        KeyError,
        TypeError,
        ValueError,
        OverflowError,
    ) as error:
        raise ArchiveError(f"data.pkl: {error}") from None


class _Unpickler(pickle.Unpickler):
    """Makes plain values and `_Stored`, and knows nothing else by name."""

    def __init__(self, sizes: Mapping[str, int], pickled: bytes) -> None:
        super().__init__(io.BytesIO(pickled))
        self._sizes = sizes

    def find_class(self, module: str, name: str) -> Any:
        """What a name of the pickle stands for."""
        match module, name:
            case "collections", "OrderedDict":
                return _Ordered
            case "torch._utils", "_rebuild_tensor_v2":
                return self._tensor
            case "torch", str() if name in _DTYPES:
                return _DTYPES[name]
        raise ArchiveError(f"{module}.{name}: not among the numbers and plain values of a checkpoint")

    def persistent_load(self, pid: Any) -> _Storage:
        """Numbers of the archive, all of one of its files."""
        kind, dtype, key, _, numel = pid
        if kind != "storage" or not isinstance(dtype, torch.dtype):
            raise ArchiveError("a reference to something else than stored numbers")
        if not isinstance(numel, int) or self._sizes[f"data/{key}"] != numel * dtype.itemsize:
            raise ArchiveError(f"data/{key}: holds another number of numbers than is declared, {numel}")
        return _Storage(str(key), dtype, numel)

    def _tensor(
        self, storage: Any, offset: Any, size: Any, stride: Any, requires_grad: Any, hooks: Any
    ) -> _Stored:
        """A tensor: plain, contiguous, within its storage, and without a gradient."""
        if not isinstance(storage, _Storage) or requires_grad is not False or hooks:
            raise ArchiveError("a tensor of plain numbers is read here")
        numbers = (offset, *size, *stride)
        if not all(type(number) is int and 0 <= number < 2**40 for number in numbers):
            raise ArchiveError("sizes of a tensor are whole numbers")
        expected, step = [], 1
        for length in reversed(size):
            expected.append(step)
            step *= max(length, 1)
        wrong = [
            n
            for n, (held, wanted) in enumerate(zip(stride, reversed(expected), strict=True))
            if held != wanted
        ]
        if any(size[axis] > 1 for axis in wrong) or offset + math.prod(size) > storage.numel:
            raise ArchiveError(
                f"data/{storage.key}: a tensor is a contiguous piece of {storage.numel} numbers, got sizes "
                f"{list(size)} with steps {list(stride)} from {offset}"
            )
        return _Stored(storage, offset, tuple(size))


class _Plain:
    """Goes through what a pickle made, once for each reference to it."""

    def __init__(self, tensor: Callable[[_Stored], Tensor]) -> None:
        self._tensor = tensor
        self._n_values = 0

    def of(self, value: Any, depth: int = 0) -> Any:
        """The same in dicts, lists, tuples, numbers, strings and tensors."""
        self._n_values += 1
        if self._n_values > MOST_STEPS or depth > _DEEPEST:
            raise ArchiveError(f"{MOST_STEPS} values, {_DEEPEST} levels of them at most")
        match value:
            case _Stored():
                return self._tensor(value)
            case dict():
                if not all(isinstance(key, str | int) for key in value):
                    raise ArchiveError("keys are strings or whole numbers")
                return {key: self.of(held, depth + 1) for key, held in value.items()}
            case list():
                return [self.of(held, depth + 1) for held in value]
            case tuple() if type(value) is tuple:
                return tuple(self.of(held, depth + 1) for held in value)
            case None | bool() | int() | float() | str():
                return value
        raise ArchiveError(f"plain values and tensors are read here, got {type(value).__name__}")


class _Reader:
    """Tensors of an archive; those that share their numbers share them again."""

    def __init__(self, archive: _Entries) -> None:
        self._archive = archive
        self._read: dict[str, Tensor] = {}

    def tensor(self, stored: _Stored) -> Tensor:
        """One tensor."""
        key, dtype, numel = stored.storage
        if key not in self._read:
            self._read[key] = torch.frombuffer(
                bytearray(self._archive.read(f"data/{key}") or b"\0"), dtype=torch.uint8
            ).clone()
        numbers = self._read[key][: numel * dtype.itemsize].view(dtype)
        return numbers[stored.offset : stored.offset + math.prod(stored.size)].view(stored.size)
