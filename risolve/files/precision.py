"""Numbers of files in the types that are computed with: real ones double, complex ones single, none lost."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Complex, Int
from numpy.typing import NDArray

_EXPONENTS = 90
"""Rows whose largest number is within 2^-90 to 2^90 stay as they are; smaller ones then keep their digits."""


class Single(NamedTuple):
    """Rows of complex numbers: `values` times 2^`exponents`, row by row."""

    values: Complex[np.ndarray, "row ..."]
    exponents: Int[np.ndarray, " row"]


def as_double(values: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Real numbers of any type in double precision, and which of them it cannot hold."""
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        double = values.astype(np.float64)
    lost = (np.isfinite(values) & ~np.isfinite(double)) | ((values != 0) & (double == 0.0))
    return double, lost


def as_single(values: NDArray[Any]) -> Single:
    """Complex numbers of any precision in single precision, whatever their unit.

    The powers of two are exact. What is smaller than 2^-100 of the largest number of its row may become 0;
    numbers that are not finite stay so.
    """
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        if values.dtype.newbyteorder("=") not in (np.complex64, np.complex128):
            values = values.astype(np.complex128)
        size = np.maximum(np.abs(values.real), np.abs(values.imag)).reshape(len(values), -1)
        largest = np.where(np.isfinite(size), size, 0.0).max(axis=1, initial=0.0)
        exponents = np.frexp(largest)[1].astype(np.int64)
        exponents[np.abs(exponents) <= _EXPONENTS] = 0
        if exponents.any():
            parts = np.ascontiguousarray(values.astype(np.complex128)).view(np.float64)
            shift = -exponents.reshape(-1, *(1 for _ in values.shape[1:]))
            values = np.ldexp(parts, shift.astype(np.int32)).view(np.complex128)
        return Single(values.astype(np.complex64), exponents)
