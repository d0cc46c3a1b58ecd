"""MATLAB files of version 7.3: HDF5 behind a header of MATLAB, in which all axes stand the other way round.

Variables are as in `risolve.formats.matlab`. What MATLAB stores by reference (cells, structure arrays) is
known by its name alone.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from risolve.files.contents import (
    MOST_ATTRIBUTE_BYTES,
    READABLE,
    Contents,
    Format,
    Refused,
    Unread,
    made,
    plain,
    state,
)
from risolve.files.hdf5_objects import Hdf5Field, guarded, is_hdf5, is_matlab, open_file
from risolve.files.hdf5_survey import survey

_MOST_AXES = 32


@dataclass(frozen=True)
class ReversedField(Hdf5Field):
    """A data set whose last axis is the first one of MATLAB."""

    def stored(self, rows: slice | tuple[()]) -> NDArray[Any]:
        """Some rows, () for all."""
        values: NDArray[Any] = self.dataset[(..., rows)] if isinstance(rows, slice) else self.dataset[()]
        return np.ascontiguousarray(values.T)


def _begins(file: BinaryIO) -> bool:
    return is_matlab(file) and is_hdf5(file)


@contextmanager
def _opened(path: Path, unread: Mapping[str, str], before: Callable[[str], None]) -> Iterator[Contents]:
    with open_file(path) as file:
        found = survey(file, unread, before)
        held = Contents({}, {}, is_foreign=True)
        for name, field in found.objects.items():
            # what variables refer to stands in groups of such names
            if name.startswith("#"):
                continue
            if isinstance(field, Hdf5Field) and name not in unread:
                before(name)
                try:
                    _enter(held, name, field)
                except Refused as refused:
                    held.objects[name] = Unread(str(refused))
            else:
                held.objects[name] = field
        yield held


def _enter(held: Contents, name: str, field: Hdf5Field) -> None:
    """Enter a variable.

    Raises:
        Refused: damaged, or neither numbers nor text.
    """
    with guarded():
        said = {key: plain(field.dataset.attrs.get(key)) for key in ("MATLAB_class", "MATLAB_empty")}
    if field.dtype.kind not in READABLE:
        raise Refused(f"numbers, text or one structure, got {field.dtype}, as of a cell array")
    if isinstance(said["MATLAB_empty"], int | float) and said["MATLAB_empty"]:
        shape = tuple(field.read(()).ravel()[: _MOST_AXES + 1].tolist())
        if 0 not in shape or len(shape) > _MOST_AXES:
            raise Refused(f"the shape of an empty array, got {str(shape)[:80]}")
        held.objects[name] = made(np.empty([int(n) for n in shape]))
        return
    turned = ReversedField(field.dtype, field.shape[::-1], None, field.packed, field.dataset)
    n_values = math.prod(field.shape)
    if isinstance(said["MATLAB_class"], str) and said["MATLAB_class"] == "char":
        if turned.dtype.kind != "u" or turned.shape[:1] != (1,) or 4 * n_values > MOST_ATTRIBUTE_BYTES:
            law = f"a row of at most {MOST_ATTRIBUTE_BYTES // 4} letters"
            raise Refused(f"{law}, got {turned.dtype} {turned.shape}")
        letters = turned.read(()).astype("<u2").tobytes()
        state(held, name, np.array(letters.decode("utf-16-le", "backslashreplace").replace("\0", "")))
    elif n_values == 1:
        state(held, name, turned.read(()))
    else:
        held.objects[name] = turned


FORMAT = Format("a MATLAB file", (".mat",), _begins, _opened, None)
