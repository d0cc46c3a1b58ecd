"""Estimators side by side: what runs does not depend on what was found, and the genie is the least J."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from risolve.covariance import NormalizedCovariance, sample_covariance, sample_factor
from risolve.estimators.comparison import Comparison, Method
from risolve.estimators.contract import Settings
from risolve.estimators.genie import genie
from risolve.estimators.ml import least_residual
from risolve.estimators.searching import SearchEstimator
from risolve.inference.detection import Detector, detectors
from risolve.inference.growth import Located
from risolve.inference.likelihood import refine
from tests.estimators.cases import GRID, SETTINGS, make_estimator
from tests.worlds import DEFAULT, WIDE, make_scenes


@pytest.mark.parametrize("n_scenes", [1, 6])
def test_what_runs_on_empty_scenes_does_not_depend_on_what_is_found_in_them(n_scenes: int) -> None:
    observation = make_scenes(WIDE, 0, 0.0, n_scenes).observation
    names = ("beamformer", "nomp")
    one = Comparison(tuple(make_estimator(name) for name in names), GRID, SETTINGS, names, (False, True), 0)
    sample = sample_covariance(sample_factor(observation, 1e-3))
    made = {"estimated": one.made(replace(observation, noise_power=None), None, sample, None, 0.0)}
    nobody = torch.empty((n_scenes, 0, 3), dtype=torch.float64)
    results = one.run(observation, nobody, made, torch.Generator())
    assert {method.label for method in results} == {
        "estimated/beamformer",
        "estimated/beamformer+ml",
        "estimated/nomp",
    }


@pytest.mark.parametrize("blind", [(), ("music_fitted",)])
def test_what_blind_estimators_read_is_made_where_one_of_them_reads_it(blind: tuple[str, ...]) -> None:
    """R_fit of an unknown noise power and number of sources is another one than that of the truth."""
    scenes = make_scenes(WIDE, 2, 0.0, 2)
    estimators = tuple(make_estimator(name) for name in ("music_fitted", "nomp"))
    one = Comparison(estimators, GRID, SETTINGS, blind, (False,), 0)
    sample = sample_covariance(sample_factor(scenes.observation, 1e-3))
    unknown = replace(scenes.observation, noise_power=None)
    told = one.made(scenes.observation, scenes.n_sources.long(), sample, None, 0.0)
    untold = one.made(unknown, None, sample, None, 0.0)
    assert set(told) == {"sample", "fitted"}
    assert ("fitted" in untold) == bool(blind)
    if blind:
        first, second = (made["fitted"].covariance for made in (told, untold))
        assert isinstance(first, NormalizedCovariance) and isinstance(second, NormalizedCovariance)
        assert not torch.allclose(first.weights, second.weights, rtol=1e-3)


def test_the_genie_is_never_above_the_minimum_at_the_truth() -> None:
    """Five sources at 0 dB, where most starts end below the truth after a few steps."""
    scenes = make_scenes(DEFAULT, 5, 0.0, 6, seed=5)
    truth = scenes.sources[:, :5].double()
    nothing = torch.empty((6, 0, 5, 3), dtype=torch.float64)
    random = torch.Generator().manual_seed(1)
    limit = genie(scenes.observation, truth, nothing, GRID, SETTINGS, 20, random)
    alone = refine(scenes.observation, truth, SETTINGS.n_iterations)
    assert bool((limit.conditional.likelihood.residual <= alone.residual * (1.0 + 1e-6)).all())


@pytest.mark.parametrize("name", ["nomp", "sbl", "ml", "ml_unconditional"])
@pytest.mark.parametrize("told", [True, False])
def test_a_snapshot_behind_a_dark_surface_is_noise_and_no_harm(name: str, told: bool) -> None:
    """The surface absorbs in one snapshot: its code is 0, and what is received is noise alone."""
    scenes = make_scenes(WIDE, 1, 20.0, 3)
    codes, snapshots = scenes.observation.codes.clone(), scenes.observation.snapshots.clone()
    codes[:, 3], snapshots[:, 3] = 0.0, 0.0
    dark = replace(scenes.observation, codes=codes, snapshots=snapshots)
    found = make_estimator(name).estimate(dark, None, torch.ones(3, dtype=torch.int64) if told else None)
    assert found.n_sources.tolist() == [1, 1, 1]
    deviation = found.likelihood.covariance.diagonal(dim1=-2, dim2=-1).sqrt()
    assert bool(((found.sources - scenes.sources[:, :1]).abs() < 5.0 * deviation).all())


@pytest.mark.parametrize("name", ["ml", "ml_unconditional"])
def test_a_source_that_is_not_there_does_not_make_the_others_unsure(name: str) -> None:
    """Told one source too many: the two that are there keep their standard deviations."""
    scenes = make_scenes(WIDE, 2, 20.0, 16, seed=5)
    found = make_estimator(name).estimate(scenes.observation, None, torch.full((16,), 3))
    known = found.likelihood.covariance.isfinite().all((2, 3)) & found.present
    assert bool((known.sum(-1) >= 2).all())
    assert bool((found.resolved == found.present.all(-1)).all())
    assert bool((found.likelihood.powers[found.present] > 0.0).all())


def test_a_search_that_two_estimators_finish_is_made_once() -> None:
    """The same estimates as alone, and the time of the search in both."""
    scenes = make_scenes(WIDE, 2, 10.0, 3)
    searched = 0

    def counted(detector: Detector, told: Tensor | None, settings: Settings) -> list[Located]:
        nonlocal searched
        searched += 1
        return least_residual(detector, told, settings)

    alone = [make_estimator(name) for name in ("ml", "ml_unconditional")]
    assert all(isinstance(one, SearchEstimator) for one in alone)
    shared = tuple(replace(one, locate=counted) for one in alone if isinstance(one, SearchEstimator))
    one = Comparison(shared, GRID, SETTINGS, (), (False,), 0)
    sample = sample_covariance(sample_factor(scenes.observation, 1e-3))
    told = scenes.n_sources.long()
    made = {"known": one.made(scenes.observation, told, sample, None, 0.0)}
    results = one.run(scenes.observation, scenes.sources[:, :2].double(), made, torch.Generator())
    assert searched == len(list(detectors(scenes.observation, GRID)))
    for estimator in alone:
        expected = estimator.estimate(scenes.observation, None, told)
        estimate, seconds = results[Method("known", estimator.name)]
        assert torch.equal(estimate.sources, expected.sources)
        assert torch.equal(estimate.likelihood.log_likelihood, expected.likelihood.log_likelihood)
        assert seconds > 0.0
