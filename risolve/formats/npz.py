"""NumPy archives as `numpy.savez` writes them: an array NAME for each data set, and for each attribute.

Text is an attribute too, and so is a number without axes; "truth/range_m" is the name of an array. No pickle
is loaded. What the directory and the headers declare is compared with the bytes that are there before memory
is taken; rows are read where they lie.
"""

import io
import math
import re
import sys
import tokenize
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from risolve.files.atomic import write_bytes
from risolve.files.contents import (
    MOST_ATTRIBUTE_BYTES,
    MOST_BYTES,
    READABLE,
    Attributes,
    Contents,
    Format,
    Refused,
    StoredField,
    StoredGroup,
    Unread,
    as_complex,
    plain,
    rows_of,
)
from risolve.files.extents import Extent, stamp_of_path
from risolve.files.regular import opened
from risolve.files.stored_zip import ArchiveError, first_byte, opened_zip

_ENDING = ".npy"
_NAME = re.compile(r"[^\W/][\w .+-]*(/[^\W/][\w .+-]*)*")
_LOCAL_BYTES = 30
"""What stands before the name of the first file of a zip archive."""

_MOST_HEADER_BYTES = 2**16
_MOST_AXES, _LONGEST_AXIS = 32, 2**48
_PASS_BYTES = 2**22
"""Read at once for a checksum."""

_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
_MADE_BY = "numpy.savez writes it"


@dataclass(frozen=True)
class NpzField(StoredField):
    """An array of an archive. by_columns: its first axis runs fastest, as in Fortran. stored: all bytes of
    its file, header included, and checksum: what the archive says of them.
    """

    by_columns: bool
    stored: Extent
    checksum: int
    first: int

    def read(self, rows: slice | tuple[()]) -> NDArray[Any]:
        """Some rows, () for all.

        Raises:
            Refused: neither numbers nor bytes, too large to read where its rows do not lie in one piece, or a
                file that is gone, cut or changed.
        """
        if self.dtype.kind not in READABLE:
            raise Refused(f"numbers, got {self.dtype}")
        return self.values(rows)

    def values(self, rows: slice | tuple[()]) -> NDArray[Any]:
        """As `read`, text too."""
        size = math.prod(self.shape)
        if isinstance(rows, slice) and not self.by_columns:
            first, last, _ = rows.indices(self.shape[0])
            return rows_of(self._extent(self.shape), first, max(first, last))
        if self.by_columns and size * self.dtype.itemsize > MOST_BYTES:
            raise Refused(
                f"at most {MOST_BYTES} bytes column by column (Fortran order), got "
                f"{size * self.dtype.itemsize}; write it row by row (numpy.ascontiguousarray)"
            )
        whole = rows_of(self._extent((size,)), 0, size)
        shaped: NDArray[Any] = whole.reshape(self.shape, order="F" if self.by_columns else "C")
        return shaped[rows] if isinstance(rows, slice) else shaped

    def pieces(self) -> list[tuple[slice, ...]]:
        """None, nothing is packed.

        Raises:
            Refused: the bytes have another checksum.
        """
        found = 0
        (n_bytes,) = self.stored.shape
        for start in range(0, n_bytes, _PASS_BYTES):
            found = zlib.crc32(rows_of(self.stored, start, min(start + _PASS_BYTES, n_bytes)).data, found)
        if found != self.checksum:
            raise Refused(
                f"the {n_bytes} bytes have the checksum {found:08x}, the archive says {self.checksum:08x}; "
                "the file is damaged, make or copy it again"
            )
        return []

    def rehearse(self, piece: tuple[slice, ...]) -> None:
        """Nothing is packed."""

    def _extent(self, shape: tuple[int, ...]) -> Extent:
        return Extent(self.stored.path, self.stored.name, self.first, self.dtype, shape, self.stored.stamp)


def _begins(file: BinaryIO) -> bool:
    """A zip archive whose first file is an array, which that of a checkpoint is not."""
    file.seek(0)
    head = file.read(_LOCAL_BYTES)
    if len(head) < _LOCAL_BYTES or not head.startswith(b"PK\3\4"):
        return False
    return file.read(int.from_bytes(head[26:28], "little")).endswith(_ENDING.encode())


@contextmanager
def _opened(path: Path, unread: Mapping[str, str], before: Callable[[str], None]) -> Iterator[Contents]:
    """What an archive holds.

    Raises:
        Refused: a damaged archive, files that are compressed, or names that lead out of it.
    """
    stamp = stamp_of_path(path)
    attributes: dict[str, Any] = {}
    objects: dict[str, StoredField | StoredGroup | Unread] = {}
    with opened(path, sys.maxsize) as file:
        try:
            archive = opened_zip(file)
            for entry in sorted(archive.infolist(), key=lambda entry: entry.filename):
                name = entry.filename.removesuffix(_ENDING)
                if name == entry.filename or not _NAME.fullmatch(name):
                    raise ArchiveError(f"{entry.filename!r}: NAME{_ENDING} is read, or GROUP/NAME{_ENDING}")
                before(name)
                where = first_byte(file, archive, entry)
                stored = Extent(path, name, where, np.dtype(np.uint8), (entry.file_size,), stamp)
                held = _field(file, stored, entry.CRC, unread.get(name))
                if isinstance(held, Unread) or held.dtype.kind in "US" or held.shape == ():
                    attributes[name] = _attribute(held)
                objects[name] = held
                for n in range(1, name.count("/") + 1):
                    objects.setdefault("/".join(name.split("/")[:n]), StoredGroup())
        except (ArchiveError, OSError) as error:
            raise Refused(f"no NumPy archive that is read: {error}; {_MADE_BY}") from error
    yield Contents(attributes, objects)


def _field(file: BinaryIO, stored: Extent, checksum: int, law: str | None) -> NpzField | Unread:
    """An array, by its header; or the law that it breaks, where that is not known before."""
    try:
        if law is not None:
            raise Refused(law)
        (n_bytes,) = stored.shape
        file.seek(stored.offset)
        head = io.BytesIO(file.read(min(n_bytes, _MOST_HEADER_BYTES)))
        shape, by_columns, dtype = _header(head)
        n_numbers, n_left = math.prod(shape), n_bytes - head.tell()
        if n_numbers * dtype.itemsize != n_left:
            raise Refused(
                f"{dtype} {shape} declared, {n_numbers * dtype.itemsize} bytes, {n_left} stored; the file is "
                "damaged, make or copy it again"
            )
    except Refused as refused:
        return Unread(str(refused))
    first = stored.offset + head.tell()
    is_turned = by_columns and sum(n > 1 for n in shape) > 1
    return NpzField(dtype, shape, None if is_turned else first, is_turned, stored, checksum, first)


def _header(head: io.BytesIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether the first axis runs fastest, and type of an array.

    Raises:
        Refused: no header, or one of what is not read.
    """
    try:
        with warnings.catch_warnings():
            # of types and headers of other times, which are read or refused
            warnings.simplefilter("ignore")
            version = np.lib.format.read_magic(head)
            if version not in _HEADERS:
                raise Refused(f"a header of version 1.0 or 2.0, got {'.'.join(map(str, version))}")
            shape, by_columns, dtype = _HEADERS[version](head)
    except (
        ValueError,
        TypeError,
        LookupError,
        AttributeError,
        ArithmeticError,
        RuntimeError,
        MemoryError,
        SyntaxError,
        tokenize.TokenError,
    ) as error:
        said = " ".join(str(error).split())[:160].encode("utf-8", "backslashreplace").decode()
        raise Refused(
            f"no header of an array ({said}); the file is damaged, make or copy it again"
        ) from error
    if dtype.hasobject:
        raise Refused(f"numbers or text, got Python objects {shape}, a pickle, which is not loaded")
    if len(shape) > _MOST_AXES or not all(type(n) is int and 0 <= n <= _LONGEST_AXIS for n in shape):
        raise Refused(f"at most {_MOST_AXES} axes of 0 to {_LONGEST_AXIS}, got {str(shape)[:160]}")
    if dtype.itemsize == 0:
        raise Refused(f"numbers or text, got {dtype} {shape}, which has no bytes")
    return shape, by_columns, as_complex(dtype)


def _attribute(held: NpzField | Unread) -> Any:
    """The value of an attribute, or why it is not read."""
    if isinstance(held, Unread):
        return held
    n_bytes = math.prod(held.shape) * held.dtype.itemsize
    if n_bytes > MOST_ATTRIBUTE_BYTES:
        return Unread(f"at most {MOST_ATTRIBUTE_BYTES} bytes of text, got {n_bytes}")
    try:
        held.pieces()
        value = held.values(())
        if value.dtype.kind == "U":
            letters = np.atleast_1d(value).astype(value.dtype.newbyteorder("=")).view(np.uint32)
            if letters.max(initial=0) > sys.maxunicode:
                return Unread(f"text, got {letters.max()}, which is no letter")
        return plain(value)
    except (Refused, ValueError, OverflowError) as error:
        return Unread(str(error))


def _write(path: Path, attributes: Attributes, datasets: Mapping[str, NDArray[Any]]) -> None:
    """Write an archive, whole or not at all; equal content makes equal bytes.

    Raises:
        StateError: the file cannot be written.
    """
    held = io.BytesIO()
    entries = {name: np.asarray(value) for name, value in {**attributes, **datasets}.items()}
    np.savez(held, allow_pickle=False, **entries)
    write_bytes(path, held.getbuffer())


FORMAT = Format("a NumPy archive", (".npz",), _begins, _opened, _write)
