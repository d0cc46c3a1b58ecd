"""What a file of any format holds: named values and arrays, and what of them is not read.

A format is a module of `risolve.formats` with a `FORMAT`. It says of an open file what it holds; the
laws of measurements, covariances and results are those of `risolve.files.reader` and of who asks it, the same
for every format.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from risolve.errors import MeasurementError
from risolve.files.extents import Extent, Stamp
from risolve.files.naming import PLAIN, Naming

if TYPE_CHECKING:
    # the child that looks at files first does without torch
    from risolve.files.calibrated_array import CalibratedArray

READABLE = "biufcS"
"""Kinds of numpy types that are read: numbers and bytes of fixed length; no references, nothing variable."""

_PARTS = (("real", "imag"), ("re", "im"), ("r", "i"))
"""Names of the parts of complex numbers, as MATLAB, Octave and Armadillo have them."""

MOST_BYTES = 2**29
"""Of a data set that is not read row by row: of packed data that are unpacked at once, of columns."""

MOST_ATTRIBUTE_BYTES = 2**20

Attributes: TypeAlias = Mapping[str, str | int | float | Sequence[int]]
"""Names and values that are written."""


class Refused(Exception):
    """An object breaks a law; the message is the law, without file and object."""


class Look(NamedTuple):
    """What a first look at a file said: its stamp, and laws by the names of what is not to be touched, "" for
    the file itself; and what its user says of it, and of the array that made it.
    """

    stamp: Stamp
    unread: Mapping[str, str]
    naming: Naming = PLAIN
    array: "CalibratedArray | None" = None


def rows_of(extent: Extent, first: int, last: int) -> NDArray[Any]:
    """Rows of numbers that lie in one piece.

    Raises:
        Refused: the file is gone, cut or changed.
    """
    try:
        return extent.read(first, last)
    except MeasurementError as error:
        raise Refused(str(error).removeprefix(f"{extent.path}: {extent.name}: ")) from error


@dataclass(frozen=True)
class Unread:
    """An attribute or an object that is not read, and the law that it breaks."""

    law: str


@dataclass(frozen=True)
class StoredGroup:
    """A group; what it holds stands in the contents by itself."""


@dataclass(frozen=True)
class StoredField(ABC):
    """A data set that can be read. offset: where its bytes begin, None where they are not in one piece, row
    after row.
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    offset: int | None

    @abstractmethod
    def read(self, rows: slice | tuple[()]) -> NDArray[Any]:
        """Some rows, () for all.

        Raises:
            Refused: damaged, too large to read at once, or neither numbers nor bytes.
        """

    @abstractmethod
    def pieces(self) -> Sequence[tuple[slice, ...]]:
        """What is unpacked one after the other, after a look at the whole; nothing where nothing is packed.

        Raises:
            Refused: the whole is damaged.
        """

    @property
    def whole_bytes(self) -> int:
        """Of the whole, where a look at it unpacks all of it."""
        return 0

    @property
    def piece_bytes(self) -> int:
        """Of one piece, unpacked."""
        return 0

    @abstractmethod
    def rehearse(self, piece: tuple[slice, ...]) -> None:
        """Read a piece, as reading rows will do.

        Raises:
            Refused: a damaged piece.
        """


@dataclass(frozen=True)
class MadeField(StoredField):
    """A data set that is made when its rows are read, of others of the file or of none. make: some rows, ()
    for all.
    """

    make: Callable[[slice | tuple[()]], NDArray[Any]]

    def read(self, rows: slice | tuple[()]) -> NDArray[Any]:
        """Some rows, () for all.

        Raises:
            Refused: as what it is made of.
        """
        return self.make(rows)

    def pieces(self) -> list[tuple[slice, ...]]:
        """None, nothing is packed."""
        return []

    def rehearse(self, piece: tuple[slice, ...]) -> None:
        """Nothing is packed."""


def made(values: NDArray[Any]) -> MadeField:
    """A data set of values that are known."""
    return MadeField(values.dtype, values.shape, None, lambda rows: np.asarray(values[rows]))


@dataclass(frozen=True)
class Contents:
    """Attributes of a file (values, or why they are not read), and objects by their path. is_foreign: of a
    program that knows no format of this project, where names alone say what a file is.
    """

    attributes: dict[str, Any]
    objects: dict[str, StoredField | StoredGroup | Unread]
    is_foreign: bool = False


def state(held: Contents, name: str, value: NDArray[Any]) -> None:
    """Enter one number, or text, as an attribute and as a data set without axes."""
    held.attributes[name] = plain(value.reshape(()))
    held.objects[name] = made(value.reshape(()))


class Format(NamedTuple):
    """One kind of file.

    name: as messages have it. suffixes: endings of the names of such files. begins: whether an open file is
    one, by its first bytes. opened: what a file holds, for the length of a block; given laws by name of what
    is not to be touched, and a function that is told each name before it is looked at; raises `Refused`.
    write: writes attributes and data sets, whole or not at all, equal content as equal bytes; None where
    files are only read. beside: ending of the file of the same name that holds the numbers, where one does.
    """

    name: str
    suffixes: tuple[str, ...]
    begins: Callable[[BinaryIO], bool]
    opened: Callable[[Path, Mapping[str, str], Callable[[str], None]], AbstractContextManager[Contents]]
    write: Callable[[Path, Attributes, Mapping[str, NDArray[Any]]], None] | None
    beside: str | None = None


def as_complex(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The complex type that a compound of real and imaginary part is, byte for byte; another type stays."""
    if dtype.names not in _PARTS or dtype.fields is None:
        return dtype
    (real, first), (imaginary, second) = (dtype.fields[name][:2] for name in dtype.names)
    is_pair = real == imaginary and real.kind == "f" and real.itemsize in (4, 8)
    if not is_pair or (first, second, dtype.itemsize) != (0, real.itemsize, 2 * real.itemsize):
        return dtype
    return np.dtype(f"{real.byteorder}c{dtype.itemsize}")


def plain(value: Any) -> Any:
    """A value of an attribute as str, bool, int, float, or an array of them."""
    if isinstance(value, np.ndarray) and value.dtype.kind == "O":
        value = value.tolist()
        return plain(value[0]) if isinstance(value, list) and len(value) == 1 else str(value)
    if isinstance(value, np.generic | np.ndarray) and value.size == 1:
        value = value.reshape(()) if isinstance(value, np.ndarray) else value
        value = float(value) if value.dtype.kind == "f" else value.item()
    if isinstance(value, str):
        value = value.encode("utf-8", "surrogateescape")
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value
