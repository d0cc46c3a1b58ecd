"""HDF5, the reference format: data sets by their path, attributes of the root."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from risolve.files import hdf5
from risolve.files.contents import Contents, Format
from risolve.files.hdf5_objects import is_hdf5, is_matlab, open_file
from risolve.files.hdf5_survey import survey


def _begins(file: BinaryIO) -> bool:
    return is_hdf5(file) and not is_matlab(file)


@contextmanager
def _opened(path: Path, unread: Mapping[str, str], before: Callable[[str], None]) -> Iterator[Contents]:
    with open_file(path) as file:
        yield survey(file, unread, before)


FORMAT = Format("an HDF5 file", (".h5", ".hdf5"), _begins, _opened, hdf5.write)
