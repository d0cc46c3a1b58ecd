"""Arrays: their makers, their manifold, and what is refused."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from risolve.physics.array import Array, circular, linear, planar
from tests.oracles import steering as oracle

PLACES = torch.tensor([[0.3, -0.2, 0.4], [-0.5, 0.1, 0.1]], dtype=torch.float64)


@pytest.mark.parametrize("kind", [np.array, torch.tensor, list])
def test_elements_of_any_kind_are_held_in_double_precision(kind: Any) -> None:
    array = Array(kind([[0.0, 0.0, 0.0], [0.5, 0.0, 0.0]]), 1.0)
    assert array.n_elements == 2
    assert isinstance(array.wavelength, float)
    assert array.elements.tolist() == [[0.0, 0.0, 0.0], [0.5, 0.0, 0.0]]
    assert array.elements.dtype == torch.float64


def test_the_array_keeps_no_memory_of_numpy() -> None:
    elements = np.eye(3)
    array = Array(elements, 1.0)
    elements[:] = 7.0
    assert float(array.elements.max()) == 1.0


@pytest.mark.parametrize("spherical_amplitude", [False, True])
def test_the_manifold_is_the_wave_of_the_oracle(spherical_amplitude: bool) -> None:
    array = Array(planar(3, 5, 0.15, 0.3).elements, 0.3, spherical_amplitude)
    expected = [
        oracle.steering(s, array.elements.tolist(), 0.3, spherical_amplitude) for s in PLACES.tolist()
    ]
    torch.testing.assert_close(array.steering(PLACES), torch.from_numpy(np.stack(expected)))
    torch.testing.assert_close(array.steering_derivatives(PLACES).steering, array.steering(PLACES))


def test_a_plane_is_centred_with_its_horizontal_index_fast() -> None:
    assert planar(2, 3, 0.1, 0.3).elements.tolist() == pytest.approx(
        np.array([[x, y, 0.0] for y in (-0.1, 0.0, 0.1) for x in (-0.05, 0.05)])
    )


def test_a_line_is_a_plane_of_one_row() -> None:
    elements = linear(4, 0.5, 1.0).elements
    assert elements[:, 0].tolist() == [-0.75, -0.25, 0.25, 0.75]
    assert not elements[:, 1:].any()


def test_a_circle_has_one_radius_and_equal_gaps() -> None:
    elements = circular(7, 2.0, 0.1).elements
    assert elements[0].tolist() == [2.0, 0.0, 0.0]
    torch.testing.assert_close(elements.norm(dim=-1), torch.full((7,), 2.0, dtype=torch.float64))
    gaps = (elements - elements.roll(-1, 0)).norm(dim=-1)
    torch.testing.assert_close(gaps, torch.full_like(gaps, 4.0 * math.sin(math.pi / 7)))


@pytest.mark.parametrize(
    ("elements", "wavelength", "kind", "numbers"),
    [
        (np.zeros((4, 2)), 1.0, ValueError, "[4, 2]"),
        (np.zeros(3), 1.0, ValueError, "[3]"),
        (np.zeros((0, 3)), 1.0, ValueError, "[0, 3]"),
        (np.full((2, 3), np.nan), 1.0, ValueError, "6"),
        (np.eye(3), 0.0, ValueError, "0.0"),
        (np.eye(3), math.inf, ValueError, "inf"),
        (np.eye(3, dtype=complex), 1.0, TypeError, "complex128"),
    ],
)
def test_what_is_no_array_is_refused(
    elements: Any, wavelength: float, kind: type[Exception], numbers: str
) -> None:
    with pytest.raises(kind) as refused:
        Array(elements, wavelength)
    assert numbers in str(refused.value)


@pytest.mark.parametrize(
    ("make", "arguments", "number"),
    [
        (planar, (0, 4, 0.5, 1.0), "0"),
        (planar, (4, 4, -0.5, 1.0), "-0.5"),
        (linear, (4, math.nan, 1.0), "nan"),
        (circular, (0, 1.0, 1.0), "0"),
        (circular, (4, 0.0, 1.0), "0.0"),
        (circular, (4, 1.0, -2.0), "-2.0"),
        (planar, (2.5, 1, 1.0, 0.1), "2.5"),
        (circular, (True, 1.0, 0.1), "True"),
        (linear, (4, "1", 0.1), "'1'"),
        (Array, (np.eye(3), 0.1, "False"), "'False'"),
        (Array, (np.ma.masked_array(np.eye(3), mask=True), 0.1), "mask"),
    ],
)
def test_makers_refuse_what_is_no_length_or_number(
    make: Any, arguments: tuple[float, ...], number: str
) -> None:
    with pytest.raises((ValueError, TypeError)) as refused:
        make(*arguments)
    assert number in str(refused.value)
