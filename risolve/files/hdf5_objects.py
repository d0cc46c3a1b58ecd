"""What of an HDF5 file is read: what stands whole in the file itself. Every use of h5py for reading is here.

A file is surveyed once, when it is opened: attributes, groups and data sets, reached by hard links. What is
elsewhere (soft and external links, virtual data sets, external storage), what is damaged, and what declares
more than it holds is known by its name, with the law that it breaks, and is never touched again.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import h5py
import numpy as np
from numpy.typing import NDArray

from risolve.files.contents import MOST_BYTES, READABLE, Refused, StoredField

_SIGNATURE, _MATLAB = b"\x89HDF\r\n\x1a\n", b"MATLAB 7.3 MAT-file"
_FIRST_BLOCK = 512
"""Bytes that a program may put before the signature (MATLAB does), or twice as many, and so on."""


@dataclass(frozen=True)
class Hdf5Field(StoredField):
    """A data set that can be read."""

    packed: bool
    dataset: h5py.Dataset

    def read(self, rows: slice | tuple[()]) -> NDArray[Any]:
        """Some rows, () for all.

        Raises:
            Refused: damaged, too large to unpack at once, or neither numbers nor bytes.
        """
        if self.dtype.kind not in READABLE:
            raise Refused(f"numbers, got {self.dtype}")
        if self.packed and self._bytes_of(rows) > MOST_BYTES:
            raise Refused(
                f"at most {MOST_BYTES} bytes are unpacked at once, got {self._bytes_of(rows)}; write it "
                "unpacked (h5repack -f NONE)"
            )
        with guarded():
            values = self.stored(rows)
        return values.view(self.dtype) if values.dtype.names else values

    def stored(self, rows: slice | tuple[()]) -> NDArray[Any]:
        """Some rows, () for all, as the library has them."""
        return np.asarray(self.dataset[rows])

    def pieces(self) -> list[tuple[slice, ...]]:
        """Where the chunks that are stored of a data set that is read in chunks lie.

        Raises:
            Refused: they do not lie in the data set.
        """
        if self.dataset.chunks is None or self.dtype.kind not in READABLE:
            return []
        places: list[tuple[int, ...]] = []
        with guarded():
            self.dataset.id.chunk_iter(lambda chunk: places.append(chunk.chunk_offset))
        size = self.dataset.chunks
        return [
            tuple(slice(first, first + length) for first, length in zip(place, size, strict=True))
            for place in places
        ]

    @property
    def piece_bytes(self) -> int:
        """Of a chunk, unpacked."""
        return math.prod(self.dataset.chunks or ()) * self.dtype.itemsize

    def rehearse(self, piece: tuple[slice, ...]) -> None:
        """Read a chunk, as reading rows will do.

        Raises:
            Refused: a damaged chunk.
        """
        with guarded():
            self.dataset[piece]

    def _bytes_of(self, rows: slice | tuple[()]) -> int:
        of_row = math.prod(self.shape[1:]) * self.dtype.itemsize
        first = self.shape[0] if self.shape else 1
        return of_row * (len(range(*rows.indices(first))) if isinstance(rows, slice) else first)


def is_hdf5(file: BinaryIO) -> bool:
    """Whether an open file has the signature, behind what a program may put before it."""
    place, n_bytes = 0, file.seek(0, 2)
    while place < n_bytes:
        file.seek(place)
        if file.read(len(_SIGNATURE)) == _SIGNATURE:
            return True
        place = 2 * place or _FIRST_BLOCK
    return False


def is_matlab(file: BinaryIO) -> bool:
    """Whether an open file begins as MATLAB begins its HDF5 files."""
    file.seek(0)
    return file.read(len(_MATLAB)) == _MATLAB


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
        Refused: not HDF5, cut, or damaged.
    """
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
