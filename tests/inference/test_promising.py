"""Searches that hold some points of a grid against those that hold all."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

import risolve
from risolve.inference.detection import (
    Detector,
    alone,
    detectors,
    explained,
    gains,
    pair_gains,
    widened,
)
from risolve.inference.goodness import goodness
from risolve.inference.grid import Grid, grid_for, grid_steering
from risolve.inference.likelihood import concentrated_residual
from risolve.inference.promising import is_wide, matched_by
from risolve.inference.search import beside_each
from risolve.physics.array import Array
from risolve.physics.observation import Observation, sensing
from tests.messages import shows

FRONT = (math.radians(-60.0), math.radians(60.0)), (math.radians(-30.0), math.radians(30.0))
ARRAY = risolve.planar(24, 24, 0.05, 0.1)
GRID = grid_for(ARRAY, *FRONT, (0.3, 50.0))
TRUTH = torch.tensor([[[-0.5, 0.2, 0.9], [0.35, -0.3, 0.4]], [[0.9, 0.1, 1.5], [0.1, 0.3, 0.2]]]).double()


def observed(
    array: Array,
    places: Tensor,
    *,
    source_model: str = "independent",
    antennas: int = 16,
    own_codes: bool = True,
) -> Observation:
    """Snapshots through random codes, which are those of each scene or of all, at 15 dB."""
    random = np.random.default_rng(4)
    n_scenes, n_sources = places.shape[:2]

    def normal(*shape: int) -> np.ndarray:
        return (random.normal(size=shape) + 1j * random.normal(size=shape)) / 2.0**0.5

    n_snapshots = 12
    channel = normal(antennas, array.n_elements)
    codes = np.exp(2j * np.pi * random.random((n_scenes if own_codes else 1, n_snapshots, array.n_elements)))
    amplitudes = normal(n_scenes, n_snapshots if source_model == "independent" else 1, n_sources)
    fields = (amplitudes @ array.steering(places).numpy()) * codes
    y = fields @ channel.T
    noise = math.sqrt(float(np.mean(np.abs(y) ** 2)) / 30.0)
    return Observation(y + noise * normal(*y.shape), array, channel, codes, source_model)


def detector_of(observation: Observation, grid: Grid) -> Detector:
    pieces = [detector for _, detector in detectors(observation, grid)]
    return Detector.joined(pieces) if len(pieces) > 1 else pieces[0]


def residual(observation: Observation, places: Tensor) -> Tensor:
    present = torch.ones(places.shape[:2], dtype=torch.bool)
    return concentrated_residual(observation, places, present)


@pytest.mark.parametrize("source_model", ["independent", "constant"])
@pytest.mark.parametrize("own_codes", [True, False])
def test_the_points_that_explain_most_are_held(source_model: str, own_codes: bool) -> None:
    observation = observed(ARRAY, TRUTH, source_model=source_model, own_codes=own_codes)
    assert is_wide(observation, GRID)
    detector = detector_of(observation, GRID)
    nothing = torch.empty((2, 1, 0, 3), dtype=torch.float64)
    detector = widened(detector, nothing)
    gain = gains(detector, explained(detector, nothing))[:, 0]
    unit = detector.observation
    columns = (sensing(unit) @ grid_steering(GRID, ARRAY).to(torch.complex128)).transpose(-1, -2)
    y = unit.snapshots
    if source_model == "constant":
        columns, y = columns.transpose(1, 2).flatten(2)[:, None], y.flatten(1)[:, None]
    matched = (columns.conj() @ y[..., None])[..., 0].abs().square()
    every = (matched / columns.abs().square().sum(-1)).sum(1)
    held = gain > 0.0
    torch.testing.assert_close(gain[held].double(), every[held], rtol=1e-3, atol=1e-3)
    assert float(held.double().mean()) < 0.05
    for own, best in zip(held, every.argmax(-1), strict=True):
        apart = GRID.apart(GRID.coordinates[best], GRID.coordinates[own]) / GRID.steps
        assert float(apart.amax(-1).min()) < 1.01


def test_points_beside_others_are_held_and_their_gains_are_decreases_of_the_residual() -> None:
    observation = observed(ARRAY, TRUTH)
    detector = detector_of(observation, GRID)
    with_each = beside_each(detector, TRUTH)
    assert with_each.held is not None
    assert detector.held is not None
    assert with_each.held.points.shape[1] > detector.held.points.shape[1] == 0
    assert all(len(own.unique()) == len(own) for own in with_each.held.points)
    again = beside_each(with_each, TRUTH)
    assert again.columns.shape == with_each.columns.shape
    first = TRUTH[:, :1]
    taken = explained(with_each, first[:, None])
    gain = gains(with_each, taken)[:, 0]
    point = gain.argmax(-1)
    both = torch.cat((first, GRID.sources[point][:, None]), dim=1)
    unit = with_each.observation
    decrease = residual(unit, first) - residual(unit, both)
    torch.testing.assert_close(gain.amax(-1).double(), decrease, rtol=1e-3, atol=1e-3)
    near = GRID.apart(GRID.coordinates_of(TRUTH[:, 1]), GRID.coordinates[point]) / GRID.steps
    assert float(near[:, :2].max()) <= 1.0


def test_pairs_of_held_points_explain_what_two_sources_do() -> None:
    observation = observed(ARRAY, TRUTH)
    nothing = torch.empty((2, 1, 0, 3), dtype=torch.float64)
    detector = widened(detector_of(observation, GRID), nothing)
    taken = explained(detector, nothing)
    points = gains(detector, taken)[:, 0].topk(5, dim=-1).indices
    both = pair_gains(detector, taken, points)
    unit = detector.observation
    places = GRID.sources[points[:, [0, 3]]]
    decrease = taken.residual[:, 0] - residual(unit, places)
    torch.testing.assert_close(both[:, 0, 3].double(), decrease, rtol=1e-3, atol=1e-3)


def test_no_other_points_are_paired_where_few_are_held() -> None:
    inside = torch.zeros(GRID.n_points, dtype=torch.bool)
    inside[GRID.neighbours(GRID.nearest(TRUTH.flatten(0, 1))).flatten()] = True
    narrow = replace(GRID, inside=inside)
    detector = alone(detector_of(observed(ARRAY, TRUTH), narrow))
    assert detector.held is not None
    gain = gains(detector, explained(detector, torch.empty((2, 1, 0, 3), dtype=torch.float64)))[:, 0]
    points = detector.highest(gain, 64)
    assert points.shape[1] == detector.held.points.shape[1] < 64
    assert bool((points[..., None] == detector.held.points[:, None]).any(-1).all())
    torch.testing.assert_close(gain.gather(1, points)[:, 0], gain.amax(-1))


def test_one_more_source_is_looked_for_at_the_same_points() -> None:
    fields = torch.randn(2, 3, ARRAY.n_elements, dtype=torch.complex64, generator=torch.manual_seed(0))
    matched = matched_by(GRID, ARRAY)(fields)
    exact = (fields @ grid_steering(GRID, ARRAY).conj()).abs().square().sum(1)
    relative = torch.corrcoef(torch.stack((matched[0], exact[0])))[0, 1]
    assert float(relative) > 0.85
    fit = goodness(observed(ARRAY, TRUTH), TRUTH, GRID)
    assert bool((fit.fits > 0.01).all())


def cylinder() -> Array:
    angle = np.arange(60 * 30) * (2.0 * np.pi / 60)
    height = (np.arange(60 * 30) // 60 - 14.5) * 0.05
    radius = 0.05 / (2.0 * math.sin(math.pi / 60))
    return Array(np.stack((radius * np.cos(angle), height, radius * np.sin(angle)), -1), 0.1)


def scattered() -> Array:
    """Few elements far apart, whose grid has many points."""
    return Array(np.random.default_rng(1).uniform(-8.0, 8.0, (16, 3)) * [1.0, 1.0, 0.0], 0.1)


@pytest.mark.parametrize(
    ("make", "limits"),
    [
        (lambda: risolve.planar(40, 40, 0.05, 0.1), {}),
        (cylinder, {"azimuth": (-90.0, 90.0), "elevation": (-40.0, 40.0)}),
        (scattered, {"azimuth": (-40.0, 40.0), "elevation": (-20.0, 20.0), "range": 60.0}),
    ],
    ids=["surface of 1600", "cylinder", "sparse"],
)
def test_large_grids_are_searched(make: Callable[[], Array], limits: dict[str, tuple[float, float]]) -> None:
    array = make()
    inverse = 1.0 / 60.0 if "range" in limits else 0.4
    truth = torch.tensor([[[-0.4, 0.2, inverse], [0.3, -0.1, inverse]]], dtype=torch.float64)
    if array.n_elements == 16:
        waves = array.steering(truth).numpy()
        random = np.random.default_rng(2)
        numbers = random.normal(size=(2, 1, 30, 16))
        amplitudes = np.exp(2j * np.pi * random.random((1, 30, 2)))
        observation = Observation(amplitudes @ waves + 0.1 * (numbers[0] + 1j * numbers[1]), array)
    else:
        observation = observed(array, truth, antennas=6)
    found = risolve.locate(observation, sources=2, **limits)
    table = found.to_pandas().sort_values("azimuth_deg")
    expected = np.degrees(truth[0, :, :2].numpy())
    for column, values in zip(("azimuth_deg", "elevation_deg"), expected.T, strict=True):
        deviations = table[column.replace("_deg", "_std_deg")].to_numpy()
        assert np.abs(table[column].to_numpy() - values).max() < 5.0 * deviations.max() < 1.0


def test_what_needs_all_points_is_refused() -> None:
    array = risolve.planar(48, 48, 0.05, 0.1)
    observation = observed(array, TRUTH, source_model="constant", antennas=2)
    with pytest.raises(ValueError, match=shows("music ... 2304 elements ... ml")):
        risolve.locate(observation, sources=2, estimator="music")
    equal = Observation(
        observation.snapshots, array, observation.channel, observation.codes, "constant", gains="equal"
    )
    with pytest.raises(ValueError, match=shows("gains = equal ... 2304 elements")):
        risolve.locate(equal, sources=2)
