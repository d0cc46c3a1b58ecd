"""MATLAB files as MATLAB writes them: by scipy for versions 5 to 7, and of version 7.3 by h5py."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import scipy.io

_HEADER_BYTES = 512


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


def write_matlab_hdf5(path: Path, held: Mapping[str, Any], **options: Any) -> Path:
    """Variables as `save -v7.3` lays them out: two axes at least, all turned round, complex numbers as
    compounds, text as uint16.
    """
    with h5py.File(path, "w", userblock_size=_HEADER_BYTES) as file:
        _put(file, held, options)
    head = b"MATLAB 7.3 MAT-file, Platform: GLNXA64, HDF5 schema 1.00 .".ljust(124) + b"\0\2IM"
    with path.open("r+b") as raw:
        raw.write(head.ljust(_HEADER_BYTES, b"\0"))
    return path


def _put(group: h5py.Group, held: Mapping[str, Any], options: Mapping[str, Any]) -> None:
    for name, value in held.items():
        if isinstance(value, Mapping):
            inner = group.create_group(name)
            inner.attrs["MATLAB_class"] = np.bytes_("struct")
            _put(inner, value, options)
            continue
        is_text = isinstance(value, str)
        values = (
            np.array([ord(letter) for letter in value], np.uint16)[None] if is_text else np.asarray(value)
        )
        values = np.atleast_2d(values).T
        if values.dtype.kind == "c":
            pair = np.empty(values.shape, [("real", values.real.dtype), ("imag", values.real.dtype)])
            pair["real"], pair["imag"] = values.real, values.imag
            values = pair
        dataset = group.create_dataset(name, data=values, **options)
        dataset.attrs["MATLAB_class"] = np.bytes_("char" if is_text else "double")
