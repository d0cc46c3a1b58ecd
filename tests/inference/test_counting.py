"""Counting rules: their null distribution, their threshold, and the baselines that fail under coding."""

import math
from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
import torch
from scipy.stats import beta, gamma

from risolve.inference.counting import CountingRule, eigenvalue_count, is_source
from risolve.inference.detection import detectors, explained, gains
from risolve.inference.grid import grid_for, search_grid
from risolve.inference.likelihood import refine
from risolve.inference.search import exchanged, grown
from risolve.physics.observation import SourceModel
from tests.tolerances import SIGMAS
from tests.worlds import (
    DEFAULT,
    FIELD_OF_VIEW,
    SPREAD_SOURCES,
    WIDE,
    direct_array,
    make_observation,
    make_scenes,
)

MODELS: tuple[SourceModel, ...] = ("independent", "constant")
GLRT = CountingRule("glrt", 0.01, 5)
N_POINTS = 500


def amplitudes(source_model: SourceModel) -> int:
    return WIDE.n_snapshots if source_model == "independent" else 1


@pytest.mark.parametrize("source_model", MODELS)
@pytest.mark.parametrize("n_sources", [0, 2])
def test_threshold_is_the_quantile_of_the_null_distribution(
    source_model: SourceModel, n_sources: int
) -> None:
    observation = make_observation(WIDE, 1, 0.0, 2, source_model)
    a = amplitudes(source_model)
    n = WIDE.n_snapshots * WIDE.n_antennas - (a + 1.5) * n_sources
    before = torch.full((2,), 3.0, dtype=torch.float64)
    unknown = replace(observation, noise_power=None)
    chance = GLRT.false_alarm / ((8.0 + 6.0 * n_sources) * N_POINTS)
    share = float(beta.isf(chance, a + 1.5, n - a - 1.5))
    after = before * (1.0 - share * torch.tensor([0.999, 1.001], dtype=torch.float64))
    assert is_source(GLRT, unknown, n_sources, before, after, N_POINTS).tolist() == [False, True]
    assert observation.noise_power is not None
    known = float(gamma.isf(chance, a))
    explained_power = known * observation.noise_power * torch.tensor([0.999, 1.001], dtype=torch.float64)
    after = before * 1e6 - explained_power
    assert is_source(GLRT, observation, n_sources, before * 1e6, after, N_POINTS).tolist() == [False, True]


@pytest.mark.parametrize("source_model", MODELS)
def test_the_share_that_one_place_explains_of_noise_is_beta(source_model: SourceModel) -> None:
    """T / J_0 at a fixed place over 600 scenes of noise: mean and variance of Beta(a, n - a)."""
    observation = make_observation(WIDE, 0, 0.0, 600, source_model)
    grid = search_grid(3, 3, 2, FIELD_OF_VIEW.azimuth, FIELD_OF_VIEW.elevation, FIELD_OF_VIEW.range)
    a, n = amplitudes(source_model), WIDE.n_snapshots * WIDE.n_antennas
    ((_, detector),) = detectors(observation, grid)
    none = explained(detector, torch.empty((600, 1, 0, 3), dtype=torch.float64))
    share = (gains(detector, none)[:, 0, 7].double() / none.residual[:, 0]).numpy()
    law = beta(a, n - a)
    assert abs(share.mean() - law.mean()) < SIGMAS * law.std() / np.sqrt(600)
    fourth = law.moment(4) - 4 * law.mean() * law.moment(3) + 6 * law.mean() ** 2 * law.moment(2)
    fourth -= 3 * law.mean() ** 4
    assert abs(share.var() - law.var()) < SIGMAS * np.sqrt((fourth - law.var() ** 2) / 600)


def test_nothing_is_a_source_where_no_dimension_is_left() -> None:
    observation = make_observation(WIDE, 1, 0.0, 2)
    before = torch.ones(2, dtype=torch.float64)
    for rule in (GLRT, replace(GLRT, rule="bic")):
        assert not bool(is_source(rule, observation, 5, before, 0.0 * before, N_POINTS).any())


@pytest.mark.parametrize("is_known", [True, False])
def test_bic_penalizes_the_unknowns_of_a_source(is_known: bool) -> None:
    observation = make_observation(WIDE, 1, 0.0, 2)
    rule = replace(GLRT, rule="bic")
    n = WIDE.n_snapshots * WIDE.n_antennas
    left = n - (WIDE.n_snapshots + 1.5)
    penalty = (2 * WIDE.n_snapshots + 3) * np.log(2 * n)
    factors = torch.tensor([0.999, 1.001], dtype=torch.float64)
    before = torch.full((2,), 1e6, dtype=torch.float64)
    if is_known:
        assert observation.noise_power is not None
        after = before - penalty / 2 * observation.noise_power * factors
    else:
        observation = replace(observation, noise_power=None)
        after = before * torch.exp(-penalty / (2 * left) * factors)
    assert is_source(rule, observation, 1, before, after, N_POINTS).tolist() == [False, True]


@pytest.mark.parametrize("power", [1.0, 1e-16])
def test_the_rounding_of_the_snapshots_is_no_source(power: float) -> None:
    """Without noise, what one source leaves of snapshots in single precision."""
    observation = replace(make_observation(WIDE, 1, 0.0, 1), noise_power=None)
    snapshots = math.sqrt(power) * torch.ones_like(observation.snapshots)
    observation = replace(observation, snapshots=snapshots)
    before = torch.tensor([54e-15 * power], dtype=torch.float64)
    assert not bool(is_source(GLRT, observation, 1, before, 0.0 * before, N_POINTS).any())
    assert bool(is_source(GLRT, observation, 1, before * 1e8, before, N_POINTS).all())


SMALL_SYSTEMS = [
    (2, 0, "independent"),
    (3, 1, "independent"),
    (4, 2, "independent"),
    (6, 3, "independent"),
    (2, 1, "constant"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("n_antennas", "n_sources", "source_model"), SMALL_SYSTEMS)
def test_noise_beside_sources_is_a_source_no_more_often_than_stated(
    n_antennas: int, n_sources: int, source_model: SourceModel
) -> None:
    """Few dimensions of noise of unknown power, 400 scenes with J_K at its minimum, searched for one more."""
    stated, n_scenes = 0.1, 400
    system = replace(WIDE, n_antennas=n_antennas, n_snapshots=3 if source_model == "constant" else 9)
    scenes = make_scenes(
        system, n_sources, 20.0, n_scenes, source_model, sources=SPREAD_SOURCES[:n_sources] or None, seed=4
    )
    observation = replace(scenes.observation, noise_power=None)
    grid = grid_for(
        observation.array,
        FIELD_OF_VIEW.azimuth,
        FIELD_OF_VIEW.elevation,
        FIELD_OF_VIEW.range,
    )
    rule, n_false = replace(GLRT, false_alarm=stated), 0
    for piece, detector in detectors(observation, grid):
        least = refine(detector.observation, scenes.sources[piece, :n_sources].double(), 40)
        more = exchanged(detector, grown(detector, least.sources, 40), 1, 40)
        accepted = is_source(
            rule, detector.observation, n_sources, least.residual, more.residual, grid.n_points
        )
        n_false += int(accepted.sum())
    assert n_false / n_scenes <= stated


@pytest.mark.parametrize("rule", ["aic", "mdl"])
def test_eigenvalues_count_the_sources_of_an_ordinary_array(rule: Literal["aic", "mdl"]) -> None:
    sources = ((-0.5, 0.2, 0.5), (0.35, -0.3, 0.3))
    scenes = direct_array(sources, 20.0, 6, n_snapshots=200)
    counts = eigenvalue_count(scenes.observation, rule)
    assert (counts == 2).sum() >= (6 if rule == "mdl" else 3)


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["aic", "mdl"])
def test_eigenvalues_do_not_count_sources_under_codes(rule: Literal["aic", "mdl"]) -> None:
    """At 20 dB, where the likelihood counts right, at most a third of the scenes of two sources."""
    observation = make_scenes(DEFAULT, 2, 20.0, 100).observation
    assert float((eigenvalue_count(observation, rule) == 2).double().mean()) < 1 / 3
