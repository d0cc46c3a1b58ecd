"""The learned estimators on both source models, the noise power and the number of sources told or not."""

import math
from dataclasses import replace
from functools import cache

import pytest
import torch

from risolve.estimators.contract import Estimate
from risolve.networks.counting import OF_NETWORK
from risolve.networks.trained import Prediction
from risolve.physics.observation import Observation, SourceModel
from risolve.physics.scenario import Scenes
from tests.estimators.cases import GRID, largest_errors, make_estimator, mixed, network_prediction
from tests.messages import shows
from tests.worlds import SMALL, SPREAD_SOURCES, WIDE, make_scenes, noiseless

LEARNED = pytest.mark.parametrize("name", ["learned", "learned_peaks"])
MODELS = pytest.mark.parametrize("source_model", ["independent", "constant"])
NOISE = pytest.mark.parametrize("noise_known", [True, False])
TOLD = pytest.mark.parametrize("told", [True, False])


def seen(scenes: Scenes, noise_known: bool) -> Observation:
    return scenes.observation if noise_known else replace(scenes.observation, noise_power=None)


def estimate(name: str, scenes: Scenes, observation: Observation, told: bool) -> Estimate:
    prediction = network_prediction(observation, scenes.sources, GRID)
    return make_estimator(name).estimate(observation, prediction, scenes.n_sources.long() if told else None)


@cache
def whole(name: str, source_model: SourceModel, noise_known: bool, told: bool) -> Estimate:
    """Of the mixed scenes, which several tests compare with."""
    scenes = mixed(source_model)
    return estimate(name, scenes, seen(scenes, noise_known), told)


def assert_same(
    first: Estimate,
    second: Estimate,
    rows: torch.Tensor | slice = slice(None),
    power: float | torch.Tensor = 1.0,
) -> None:
    """Two estimates of the same scenes, the second from some rows of a batch, powers in a unit of its own."""
    width = first.sources.shape[1]
    torch.testing.assert_close(
        first.sources, second.sources[rows, :width], equal_nan=True, rtol=0.0, atol=1e-7
    )
    assert bool(second.sources[rows, width:].isnan().all())
    assert torch.equal(first.resolved, second.resolved[rows])
    powers = power * second.likelihood.powers[rows, :width]
    torch.testing.assert_close(first.likelihood.powers, powers, equal_nan=True, rtol=1e-5, atol=0.0)
    if first.count_confidence is None or second.count_confidence is None:
        assert first.count_confidence is second.count_confidence
        return
    # one source too many stands at any of several maxima that are equal but for rounding
    torch.testing.assert_close(first.count_confidence, second.count_confidence[rows], rtol=0.0, atol=1e-3)


@LEARNED
@MODELS
@NOISE
@TOLD
def test_every_source_is_found_and_counted_at_20_db(
    name: str, source_model: SourceModel, noise_known: bool, told: bool
) -> None:
    scenes = mixed(source_model)
    found = whole(name, source_model, noise_known, told)
    assert found.n_sources.tolist() == scenes.n_sources.tolist()
    assert bool(found.resolved.all())
    assert (found.converged is None) == (name == "learned_peaks")
    assert (found.count_confidence is None) == told
    if found.count_confidence is not None:
        assert bool(((found.count_confidence > 0.5) & (found.count_confidence <= 1.0)).all())


@LEARNED
@MODELS
@NOISE
@TOLD
def test_permuted_scenes_and_scenes_alone_are_estimated_as_in_a_batch(
    name: str, source_model: SourceModel, noise_known: bool, told: bool
) -> None:
    scenes = mixed(source_model)
    together = whole(name, source_model, noise_known, told)
    order = torch.tensor([5, 0, 7, 2, 1, 6, 3, 4])
    for rows in (order, *order[:4].split(1)):
        part = scenes.select(rows)
        assert_same(estimate(name, part, seen(part, noise_known), told), together, rows)


@LEARNED
@MODELS
@NOISE
@TOLD
def test_phase_and_scale_change_nothing_but_the_unit_of_powers(
    name: str, source_model: SourceModel, noise_known: bool, told: bool
) -> None:
    """Of the two scenes of every number of sources one becomes small and one large, in one batch."""
    scenes = mixed(source_model)
    observation = seen(scenes, noise_known).to(torch.complex128)
    size = torch.tensor([1e-8, 1e8], dtype=torch.float64).repeat(4)
    noise_power = None if observation.noise_power is None else observation.noise_power * size.square()
    turn = torch.polar(size, torch.full_like(size, 2.1))[:, None, None]
    turned = replace(observation, snapshots=observation.snapshots * turn, noise_power=noise_power)
    plain = whole(name, source_model, noise_known, told)
    assert_same(estimate(name, scenes, turned, told), plain, power=size.square()[:, None])


@MODELS
@NOISE
@TOLD
def test_one_noiseless_source_is_exact(source_model: SourceModel, noise_known: bool, told: bool) -> None:
    """`learned` refines to the end itself. A known sigma^2 is small: where log |b_l(x)|^2 says something of
    the place, V is least at the truth in the limit sigma^2 -> 0 alone.
    """
    scenes = noiseless(make_scenes(WIDE, 1, 80.0, 4, source_model, sources=[(-0.5, 0.2, 1 / 1.3)]))
    found = estimate("learned", scenes, seen(scenes, noise_known), told)
    assert found.n_sources.tolist() == [1] * 4
    degrees, meters = largest_errors(found.sources, scenes.sources[:, :1])
    assert degrees < 1e-3
    assert meters < 1e-4


def test_the_strongest_source_comes_first() -> None:
    scenes = mixed()
    powers = estimate("learned", scenes, scenes.observation, True).likelihood.powers
    there = powers.nan_to_num(nan=0.0)
    assert bool((there[:, :-1] >= there[:, 1:]).all())


@LEARNED
def test_no_count_is_tried_that_the_snapshots_do_not_determine(name: str) -> None:
    """Two antennas determine one `independent` source of the five that the network tells apart."""
    scenes = make_scenes(SMALL, 1, 20.0, 4)
    found = estimate(name, scenes, scenes.observation, False)
    assert found.n_sources.tolist() == [1] * 4
    assert bool(found.resolved.all())
    more = network_prediction(scenes.observation, scenes.sources, GRID)
    two = more.count_log_probabilities.roll(1, dims=1)
    found = make_estimator(name).estimate(
        scenes.observation, replace(more, count_log_probabilities=two), None
    )
    assert bool((found.n_sources <= 1).all())
    confidence = found.count_confidence
    assert confidence is not None
    assert bool((confidence > 0.4).all())


def test_evidence_of_a_count_that_is_not_determined_is_missing() -> None:
    scenes = make_scenes(SMALL, 1, 20.0, 3)
    prediction = network_prediction(scenes.observation, scenes.sources, GRID)
    evidence = _evidence(scenes.observation, prediction)
    assert torch.equal(evidence.cost.isfinite(), torch.tensor([[True, True, False, False, False, False]] * 3))


def _evidence(observation: Observation, prediction: Prediction):  # type: ignore[no-untyped-def]
    one = make_estimator("learned")
    return one.evidence(observation, prediction)  # type: ignore[attr-defined]


@MODELS
def test_evidence_is_the_least_cost_of_every_count(source_model: SourceModel) -> None:
    """V falls with K, by much up to the true number and by little after it."""
    scenes = make_scenes(WIDE, 2, 20.0, 4, source_model, sources=SPREAD_SOURCES[:2])
    prediction = network_prediction(scenes.observation, scenes.sources, GRID)
    level = torch.full_like(prediction.count_log_probabilities, -math.log(6.0))
    evidence = _evidence(scenes.observation, replace(prediction, count_log_probabilities=level))
    assert evidence.shared.tolist() == [source_model == "constant"] * 4
    gain = -evidence.cost.diff(dim=1)
    assert bool((gain[:, :2] > 3.0 * gain[:, 2:].amax(1, keepdim=True)).all())


def test_evidence_is_of_the_counts_that_the_network_makes_plausible() -> None:
    """Its likeliest count and the neighbours of that, whatever it gives 5 % or more, and all between; the
    truth is as good as any other.
    """
    scenes = make_scenes(WIDE, 2, 20.0, 3, sources=SPREAD_SOURCES[:2])
    prediction = network_prediction(scenes.observation, scenes.sources, GRID)
    shares = torch.tensor(
        [
            [0.001, 0.001, 0.001, 0.001, 0.001, 0.995],
            [0.051, 0.049, 0.019, 0.879, 0.001, 0.001],
            [0.980, 0.004, 0.004, 0.004, 0.004, 0.004],
        ]
    )
    evidence = _evidence(scenes.observation, replace(prediction, count_log_probabilities=shares.log()))
    fitted = [[4, 5], [0, 1, 2, 3, 4], [0, 1]]
    assert [torch.nonzero(row.isfinite()).flatten().tolist() for row in evidence.cost] == fitted


def test_the_rule_decides_where_network_and_likelihood_disagree() -> None:
    """A network that is sure of a wrong count is believed by its own rule and not by a rule of V."""
    scenes = make_scenes(WIDE, 2, 20.0, 4, sources=SPREAD_SOURCES[:2])
    prediction = network_prediction(scenes.observation, scenes.sources, GRID)
    wrong = prediction.count_log_probabilities.roll(-1, dims=1)
    found = {}
    fitted = prediction.calibration.noise_known
    for rule in (OF_NETWORK, fitted):
        calibration = replace(prediction.calibration, noise_known=rule)
        own = replace(prediction, count_log_probabilities=wrong, calibration=calibration)
        found[rule] = make_estimator("learned").estimate(scenes.observation, own, None)
    assert found[OF_NETWORK].n_sources.tolist() == [1] * 4
    confidence = found[OF_NETWORK].count_confidence
    assert confidence is not None
    torch.testing.assert_close(
        confidence, wrong[:, 1].exp().double() / fitted_mass(wrong), rtol=1e-5, atol=0.0
    )
    assert found[fitted].n_sources.tolist() == [2] * 4


@NOISE
def test_the_rule_is_that_of_a_noise_power_known_or_not(noise_known: bool) -> None:
    """A network that is sure of a wrong count is believed under one of the two rules."""
    scenes = make_scenes(WIDE, 2, 20.0, 4, sources=SPREAD_SOURCES[:2])
    prediction = network_prediction(scenes.observation, scenes.sources, GRID)
    wrong = prediction.count_log_probabilities.roll(1, dims=1)
    believing = replace(prediction.calibration, noise_unknown=OF_NETWORK)
    own = replace(prediction, count_log_probabilities=wrong, calibration=believing)
    found = make_estimator("learned").estimate(seen(scenes, noise_known), own, None)
    assert found.n_sources.tolist() == [2 if noise_known else 3] * 4


def fitted_mass(log_probabilities: torch.Tensor) -> torch.Tensor:
    """Probability, by the network, of the counts 0 to 2 of which fits are made around 1."""
    return log_probabilities[:, :3].exp().double().sum(1)


def test_a_scene_of_few_maxima_gets_the_points_of_highest_occupancy_beside_them() -> None:
    """One peak in the occupancy and two sources told: the second starts beside it and finds its place."""
    scenes = make_scenes(WIDE, 2, 20.0, 4, sources=SPREAD_SOURCES[:2])
    one = network_prediction(scenes.observation, scenes.sources[:, :1], GRID)
    smooth = replace(one, occupancy=-GRID_DISTANCE.float().expand(4, -1))
    peaks = make_estimator("learned_peaks").estimate(scenes.observation, smooth, scenes.n_sources.long())
    assert not bool(peaks.resolved.any())
    found = make_estimator("learned").estimate(scenes.observation, smooth, scenes.n_sources.long())
    assert found.n_sources.tolist() == [2] * 4


GRID_DISTANCE = ((GRID.coordinates - GRID.coordinates[400]) / GRID.steps).square().sum(-1)
"""Squared distance of every point from one of them, in cells: a map with a single maximum."""


@LEARNED
def test_an_occupancy_of_another_grid_is_refused(name: str) -> None:
    scenes = make_scenes(WIDE, 1, 20.0, 2)
    prediction = network_prediction(scenes.observation, scenes.sources, GRID)
    cut = replace(prediction, occupancy=prediction.occupancy[:, :-1], places=prediction.places[:, :-1])
    with pytest.raises(ValueError, match=shows("grid ... 780 ... 779")):
        make_estimator(name).estimate(scenes.observation, cut, scenes.n_sources.long())
