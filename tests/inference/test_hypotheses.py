"""Hypotheses of candidates: their scales, the places for one source beside the others, and the exchange."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from risolve.inference.field import Field, field
from risolve.inference.grid import search_grid
from risolve.inference.hypotheses import likeliest_sources
from risolve.inference.unconditional import UnconditionalRefinement, refine_unconditional, unconditional_cost
from risolve.physics.observation import Observation, SourceModel
from risolve.physics.scenario import Scenes
from tests.worlds import (
    DEFAULT,
    FIELD_OF_VIEW,
    SPREAD_SOURCES,
    WIDE,
    direct_array,
    make_scenes,
    scaled,
)

GRID = search_grid(13, 11, 4, FIELD_OF_VIEW.azimuth, FIELD_OF_VIEW.elevation, FIELD_OF_VIEW.range)
FINE = search_grid(22, 13, 5, FIELD_OF_VIEW.azimuth, FIELD_OF_VIEW.elevation, FIELD_OF_VIEW.range)
MODELS = pytest.mark.parametrize("source_model", ["independent", "constant"])
NOISE = pytest.mark.parametrize("noise_known", [True, False], ids=["noise known", "noise unknown"])
ITERATIONS = 60
ELSEWHERE = (-1.0, -0.4, 1 / 1.0)
"""A place far from all of `SPREAD_SOURCES`."""


def seen(scenes: Scenes, noise_known: bool = True) -> Observation:
    exact = scenes.observation.to(torch.complex128)
    return exact if noise_known else replace(exact, noise_power=None)


def even(observation: Observation) -> Field:
    """The field without a prior."""
    return field(observation, GRID, torch.zeros((observation.n_scenes, GRID.n_points)))


def repeated(sources: list[tuple[float, float, float]], n_scenes: int) -> Tensor:
    return torch.tensor(sources, dtype=torch.float64).expand(n_scenes, len(sources), 3).clone()


def found_from(
    scenes: Field, places: Tensor, n_sources: int, complete: bool = False
) -> UnconditionalRefinement:
    usable = torch.ones(places.shape[:2], dtype=torch.bool)
    return likeliest_sources(scenes, places, usable, n_sources, ITERATIONS, complete)


# scales


@MODELS
@NOISE
@pytest.mark.parametrize("factor", [1e-8, 1.0, 3e7])
def test_a_fit_in_own_units_is_that_of_the_snapshots_themselves(
    source_model: SourceModel, noise_known: bool, factor: float
) -> None:
    """Powers follow |y|^2 over |H|^2 |c|^2, sigma^2 follows |y|^2, and V its logarithm times L M."""
    plain = scaled(seen(make_scenes(WIDE, 2, 10.0, 3, source_model), noise_known), factor * (0.6 + 0.8j))
    observation = replace(plain, channel=plain.channel * 5.0, codes=plain.codes * 0.3)
    start = repeated(list(SPREAD_SOURCES[:2]), 3)
    scenes = even(observation)
    scaled_fit = refine_unconditional(scenes.observation, start, ITERATIONS)
    order = torch.tensor([2, 0, 1])
    found = scenes.select(order).in_own_units(scaled_fit, order)
    expected = refine_unconditional(observation, start, ITERATIONS).select(order)
    torch.testing.assert_close(found.sources, expected.sources, rtol=0.0, atol=1e-6)
    torch.testing.assert_close(found.powers, expected.powers, rtol=1e-5, atol=0.0)
    torch.testing.assert_close(found.noise_power, expected.noise_power, rtol=1e-6, atol=0.0)
    torch.testing.assert_close(found.cost, expected.cost, rtol=0.0, atol=1e-5)


@MODELS
def test_differences_of_costs_have_no_unit(source_model: SourceModel) -> None:
    observation = seen(make_scenes(WIDE, 2, 10.0, 3, source_model))
    start = repeated(list(SPREAD_SOURCES[:2]), 3)
    differences = []
    for factor in (1e-8, 1.0, 1e8):
        scenes = even(scaled(observation, factor))
        costs = [
            refine_unconditional(scenes.observation, start[:, :count], ITERATIONS).cost for count in (0, 1, 2)
        ]
        differences.append(torch.stack(costs).diff(dim=0))
    for other in differences[1:]:
        torch.testing.assert_close(other, differences[0], rtol=0.0, atol=1e-6)


def test_scenes_of_one_channel_have_a_field_each() -> None:
    """A shared channel and code give every scene the energy of the grid."""
    scenes = even(seen(direct_array(SPREAD_SOURCES[:1], 10.0, 3)))
    assert scenes.energy.shape == (3, GRID.n_points)
    part = scenes.select(torch.tensor([2]))
    assert torch.equal(part.energy, scenes.energy[2:])
    assert torch.equal(part.snapshot_power, scenes.snapshot_power[2:])


def test_the_prior_of_a_source_is_that_of_the_nearest_point() -> None:
    observation = seen(make_scenes(WIDE, 1, 10.0, 2))
    prior = torch.randn((2, GRID.n_points), generator=torch.Generator().manual_seed(1))
    scenes = field(observation, GRID, prior)
    torch.testing.assert_close(scenes.prior_of(GRID.sources.expand(2, -1, -1)), prior.double())
    beside = GRID.sources[[0, 5, -1]] + torch.tensor([1e-3, -1e-3, 0.0], dtype=torch.float64)
    assert torch.equal(scenes.prior_of(beside.expand(2, -1, -1)), prior.double()[:, [0, 5, -1]])
    beyond = torch.tensor([[1.4, 1.2, 9.0]], dtype=torch.float64).expand(2, 1, 3)
    assert bool(torch.isin(scenes.prior_of(beyond), prior.double()).all())


# hypotheses and their exchange


@MODELS
@NOISE
def test_the_cost_is_no_higher_than_that_of_the_only_hypothesis(
    source_model: SourceModel, noise_known: bool
) -> None:
    """K candidates make one hypothesis: where its sources stand, V is no lower at any powers of them."""
    scenes = even(seen(make_scenes(WIDE, 3, 5.0, 8, source_model, seed=4), noise_known))
    random = torch.Generator().manual_seed(2)
    points = torch.stack([torch.randperm(GRID.n_points, generator=random)[:3] for _ in range(8)])
    places = GRID.sources[points]
    found = found_from(scenes, places, 3)
    start = unconditional_cost(scenes.observation, places, ITERATIONS)
    assert bool((found.cost <= start + 1e-6).all())
    assert bool((found.cost < start - 1.0).any())
    again = unconditional_cost(scenes.observation, found.sources, ITERATIONS)
    torch.testing.assert_close(again, found.cost, rtol=0.0, atol=1e-4)


@MODELS
@NOISE
@pytest.mark.parametrize("fault", ["strayed", "merged"])
def test_the_exchange_finds_a_source_that_the_candidates_miss(
    source_model: SourceModel, noise_known: bool, fault: str
) -> None:
    """Two of three candidates are right; the third stands far off, or beside one of them. A descent alone
    leaves it there in most scenes; an exchange brings all but few to the maximum beside the truth.
    """
    n_scenes = 10
    scenes = make_scenes(DEFAULT, 3, 10.0, n_scenes, source_model, sources=SPREAD_SOURCES)
    wrong = ELSEWHERE
    if fault == "merged":
        azimuth, elevation, inverse_range = SPREAD_SOURCES[0]
        wrong = (azimuth + 0.05, elevation - 0.05, inverse_range)
    places = repeated([SPREAD_SOURCES[0], wrong, SPREAD_SOURCES[2]], n_scenes)
    own = field(seen(scenes, noise_known), FINE, torch.zeros((n_scenes, FINE.n_points)))
    found = found_from(own, places, 3)
    at_truth = refine_unconditional(own.observation, scenes.sources[:, :3].double(), ITERATIONS)
    stayed = refine_unconditional(own.observation, places, ITERATIONS)
    is_right = found.cost <= at_truth.cost + 1e-3
    assert int((stayed.cost <= at_truth.cost + 1e-3).sum()) <= 2
    assert int(is_right.sum()) >= n_scenes - 1
    order = found.sources[..., 0].argsort(-1)
    ordered = found.sources.gather(1, order[..., None].expand(-1, -1, 3))[is_right]
    assert bool(((ordered - scenes.sources[is_right, :3])[..., :2].abs() < np.deg2rad(5.0)).all())


@NOISE
def test_where_all_sources_are_told_a_misfit_is_searched_on(noise_known: bool) -> None:
    """Two sources 12 degrees apart have one candidate between them. Where the exchange stops at less than the
    likelihood of the truth, what is left shows it: a search that knows of no others goes on, in these scenes
    alone.
    """
    pair, third = [(0.528, 0.364, 1 / 4.11), (0.618, 0.173, 1 / 3.6)], (0.2, 0.3, 1 / 3.0)
    n_scenes = 80
    scenes = make_scenes(DEFAULT, 3, 10.0, n_scenes, "constant", sources=[*pair, third])
    own = field(seen(scenes, noise_known), FINE, torch.zeros((n_scenes, FINE.n_points)))
    places = repeated([(0.59, 0.229, 1 / 2.9), third, ELSEWHERE], n_scenes)
    at_truth = refine_unconditional(own.observation, scenes.sources[:, :3].double(), ITERATIONS)
    usual, told = (found_from(own, places, 3, complete) for complete in (False, True))
    is_right = usual.cost <= at_truth.cost + 1e-3
    assert int(is_right.sum()) < n_scenes
    assert bool((told.cost <= at_truth.cost + 1e-3).all())
    assert torch.equal(told.sources[is_right], usual.sources[is_right])


@MODELS
def test_of_many_candidates_the_right_ones_are_chosen(source_model: SourceModel) -> None:
    scenes = make_scenes(WIDE, 3, 20.0, 4, source_model, sources=SPREAD_SOURCES)
    others = GRID.sources[torch.tensor([3, 60, 200, 333, 470])].expand(4, -1, -1)
    places = torch.cat((others, repeated(list(SPREAD_SOURCES), 4)), dim=1)
    own = even(seen(scenes))
    found = found_from(own, places, 3)
    at_truth = refine_unconditional(own.observation, scenes.sources[:, :3].double(), ITERATIONS)
    assert bool((found.cost <= at_truth.cost + 1e-3).all())


def test_a_candidate_that_is_not_there_is_no_source() -> None:
    """NaN stands in its slot, and nothing of it reaches the result."""
    scenes = make_scenes(WIDE, 2, 20.0, 3, sources=SPREAD_SOURCES[:2])
    places = repeated([*SPREAD_SOURCES[:2], ELSEWHERE], 3)
    places[:, 2] = torch.nan
    usable = torch.tensor([[True, True, False]] * 3)
    own = even(seen(scenes))
    found = likeliest_sources(own, places, usable, 2, ITERATIONS, True).strongest_first()
    expected = found_from(own, places[:, :2], 2).strongest_first()
    torch.testing.assert_close(found.sources, expected.sources, rtol=0.0, atol=1e-6)


@MODELS
def test_permuted_scenes_and_scenes_alone_have_the_same_sources(source_model: SourceModel) -> None:
    observation = seen(make_scenes(WIDE, 3, 10.0, 5, source_model, seed=8))
    random = torch.Generator().manual_seed(3)
    points = torch.stack([torch.randperm(GRID.n_points, generator=random)[:6] for _ in range(5)])
    places = GRID.sources[points]
    whole = found_from(even(observation), places, 3).strongest_first()
    order = torch.tensor([3, 0, 4, 1, 2])
    for rows in (order, *order[:2].split(1)):
        part = found_from(even(observation.select(rows)), places[rows], 3).strongest_first()
        torch.testing.assert_close(part.cost, whole.cost[rows], rtol=0.0, atol=1e-4)
        torch.testing.assert_close(part.sources, whole.sources[rows], rtol=0.0, atol=1e-4)
