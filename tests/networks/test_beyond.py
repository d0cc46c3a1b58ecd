"""Scenes beyond the training of a network: what tells them, and what is left of a confidence."""

import math

import pytest
import torch
from torch import Tensor

from risolve.inference.unconditional import refine_unconditional
from risolve.networks.beyond import beyond_training, mixed_confidence
from risolve.physics.observation import SourceModel
from risolve.physics.scenario import Scenes
from tests.estimators.cases import GRID, network_prediction
from tests.worlds import SMALL, SPREAD_SOURCES, WIDE, make_scenes

FITTING = 0.5


def beyond(scenes: Scenes, sources: Tensor, fits: float, *, counted: bool, most: int = 2) -> Tensor:
    """Of a network that knows no more sources than `most`."""
    prediction = network_prediction(scenes.observation, scenes.sources[:, :most], GRID)
    given = torch.full((len(sources),), fits, dtype=torch.float64)
    return beyond_training(scenes.observation, sources, given, prediction, GRID, counted=counted)


@pytest.mark.parametrize("source_model", ["independent", "constant"])
def test_more_sources_than_a_network_knows_are_beyond_it(source_model: SourceModel) -> None:
    """Of two sources found, a third is told from noise; of a number that was told, none is looked for."""
    found = {}
    for n_sources in (2, 3):
        scenes = make_scenes(WIDE, n_sources, 20.0, 6, source_model, sources=SPREAD_SOURCES[:n_sources])
        sources = refine_unconditional(scenes.observation, scenes.sources[:, :2], 40).sources
        found[n_sources] = beyond(scenes, sources, FITTING, counted=True)
        told = beyond(scenes, sources, FITTING, counted=False)
        assert bool((told < 0.01).all())
        known = beyond(scenes, sources, FITTING, counted=True, most=4)
        torch.testing.assert_close(known, told)
    assert bool((found[2] < 0.5).all()) and bool((found[3] > 0.9).all())


def test_more_than_the_snapshots_determine_is_not_looked_for() -> None:
    """Two antennas determine one `independent` source, the most that this network knows."""
    scenes = make_scenes(SMALL, 1, 15.0, 2)
    found = [beyond(scenes, scenes.sources[:, :1], FITTING, counted=told, most=1) for told in (True, False)]
    torch.testing.assert_close(*found)


def test_a_poorer_fit_is_less_of_the_training() -> None:
    scenes = make_scenes(WIDE, 1, 15.0, 1)
    grades = [0.0, 1e-4, 1e-3, 0.01, 0.1, 1.0]
    found = torch.cat([beyond(scenes, scenes.sources, fits, counted=False) for fits in grades])
    assert bool((found.diff() < 0.0).all())
    assert float(found[0]) == 1.0 and float(found[1]) > 0.9 and float(found[3]) < 0.2
    nothing_left = beyond(scenes, scenes.sources, math.nan, counted=False)
    torch.testing.assert_close(nothing_left, found[-1:])


def test_no_source_and_sources_beside_the_grid_are_signs() -> None:
    scenes = make_scenes(WIDE, 1, 15.0, 2, sources=SPREAD_SOURCES[:1])
    inside = beyond(scenes, scenes.sources, FITTING, counted=True, most=3)
    none = torch.full((2, 1, 3), torch.nan, dtype=torch.float64)
    assert bool((beyond(scenes, none, FITTING, counted=True, most=3) > 10.0 * inside).all())
    torch.testing.assert_close(beyond(scenes, none, FITTING, counted=False), inside)
    edge = scenes.sources[:, :1].clone()
    for degrees, is_beside in ((29.0, False), (31.0, False), (45.0, True)):
        edge[..., 1] = math.radians(degrees)
        found = beyond(scenes, edge, FITTING, counted=True, most=3)
        assert bool(((found > 10.0 * inside) == is_beside).all())


def test_a_confidence_grows_with_that_of_the_rule_and_falls_with_what_is_beyond() -> None:
    of_rule = torch.linspace(0.0, 1.0, 11, dtype=torch.float64)
    within, beside = (mixed_confidence(of_rule, torch.full_like(of_rule, p)) for p in (0.0, 1.0))
    assert bool((within.diff() > 0.0).all()) and bool((within[1:-1] < of_rule[1:-1]).all())
    assert within[[0, -1]].tolist() == [0.0, 1.0]
    assert bool((beside == beside[0]).all()) and 0.0 < float(beside[0]) < 0.2
    halfway = mixed_confidence(of_rule, torch.full_like(of_rule, 0.5))
    torch.testing.assert_close(halfway, (within + beside) / 2.0)
