import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from risolve.physics import geometry
from tests import tolerances
from tests.oracles import steering as oracle

SOURCES = torch.tensor(
    [[-0.9, 0.4, 1 / 0.7], [0.0, 0.0, 0.5], [0.6, -0.5, 0.1], [1.0, 0.3, 2.0]], dtype=torch.float64
)


@pytest.mark.parametrize(("n_horizontal", "n_vertical"), [(3, 5), (5, 8), (4, 2), (1, 1)])
def test_element_order_is_vertical_slow_horizontal_fast(n_horizontal: int, n_vertical: int) -> None:
    found = geometry.planar_array(n_horizontal, n_vertical, 0.15)
    expected = torch.tensor(oracle.elements(n_horizontal, n_vertical, 0.15), dtype=torch.float64)
    torch.testing.assert_close(found, expected, rtol=0.0, atol=1e-15)


@pytest.mark.parametrize(("n_horizontal", "n_vertical"), [(3, 5), (12, 12), (2, 7)])
def test_grid_is_centred(n_horizontal: int, n_vertical: int) -> None:
    """Indices -(n-1)/2 ... (n-1)/2: for even n no element stands on an axis, and -6 ... 5 does not appear."""
    elements = geometry.planar_array(n_horizontal, n_vertical, 0.15)
    assert float(elements.mean(0).abs().max()) < 1e-15
    assert float(elements[:, 0].max()) == pytest.approx((n_horizontal - 1) / 2 * 0.15)
    assert float(elements[:, 1].min()) == pytest.approx(-(n_vertical - 1) / 2 * 0.15)
    assert elements.dtype == torch.float64


@pytest.mark.parametrize("axis", [0, 1])
def test_mirror_order_mirrors_positions(axis: int) -> None:
    elements = geometry.planar_array(3, 5, 0.15)
    order = geometry.mirror_order(elements, axis)
    assert order is not None
    mirrored = elements[order]
    signs = torch.ones(3, dtype=torch.float64)
    signs[axis] = -1.0
    torch.testing.assert_close(mirrored, elements * signs, rtol=0.0, atol=1e-15)
    assert geometry.mirror_order(elements[1:], axis) is None


def test_positions_follow_the_convention() -> None:
    expected = [oracle.position(float(az), float(el), 1.0 / float(w)) for az, el, w in SOURCES]
    found = geometry.positions(SOURCES)
    torch.testing.assert_close(
        found, torch.tensor(expected, dtype=torch.float64), rtol=tolerances.DOUBLE, atol=1e-15
    )


def test_axes_point_where_they_are_said_to() -> None:
    """Boresight +z; azimuth towards +x; elevation towards +y."""
    angles = torch.tensor([[0.0, 0.0], [math.pi / 2, 0.0], [0.0, math.pi / 2]], dtype=torch.float64)
    expected = torch.tensor([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(geometry.directions(angles), expected, rtol=0.0, atol=1e-15)


def test_empty_slots_stay_empty() -> None:
    assert bool(geometry.positions(torch.full((1, 3), math.nan, dtype=torch.float64)).isnan().all())


def test_position_jacobian_by_central_difference() -> None:
    step = 1e-5
    analytic = geometry.position_jacobian(SOURCES)
    azimuth, elevation, inverse_range = SOURCES.unbind(-1)
    coordinates = torch.stack((azimuth, elevation, 1.0 / inverse_range), -1)
    for column in range(3):
        shift = torch.zeros(3, dtype=torch.float64)
        shift[column] = step
        forward, backward = coordinates + shift, coordinates - shift
        moved = [geometry.positions(torch.cat((c[:, :2], 1.0 / c[:, 2:]), -1)) for c in (forward, backward)]
        difference = (moved[0] - moved[1]) / (2.0 * step)
        error = (difference - analytic[..., column]).norm(dim=-1) / analytic[..., column].norm(dim=-1)
        assert float(error.max()) < tolerances.FINITE_DIFFERENCE


def test_position_jacobian_columns_are_orthogonal() -> None:
    """Spherical coordinates: the columns are orthogonal, of lengths r cos theta, r and 1."""
    jacobian = geometry.position_jacobian(SOURCES)
    reach = 1.0 / SOURCES[:, 2]
    lengths = torch.stack((reach * torch.cos(SOURCES[:, 1]), reach, torch.ones_like(reach)), -1)
    expected = torch.diag_embed(lengths.square())
    torch.testing.assert_close(jacobian.mT @ jacobian, expected, rtol=tolerances.DOUBLE, atol=1e-12)


@given(
    azimuth=st.floats(-1.5, 1.5),
    elevation=st.floats(-1.5, 1.5),
    inverse_range=st.floats(0.0, 10.0),
)
def test_cosines_and_sources_are_inverse(azimuth: float, elevation: float, inverse_range: float) -> None:
    """asin loses half the digits near its end: |theta| <= 1.5 leaves cos theta >= .07, an error of eps /
    .07^2.
    """
    source = torch.tensor([azimuth, elevation, inverse_range], dtype=torch.float64)
    back = geometry.sources_from_cosines(geometry.cosines_from_sources(source))
    torch.testing.assert_close(back, source, rtol=0.0, atol=1e-11)


def test_cosines_are_direction_cosines() -> None:
    cosines = geometry.cosines_from_sources(SOURCES)
    torch.testing.assert_close(cosines[:, :2], geometry.directions(SOURCES[:, :2])[:, :2])
    torch.testing.assert_close(cosines[:, 2], SOURCES[:, 2])
