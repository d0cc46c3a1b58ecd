"""The search for the least J: it never rises, and leaves minima that a descent does not leave."""

import math

import pytest
import torch

from risolve.inference.counting import CountingRule
from risolve.inference.detection import Detector, detectors
from risolve.inference.grid import search_grid
from risolve.inference.growth import located
from risolve.inference.likelihood import Refinement, refine
from risolve.inference.search import exchanged, grown, leading, pairs_exchanged, proposals, shrunk
from risolve.physics.observation import SourceModel
from risolve.physics.scenario import Scenes
from tests.worlds import FIELD_OF_VIEW, SPREAD_SOURCES, WIDE, make_scenes, noiseless

GRID = search_grid(13, 11, 4, FIELD_OF_VIEW.azimuth, FIELD_OF_VIEW.elevation, FIELD_OF_VIEW.range)
MODELS: tuple[SourceModel, ...] = ("independent", "constant")
RULE = CountingRule("glrt", 0.01, 4)
ELSEWHERE = [0.0, 0.45, 1.0]


def detector_of(scenes: Scenes) -> Detector:
    ((_, detector),) = detectors(scenes.observation, GRID)
    return detector


def started(detector: Detector, *sources: list[float]) -> Refinement:
    start = torch.tensor(sources, dtype=torch.float64).expand(detector.n_scenes, -1, -1)
    return refine(detector.observation, start, 40)


def worst_angle_deg(fit: Refinement, n_sources: int) -> float:
    placed = fit.sources.gather(1, fit.sources[..., :1].argsort(1).expand_as(fit.sources))
    truth = torch.tensor(sorted(SPREAD_SOURCES[:n_sources]), dtype=torch.float64)
    return math.degrees(float((placed - truth)[..., :2].abs().max()))


@pytest.mark.parametrize("source_model", MODELS)
def test_growth_finds_noiseless_sources_exactly(source_model: SourceModel) -> None:
    scenes = noiseless(make_scenes(WIDE, 3, 20.0, 3, source_model, sources=SPREAD_SOURCES))
    detector = detector_of(scenes)
    fit = grown(detector, torch.empty(3, 0, 3).double(), 40)
    for _ in range(2):
        fit = exchanged(detector, grown(detector, fit.sources, 40), 4, 40)
    assert worst_angle_deg(fit, 3) < 1e-6
    assert float(fit.residual.max()) < 1e-12


def test_exchange_brings_an_astray_source_home() -> None:
    detector = detector_of(noiseless(make_scenes(WIDE, 2, 20.0, 3, sources=SPREAD_SOURCES[:2])))
    fit = started(detector, list(SPREAD_SOURCES[0]), ELSEWHERE)
    assert worst_angle_deg(fit, 2) > 1.0
    assert worst_angle_deg(exchanged(detector, fit, 1, 40), 2) < 1e-6


def test_a_pair_is_exchanged_at_once() -> None:
    detector = detector_of(noiseless(make_scenes(WIDE, 2, 20.0, 3, sources=SPREAD_SOURCES[:2])))
    fit = started(detector, ELSEWHERE, [0.1, 0.4, 0.9])
    assert worst_angle_deg(fit, 2) > 1.0
    assert worst_angle_deg(pairs_exchanged(detector, fit, 4, 40), 2) < 1e-6


@pytest.mark.parametrize("source_model", MODELS)
def test_the_source_that_explains_nothing_is_left_out(source_model: SourceModel) -> None:
    scenes = make_scenes(WIDE, 2, 20.0, 3, source_model, sources=SPREAD_SOURCES[:2])
    detector = detector_of(noiseless(scenes))
    fit = started(detector, list(SPREAD_SOURCES[0]), ELSEWHERE, list(SPREAD_SOURCES[1]))
    assert worst_angle_deg(shrunk(detector, fit, 40), 2) < 1e-6


@pytest.mark.parametrize("n_sources", [1, 2, 3])
@pytest.mark.parametrize("source_model", MODELS)
def test_no_step_raises_the_residual(n_sources: int, source_model: SourceModel) -> None:
    detector = detector_of(make_scenes(WIDE, 3, 0.0, 6, source_model))
    fit = refine(detector.observation, GRID.sources[[20, 150, 300][:n_sources]].expand(6, -1, -1), 40)
    for step in (exchanged, pairs_exchanged, exchanged):
        better = step(detector, fit, 4, 40)
        assert bool((better.residual <= fit.residual).all())
        fit = better


def test_one_source_has_no_pairs() -> None:
    detector = detector_of(make_scenes(WIDE, 1, 10.0, 2))
    fit = grown(detector, torch.empty(2, 0, 3).double(), 40)
    assert pairs_exchanged(detector, fit, 4, 40) is fit
    offered = proposals(detector, fit, 4)
    assert offered.sources.shape[1:] == (1, 3)


def test_leading_rows_of_each_scene() -> None:
    scene = torch.tensor([1, 0, 1, 1, 0, 2])
    cost = torch.tensor([3.0, 2.0, 1.0, 2.0, 5.0, 0.0], dtype=torch.float64)
    assert leading(scene, cost, 1).tolist() == [1, 2, 5]
    assert leading(scene, cost, 2).tolist() == [1, 4, 2, 3, 5]
    assert leading(scene[:0], cost[:0], 1).tolist() == []


def test_told_numbers_end_each_scene_at_its_own() -> None:
    detector = detector_of(make_scenes(WIDE, 2, 20.0, 4))
    told = torch.tensor([2, 0, 3, 1])
    groups = located(detector, told, RULE, 40, lambda _, fit: fit)
    assert {int(s): g.fit.sources.shape[1] for g in groups for s in g.scenes} == {0: 2, 1: 0, 2: 3, 3: 1}


@pytest.mark.parametrize("source_model", MODELS)
@pytest.mark.parametrize("n_sources", [0, 1, 2])
def test_sources_are_counted_at_high_snr(source_model: SourceModel, n_sources: int) -> None:
    scenes = make_scenes(WIDE, n_sources, 25.0, 6, source_model, sources=SPREAD_SOURCES[:n_sources] or None)
    groups = located(detector_of(scenes), None, RULE, 40, lambda d, fit: exchanged(d, fit, 2, 40))
    counts = torch.full((6,), -1)
    for found in groups:
        counts[found.scenes] = found.fit.sources.shape[1]
    assert counts.tolist() == [n_sources] * 6


def test_no_more_sources_are_counted_than_the_rule_allows() -> None:
    scenes = make_scenes(WIDE, 3, 30.0, 3, sources=SPREAD_SOURCES)
    groups = located(detector_of(scenes), None, CountingRule("glrt", 0.01, 2), 40, lambda _, fit: fit)
    assert [g.fit.sources.shape[1] for g in groups] == [2]


def test_growth_past_a_source_that_stood_for_two_is_taken_back() -> None:
    """Counting starts from the worst place for the first source: the grid is asked for nothing better."""
    scenes = make_scenes(WIDE, 2, 30.0, 4, sources=SPREAD_SOURCES[:2])
    astray = torch.tensor(ELSEWHERE, dtype=torch.float64)

    def misled(detector: Detector, fit: Refinement) -> Refinement:
        if fit.sources.shape[1] > 1:
            return fit
        return refine(detector.observation, astray.expand(detector.n_scenes, 1, 3), 0)

    groups = located(detector_of(scenes), None, RULE, 40, misled)
    assert [g.fit.sources.shape[1] for g in groups] == [2]
    assert sum(len(g.scenes) for g in groups) == 4
