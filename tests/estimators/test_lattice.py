"""Rectangular lattices: what is read from their elements, and what is none."""

import math

import pytest
import torch

from risolve.estimators.lattice import Lattice, rectangular_lattice
from risolve.physics.array import Array
from risolve.physics.geometry import planar_array
from risolve.shapes import Elements
from tests.messages import shows


@pytest.mark.parametrize(("n_horizontal", "n_vertical"), [(5, 8), (8, 5), (12, 12), (2, 2), (3, 4)])
def test_the_array_of_a_system_is_read_back(n_horizontal: int, n_vertical: int) -> None:
    elements = planar_array(n_horizontal, n_vertical, 0.15)
    lattice = rectangular_lattice(Array(elements, 0.3, False))
    assert lattice[:2] == (n_horizontal, n_vertical)
    assert lattice[2:] == pytest.approx((0.15, 0.15), rel=1e-12)
    torch.testing.assert_close(lattice.elements(), elements, rtol=0.0, atol=1e-12)


def test_spacings_may_differ_and_single_precision_is_enough() -> None:
    elements = planar_array(5, 8, 0.1) * torch.tensor([1.0, 1.4, 1.0])
    lattice = rectangular_lattice(Array(elements.float(), 0.3, False))
    assert lattice[:2] == (5, 8)
    assert lattice[2:] == pytest.approx((0.1, 0.14), rel=1e-6)


def test_opposite_elements_are_mirror_images() -> None:
    elements = Lattice(4, 3, 0.1, 0.2).elements()
    torch.testing.assert_close(elements.flip(0), -elements, rtol=0.0, atol=1e-15)


def turned(elements: Elements) -> Elements:
    c, s = math.cos(0.2), math.sin(0.2)
    return elements @ torch.tensor([[c, s, 0.0], [-s, c, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64)


def moved(elements: Elements, element: int, axis: int) -> Elements:
    elements = elements.clone()
    elements[element, axis] += 1e-3
    return elements


GRID = planar_array(5, 8, 0.15)
OTHERS = {
    "one row": planar_array(8, 1, 0.15),
    "one column": planar_array(1, 8, 0.15),
    "turned": turned(GRID),
    "not centred": GRID + torch.tensor([0.075, 0.0, 0.0]),
    "not in the plane": GRID + torch.tensor([0.0, 0.0, 0.01]),
    "an element in x": moved(GRID, 17, 0),
    "an element in z": moved(GRID, 17, 2),
    "the first element": moved(GRID, 0, 1),
    "an element less": GRID[:-1],
    "horizontal index slow": GRID.reshape(8, 5, 3).transpose(0, 1).reshape(-1, 3),
    "from the top": GRID.flip(0),
    "in one place": torch.zeros((4, 3), dtype=torch.float64),
}


@pytest.mark.parametrize("name", OTHERS)
def test_any_other_array_is_refused_with_the_law(name: str) -> None:
    n = OTHERS[name].shape[0]
    with pytest.raises(ValueError, match=shows(f"e_(N-1-n) = -e_n ... {n} elements")):
        rectangular_lattice(Array(OTHERS[name], 0.3, False))


def test_the_refusal_shows_the_deviation() -> None:
    with pytest.raises(ValueError, match=shows("5 x 8 ... 0.15 m ... 0.15 m ... 0.001 m")):
        rectangular_lattice(Array(moved(GRID, 17, 0), 0.3, False))
