"""HDF5, the reference format: data sets by their path, attributes of the root."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from risolve.files import hdf5
from risolve.files.contents import Contents, Format
from risolve.files.hdf5_objects import open_file
from risolve.files.hdf5_survey import survey

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_FIRST_BLOCK = 512
"""Bytes that a program may put before the signature (MATLAB does), or twice as many, and so on."""


def _begins(file: BinaryIO) -> bool:
    place, n_bytes = 0, file.seek(0, 2)
    while place < n_bytes:
        file.seek(place)
        if file.read(len(_SIGNATURE)) == _SIGNATURE:
            return True
        place = 2 * place or _FIRST_BLOCK
    return False


@contextmanager
def _opened(path: Path, unread: Mapping[str, str], before: Callable[[str], None]) -> Iterator[Contents]:
    with open_file(path) as file:
        yield survey(file, unread, before)


FORMAT = Format("an HDF5 file", (".h5", ".hdf5"), _begins, _opened, hdf5.write)
