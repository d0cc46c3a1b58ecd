"""Gains of grid points against J itself, which the refinement tests prove against its oracle."""

import pytest
import torch

from risolve.inference.detection import Detector, detectors, explained, gains, pair_gains
from risolve.inference.grid import search_grid
from risolve.inference.likelihood import concentrated_residual
from risolve.physics.observation import Observation, SourceModel
from risolve.physics.scenario import System
from tests.messages import shows
from tests.worlds import FIELD_OF_VIEW, SMALL, SPREAD_SOURCES, WIDE, make_observation, scaled

GRID = search_grid(6, 5, 3, FIELD_OF_VIEW.azimuth, FIELD_OF_VIEW.elevation, FIELD_OF_VIEW.range)
MODELS: tuple[SourceModel, ...] = ("independent", "constant")
GAIN = {"rtol": 2e-4, "atol": 2e-4}
"""complex64 responses; snapshots have a mean power of 1."""


def detector_of(observation: Observation) -> Detector:
    ((piece, detector),) = detectors(observation, GRID)
    assert piece == slice(0, observation.n_scenes)
    return detector


def residual(detector: Detector, *sources: torch.Tensor) -> torch.Tensor:
    """J of sources given one by one, on the scale of the detector."""
    nowhere = torch.zeros(detector.n_scenes, 3, dtype=torch.float64)
    placed = torch.stack((*sources, nowhere), dim=1)
    present = torch.ones(placed.shape[:2], dtype=torch.bool)
    present[:, -1] = False
    return concentrated_residual(detector.observation, placed, present)


@pytest.mark.parametrize("source_model", MODELS)
@pytest.mark.parametrize(("system", "n_others"), [(SMALL, 0), (WIDE, 0), (WIDE, 1), (WIDE, 3)])
def test_gain_is_the_decrease_of_the_residual(
    source_model: SourceModel, system: System, n_others: int
) -> None:
    detector = detector_of(make_observation(system, 1, 5.0, 3, source_model))
    others = torch.tensor(SPREAD_SOURCES[:n_others], dtype=torch.float64).reshape(n_others, 3)
    others = others.expand(3, n_others, 3)
    gain = gains(detector, explained(detector, others[:, None]))[:, 0]
    before = residual(detector, *others.unbind(1))
    for point in (0, 17, 44, GRID.n_points - 1):
        place = GRID.sources[point].expand(3, 3)
        after = residual(detector, *others.unbind(1), place)
        torch.testing.assert_close(gain[:, point].double(), before - after, **GAIN)


@pytest.mark.parametrize("source_model", MODELS)
@pytest.mark.parametrize("n_others", [0, 1])
def test_gain_of_a_pair_is_the_decrease_of_the_residual(source_model: SourceModel, n_others: int) -> None:
    detector = detector_of(make_observation(WIDE, 2, 5.0, 3, source_model))
    others = torch.tensor(SPREAD_SOURCES[:n_others], dtype=torch.float64).reshape(n_others, 3)
    others = others.expand(3, n_others, 3)
    points = torch.tensor([3, 40, 61]).expand(3, 3)
    gain = pair_gains(detector, explained(detector, others[:, None]), points)
    before = residual(detector, *others.unbind(1))
    for i, j in ((0, 1), (1, 2), (2, 0)):
        pair = (GRID.sources[points[:, i]], GRID.sources[points[:, j]])
        after = residual(detector, *others.unbind(1), *pair)
        torch.testing.assert_close(gain[:, i, j].double(), before - after, **GAIN)
    assert bool((gain.diagonal(dim1=1, dim2=2) == 0.0).all())


def test_a_place_that_others_explain_gains_nothing() -> None:
    detector = detector_of(make_observation(WIDE, 1, 5.0, 2))
    own = GRID.sources[31].expand(2, 1, 1, 3)
    gain = gains(detector, explained(detector, own))
    assert bool((gain[:, 0, 31] == 0.0).all())
    assert bool((gain[:, 0] > 0.0).any())


@pytest.mark.parametrize("factor", [1e-8, 1e8])
def test_gain_does_not_depend_on_the_unit_of_the_snapshots(factor: float) -> None:
    observation = make_observation(WIDE, 1, 5.0, 2).to(torch.complex128)
    none = torch.empty((2, 1, 0, 3), dtype=torch.float64)
    first, second = (detector_of(o) for o in (observation, scaled(observation, factor)))
    torch.testing.assert_close(
        gains(first, explained(first, none)), gains(second, explained(second, none)), rtol=1e-5, atol=0.0
    )


def test_pieces_hold_every_scene_once(monkeypatch: pytest.MonkeyPatch) -> None:
    observation = make_observation(WIDE, 1, 5.0, 5)
    per_scene = observation.n_snapshots * observation.n_antennas * GRID.n_points
    monkeypatch.setattr("risolve.inference.detection.CHUNK_VALUES", 2 * per_scene)
    pieces = list(detectors(observation, GRID))
    assert [piece for piece, _ in pieces] == [slice(0, 2), slice(2, 4), slice(4, 5)]
    whole = detector_of
    monkeypatch.undo()
    one = whole(observation)
    torch.testing.assert_close(torch.cat([d.energy for _, d in pieces]), one.energy, rtol=1e-5, atol=0.0)


def test_a_selection_of_all_scenes_is_the_detector_itself() -> None:
    """The responses are large: a selection of all of them copies nothing."""
    detector = detector_of(make_observation(WIDE, 1, 10.0, 3))
    assert detector.select(torch.arange(3)) is detector
    assert detector.select(torch.tensor([2, 0, 1])) is not detector


def test_snapshots_of_zeros_are_refused_with_their_scene() -> None:
    observation = make_observation(WIDE, 1, 5.0, 3)
    observation.snapshots[1] = 0.0
    with pytest.raises(ValueError, match=shows("|y|^2 ... scenes [1] ... [0.0]")):
        list(detectors(observation, GRID))
