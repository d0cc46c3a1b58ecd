"""MATLAB files of versions 5 to 7, as `save` writes them, Octave with -v7, and `scipy.io.savemat`.

Variables are numbers, text and structures, `S.name` as "S/name"; one number, and text, is an attribute too.
What a file declares is compared with the bytes that are there before memory is taken: `scipy.io.loadmat`
believes it. Cells, objects, function handles and all else is known by its name alone.

References:
    MATLAB, "MAT-File Format", 2019: data elements, tables 1-1 to 1-3.
"""

import math
import re
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from risolve.files.contents import (
    MOST_ATTRIBUTE_BYTES,
    Contents,
    Format,
    Refused,
    StoredField,
    StoredGroup,
    Unread,
    rows_of,
    state,
)
from risolve.files.extents import Extent, stamp_of_path
from risolve.files.regular import opened

_HEADER_BYTES, _TAG_BYTES = 128, 8
_ORDERS: Mapping[bytes, Literal["little", "big"]] = {b"\0\1IM": "little", b"\1\0MI": "big"}
"""Last bytes of the header: version and byte order."""

_INT8, _INT32, _UINT32, _MATRIX, _COMPRESSED = 1, 5, 6, 14, 15
_STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_STRUCTURE, _TEXT, _OPAQUE = 2, 4, 17
_NUMBERS = dict(enumerate(("f8", "f4", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"), 6))
_OTHERS = {1: "a cell array", 3: "an object", 5: "a sparse matrix", 16: "a function handle", 17: "an object"}
_COMPLEX = 0x800
"""Classes of variables, and the flag of an imaginary part."""

_LETTERS = {1: "latin-1", 2: "latin-1", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}
_NAME = re.compile(r"[A-Za-z]\w*", re.ASCII)
_HEAD_BYTES, _MOST_AXES, _MOST_DEPTH, _MOST_VARIABLES = 2**16, 32, 16, 10_000
_MOST_BYTES, _MOST_STRUCTURE_BYTES = 2**28, 2**26
_EXPANSION = 1100
"""Bytes that one packed byte may stand for, of deflate."""

_DAMAGED = "the file is damaged, save it again"

Order: TypeAlias = Literal["little", "big"]

Held: TypeAlias = bytes | memoryview
"""Bytes of a variable, which parts of it share."""


class _Element(NamedTuple):
    """Type of a data element, its bytes first to last - 1, and where the next one begins."""

    kind: int
    first: int
    last: int
    following: int


def _element(held: Held, at: int, order: Order) -> _Element:
    """The data element at a place; up to four bytes may stand in its tag.

    Raises:
        Refused: its tag is cut.
    """
    if at + _TAG_BYTES > len(held):
        raise Refused(f"an element at byte {at} of {len(held)}; {_DAMAGED}")
    word, size = (int.from_bytes(held[at + i : at + i + 4], order) for i in (0, 4))
    if word >> 16:
        return _Element(word & 0xFFFF, at + 4, at + 4 + min(word >> 16, 4), at + 8)
    return _Element(word, at + 8, at + 8 + size, at + 8 + size + -size % 8)


@dataclass(frozen=True)
class _Matrix:
    """What stands before the numbers of a variable. numbers: where they begin."""

    name: str
    class_: int
    is_complex: bool
    shape: tuple[int, ...]
    numbers: int


def _matrix(held: Held, order: Order) -> _Matrix:
    """Class, shape and name of a variable, of the first bytes of its element.

    Raises:
        Refused: none that is read.
    """
    flags = _element(held, 0, order)
    if (flags.kind, flags.last - flags.first) != (_UINT32, 8):
        raise Refused(f"no flags of a variable; {_DAMAGED}")
    word = int.from_bytes(held[flags.first : flags.first + 4], order)
    class_, at, shape = word & 0xFF, flags.following, ()
    if class_ != _OPAQUE:
        axes = _element(held, at, order)
        n_axes, rest = divmod(axes.last - axes.first, 4)
        if axes.kind != _INT32 or rest or not 2 <= n_axes <= _MOST_AXES or axes.last > len(held):
            raise Refused(f"2 to {_MOST_AXES} axes, got {n_axes}; {_DAMAGED}")
        shape = tuple(np.frombuffer(held[axes.first : axes.last], _dtype("i4", order)).tolist())
        if min(shape) < 0:
            raise Refused(f"axes of 0 or more, got {shape}; {_DAMAGED}")
        at = axes.following
    named = _element(held, at, order)
    if named.kind != _INT8 or named.last > len(held):
        raise Refused(f"no name of a variable; {_DAMAGED}")
    name = bytes(held[named.first : named.last]).decode("latin-1")
    return _Matrix(name, class_, bool(word & _COMPLEX), shape, named.following)


def _dtype(code: str, order: Order) -> np.dtype[Any]:
    return np.dtype(code).newbyteorder("<" if order == "little" else ">")


@dataclass(frozen=True)
class MatlabField(StoredField):
    """Numbers of a variable, read together. body: the bytes of its element."""

    matrix: _Matrix
    order: Order
    body: Callable[[], Held]

    def read(self, rows: slice | tuple[()]) -> NDArray[Any]:
        """Some rows, () for all.

        Raises:
            Refused: damaged.
        """
        held, at = self.body(), self.matrix.numbers
        code = _NUMBERS[self.matrix.class_]
        whole = np.empty(self.shape, self.dtype)
        for part in (whole.real, whole.imag) if self.matrix.is_complex else (whole,):
            element = _element(held, at, self.order)
            stored = _STORED.get(element.kind)
            size = math.prod(self.shape) * (np.dtype(stored).itemsize if stored else 0)
            if stored is None or element.last - element.first != size or element.last > len(held):
                raise Refused(
                    f"{code} {self.shape}, got {element.last - element.first} bytes of type {element.kind}, "
                    f"{len(held) - element.first} stored; {_DAMAGED}"
                )
            numbers = np.frombuffer(held[element.first : element.last], _dtype(stored, self.order))
            with np.errstate(invalid="ignore", over="ignore"):
                part[...] = numbers.reshape(self.shape, order="F")
            at = element.following
        return np.asarray(whole[rows])

    @property
    def whole_bytes(self) -> int:
        """All that is declared: it is unpacked together."""
        return math.prod(self.shape) * self.dtype.itemsize

    def pieces(self) -> list[tuple[slice, ...]]:
        """None, after a look at the whole.

        Raises:
            Refused: damaged.
        """
        self.read(())
        return []

    def rehearse(self, piece: tuple[slice, ...]) -> None:
        """Nothing is unpacked by itself."""


class _Variables:
    """Enters the variables of an open file."""

    def __init__(self, order: Order, unread: Mapping[str, str], before: Callable[[str], None]) -> None:
        self.held = Contents({}, {}, is_foreign=True)
        self._order, self._unread, self._before = order, unread, before

    def enter(self, head: Held, body: Callable[[], Held]) -> None:
        """Enter a variable; head: its first bytes, body: all of them."""
        matrix = _matrix(head, self._order)
        # what stands behind objects has no name
        if matrix.name:
            if not _NAME.fullmatch(matrix.name):
                raise Refused(f"names of letters, digits and _, got {matrix.name!r}")
            self._enter(matrix.name, matrix, body, 0)

    def _enter(self, name: str, matrix: _Matrix, body: Callable[[], Held], depth: int) -> None:
        """Enter a variable, or a field of a structure, under a name; or the law that it breaks."""
        objects = self.held.objects
        if name in objects or len(objects) >= _MOST_VARIABLES:
            raise Refused(f"at most {_MOST_VARIABLES} variables, each once; got {name} after {len(objects)}")
        if name in self._unread:
            objects[name] = Unread(self._unread[name])
            return
        self._before(name)
        try:
            size = math.prod(matrix.shape)
            if matrix.class_ in _NUMBERS:
                self._enter_numbers(name, matrix, body)
            elif matrix.class_ == _TEXT:
                self._enter_text(name, matrix, body)
            elif matrix.class_ == _STRUCTURE and size == 1 and depth < _MOST_DEPTH:
                objects[name] = StoredGroup()
                self._enter_fields(name, matrix, body, depth)
            else:
                what = _OTHERS.get(matrix.class_) or f"a structure array {matrix.shape}, {depth} deep"
                raise Refused(f"numbers, text or one structure, got {what}")
        except Refused as refused:
            objects[name] = Unread(str(refused))

    def _enter_numbers(self, name: str, matrix: _Matrix, body: Callable[[], Held]) -> None:
        dtype = np.dtype(_NUMBERS[matrix.class_])
        if matrix.is_complex:
            dtype = np.result_type(dtype, np.complex64)
        n_bytes = math.prod(matrix.shape) * dtype.itemsize
        if n_bytes > _MOST_BYTES:
            raise Refused(f"at most {_MOST_BYTES} bytes, got {n_bytes}; save it with -v7.3")
        field = MatlabField(dtype, matrix.shape, None, matrix, self._order, body)
        if math.prod(matrix.shape) == 1:
            state(self.held, name, field.read(()))
        else:
            self.held.objects[name] = field

    def _enter_text(self, name: str, matrix: _Matrix, body: Callable[[], Held]) -> None:
        held = body()
        letters = _element(held, matrix.numbers, self._order)
        code, n_bytes = _LETTERS.get(letters.kind), letters.last - letters.first
        if code is None or letters.last > len(held) or n_bytes > MOST_ATTRIBUTE_BYTES:
            raise Refused(
                f"at most {MOST_ATTRIBUTE_BYTES} bytes of text, got {n_bytes} of type {letters.kind}"
            )
        if math.prod(matrix.shape[:1]) > 1:
            raise Refused(f"text in one row, got {matrix.shape}")
        if code.startswith("utf-") and code != "utf-8":
            code += "-le" if self._order == "little" else "-be"
        text = bytes(held[letters.first : letters.last]).decode(code, "backslashreplace").replace("\0", "")
        state(self.held, name, np.array(text))

    def _enter_fields(self, name: str, matrix: _Matrix, body: Callable[[], Held], depth: int) -> None:
        held, order = body(), self._order
        if len(held) > _MOST_STRUCTURE_BYTES:
            raise Refused(f"a structure of at most {_MOST_STRUCTURE_BYTES} bytes, got {len(held)}")
        width = _element(held, matrix.numbers, order)
        length = int.from_bytes(held[width.first : width.last], order)
        names = _element(held, width.following, order)
        if (width.kind, names.kind) != (_INT32, _INT8) or names.last > len(held) or not length:
            raise Refused(f"no names of fields; {_DAMAGED}")
        at = names.following
        for start in range(names.first, names.last, length):
            field = bytes(held[start : start + length]).partition(b"\0")[0].decode("latin-1")
            inner = _element(held, at, order)
            if inner.kind != _MATRIX or inner.last > len(held) or not _NAME.fullmatch(field):
                raise Refused(f"a field {field!r} at byte {at} of {len(held)}; {_DAMAGED}")
            part = slice(inner.first, inner.last)
            own = _matrix(held[part], order)
            self._enter(f"{name}/{field}", own, partial(_itself, held[part]), depth + 1)
            at = inner.following


def _itself(held: Held) -> Held:
    return held


def _head(stored: Extent) -> bytes:
    """The first bytes of a variable that is packed.

    Raises:
        Refused: damaged.
    """
    return _unpacked(_read(stored, min(stored.shape[0], _HEAD_BYTES)), _HEAD_BYTES)[0]


def _whole(stored: Extent, size: int) -> memoryview:
    """The bytes of a variable that is packed.

    Raises:
        Refused: damaged, or larger than what is read.
    """
    if size > 2 * _MOST_BYTES:
        raise Refused(f"at most {2 * _MOST_BYTES} bytes, got {size}; save it with -v7.3")
    held, is_whole = _unpacked(_read(stored, stored.shape[0]), size + _TAG_BYTES + 1)
    if not is_whole or len(held) != size + _TAG_BYTES:
        raise Refused(f"{size} bytes declared, {len(held) - _TAG_BYTES} or more packed; {_DAMAGED}")
    return memoryview(held)[_TAG_BYTES:]


def _unpacked(packed: Held, most: int) -> tuple[bytes, bool]:
    """What is packed, as many bytes as asked for, and whether it ends there."""
    unpack = zlib.decompressobj()
    try:
        return unpack.decompress(packed, most), unpack.eof
    except zlib.error as error:
        raise Refused(f"cannot be unpacked ({error}); {_DAMAGED}") from error


def _read(stored: Extent, most: int) -> memoryview:
    return rows_of(stored, 0, most).data


def _begins(file: BinaryIO) -> bool:
    file.seek(0)
    return file.read(_HEADER_BYTES)[-4:] in _ORDERS


@contextmanager
def _opened(path: Path, unread: Mapping[str, str], before: Callable[[str], None]) -> Iterator[Contents]:
    """The variables of a file.

    Raises:
        Refused: damaged.
    """
    stamp = stamp_of_path(path)
    with opened(path, sys.maxsize) as file:
        order = _ORDERS[file.read(_HEADER_BYTES)[-4:]]
        n_bytes, at = file.seek(0, 2), _HEADER_BYTES
        variables = _Variables(order, unread, before)
        while at < n_bytes:
            file.seek(at)
            tag = _element(file.read(_TAG_BYTES), 0, order)
            size = tag.last - tag.first
            if tag.kind not in (_MATRIX, _COMPRESSED) or at + _TAG_BYTES + size > n_bytes:
                raise Refused(
                    f"a variable of {size} bytes at byte {at} of {n_bytes}, type {tag.kind}; {_DAMAGED}"
                )
            stored = Extent(path, "a variable", at + _TAG_BYTES, np.dtype(np.uint8), (size,), stamp)
            if tag.kind == _MATRIX:
                variables.enter(_read(stored, min(size, _HEAD_BYTES)), partial(_read, stored, size))
                at = at + tag.following
                continue
            head = _head(stored)
            inner = _element(head, 0, order)
            unpacked = inner.last - inner.first
            if inner.kind != _MATRIX or unpacked > _EXPANSION * size:
                raise Refused(f"{unpacked} bytes in {size} packed ones, type {inner.kind}; {_DAMAGED}")
            variables.enter(head[_TAG_BYTES:], partial(_whole, stored, unpacked))
            at += _TAG_BYTES + size
    yield variables.held


FORMAT = Format("a MATLAB file", (".mat",), _begins, _opened, None)
