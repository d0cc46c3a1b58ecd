"""The contract, for every estimator of the registry: what holds for one holds for all."""

import math
from dataclasses import replace
from functools import cache

import pytest
import torch

from risolve.estimators.contract import Estimate, require_determined
from risolve.estimators.refined import refined
from risolve.estimators.registry import REGISTRY, estimator
from risolve.physics.observation import Observation
from risolve.physics.scenario import Scenes, System
from tests.estimators.cases import (
    GRID,
    SETTINGS,
    covariance_for,
    largest_errors,
    make_estimator,
    mixed,
    network_prediction,
)
from tests.messages import shows
from tests.worlds import SMALL, SPREAD_SOURCES, WIDE, direct_array, make_scenes, noiseless, scaled

ESTIMATORS = pytest.mark.parametrize("name", REGISTRY)
READERS = pytest.mark.parametrize(
    "name", [name for name in REGISTRY if make_estimator(name).covariance_kind is not None]
)
N_ITERATIONS = 40

LONG = replace(WIDE, n_snapshots=64)
"""Snapshots enough for the anti-diagonal of R_samp, which holds an error of the projections on M < N."""

# The covariances are complex128, and so are the values a peak is placed by: rad and 1/m.
SAME = {"rtol": 0.0, "atol": 1e-9}


def estimate(name: str, scenes: Scenes, observation: Observation | None = None) -> Estimate:
    observation = scenes.observation if observation is None else observation
    one = make_estimator(name)
    return one.estimate(
        observation, covariance_for(one, observation, scenes.sources), scenes.n_sources.long()
    )


@cache
def whole(name: str) -> Estimate:
    """Of the mixed scenes, which several tests compare with."""
    return estimate(name, mixed())


@cache
def plain(name: str) -> Estimate:
    """Of two sources, which several tests compare with."""
    return estimate(name, make_scenes(WIDE, 2, 20.0, 4))


def assert_same(first: Estimate, second: Estimate) -> None:
    torch.testing.assert_close(first.sources, second.sources, equal_nan=True, **SAME)
    assert torch.equal(first.resolved, second.resolved)


@ESTIMATORS
def test_slots_hold_as_many_sources_as_asked_for(name: str) -> None:
    scenes, result = mixed(), whole(name)
    assert result.sources.shape == (8, 3, 3)
    assert result.sources.dtype == torch.float64
    filled = result.present.sum(-1)
    assert torch.equal(filled[result.resolved], scenes.n_sources.long()[result.resolved])
    assert bool((filled <= scenes.n_sources).all())
    assert int(result.resolved.sum()) >= 6
    assert torch.equal(result.sources.isnan().all(-1), ~result.present)
    assert torch.equal(result.likelihood.powers.isnan(), ~result.present)
    assert bool(result.likelihood.residual.isfinite().all())
    assert bool((result.standard_deviations()[result.present] > 0.0).all())


@ESTIMATORS
def test_permuted_scenes_permute_the_estimates(name: str) -> None:
    scenes = mixed()
    order = torch.tensor([5, 0, 7, 2, 1, 6, 3, 4])
    ordered = whole(name)
    permuted = estimate(name, scenes.select(order))
    assert_same(permuted, replace(ordered, sources=ordered.sources[order], resolved=ordered.resolved[order]))


@ESTIMATORS
def test_order_of_the_snapshots_does_not_matter(name: str) -> None:
    scenes = make_scenes(WIDE, 2, 20.0, 4)
    order = torch.tensor([4, 2, 0, 8, 6, 1, 3, 7, 5])
    observation = scenes.observation
    reordered = replace(
        observation, snapshots=observation.snapshots[:, order], codes=observation.codes[:, order]
    )
    assert_same(estimate(name, scenes, reordered), plain(name))


@ESTIMATORS
def test_a_scene_alone_is_estimated_as_in_a_batch(name: str) -> None:
    scenes, batch = mixed(), whole(name)
    # the first of the two scenes of every number of sources
    for number in range(0, 8, 2):
        count = int(scenes.n_sources[number])
        alone = estimate(name, scenes.select(torch.tensor([number])))
        one = slice(number, number + 1)
        torch.testing.assert_close(alone.sources, batch.sources[one, :count], equal_nan=True, **SAME)
        assert torch.equal(alone.resolved, batch.resolved[one])


@ESTIMATORS
def test_global_phase_does_not_matter(name: str) -> None:
    scenes = make_scenes(WIDE, 2, 20.0, 4)
    turned = scaled(scenes.observation.to(torch.complex128), complex(math.cos(2.1), math.sin(2.1)))
    assert_same(estimate(name, scenes, turned), plain(name))


@ESTIMATORS
@pytest.mark.parametrize("factor", [1e-8, 1e8])
def test_scale_does_not_matter(name: str, factor: float) -> None:
    scenes = make_scenes(WIDE, 2, 20.0, 4)
    observation = scenes.observation.to(torch.complex128)
    assert_same(estimate(name, scenes, scaled(observation, factor)), plain(name))


@ESTIMATORS
def test_an_off_axis_source_is_not_mirrored(name: str) -> None:
    """A conjugated steering vector puts the source at the mirrored angles, 0.5 rad away or more."""
    places = [(azimuth, elevation, 0.5) for azimuth in (-0.7, 0.4) for elevation in (-0.35, 0.25)]
    scenes = noiseless(Scenes.joined([make_scenes(LONG, 1, 20.0, 3, sources=[place]) for place in places]))
    result = estimate(name, scenes)
    assert bool(((result.sources[:, 0, :2] - scenes.sources[:, 0, :2]).abs() < 0.2).all())


@ESTIMATORS
@pytest.mark.parametrize("system", [replace(SMALL, n_antennas=6), WIDE], ids=["3x5", "5x8"])
def test_one_noiseless_source_is_exact_after_refinement(name: str, system: System) -> None:
    scenes = noiseless(make_scenes(system, 1, 20.0, 4, sources=[(-0.5, 0.2, 1 / 1.3)]))
    result = refined(scenes.observation, estimate(name, scenes), GRID, N_ITERATIONS)
    degrees, meters = largest_errors(result.sources, scenes.sources[:, :1])
    assert degrees < 1e-6
    assert meters < 1e-6
    assert result.converged is not None
    assert bool(result.converged.all())


@pytest.mark.parametrize("name", ["music", "mvdr"])
def test_constant_sources_are_exact_after_refinement(name: str) -> None:
    sources = [(-0.5, 0.2, 1 / 1.3), (0.4, -0.3, 1 / 2.0)]
    scenes = noiseless(make_scenes(WIDE, 2, 20.0, 4, "constant", sources=sources))
    result = refined(scenes.observation, estimate(name, scenes), GRID, N_ITERATIONS)
    degrees, meters = largest_errors(result.sources, scenes.sources[:, :2])
    assert degrees < 1e-6
    assert meters < 1e-6


@ESTIMATORS
def test_too_many_sources_are_refused_with_the_law(name: str) -> None:
    scenes = make_scenes(SMALL, 1, 20.0, 3)
    one = make_estimator(name)
    covariance = covariance_for(one, scenes.observation, scenes.sources)
    with pytest.raises(
        ValueError, match=r"2 L min\(M, N\) >= \(2 L \+ 3\) K.*L = 7.*M = 2.*scenes \[1\].*ask for \[2\]"
    ):
        one.estimate(scenes.observation, covariance, torch.tensor([1, 2, 1]))


@ESTIMATORS
def test_an_ordinary_array_is_localized(name: str) -> None:
    scenes = direct_array(SPREAD_SOURCES[:2], 20.0, 3, n_snapshots=20, n_horizontal=8, n_vertical=6)
    result = refined(scenes.observation, estimate(name, scenes), GRID, N_ITERATIONS)
    degrees, _ = largest_errors(result.sources, scenes.sources)
    assert degrees < 2.0


@READERS
def test_a_covariance_of_another_type_is_refused(name: str) -> None:
    scenes = make_scenes(WIDE, 1, 20.0, 2)
    one = make_estimator(name)
    wrong = make_estimator("music" if one.covariance_kind == "blend" else "music_blend")
    with pytest.raises(TypeError, match=shows(f"{name} ... {one.covariance_kind} ... got")):
        one.estimate(
            scenes.observation,
            covariance_for(wrong, scenes.observation, scenes.sources),
            scenes.n_sources.long(),
        )


@READERS
def test_a_covariance_of_another_surface_is_refused(name: str) -> None:
    scenes, other = make_scenes(WIDE, 1, 20.0, 2), make_scenes(SMALL, 1, 20.0, 2)
    one = make_estimator(name)
    with pytest.raises(ValueError, match=shows("N ... 15 ... 40")):
        one.estimate(
            scenes.observation, covariance_for(one, other.observation, other.sources), scenes.n_sources.long()
        )


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(ValueError, match=shows("'esprit' ... beamformer, learned, learned_peaks")):
        estimator("esprit", GRID, SETTINGS)


@pytest.mark.parametrize("name", ["music", "mvdr"])
def test_rank_one_covariance_resolves_one_source(name: str) -> None:
    """R_samp of `constant` sources has rank one: of two sources it says that they are not resolved."""
    for n_sources, resolved in ((1, True), (2, False)):
        scenes = make_scenes(WIDE, n_sources, 30.0, 3, "constant")
        result = estimate(name, scenes)
        assert result.resolved.tolist() == [resolved] * 3


def test_a_power_map_of_float32_gives_the_same_sources_in_any_batch() -> None:
    """The map is as the network gave it; only its peaks are placed in double."""
    scenes = mixed()
    prediction = network_prediction(scenes.observation, scenes.sources, GRID)
    assert prediction.occupancy.dtype == torch.float32
    one, counts = make_estimator("learned_peaks"), scenes.n_sources.long()
    whole = one.estimate(scenes.observation, prediction, counts)
    for number in range(8):
        chosen = torch.tensor([number])
        alone = one.estimate(
            scenes.observation.select(chosen), prediction.select(chosen), counts[chosen]
        ).sources
        torch.testing.assert_close(
            alone, whole.sources[chosen, : alone.shape[1]], equal_nan=True, rtol=0.0, atol=0.0
        )


@pytest.mark.parametrize(
    ("source_model", "most"),
    [("independent", 2 * 9 * 6 // 21), ("constant", 2 * 40 // 5)],
)
def test_the_law_of_determined_sources_is_tight(source_model: str, most: int) -> None:
    observation = replace(make_scenes(WIDE, 1, 20.0, 1).observation, source_model=source_model)
    require_determined(observation, torch.tensor([most]))
    with pytest.raises(ValueError, match=shows(f"0 to {most} sources ... [{most + 1}]")):
        require_determined(observation, torch.tensor([most + 1]))
    with pytest.raises(ValueError, match=shows(f"0 to {most} sources ... [-1]")):
        require_determined(observation, torch.tensor([-1]))
    with pytest.raises(ValueError, match=shows("n_sources ... 1 scenes ... 2")):
        require_determined(observation, torch.tensor([1, 1]))
