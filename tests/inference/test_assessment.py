"""What is said of given sources: likelihood against its definition, covariance against the bound."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from jaxtyping import Float
from torch import Tensor

import risolve
from risolve.bounds.cramer_rao import conditional_bound, constant_bound
from risolve.field import FieldOfView
from risolve.inference.assessment import likelihood_at, likelihood_of, unconditional_likelihood
from risolve.inference.likelihood import refine
from risolve.inference.projection import amplitude_noise, source_responses
from risolve.inference.scaling import unit_scale
from risolve.inference.unconditional import refine_unconditional
from risolve.physics.observation import SourceModel, respond
from tests import tolerances
from tests.messages import shows
from tests.worlds import DEFAULT, SPREAD_SOURCES, WIDE, make_scenes, noiseless, scaled

MODELS: tuple[SourceModel, ...] = ("independent", "constant")


FAINT = 1e-8
"""Factor on a noise power at which the noise of an amplitude no longer counts."""


@pytest.mark.parametrize("source_model", MODELS)
def test_covariance_is_the_bound_at_the_truth_of_noiseless_snapshots(source_model: SourceModel) -> None:
    scenes = noiseless(make_scenes(WIDE, 2, 20.0, 3, source_model, sources=SPREAD_SOURCES[:2]))
    assert scenes.observation.noise_power is not None
    noise_power = FAINT * scenes.observation.noise_power
    observation, sources = replace(scenes.observation, noise_power=noise_power), scenes.sources[:, :2]
    amplitudes = scenes.amplitudes[:, :, :2].to(torch.complex128)
    if source_model == "independent":
        bound = conditional_bound(observation, sources, amplitudes, noise_power)
    else:
        bound = constant_bound(observation, sources, amplitudes[:, 0], noise_power)
    stated = likelihood_at(observation, sources)
    deviations = stated.covariance.diagonal(dim1=-2, dim2=-1).sqrt()
    torch.testing.assert_close(deviations, bound.standard_deviations(), rtol=1e-5, atol=0.0)
    powers = amplitudes.abs().square().mean(1)
    torch.testing.assert_close(stated.powers, powers, rtol=tolerances.SINGLE, atol=0.0)


@pytest.mark.parametrize("source_model", MODELS)
def test_noise_in_the_amplitudes_adds_to_the_curvature(source_model: SourceModel) -> None:
    """C by loops: sum over groups, and pairs of coordinates, of D_i^H (I - P) D_j times (G^H G)^-1."""
    scenes = make_scenes(WIDE, 2, 5.0, 2, source_model, sources=SPREAD_SOURCES[:2])
    observation = scenes.observation.to(torch.complex128)
    sources = scenes.sources[:, :2]
    by_source = source_responses(observation, sources).numpy()
    result = amplitude_noise(observation, sources)
    for scene in range(2):
        expected = np.zeros((6, 6))
        for own in by_source[scene]:
            G, D = own[:, 0].T, own[:, 1:].reshape(6, -1).T
            outside = np.eye(len(G)) - G @ np.linalg.pinv(G)
            covariance = np.linalg.inv(G.conj().T @ G)
            for i in range(6):
                for j in range(6):
                    term = D[:, i].conj() @ outside @ D[:, j] * covariance[j // 3, i // 3]
                    expected[i, j] += term.real
        np.testing.assert_allclose(result[scene].numpy(), expected, rtol=1e-9, atol=1e-9 * expected.max())


@pytest.mark.slow
def test_stated_covariance_is_that_of_the_errors_where_the_bound_is_not() -> None:
    """Three sources with free amplitudes at 10 dB: e^T C^-1 e / 9 has mean 1, but not with C = F^-1."""
    n_scenes, n_sources = 400, 3
    scenes = make_scenes(DEFAULT, n_sources, 10.0, n_scenes, sources=SPREAD_SOURCES[:n_sources])
    truth = scenes.sources[:, :n_sources]
    fit = refine(scenes.observation, truth, 60)
    errors = (fit.sources - truth)[..., None]
    stated = likelihood_of(scenes.observation, fit).covariance
    inverse = torch.linalg.inv(fit.fisher).reshape(n_scenes, n_sources, 3, n_sources, 3)
    by_information = inverse.diagonal(dim1=1, dim2=3).permute(0, 3, 1, 2)

    def mean_squared(covariance: Float[Tensor, "scene source 3 3"]) -> float:
        return float((errors.mT @ torch.linalg.solve(covariance, errors)).mean()) / 3

    # 3600 normal numbers: the mean square has a standard deviation of 0.024
    assert mean_squared(stated) == pytest.approx(1.0, abs=0.1)
    assert mean_squared(by_information) > 1.2


def test_amplitudes_within_their_noise_place_nothing() -> None:
    """Noise stated to be far above what was received."""
    scenes = make_scenes(WIDE, 1, 5.0, 2, sources=SPREAD_SOURCES[:1])
    assert scenes.observation.noise_power is not None
    loud = replace(scenes.observation, noise_power=1e4 * scenes.observation.noise_power)
    assert bool(likelihood_at(loud, scenes.sources[:, :1]).covariance.isnan().all())


def test_a_coordinate_that_is_not_told_leaves_the_others_their_deviations() -> None:
    """A flat circle tells nothing of the elevation of sources in its plane, and all of their azimuths."""
    angle = 2.0 * np.pi * np.arange(6) / 6
    ring = risolve.Array(0.04 * np.stack((np.sin(angle), 0.0 * angle, np.cos(angle)), -1), 0.1)
    place = torch.tensor([[[0.5, 0.0, 0.0]]], dtype=torch.float64)
    random = np.random.default_rng(2)
    amplitude = np.exp(2j * np.pi * random.random((1, 50, 1)))
    numbers = random.normal(size=(2, 1, 50, 6))
    noise = 0.1 / 2.0**0.5 * (numbers[0] + 1j * numbers[1])
    seen = risolve.Observation(amplitude @ ring.steering(place).numpy() + noise, ring, noise_power=0.01)
    free = likelihood_at(seen, place).covariance[0, 0].diagonal()
    flat = FieldOfView(elevation_deg=0.0).limits(ring, 6)
    told = likelihood_at(replace(seen, stated=flat), place).covariance[0, 0].diagonal()
    assert free.isnan().tolist() == [False, True, False] and told.tolist()[1] == 0.0
    torch.testing.assert_close(free[::2], told[::2], rtol=1e-6, atol=0.0)


def test_log_likelihood_is_that_of_the_gaussian_density() -> None:
    scenes = make_scenes(WIDE, 1, 5.0, 3, sources=SPREAD_SOURCES[:1])
    observation = scenes.observation.to(torch.complex128)
    stated = likelihood_at(observation, scenes.sources[:, :1])
    assert observation.noise_power is not None
    for scene in range(3):
        sigma2 = float(observation.noise_power[scene])
        own = observation.select(slice(scene, scene + 1))
        a = own.array.steering(scenes.sources[scene, :1])
        g = respond(own, a.mT[None])[0].numpy()
        total = 0.0
        for y, column in zip(own.snapshots[0].numpy(), g, strict=True):
            s, *_ = np.linalg.lstsq(column, y, rcond=None)
            misfit = np.linalg.norm(y - column @ s) ** 2
            total += -len(y) * math.log(math.pi * sigma2) - misfit / sigma2
        assert float(stated.log_likelihood[scene]) == pytest.approx(total, rel=1e-9)


def test_an_unknown_noise_power_is_the_one_that_maximizes_the_likelihood() -> None:
    scenes = make_scenes(WIDE, 1, 5.0, 3)
    observation, sources = scenes.observation, scenes.sources[:, :1]
    free = likelihood_at(replace(observation, noise_power=None), sources)
    n = WIDE.n_snapshots * WIDE.n_antennas
    for factor in (0.9, 1.0, 1.1):
        fixed = likelihood_at(replace(observation, noise_power=factor * free.residual / n), sources)
        assert bool((fixed.log_likelihood <= free.log_likelihood + 1e-9).all())


def test_scenes_of_any_number_of_sources_stand_side_by_side() -> None:
    scenes = make_scenes(WIDE, 2, 5.0, 3)
    sources = scenes.sources[:, :2].clone()
    sources[1, 0] = torch.nan
    sources[2] = torch.nan
    stated = likelihood_at(scenes.observation, sources)
    assert torch.equal(stated.powers.isnan(), sources[..., 0].isnan())
    energy = scenes.observation.snapshots[2].to(torch.complex128).abs().square().sum()
    assert float(stated.residual[2]) == pytest.approx(float(energy))
    alone = likelihood_at(scenes.observation.select(slice(1, 2)), sources[1:2, 1:])
    torch.testing.assert_close(stated.covariance[1, 1], alone.covariance[0, 0])


@pytest.mark.parametrize("is_known", [True, False])
def test_unconditional_likelihood_is_that_of_the_gaussian_density(is_known: bool) -> None:
    scenes = make_scenes(WIDE, 1, 5.0, 2, sources=SPREAD_SOURCES[:1])
    observation = scenes.observation.to(torch.complex128)
    observation = observation if is_known else replace(observation, noise_power=None)
    fits = refine_unconditional(observation, scenes.sources[:, :1], 60)
    stated = unconditional_likelihood(observation, fits, torch.arange(2))
    for scene in range(2):
        own = observation.select(slice(scene, scene + 1))
        a = own.array.steering(fits.sources[scene])
        g = respond(own, a.mT[None])[0].numpy()
        total = 0.0
        for y, column in zip(own.snapshots[0].numpy(), g, strict=True):
            R = float(fits.powers[scene, 0]) * column @ column.conj().T
            R = R + float(fits.noise_power[scene]) * np.eye(len(y))
            total -= len(y) * math.log(math.pi) + np.linalg.slogdet(R)[1]
            total -= float((y.conj() @ np.linalg.solve(R, y)).real)
        assert float(stated.log_likelihood[scene]) == pytest.approx(total, rel=1e-9)


@pytest.mark.parametrize("factor", [1e-8, 1e8])
def test_unit_scale_is_the_same_for_any_unit(factor: float) -> None:
    observation = make_scenes(WIDE, 1, 5.0, 3).observation.to(torch.complex128)
    first, second = unit_scale(observation), unit_scale(scaled(observation, factor))
    torch.testing.assert_close(first.snapshots, second.snapshots, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(first.noise_power, second.noise_power, rtol=1e-12, atol=0.0)
    for values in (first.snapshots, first.channel, first.codes):
        torch.testing.assert_close(
            values.abs().square().mean((1, 2)), torch.ones(3, dtype=torch.float64), rtol=1e-12, atol=0.0
        )


@pytest.mark.parametrize(
    ("field", "name"), [("snapshots", "mean |y|^2"), ("channel", "mean |H|^2"), ("codes", "mean |c|^2")]
)
@pytest.mark.parametrize("value", [0.0, math.nan, math.inf])
def test_unit_scale_names_scenes_that_have_none(field: str, name: str, value: float) -> None:
    observation = make_scenes(WIDE, 1, 5.0, 3).observation
    values = getattr(observation, field).clone()
    values[2] = value
    with pytest.raises(ValueError, match=shows(f"{name} ... scenes [2]")):
        unit_scale(replace(observation, **{field: values}))
