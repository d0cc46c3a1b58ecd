"""Rows of contiguous data sets as ranges of bytes, read again and again without HDF5.

A file is checked once, by `risolve.files.hdf5`; what it says of a data set is enough to read any rows of
it in one system call that other threads do not wait for. No file stays open in between, of however many
shards.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from risolve.errors import ChangedFileError, MeasurementError

Stamp = tuple[int, ...]
"""Number, size and time of change (ns) of a file; empty where there is none."""


@dataclass(frozen=True)
class Extent:
    """Rows of one data set of a file, from the byte `offset` on."""

    path: Path
    name: str
    offset: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    stamp: Stamp

    def read(self, first: int, last: int) -> NDArray[Any]:
        """Rows first to last - 1.

        Raises:
            MeasurementError: the file is gone, or is cut.
            ChangedFileError: it was changed since it was checked.
        """
        values = np.empty((last - first, *self.shape[1:]), self.dtype)
        target = values.reshape(-1).view(np.uint8).data
        row_bytes = values.nbytes // max(len(values), 1)
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                if stamp_of(os.fstat(descriptor)) != self.stamp:
                    law = "the file was changed after it was opened; run again"
                    raise ChangedFileError(f"{self.path}: {self.name}: {law}")
                done = 0
                while done < len(target):
                    start = self.offset + first * row_bytes + done
                    n_read = os.preadv(descriptor, [target[done:]], start)
                    if n_read == 0:
                        raise self.fault("cannot be read, the file is cut; make it again")
                    done += n_read
            finally:
                os.close(descriptor)
        except OSError as error:
            raise self.fault(f"cannot be read ({error.strerror}); make the file again") from error
        return values

    def fault(self, law: str) -> MeasurementError:
        """The error that names the file, the data set and the law that it breaks."""
        return MeasurementError(f"{self.path}: {self.name}: {law}")

    def require_finite(self, values: NDArray[Any], first: int) -> None:
        """Refuse rows, from number `first` on, that hold numbers which are not finite.

        Raises:
            MeasurementError: how many, and the first of them.
        """
        law = broken_finiteness(values, first)
        if law is not None:
            raise self.fault(law)


def stamp_of(status: os.stat_result) -> Stamp:
    """What a file that is written again does not keep."""
    return status.st_ino, status.st_size, status.st_mtime_ns


def stamp_of_path(path: Path) -> Stamp:
    """The stamp of the file of this name."""
    try:
        return stamp_of(path.stat())
    except OSError:
        return ()


def broken_finiteness(values: NDArray[Any], first_row: int) -> str | None:
    """How values break the law that every number is finite; None where they keep it. Rows are counted from
    `first_row`.
    """
    wrong = ~np.isfinite(values)
    if not wrong.any():
        return None
    own = tuple(int(i) for i in np.argwhere(wrong)[0])
    place = (own[0] + first_row, *own[1:])
    with np.errstate(invalid="ignore"):
        first = str(values[own])
    return (
        f"every number is finite; {int(wrong.sum())} of {values.size} are not, the first at index {place}, "
        f"{first}; remove or record again what it belongs to"
    )
