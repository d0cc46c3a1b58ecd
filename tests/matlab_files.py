"""Files of measurements as MATLAB writes them: by scipy for versions 5 to 7, and of version 7.3 by h5py."""

from pathlib import Path
from typing import Any

import h5py
import scipy.io

from benchmarks.fuzz._hdf5_valid import write_matlab_hdf5


def variables(path: Path) -> dict[str, Any]:
    """Attributes and data sets of an HDF5 file of measurements as variables; groups as structures."""
    with h5py.File(path, "r") as file:
        found: dict[str, Any] = dict(file.attrs)
        for name, held in file.items():
            found[name] = held[()] if isinstance(held, h5py.Dataset) else {k: v[()] for k, v in held.items()}
    return found


def as_matlab(path: Path, **options: Any) -> Path:
    """The same content as a file of version 5 to 7."""
    scipy.io.savemat(path.with_suffix(".mat"), variables(path), **options)
    return path.with_suffix(".mat")


def as_matlab_hdf5(path: Path, **options: Any) -> Path:
    """The same content as a file of version 7.3."""
    return write_matlab_hdf5(path.with_suffix(".mat"), variables(path), **options)
