"""Limits, closed forms, the definition, and what has no bound."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from jaxtyping import Float
from torch import Tensor

from risolve.bounds.cramer_rao import conditional_bound
from risolve.physics.geometry import positions
from risolve.physics.observation import SourceModel
from risolve.physics.scenario import System
from tests import tolerances
from tests.bounds.cases import KINDS, Case, case, of_scenes
from tests.messages import shows
from tests.oracles import cramer_rao as oracle
from tests.worlds import DEFAULT, FIELD_OF_VIEW, SMALL, WIDE, direct_array, make_scenes

# Limits and closed forms


@pytest.mark.parametrize("kind", KINDS)
def test_range_information_vanishes_with_the_curvature_of_the_wave(kind: str) -> None:
    """sigma_w tends to that of a plane wave as some apertures over r: sigma_r = sigma_w r^2 has order 2."""
    ranges = (1e3, 1e6)
    bounds = [case(kind, DEFAULT, 1, sources=((0.5, -0.2, 1 / reach),)).bound() for reach in ranges]
    inverse = [found.standard_deviations()[..., 2] for found in bounds]
    torch.testing.assert_close(inverse[0], inverse[1], rtol=1e-2, atol=0.0)
    order = torch.log10(bounds[1].range_deviation() / bounds[0].range_deviation()) / 3.0
    torch.testing.assert_close(order, torch.full_like(order, 2.0), rtol=0.0, atol=2e-3)
    plane = case(kind, DEFAULT, 1, sources=((0.5, -0.2, 0.0),)).bound()
    torch.testing.assert_close(plane.standard_deviations()[..., 2], inverse[1], rtol=1e-5, atol=0.0)
    assert bool(plane.range_deviation().isinf().all()) and bool(plane.position_deviation().isinf().all())
    assert bool(plane.standard_deviations().isfinite().all())


@pytest.mark.parametrize("azimuth", [0.0, 0.6, -1.0])
def test_a_plane_wave_on_an_ordinary_array_has_a_closed_form(azimuth: float) -> None:
    """H = I, c = 1, one source at elevation 0, w = 0, array symmetric in x and y. With E = sum_l |s_l|^2,

        C_phi = sigma^2 / (2 E k^2 cos^2(phi) sum x^2),   C_theta = sigma^2 / (2 E k^2 sum y^2),
        C_w = sigma^2 / (2 E k^2 sum (f - mean f)^2 / 4),   f = x^2 + y^2 - x^2 sin^2(phi)

    and no correlation: the angles have odd, the curvature has even derivatives on the array.
    """
    scenes = direct_array(((azimuth, 0.0, 0.0),), 10.0, 3)
    x, y, _ = scenes.observation.array.elements.unbind(-1)
    assert scenes.observation.noise_power is not None
    unit = scenes.observation.noise_power / (2.0 * scenes.amplitudes.abs().double().square().sum((1, 2)))
    wavenumber = 2.0 * math.pi / scenes.observation.array.wavelength
    f = x**2 * math.cos(azimuth) ** 2 + y**2
    slopes = torch.stack(
        (math.cos(azimuth) ** 2 * (x**2).sum(), (y**2).sum(), (f - f.mean()).square().sum() / 4.0)
    )
    expected = torch.diag_embed(unit[:, None] / (wavenumber**2 * slopes))
    found = of_scenes("conditional", scenes).bound().covariance
    # complex64 amplitudes are rounded to 6e-8
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize(("kind", "factor"), [("conditional", 0.024), ("constant", 0.0155)])
@pytest.mark.parametrize("reach", [3.0, 5.0, 10.0])
def test_the_range_law(kind: str, factor: float, reach: float) -> None:
    """Median sigma_r ~ factor r^2 / sqrt(SNR), a two-digit figure, reached beyond the depth of the array."""
    model: SourceModel = "constant" if kind == "constant" else "independent"
    distribution = replace(FIELD_OF_VIEW, max_sources=1, range=(reach, reach))
    scenes = make_scenes(DEFAULT, 1, 10.0, 250, model, distribution=distribution)
    median = float(of_scenes(kind, scenes).bound().range_deviation().median())
    assert median == pytest.approx(factor * reach**2 / math.sqrt(10.0), rel=0.1)


def test_position_deviation_adds_up_orthogonal_displacements() -> None:
    """tr C_p = (r cos theta)^2 C_phi + r^2 C_theta + C_r, and C_p is the Jacobian's transform of C."""
    found = case("conditional").bound()
    azimuth, elevation, _ = found.standard_deviations().unbind(-1)
    reach = 1.0 / found.sources[..., 2]
    across = (reach * torch.cos(found.sources[..., 1]) * azimuth).square() + (reach * elevation).square()
    expected = (across + found.range_deviation().square()).sqrt()
    torch.testing.assert_close(found.position_deviation(), expected, rtol=1e-10, atol=0.0)


def test_position_covariance_is_that_of_displaced_positions() -> None:
    """Sample covariance of p(x + z), z ~ N(0, C) small, against C_p: standard error about C_p sqrt(2 / n)."""
    found = case("conditional", n_scenes=1).bound(noise_factor=1e-4)
    random = np.random.default_rng(1)
    n_draws = 40_000
    offsets = random.multivariate_normal(np.zeros(6), found.covariance[0].numpy(), n_draws)
    moved = found.sources[0] + torch.from_numpy(offsets).reshape(n_draws, 2, 3)
    for source in range(2):
        sample = np.cov(positions(moved)[:, source].numpy().T)
        expected = found.position_covariance()[0, source].numpy()
        scale = np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
        assert np.abs((sample - expected) / scale).max() < tolerances.SIGMAS * math.sqrt(2.0 / n_draws)


# The definition


def _oracle(subject: Case, scene: int, spherical_amplitude: bool) -> Float[Tensor, "row row"]:
    observation = subject.observation.to(torch.complex128)
    assert observation.noise_power is not None
    known = oracle.Scene(
        observation.channel[scene % observation.channel.shape[0]].numpy(),
        observation.codes[scene % observation.codes.shape[0]].numpy(),
        observation.array.elements.tolist(),
        observation.array.wavelength,
        spherical_amplitude,
    )
    sources, noise_power = subject.sources[scene].numpy(), float(observation.noise_power[scene])
    amplitudes = subject.amplitudes[scene].to(torch.complex128).numpy()
    of: dict[str, Callable[[], np.ndarray]] = {
        "conditional": lambda: oracle.conditional(known, sources, amplitudes, noise_power),
        "constant": lambda: oracle.constant(known, sources, amplitudes[0], noise_power),
        "unconditional": lambda: oracle.unconditional(
            known, sources, subject.power[scene].numpy(), noise_power
        ),
    }
    return torch.from_numpy(of[subject.kind]())


@pytest.mark.parametrize("spherical_amplitude", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("system", "n_sources", "shared"),
    [(SMALL, 1, False), (SMALL, 1, True), (WIDE, 2, False)],
    ids=["3x5", "3x5-shared-channel", "two-sources"],
)
def test_the_bound_is_the_inverse_of_the_joint_information(
    system: System, n_sources: int, shared: bool, kind: str, spherical_amplitude: bool
) -> None:
    """Every unknown in one Fisher information of numerical derivatives; only its inverse is compared."""
    if system is WIDE and kind != "unconditional":
        system = replace(WIDE, n_horizontal=3, n_vertical=4, n_snapshots=4)
    subject = case(kind, system, n_sources, n_scenes=2, shared_channel=shared)
    found = subject.bound(spherical_amplitude=spherical_amplitude)
    for scene in range(2):
        expected = _oracle(subject, scene, spherical_amplitude)
        deviations = expected.diagonal().sqrt()
        error = (found.covariance[scene] - expected) / (deviations[:, None] * deviations)
        assert float(error.abs().max()) < tolerances.FINITE_DIFFERENCE


# What has no bound


@pytest.mark.parametrize("kind", KINDS)
def test_scenes_without_a_bound_are_named(kind: str) -> None:
    subject = case(kind, n_scenes=3)
    coincident, empty = subject.sources.clone(), subject.sources.clone()
    coincident[1, 1] = coincident[1, 0]
    empty[2, 1] = math.nan
    with pytest.raises(ValueError, match=shows("eigenvalue ... scenes [1] ... 1e-12")):
        replace(subject, sources=coincident).bound()
    with pytest.raises(ValueError, match=shows("K; ... finite ... scenes [2]")):
        replace(subject, sources=empty).bound()
    with pytest.raises(ValueError, match=shows("K = 0")):
        subject.of_sources([]).bound()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("noise_power", [0.0, -1.0, math.nan, math.inf])
def test_a_noise_power_is_positive(kind: str, noise_power: float) -> None:
    subject = case(kind, n_scenes=3)
    observation = replace(subject.observation, noise_power=torch.tensor([1.0, noise_power, 1.0]))
    with pytest.raises(ValueError, match=shows(f"noise power ... scenes [1] ... [{noise_power}]")):
        replace(subject, observation=observation).bound()


@pytest.mark.parametrize("kind", KINDS)
def test_a_source_without_power_has_no_bound(kind: str) -> None:
    subject = case(kind, n_scenes=3)
    amplitudes, power = subject.amplitudes.clone(), subject.power.clone()
    amplitudes[2, :, 0] = 0.0
    power[2, 0] = 0.0
    with pytest.raises(ValueError, match=shows("eigenvalue ... scenes [2] ... 1e-12")):
        replace(subject, amplitudes=amplitudes, power=power).bound()


def test_as_many_sources_as_antennas_leave_nothing_for_the_positions() -> None:
    two = case("conditional", SMALL, n_sources=2)
    with pytest.raises(ValueError, match=shows("M - K > 0 ... M = 2 ... K = 2")):
        two.bound()
    few = case("constant", replace(SMALL, n_antennas=1, n_snapshots=2), n_sources=2)
    with pytest.raises(ValueError, match=shows("L M - K > 0 ... L M = 2 ... K = 2")):
        few.bound()


def test_a_bound_takes_every_scene_and_the_amplitudes_of_every_snapshot() -> None:
    subject = case("conditional", n_scenes=3)
    two = subject.observation.select(slice(2))
    with pytest.raises(ValueError, match=shows("sources ... 2 ... got 3")):
        conditional_bound(two, subject.sources, subject.amplitudes, torch.ones(3))
    with pytest.raises(ValueError, match=shows("amplitudes ... L = 9 ... got 4")):
        replace(subject, amplitudes=subject.amplitudes[:, :4]).bound()


@pytest.mark.parametrize("kind", KINDS)
def test_a_line_of_elements_has_no_bound_on_three_coordinates(kind: str) -> None:
    """On a horizontal line the distances depend on (u, w) alone: one combination of the angles is hidden."""
    line = case(kind, replace(WIDE, n_horizontal=20, n_vertical=1), n_sources=1)
    with pytest.raises(ValueError, match=shows("eigenvalue ... 1e-12")):
        line.bound()
