"""Numbers of files in the types that are computed with: exact powers of two, and no silent loss."""

import numpy as np
import pytest
from numpy.typing import NDArray

from risolve.files.precision import as_double, as_single


def complex_rows() -> NDArray[np.complex128]:
    random = np.random.default_rng(7)
    return random.standard_normal((3, 2, 5)) + 1j * random.standard_normal((3, 2, 5))


@pytest.mark.parametrize("exponent", [-1000, -500, -150, -91, -60, 0, 60, 91, 150, 500, 1000])
def test_a_power_of_two_changes_no_bit(exponent: int) -> None:
    """as_single(2^e y) is as_single(y) in another unit, exactly, for every y in double precision."""
    rows = complex_rows()
    own, scaled = as_single(rows), as_single(np.ldexp(rows.view(np.float64), exponent).view(np.complex128))
    assert not own.exponents.any()
    shift = exponent - scaled.exponents
    expected = np.ldexp(own.values.view(np.float32), shift[:, None, None].astype(np.int32))
    np.testing.assert_array_equal(scaled.values.view(np.float32), expected)
    assert (np.abs(shift) <= 95).all()


def test_rows_have_units_of_their_own() -> None:
    rows = complex_rows() * np.array([1e-150, 1.0, 1e150])[:, None, None]
    single = as_single(rows)
    assert (single.exponents != 0).tolist() == [True, False, True]
    again = single.values.astype(np.complex128) * np.exp2(single.exponents.astype(float))[:, None, None]
    np.testing.assert_allclose(again, rows, rtol=1e-6)


def test_single_precision_stays_bit_by_bit() -> None:
    rows = complex_rows().astype(np.complex64)
    for own in (rows, rows.astype(">c8"), rows.astype(np.complex128)):
        single = as_single(own)
        np.testing.assert_array_equal(single.values, rows)
        assert single.values.dtype == np.complex64
        assert not single.exponents.any()


def test_zeros_and_what_is_not_finite_stay_so() -> None:
    rows = complex_rows()
    rows *= 1e-140
    rows[0], rows[1, 0, 0], rows[2, 0, 0] = 0.0, np.nan, np.inf
    single = as_single(rows)
    assert not single.values[0].any()
    assert np.argwhere(~np.isfinite(single.values)).tolist() == [[1, 0, 0], [2, 0, 0]]


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "g", ">f4", ">f8", "i1", ">i4", "u8", "i8"])
def test_real_numbers_become_double(dtype: str) -> None:
    values = np.array([0, 1, 2, 100], dtype)
    double, lost = as_double(values)
    assert double.dtype == np.float64
    assert double.tolist() == [0.0, 1.0, 2.0, 100.0]
    assert not lost.any()


def test_what_double_precision_cannot_hold_is_told() -> None:
    values = np.array([np.longdouble("1e-4000"), np.longdouble("1e4000"), 0.0, np.inf, np.nan, 1.0])
    assert as_double(values)[1].tolist() == [True, True, False, False, False, False]
