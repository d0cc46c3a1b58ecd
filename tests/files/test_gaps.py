"""What is left out of a scene of which some numbers did not arrive."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from risolve.files.gaps import Gap, gap_of


def finite(n_snapshots: int, n_antennas: int, *missing: tuple[int | slice, int | slice]) -> np.ndarray:
    held = np.ones((n_snapshots, n_antennas), dtype=bool)
    for place in missing:
        held[place] = False
    return held


ALL = slice(None)


@pytest.mark.parametrize(
    ("missing", "expected"),
    [
        ([(3, ALL)], Gap((3,), ())),
        ([(ALL, 2)], Gap((), (2,))),
        ([(3, 2)], Gap((3,), ())),
        ([(3, ALL), (ALL, 2)], Gap((3,), (2,))),
        ([(0, 0), (5, 0), (7, 0)], Gap((), (0,))),
        ([(0, 0), (1, 0), (2, 0), (3, ALL)], Gap((3,), (0,))),
    ],
)
def test_what_loses_the_fewest_numbers_is_left_out(
    missing: list[tuple[int | slice, int | slice]], expected: Gap
) -> None:
    """Of 9 snapshots at 6 antennas a snapshot is 6 numbers, and an antenna 9."""
    assert gap_of(finite(9, 6, *missing)) == expected


def test_of_few_snapshots_at_many_antennas_an_antenna_is_less() -> None:
    assert gap_of(finite(4, 16, (3, 2))) == Gap((), (2,))


def test_of_nothing_that_is_whole_nothing_is_left() -> None:
    assert gap_of(finite(9, 6, (ALL, ALL))) is None
    assert gap_of(finite(1, 1, (0, 0))) is None


@given(arrays.arrays(bool, st.tuples(st.integers(1, 7), st.integers(1, 7)), elements=st.booleans()))
def test_what_is_left_is_whole_and_no_less_than_either_alone_leaves(held: np.ndarray) -> None:
    n_snapshots, n_antennas = held.shape
    most = max(held.all(1).sum() * n_antennas, n_snapshots * held.all(0).sum())
    gap = gap_of(held)
    if gap is None:
        assert most == 0
        return
    left = np.delete(np.delete(held, gap.snapshots, 0), gap.antennas, 1)
    assert left.all()
    assert left.size >= max(most, 1)
