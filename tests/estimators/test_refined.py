"""The refinement of estimates: which start wins, and what is said of the result."""

import math
from dataclasses import replace

import pytest
import torch
from jaxtyping import Float
from torch import Tensor

from risolve.bounds.cramer_rao import conditional_bound
from risolve.estimators.contract import Estimate
from risolve.estimators.refined import refined
from risolve.inference.assessment import likelihood_at
from risolve.inference.likelihood import refine
from risolve.physics.observation import Observation
from risolve.physics.scenario import Scenes
from tests import tolerances
from tests.estimators.cases import GRID, largest_errors
from tests.worlds import SPREAD_SOURCES, WIDE, make_scenes, noiseless

N_ITERATIONS = 40
ELSEWHERE = (0.0, 0.45, 1.0)


def scene_of_two() -> Scenes:
    return noiseless(make_scenes(WIDE, 2, 20.0, 3, sources=SPREAD_SOURCES[:2]))


def estimate_of(
    observation: Observation,
    sources: Float[Tensor, "scene source 3"],
    candidates: Float[Tensor, "scene candidate 3"],
    resolved: bool = True,
) -> Estimate:
    told = torch.full((sources.shape[0],), resolved)
    return Estimate(sources, told, candidates, likelihood_at(observation, sources), None)


def start_at(*sources: tuple[float, float, float], candidates: list[tuple[float, float, float]]) -> Estimate:
    """The same start in three scenes."""

    def rows(places: tuple[tuple[float, float, float], ...]) -> Float[Tensor, "3 source 3"]:
        return torch.tensor(places, dtype=torch.float64).reshape(1, -1, 3).expand(3, -1, 3).clone()

    return estimate_of(scene_of_two().observation, rows(sources), rows(tuple(candidates)))


def near(source: tuple[float, float, float]) -> tuple[float, float, float]:
    return source[0] + 0.03, source[1] - 0.02, source[2] + 0.05


def test_an_astray_source_is_exchanged_for_a_candidate() -> None:
    scenes = scene_of_two()
    first, second = SPREAD_SOURCES[:2]
    start = start_at(near(first), ELSEWHERE, candidates=[near(first), ELSEWHERE, near(second)])
    lone = refine(scenes.observation, start.sources, N_ITERATIONS)
    assert largest_errors(lone.sources, scenes.sources[:, :2])[0] > 1.0
    result = refined(scenes.observation, start, GRID, N_ITERATIONS)
    degrees, meters = largest_errors(result.sources, scenes.sources[:, :2])
    assert degrees < 1e-6
    assert meters < 1e-6


def test_the_best_candidates_are_a_start_of_their_own() -> None:
    scenes = scene_of_two()
    first, second = SPREAD_SOURCES[:2]
    start = start_at(ELSEWHERE, (0.9, -0.4, 0.2), candidates=[near(first), near(second)])
    result = refined(scenes.observation, start, GRID, N_ITERATIONS)
    assert largest_errors(result.sources, scenes.sources[:, :2])[0] < 1e-6


def test_more_starts_never_raise_the_residual() -> None:
    scenes = make_scenes(WIDE, 3, 5.0, 20)
    random = torch.Generator().manual_seed(4)
    box = torch.tensor([1.8, 0.9, 1.5], dtype=torch.float64)
    low = torch.tensor([-0.9, -0.45, 0.2], dtype=torch.float64)
    candidates = low + box * torch.rand((20, 8, 3), dtype=torch.float64, generator=random)
    start = estimate_of(scenes.observation, candidates[:, 2:5], candidates)
    result = refined(scenes.observation, start, GRID, N_ITERATIONS).likelihood
    lone = refine(scenes.observation, start.sources, N_ITERATIONS)
    assert bool((result.residual <= lone.residual).all())
    assert int((result.residual < 0.9 * lone.residual).sum()) >= 3


def test_a_scene_without_sources_keeps_all_its_energy() -> None:
    scenes = make_scenes(WIDE, 0, 0.0, 3)
    empty = torch.empty(3, 0, 3).double()
    start = estimate_of(scenes.observation, empty, torch.full((3, 8, 3), math.nan).double())
    result = refined(scenes.observation, start, GRID, N_ITERATIONS)
    assert result.sources.shape == (3, 0, 3)
    energy = scenes.observation.snapshots.to(torch.complex128).abs().square().sum((1, 2))
    torch.testing.assert_close(result.likelihood.residual, energy, rtol=tolerances.DOUBLE, atol=0.0)


def test_an_incomplete_start_is_refined_and_stays_unresolved() -> None:
    scenes = noiseless(make_scenes(WIDE, 1, 20.0, 3, sources=SPREAD_SOURCES[:1]))
    place = near(SPREAD_SOURCES[0])
    empty = (math.nan, math.nan, math.nan)
    start = start_at(empty, place, candidates=[place, empty])
    start = estimate_of(scenes.observation, start.sources, start.candidates, resolved=False)
    result = refined(scenes.observation, start, GRID, N_ITERATIONS)
    assert not bool(result.resolved.any())
    assert result.present.tolist() == [[True]] * 3
    assert largest_errors(result.sources, scenes.sources[:, :1])[0] < 1e-6
    assert bool(result.likelihood.powers.isfinite().all())


def test_position_covariance_is_the_bound_at_the_estimate() -> None:
    """At the truth of noiseless snapshots, with a noise power at which amplitudes are as good as known."""
    scenes = scene_of_two()
    assert scenes.observation.noise_power is not None
    noise_power = 1e-8 * scenes.observation.noise_power
    observation, sources = replace(scenes.observation, noise_power=noise_power), scenes.sources[:, :2]
    candidates = [near(s) for s in SPREAD_SOURCES[:2]]
    result = refined(observation, start_at(*candidates, candidates=candidates), GRID, N_ITERATIONS)
    amplitudes = scenes.amplitudes[:, :, :2].to(torch.complex128)
    bound = conditional_bound(observation, sources, amplitudes, noise_power)
    torch.testing.assert_close(result.position_covariance(), bound.position_covariance(), rtol=1e-5, atol=0.0)
    torch.testing.assert_close(
        result.likelihood.powers, amplitudes.abs().square().mean(1), rtol=tolerances.SINGLE, atol=0.0
    )


@pytest.mark.parametrize("inverse_range", [0.0, 0.5])
def test_position_covariance_is_absent_at_infinity(inverse_range: float) -> None:
    observation = scene_of_two().observation
    sources = torch.tensor([[[0.1, 0.2, inverse_range]]], dtype=torch.float64).expand(3, 1, 3)
    estimate = estimate_of(observation, sources, sources)
    assert bool(estimate.position_covariance().isnan().all()) == (inverse_range == 0.0)
    assert bool(estimate.standard_deviations()[..., 2].isinf().all()) == (inverse_range == 0.0)


def test_two_sources_at_one_place_have_no_standard_deviations() -> None:
    sources = torch.tensor([[[0.1, 0.2, 0.5], [0.1, 0.2, 0.5]]], dtype=torch.float64).expand(3, 2, 3)
    estimate = estimate_of(scene_of_two().observation, sources, sources)
    spread = estimate.standard_deviations()[..., 0]
    assert bool((spread.isnan() | (spread > 1.0)).all())
