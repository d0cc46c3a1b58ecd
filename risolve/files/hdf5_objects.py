"""What of an HDF5 file is read: what stands whole in the file itself. Every use of h5py for reading is here.

A file is surveyed once, when it is opened: attributes, groups and data sets, reached by hard links. What is
elsewhere (soft and external links, virtual data sets, external storage), what is damaged, and what declares
more than it holds is known by its name, with the law that it breaks, and is never touched again.
"""

import math
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import h5py
import numpy as np
from numpy.typing import NDArray

from risolve.files.extents import Stamp

MOST_BYTES = 2**29
"""Of packed data that are unpacked at once."""

_EXPANSION = 1100
"""Bytes that one packed byte may stand for; deflate, the strongest filter in use, comes to 1032."""

_MOST_OBJECTS, _MOST_DEPTH = 10_000, 32
_MOST_ATTRIBUTE = 2**20

_COPY = "copy the data into the file"
_LINKS = {h5py.h5l.TYPE_SOFT: "a soft link", h5py.h5l.TYPE_EXTERNAL: "an external link"}
_FILTERS = {
    4: "szip",
    307: "bzip2",
    32000: "lzf",
    32001: "Blosc",
    32004: "LZ4",
    32008: "bitshuffle",
    32013: "ZFP",
    32015: "Zstandard",
    32026: "Blosc2",
}
_SIMPLE = (h5py.h5t.INTEGER, h5py.h5t.FLOAT, h5py.h5t.STRING, h5py.h5t.ENUM)
_NUMBERS = "biufcS"
"""Kinds of numpy types that are read: numbers and bytes of fixed length; no references, nothing variable."""


class Look(NamedTuple):
    """What a first look at a file said: its stamp, and laws by the names of what is not to be touched, "" for
    the file itself.
    """

    stamp: Stamp
    unread: Mapping[str, str]


class Refused(Exception):
    """An object breaks a law; the message is the law, without file and object."""


@dataclass(frozen=True)
class Unread:
    """An attribute or an object that is not read, and the law that it breaks."""

    law: str


@dataclass(frozen=True)
class Group:
    """A group; what it holds stands in the survey by itself."""


@dataclass(frozen=True)
class Field:
    """A data set that can be read. offset: where its bytes begin, None where they are not in one piece."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    offset: int | None
    packed: bool
    dataset: h5py.Dataset

    def read(self, rows: slice | tuple[()]) -> NDArray[Any]:
        """Some rows, () for all.

        Raises:
            Refused: damaged, too large to unpack at once, or neither numbers nor bytes.
        """
        if self.dtype.kind not in _NUMBERS:
            raise Refused(f"numbers, got {self.dtype}")
        if self.packed and self._bytes_of(rows) > MOST_BYTES:
            raise Refused(
                f"at most {MOST_BYTES} bytes are unpacked at once, got {self._bytes_of(rows)}; write it "
                "unpacked (h5repack -f NONE)"
            )
        with guarded():
            values: NDArray[Any] = self.dataset[rows]
        return values

    def chunks(self) -> list[tuple[slice, ...]]:
        """Where the chunks that are stored of a data set that is read in chunks lie.

        Raises:
            Refused: they do not lie in the data set.
        """
        if self.dataset.chunks is None or self.dtype.kind not in _NUMBERS:
            return []
        places: list[tuple[int, ...]] = []
        with guarded():
            self.dataset.id.chunk_iter(lambda chunk: places.append(chunk.chunk_offset))
        size = self.dataset.chunks
        return [
            tuple(slice(first, first + length) for first, length in zip(place, size, strict=True))
            for place in places
        ]

    def rehearse(self, chunk: tuple[slice, ...]) -> None:
        """Read a chunk, as reading rows will do.

        Raises:
            Refused: a damaged chunk.
        """
        with guarded():
            self.dataset[chunk]

    def _bytes_of(self, rows: slice | tuple[()]) -> int:
        of_row = math.prod(self.shape[1:]) * self.dtype.itemsize
        first = self.shape[0] if self.shape else 1
        return of_row * (len(range(*rows.indices(first))) if isinstance(rows, slice) else first)


@dataclass(frozen=True)
class Survey:
    """Attributes of the root (values, or why they are not read), and objects by their path."""

    attributes: dict[str, Any]
    objects: dict[str, Field | Group | Unread]


Entry: TypeAlias = Any
"""A value of an attribute, or `Field`, `Group`, `Unread`."""


@contextmanager
def guarded() -> Iterator[None]:
    """The one place where what h5py raises of a damaged file becomes a law.

    Raises:
        Refused: what was wrong, in the words of the library.
    """
    try:
        yield
    except MemoryError as error:
        raise Refused("needs more memory than there is; the file may be damaged") from error
    except (LookupError, RuntimeError, OSError, ValueError, TypeError, ArithmeticError) as error:
        said = _said(error)
        raise Refused(f"cannot be read, the file is damaged ({said}); make or copy it again") from error


def open_file(path: Path) -> h5py.File:
    """Open a file for reading.

    Raises:
        Refused: not a regular file, not HDF5, cut, or damaged.
    """
    try:
        mode = path.stat().st_mode
    except OSError as error:
        gone = isinstance(error, FileNotFoundError | NotADirectoryError)
        raise Refused("there is no such file" if gone else f"cannot be read ({error.strerror})") from error
    if not stat.S_ISREG(mode):
        raise Refused("a file, got a directory, a pipe or a device")
    try:
        # Published files never change, and a lock file system is not everywhere.
        return h5py.File(path, "r", locking=False)
    except (OSError, RuntimeError, ValueError, LookupError, TypeError, ArithmeticError, MemoryError) as error:
        raise Refused(_opening_fault(_said(error))) from error


def _opening_fault(message: str) -> str:
    if "truncated" in message:
        return "truncated: the file is shorter than its header says"
    if "signature" in message:
        return "not an HDF5 file"
    return f"cannot be opened ({message})"


def _said(error: Exception) -> str:
    line = " ".join(str(error).split()).encode("utf-8", "backslashreplace").decode()
    return line if len(line) <= 160 else f"{line[:160]} ..."


def survey(file: h5py.File, unread: Mapping[str, str], before: Callable[[str], None]) -> Survey:
    """What an open file holds.

    unread: laws by name of what is known to be broken, and is not touched. before: is told each name before
    it is looked at.
    """
    return _Surveyor(file, unread, before).survey()


class _Surveyor:
    def __init__(self, file: h5py.File, unread: Mapping[str, str], before: Callable[[str], None]) -> None:
        self._file, self._unread, self._before = file, unread, before
        self._n_bytes = os.fstat(file.id.get_vfd_handle()).st_size
        self._objects: dict[str, Field | Group | Unread] = {}

    def survey(self) -> Survey:
        # a file is nothing without its format, under whose name all attributes go where they cannot be listed
        names = self._entry("attribute format", self._attribute_names)
        if isinstance(names, Unread):
            attributes = {"format": names}
        else:
            attributes = {
                name: self._entry(f"attribute {name}", self._attribute, held) for name, held in names.items()
            }
        root = self._entry("/", h5py.h5g.open, self._file.id, b"/")
        if isinstance(root, Unread):
            self._objects[""] = root
        else:
            self._list("", root, ())
        return Survey(attributes, self._objects)

    def _entry(self, name: str, look: Callable[..., Entry], *arguments: Any) -> Entry:
        if name in self._unread:
            return Unread(self._unread[name])
        self._before(name)
        try:
            with guarded():
                return look(*arguments)
        except Refused as refused:
            return Unread(str(refused))

    def _list(self, path: str, group: h5py.h5g.GroupID, above: tuple[int, ...]) -> None:
        """Enter what a group holds, and the groups in it, depth first."""
        found = self._entry(f"{path}/ its names", lambda: (h5py.h5o.get_info(group).addr, list(group)))
        if not isinstance(found, Unread) and (found[0] in above or len(above) >= _MOST_DEPTH):
            found = Unread(f"a group that holds itself, or groups more than {_MOST_DEPTH} deep")
        if isinstance(found, Unread):
            self._objects[path] = found
            return
        address, links = found
        for link in links:
            name = f"{path}/{link.decode('utf-8', 'backslashreplace')}".removeprefix("/")
            if len(self._objects) >= _MOST_OBJECTS:
                self._objects[path] = Unread(f"at most {_MOST_OBJECTS} objects a file")
                return
            held = self._entry(name, self._object, group, link)
            if isinstance(held, h5py.h5g.GroupID):
                self._objects[name] = Group()
                self._list(name, held, (*above, address))
            else:
                self._objects[name] = held

    def _object(self, group: h5py.h5g.GroupID, link: bytes) -> "h5py.h5g.GroupID | Field":
        kind = group.links.get_info(link).type
        if kind != h5py.h5l.TYPE_HARD:
            raise Refused(f"{_LINKS.get(kind) or 'a link of another program'}; {_COPY}")
        held = h5py.h5o.open(group, link)
        if isinstance(held, h5py.h5g.GroupID):
            return held
        if not isinstance(held, h5py.h5d.DatasetID):
            raise Refused("a data set or a group, got a type that stands by itself")
        return self._field(held)

    def _field(self, held: h5py.h5d.DatasetID) -> Field:
        made = held.get_create_plist()
        layout = made.get_layout()
        if layout == h5py.h5d.VIRTUAL:
            raise Refused(f"a virtual data set, its numbers are in other files; {_COPY}")
        if made.get_external_count():
            raise Refused(f"stored in other files; {_COPY}")
        if held.get_space().get_simple_extent_type() == h5py.h5s.NULL:
            raise Refused("holds nothing, its dataspace is null; write the data")
        filters = [made.get_filter(i) for i in range(made.get_nfilters())]
        for code, _, _, said in filters:
            if not h5py.h5z.filter_avail(code):
                raise Refused(_missing_filter(code, said))
        dataset = h5py.Dataset(held)
        shape = tuple(map(int, dataset.shape))
        offset = held.get_offset() if layout == h5py.h5d.CONTIGUOUS else None
        readable = dataset.dtype.kind in _NUMBERS
        declared = math.prod(shape) * held.get_type().get_size() if readable else 0
        if declared and layout == h5py.h5d.CONTIGUOUS:
            self._require_contiguous(declared, held.get_storage_size(), offset)
        elif declared and layout == h5py.h5d.CHUNKED:
            self._require_chunks(dataset, declared, bool(filters))
        return Field(dataset.dtype, shape, offset, bool(filters), dataset)

    def _require_contiguous(self, declared: int, stored: int, offset: int | None) -> None:
        if offset is None or stored == 0:
            raise Refused(f"{declared} bytes declared and never written; write the data")
        if stored != declared or offset + declared > self._n_bytes:
            raise Refused(
                f"{declared} bytes declared, {stored} stored from byte {offset} on in a file of "
                f"{self._n_bytes}; the file is damaged, make or copy it again"
            )

    def _require_chunks(self, dataset: h5py.Dataset, declared: int, packed: bool) -> None:
        one = math.prod(dataset.chunks) * dataset.id.get_type().get_size()
        if one > MOST_BYTES:
            raise Refused(
                f"chunks of at most {MOST_BYTES} bytes, got {one}; write it unpacked and in one piece "
                "(h5repack -f NONE -l CONTI)"
            )
        sizes: list[int] = []
        dataset.id.chunk_iter(lambda chunk: sizes.append(chunk.size))
        stored = sum(sizes)
        if stored > self._n_bytes or (not packed and any(size != one for size in sizes)):
            raise Refused(
                f"{stored} bytes in {len(sizes)} chunks in a file of {self._n_bytes}; the file is damaged, "
                "make or copy it again"
            )
        grid = math.prod(-(-size // chunk) for size, chunk in zip(dataset.shape, dataset.chunks, strict=True))
        # what was not written reads as the fill value, which says so only where it is NaN
        if len(sizes) < grid and not (dataset.dtype.kind in "fc" and np.isnan(dataset.fillvalue)):
            raise Refused(
                f"{grid - len(sizes)} of {grid} chunks were never written, and would be read as "
                f"{dataset.fillvalue}; write them, or shorten the data set"
            )
        if packed and declared > _EXPANSION * stored:
            raise Refused(
                f"{declared} bytes declared, {stored} stored: a packed byte stands for {_EXPANSION} at most; "
                "write it unpacked (h5repack -f NONE)"
            )

    def _attribute_names(self) -> dict[str, str | bytes]:
        """Names as text, and as h5py knows them: what is not UTF-8 may be bytes."""
        return {_raw(name).decode("utf-8", "backslashreplace"): name for name in self._file.attrs}

    def _attribute(self, name: str | bytes) -> Any:
        held = h5py.h5a.open(self._file.id, _raw(name))
        if held.get_space().get_simple_extent_type() == h5py.h5s.NULL:
            raise Refused("holds nothing, its dataspace is null")
        if held.get_type().get_class() not in _SIMPLE:
            raise Refused("a string or numbers, got another HDF5 type")
        if held.get_storage_size() > _MOST_ATTRIBUTE:
            raise Refused(f"at most {_MOST_ATTRIBUTE} bytes, got {held.get_storage_size()}")
        return _plain(self._file.attrs[name])


def _raw(name: str | bytes) -> bytes:
    return name if isinstance(name, bytes) else name.encode("utf-8", "surrogateescape")


def _plain(value: Any) -> Any:
    """A value of an attribute as str, bool, int, float, or an array of them."""
    if isinstance(value, np.ndarray) and value.dtype.kind == "O":
        value = value.tolist()
        return _plain(value[0]) if isinstance(value, list) and len(value) == 1 else str(value)
    if isinstance(value, np.generic | np.ndarray) and value.size == 1:
        value = value.reshape(()) if isinstance(value, np.ndarray) else value
        value = float(value) if value.dtype.kind == "f" else value.item()
    if isinstance(value, str):
        value = value.encode("utf-8", "surrogateescape")
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value


def _missing_filter(code: int, said: bytes) -> str:
    own = said.decode("utf-8", "backslashreplace").strip()
    name = _FILTERS.get(code) or own or "of another program"
    return (
        f"packed with the filter {name} ({code}), which HDF5 does not have here; unpack it where it was "
        "written (h5repack -f NONE), or install hdf5plugin and point HDF5_PLUGIN_PATH to its plugins"
    )
