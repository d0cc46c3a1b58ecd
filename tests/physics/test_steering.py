import decimal
import math

import numpy as np
import pytest
import torch
from jaxtyping import Complex, Float
from scipy.optimize import minimize
from torch import Tensor

from risolve.physics.geometry import mirror_order, planar_array
from risolve.physics.steering import (
    fresnel_steering,
    planar_steering,
    steering,
    steering_by_elements,
    steering_derivatives,
)
from tests import tolerances
from tests.oracles import steering as oracle

WAVELENGTH = 0.3
WAVENUMBER = 2.0 * math.pi / WAVELENGTH
SMALL = planar_array(3, 5, 0.15)
DEFAULT = planar_array(12, 12, 0.15)
NEAREST, FARTHEST = 0.5, 10.0


def sources(seed: int, count: int) -> Float[Tensor, "source 3"]:
    """Sources in +-60 by +-30 degrees and 0.5 ... 10 m."""
    random = np.random.default_rng(seed)
    azimuth = random.uniform(-math.pi / 3, math.pi / 3, count)
    elevation = random.uniform(-math.pi / 6, math.pi / 6, count)
    inverse_range = 1.0 / random.uniform(NEAREST, FARTHEST, count)
    return torch.from_numpy(np.stack((azimuth, elevation, inverse_range), -1))


@pytest.mark.parametrize("spherical_amplitude", [False, True])
@pytest.mark.parametrize("array", [SMALL, DEFAULT], ids=["3x5", "12x12"])
def test_steering_is_its_definition(array: Tensor, spherical_amplitude: bool) -> None:
    placed = sources(1, 20)
    expected = [oracle.steering(s, array.tolist(), WAVELENGTH, spherical_amplitude) for s in placed.tolist()]
    found = steering(placed, array, WAVELENGTH, spherical_amplitude)
    torch.testing.assert_close(
        found, torch.from_numpy(np.array(expected)), rtol=tolerances.DOUBLE, atol=1e-12
    )


@pytest.mark.parametrize("spherical_amplitude", [False, True])
@pytest.mark.parametrize("array", [SMALL, DEFAULT], ids=["3x5", "12x12"])
def test_derivatives_are_central_differences(array: Tensor, spherical_amplitude: bool) -> None:
    """Fourth order, step 1e-4: truncation (k |e| h)^4 / 30 and rounding eps / h both stay below 1e-10."""
    step = 1e-4
    planar = torch.tensor([[0.7, -0.4, 0.0], [0.0, 0.0, 0.0]], dtype=torch.float64)
    placed = torch.cat((sources(2, 50), planar))
    found = steering_derivatives(placed, array, WAVELENGTH, spherical_amplitude)

    def moved(coordinate: int, steps: int) -> Complex[Tensor, "source element"]:
        shift = torch.zeros(3, dtype=torch.float64)
        shift[coordinate] = steps * step
        return steering(placed + shift, array, WAVELENGTH, spherical_amplitude)

    torch.testing.assert_close(found.steering, moved(0, 0), rtol=0.0, atol=0.0)
    for coordinate in range(3):
        outer = moved(coordinate, -2) - moved(coordinate, 2)
        inner = moved(coordinate, 1) - moved(coordinate, -1)
        difference = (outer + 8.0 * inner) / (12.0 * step)
        analytic = found.by_source[:, coordinate]
        error = torch.linalg.vector_norm(analytic - difference, dim=-1)
        assert (
            float((error / torch.linalg.vector_norm(analytic, dim=-1)).max()) < tolerances.FINITE_DIFFERENCE
        )


@pytest.mark.parametrize("spherical_amplitude", [False, True])
def test_derivatives_by_elements_are_central_differences(spherical_amplitude: bool) -> None:
    """Step 1e-5: truncation (k h)^2 / 6 and rounding eps / h both stay below 1e-8 of k."""
    step = 1e-5
    placed = torch.cat((sources(2, 20), torch.tensor([[0.7, -0.4, 0.0]], dtype=torch.float64)))
    found = steering_by_elements(placed, SMALL, WAVELENGTH, spherical_amplitude)
    for axis in range(3):
        shift = torch.zeros(3, dtype=torch.float64)
        shift[axis] = step
        after, before = (
            steering(placed, SMALL + sign * shift, WAVELENGTH, spherical_amplitude) for sign in (1, -1)
        )
        error = (found[:, axis] - (after - before) / (2.0 * step)).abs().amax()
        assert float(error) / WAVENUMBER < tolerances.FINITE_DIFFERENCE


@pytest.mark.parametrize("spherical_amplitude", [False, True])
def test_derivatives_in_every_element_near_the_surface(spherical_amplitude: bool) -> None:
    """Element by element, a source 0.2 m from the nearest one; relative to the largest entry of its row."""
    step = 1e-5
    placed = torch.tensor([[0.9, 0.4, 1 / 0.5], [-1.0, -0.5, 1 / 0.6]], dtype=torch.float64)
    found = steering_derivatives(placed, DEFAULT, WAVELENGTH, spherical_amplitude).by_source
    for coordinate in range(3):
        shift = torch.zeros(3, dtype=torch.float64)
        shift[coordinate] = step
        points = [
            steering(placed + n * shift, DEFAULT, WAVELENGTH, spherical_amplitude) for n in (-2, -1, 1, 2)
        ]
        difference = (points[0] - 8.0 * points[1] + 8.0 * points[2] - points[3]) / (12.0 * step)
        error = (found[:, coordinate] - difference).abs()
        largest = found[:, coordinate].abs().amax(-1, keepdim=True)
        assert float((error / largest).max()) < tolerances.FINITE_DIFFERENCE


def test_modulus_is_one_or_the_ratio_of_distances() -> None:
    placed = sources(3, 10)
    plain = steering(placed, DEFAULT, WAVELENGTH, False)
    torch.testing.assert_close(plain.abs(), torch.ones_like(plain.abs()), rtol=tolerances.DOUBLE, atol=0.0)
    spherical = steering(placed, DEFAULT, WAVELENGTH, True)
    torch.testing.assert_close(spherical / spherical.abs(), plain, rtol=tolerances.DOUBLE, atol=1e-12)
    assert float(spherical.abs().max()) > 1.2


@pytest.mark.parametrize(("axis", "mirrored"), [(0, (-1.0, 1.0, 1.0)), (1, (1.0, -1.0, 1.0))])
def test_a_mirrored_source_sees_a_mirrored_array(axis: int, mirrored: tuple[float, float, float]) -> None:
    placed = sources(4, 10)
    reflected = placed * torch.tensor(mirrored, dtype=torch.float64)
    found = steering(reflected, SMALL, WAVELENGTH, True)
    expected = steering(placed, SMALL, WAVELENGTH, True)[:, mirror_order(SMALL, axis)]
    torch.testing.assert_close(found, expected, rtol=tolerances.DOUBLE, atol=1e-12)


def test_each_scene_may_have_its_own_array() -> None:
    placed = sources(5, 6).reshape(2, 3, 3)
    arrays = torch.stack((SMALL, SMALL + torch.tensor([0.01, -0.02, 0.0])))
    together = steering(placed, arrays, WAVELENGTH, True)
    for scene in range(2):
        alone = steering(placed[scene], arrays[scene], WAVELENGTH, True)
        torch.testing.assert_close(together[scene], alone, rtol=tolerances.DOUBLE, atol=1e-12)


def _errors_by_range(approximation: str, ranges: list[float]) -> Float[Tensor, "range"]:
    """Largest |a_approximate - a| over the array at each range, off axis."""
    angles = torch.tensor([0.6, -0.3], dtype=torch.float64).expand(len(ranges), 2)
    placed = torch.cat((angles, 1.0 / torch.tensor(ranges, dtype=torch.float64)[:, None]), dim=-1)
    function = {"planar": planar_steering, "fresnel": fresnel_steering}[approximation]
    exact = steering(placed, DEFAULT, WAVELENGTH, False)
    return (function(placed, DEFAULT, WAVELENGTH) - exact).abs().amax(-1)


@pytest.mark.parametrize(("approximation", "order"), [("planar", 1), ("fresnel", 2)])
def test_approximations_converge_at_their_order(approximation: str, order: int) -> None:
    """Slope of log error over log range: -1 for the plane wave, -2 for the Fresnel phase."""
    errors = _errors_by_range(approximation, [100.0, 1000.0])
    assert math.log10(float(errors[0] / errors[1])) == pytest.approx(order, abs=0.02)


@pytest.mark.parametrize("reach", [5.0, 36.0, 1000.0])
def test_approximations_keep_their_stated_error(reach: float) -> None:
    """Phase errors k |e|^2 / (2 r) and k |e|^3 / (2 r^2), up to the next order, in every direction."""
    placed = sources(6, 200)
    placed[:, 2] = 1.0 / reach
    radius = float(DEFAULT.norm(dim=-1).max())
    exact = steering(placed, DEFAULT, WAVELENGTH, False)
    margin = 1.0 + 2.0 * radius / reach
    planar = (planar_steering(placed, DEFAULT, WAVELENGTH) - exact).abs().max()
    assert float(planar) <= margin * WAVENUMBER * radius**2 / (2.0 * reach)
    fresnel = (fresnel_steering(placed, DEFAULT, WAVELENGTH) - exact).abs().max()
    assert float(fresnel) <= margin * WAVENUMBER * radius**3 / (2.0 * reach**2)


def test_a_plane_wave_is_inverse_range_zero() -> None:
    placed = sources(7, 10)
    placed[:, 2] = 0.0
    found = steering(placed, DEFAULT, WAVELENGTH, False)
    expected = planar_steering(placed, DEFAULT, WAVELENGTH)
    torch.testing.assert_close(found, expected, rtol=tolerances.DOUBLE, atol=1e-12)


@pytest.mark.parametrize("reach", [10.0, 1e3, 1e6])
def test_distant_sources_lose_no_digits(reach: float) -> None:
    """|p - e| - |p| against 50 decimal digits; a subtraction in float64 is off by eps r k = 4e-9 at 1e6 m."""
    azimuth, elevation = 0.7, 0.4
    placed = torch.tensor([[azimuth, elevation, 1.0 / reach]], dtype=torch.float64)
    q = oracle.position(azimuth, elevation, 1.0)
    phases = []
    with decimal.localcontext(decimal.Context(prec=50)):
        w = decimal.Decimal(1.0 / reach)
        for element in DEFAULT.tolist():
            projection = sum(decimal.Decimal(a) * decimal.Decimal(b) for a, b in zip(q, element, strict=True))
            squared = sum(decimal.Decimal(b) ** 2 for b in element)
            distance = (1 - 2 * w * projection + w * w * squared).sqrt()
            phases.append(-WAVENUMBER * float((distance - 1) / w))
    expected = torch.from_numpy(np.exp(1j * np.array([phases])))
    found = steering(placed, DEFAULT, WAVELENGTH, False)
    torch.testing.assert_close(found, expected, rtol=tolerances.DOUBLE, atol=1e-12)
    # float32: k |e| eps = 3e-6 of phase, at any range
    single = steering(placed.float(), DEFAULT, WAVELENGTH, False)
    torch.testing.assert_close(single.to(torch.complex128), expected, rtol=tolerances.SINGLE, atol=0.0)


@pytest.mark.parametrize(("reach", "bias_deg"), [(1.0, 6.9), (3.0, 1.05), (5.0, 0.39)])
def test_the_fresnel_phase_biases_the_azimuth(reach: float, bias_deg: float) -> None:
    """Median |azimuth error| of the best Fresnel fit to exact waves within +-60 by +-30 degrees.

    Two-digit reference figures; 8 x 2 midpoints of the quarter of the field that mirror symmetry leaves.
    """
    biases = []
    for azimuth in np.deg2rad((np.arange(8) + 0.5) * 60 / 8):
        for elevation in np.deg2rad((7.5, 22.5)):
            truth = np.array([azimuth, elevation, 1.0 / reach])
            exact = steering(torch.from_numpy(truth)[None], DEFAULT, WAVELENGTH, False)[0]

            def mismatch(source: np.ndarray, wave: Tensor = exact) -> float:
                fitted = fresnel_steering(torch.from_numpy(source)[None], DEFAULT, WAVELENGTH)[0]
                return -float((fitted.conj() @ wave).abs())

            options = {"xatol": 1e-5, "fatol": 1e-7}
            best = minimize(mismatch, truth, method="Nelder-Mead", options=options).x
            biases.append(abs(math.degrees(best[0] - azimuth)))
    assert float(np.median(biases)) == pytest.approx(bias_deg, rel=0.05)
