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
from typing import Any, BinaryIO, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from risolve.files.extents import Stamp

READABLE = "biufcS"
"""Kinds of numpy types that are read: numbers and bytes of fixed length; no references, nothing variable."""

MOST_BYTES = 2**29
"""Of a data set that is not read row by row: of packed data that are unpacked at once, of columns."""

MOST_ATTRIBUTE_BYTES = 2**20

Attributes: TypeAlias = Mapping[str, str | int | float | Sequence[int]]
"""Names and values that are written."""


class Refused(Exception):
    """An object breaks a law; the message is the law, without file and object."""


class Look(NamedTuple):
    """What a first look at a file said: its stamp, and laws by the names of what is not to be touched, "" for
    the file itself.
    """

    stamp: Stamp
    unread: Mapping[str, str]


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
class Contents:
    """Attributes of a file (values, or why they are not read), and objects by their path."""

    attributes: dict[str, Any]
    objects: dict[str, StoredField | StoredGroup | Unread]


class Format(NamedTuple):
    """One kind of file.

    name: as messages have it. suffixes: endings of the names of files that are written so. begins: whether an
    open file is one, by its first bytes. opened: what a file holds, for the length of a block; given laws by
    name of what is not to be touched, and a function that is told each name before it is looked at; raises
    `Refused`. write: writes attributes and data sets, whole or not at all, equal content as equal bytes.
    """

    name: str
    suffixes: tuple[str, ...]
    begins: Callable[[BinaryIO], bool]
    opened: Callable[[Path, Mapping[str, str], Callable[[str], None]], AbstractContextManager[Contents]]
    write: Callable[[Path, Attributes, Mapping[str, NDArray[Any]]], None]


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
