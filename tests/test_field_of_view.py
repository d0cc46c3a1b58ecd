"""What is stated of places: an interval, a number or nothing; and that it binds every answer."""

import math
import warnings
from typing import Any

import numpy as np
import pytest
import torch

import risolve
from risolve.estimators.registry import REGISTRY
from risolve.field import FieldOfView, Searched, check_field, coordinate_of, require_inside, usual_field
from risolve.inference.grid import grid_for
from risolve.inference.likelihood import concentrated_residual
from risolve.locating import needs_model
from risolve.physics.geometry import radians
from risolve.physics.limits import mirrors, visible
from risolve.physics.observation import Observation
from tests.messages import shows
from tests.worlds import SPREAD_SOURCES, WIDE, make_scenes

UPRIGHT = risolve.Array(np.outer(np.arange(4.0), [0.0, 0.1, 0.0]), 0.2)
SLANTED = risolve.Array(np.outer(np.arange(4.0), [0.1, 0.1, 0.0]), 0.2)
LINE = risolve.linear(4, spacing=0.1, wavelength=0.2)
PLANE = risolve.planar(4, 4, spacing=0.1, wavelength=0.2)
CLASSICAL_NAMES = [name for name in REGISTRY if not needs_model(name)]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (3, 3.0),
        (np.float32(2.5), 2.5),
        ([-10, 20], (-10.0, 20.0)),
        (np.array([1.5, 2.0]), (1.5, 2.0)),
    ],
)
def test_a_coordinate_is_an_interval_a_number_or_nothing(value: Any, expected: Any) -> None:
    assert coordinate_of("azimuth", value) == expected


@pytest.mark.parametrize("value", [True, "10", [1.0], [1.0, 2.0, 3.0], {"low": 1.0}, [1.0, "2"], 1j])
def test_what_is_no_coordinate_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="azimuth"):
        coordinate_of("azimuth", value)


def test_radians_are_refused_as_a_number_too() -> None:
    with pytest.raises(ValueError, match=shows("elevation ... 60 degrees ... radians")):
        coordinate_of("elevation", math.pi / 3)
    assert coordinate_of("range", math.pi / 3) == math.pi / 3


@pytest.mark.parametrize(
    ("field", "numbers"),
    [
        (FieldOfView((10.0, -10.0)), "10 to -10"),
        (FieldOfView((10.0, 10.0)), "10 to 10"),
        (FieldOfView(None, 90.0), "90 to 90"),
        (FieldOfView(None, None, 0.0), "0 to 0"),
        (FieldOfView(None, None, (2.0, 1.0)), "2 to 1"),
        (FieldOfView(math.nan), "nan"),
    ],
)
def test_limits_that_are_none_are_refused(field: FieldOfView, numbers: str) -> None:
    with pytest.raises(ValueError, match=shows(numbers)):
        check_field(field, visible(PLANE, PLANE.n_elements))


def test_limits_are_what_is_stated_of_what_the_array_sees() -> None:
    seen = visible(PLANE, PLANE.n_elements)
    assert FieldOfView().limits(PLANE, PLANE.n_elements) is None
    open_range = FieldOfView((-10.0, 10.0)).limits(PLANE, PLANE.n_elements)
    assert open_range is not None
    assert torch.equal(open_range.low[1:], seen.low[1:]) and torch.equal(open_range.high[1:], seen.high[1:])
    stated = FieldOfView((-30.0, 45.0), 10.0, (0.5, math.inf)).limits(PLANE, PLANE.n_elements)
    assert stated.low.tolist() == [math.radians(-30.0), math.radians(10.0), 0.0]
    assert stated.high.tolist() == [math.radians(45.0), math.radians(10.0), 2.0]
    assert stated.is_free.tolist() == [True, False, True] and stated.n_free == 2
    assert float(FieldOfView(range_m=(0.01, 1.0)).limits(PLANE, PLANE.n_elements).high[2]) == 10.0
    with pytest.raises(ValueError, match=r"0\.1 m; got 0\.05 m"):
        FieldOfView(range_m=0.05).limits(PLANE, PLANE.n_elements)


def test_infinity_is_no_limit() -> None:
    limits = FieldOfView((-30.0, 45.0), 10.0, (0.5, math.inf)).limits(PLANE, PLANE.n_elements)
    degrees = torch.deg2rad(torch.tensor([[-30.0, 10.0], [0.0, 10.0], [0.0, 10.0]], dtype=torch.float64))
    reach = torch.tensor([[1.0], [0.0], [2.0]], dtype=torch.float64)
    touched = limits.touched(torch.cat((degrees, reach), 1), mirrors(PLANE, PLANE.n_elements))
    assert touched.tolist() == [[True, False, False], [False] * 3, [False, False, True]]


@pytest.mark.parametrize(
    ("array", "field", "expected"),
    [
        (PLANE, FieldOfView(), FieldOfView()),
        (LINE, FieldOfView(), FieldOfView(elevation_deg=0.0)),
        (LINE, FieldOfView((-10.0, 10.0)), FieldOfView((-10.0, 10.0), 0.0)),
        (LINE, FieldOfView(None, 5.0), FieldOfView(None, 5.0)),
        (SLANTED, FieldOfView(), FieldOfView(elevation_deg=0.0)),
        (SLANTED, FieldOfView(7.0), FieldOfView(7.0)),
        (UPRIGHT, FieldOfView(), FieldOfView(azimuth_deg=0.0)),
    ],
)
def test_a_line_is_told_what_it_does_not_tell(
    array: risolve.Array, field: FieldOfView, expected: FieldOfView
) -> None:
    assert field.settled(array) == expected


@pytest.mark.parametrize(
    ("array", "azimuth", "elevation", "told"),
    [
        (LINE, (-1.0, 1.0), (-0.5, 0.5), "azimuth"),
        (LINE, (0.0, 0.0), (-0.5, 0.5), "azimuth"),
        (UPRIGHT, (-1.0, 1.0), (0.0, 0.0), "elevation"),
        (SLANTED, (-1.0, 1.0), (-0.5, 0.5), "4 elements"),
        (risolve.Array(np.zeros((3, 3)), 0.2), (-1.0, 1.0), (0.0, 0.0), "two places"),
    ],
)
def test_what_a_line_does_not_tell_is_not_searched(
    array: risolve.Array, azimuth: tuple[float, float], elevation: tuple[float, float], told: str
) -> None:
    with pytest.raises(ValueError, match=shows(told)):
        grid_for(array, azimuth, elevation, (1.0, 2.0))


def test_a_known_coordinate_has_one_plane_of_the_grid() -> None:
    grid = grid_for(PLANE, (-1.0, 1.0), (0.3, 0.3), (5.0, 5.0))
    assert grid.shape[:2] == (1, 1) and grid.n_points == grid.shape[2] > 3
    assert grid.steps[1:].tolist() == [0.0, 0.0]


def test_points_inside_surround_every_place_within_limits() -> None:
    array = risolve.planar(16, 16, spacing=0.1, wavelength=0.2)
    field = FieldOfView((20.0, 50.0), (40.0, 60.0), (0.5, 3.0))
    limits, searched = (
        field.limits(array, array.n_elements),
        field.searched(usual_field(array, array.n_elements)),
    )
    whole = grid_for(array, radians(searched.azimuth_deg), radians(searched.elevation_deg), searched.range_m)
    grid = whole.within(limits)
    assert whole.n_inside == whole.n_points
    assert 0 < grid.n_inside < grid.n_points
    random = torch.Generator().manual_seed(1)
    share = torch.rand((500, 3), generator=random, dtype=torch.float64)
    places = limits.low + share * (limits.high - limits.low)
    from_points = (
        torch.stack((places[:, 0].sin() * places[:, 1].cos(), places[:, 1].sin(), places[:, 2]), -1)[:, None]
        - grid.coordinates
    ).abs()
    nearest = (from_points <= 0.5 * grid.steps + 1e-9).all(-1)
    assert (nearest & grid.inside).any(1).all()


def test_a_model_is_asked_within_what_it_was_trained_on() -> None:
    own = Searched((-60.0, 60.0), (-30.0, 30.0), (0.5, 10.0))
    require_inside(FieldOfView((-60.0, 20.0), 0.0, (1.0, 10.0)), own)
    with pytest.raises(ValueError, match="-70 to 20"):
        require_inside(FieldOfView((-70.0, 20.0)), own)


def brute_force(observation: Observation, azimuth: tuple[float, float], place: tuple[float, float]) -> float:
    """Azimuth (rad) of least J on a fine grid, one source at a known elevation and inverse range."""
    places = np.linspace(*np.deg2rad(azimuth), 4001)
    sources = torch.tensor([(phi, *place) for phi in places])[:, None]
    many = observation.select(torch.zeros(len(places), dtype=torch.int64))
    residual = concentrated_residual(many, sources, torch.ones(sources.shape[:2], dtype=torch.bool))
    return float(places[residual.argmin()])


def test_the_answer_is_the_least_residual_within_the_limits() -> None:
    """A stronger source stands beside the limits."""
    elevation, reach = SPREAD_SOURCES[0][1:]
    strong = (0.7, elevation, reach)
    observation = make_scenes(WIDE, 2, 10.0, 3, sources=[SPREAD_SOURCES[0], strong]).observation
    limits = (-60.0, 20.0)
    known = {"elevation": np.rad2deg(elevation), "range": 1.0 / reach}
    with pytest.warns(UserWarning, match="misfit"), pytest.warns(UserWarning, match="fits"):
        found = risolve.locate(observation, sources=1, azimuth=limits, **known)
    for scene in range(3):
        expected = brute_force(observation.select(slice(scene, scene + 1)), limits, (elevation, reach))
        assert abs(math.radians(found["azimuth_deg"][scene]) - expected) < 2e-3
    assert np.isnan(found["elevation_std_deg"]).all() and np.isnan(found["range_std_m"]).all()
    assert np.isfinite(found["azimuth_std_deg"]).all()


@pytest.mark.parametrize("name", [*CLASSICAL_NAMES, "music+ml"])
@pytest.mark.parametrize("sources", [2, None])
def test_every_estimator_answers_within_the_limits(name: str, sources: int | None) -> None:
    """One of the true sources stands beside them."""
    observation = make_scenes(WIDE, 2, 20.0, 4, sources=SPREAD_SOURCES[:2]).observation
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = risolve.locate(
            observation, sources=sources, azimuth=(-40, 12), elevation=11.5, range=(1.5, 4.0), estimator=name
        )
    assert len(found) >= 4
    azimuth, reach = found["azimuth_deg"], found["range_m"]
    assert (azimuth >= -40.0 - 1e-9).all() and (azimuth <= 12.0 + 1e-9).all()
    assert (reach >= 1.5 - 1e-9).all() and (reach <= 4.0 + 1e-9).all()
    np.testing.assert_allclose(found["elevation_deg"], 11.5, rtol=1e-12)
    beside = (np.abs(azimuth + 40.0) < 1e-9) | (np.abs(azimuth - 12.0) < 1e-9)
    assert (found["at_limit"][beside] == 1.0).all()


def test_a_source_at_a_limit_is_marked_and_said() -> None:
    azimuth = np.rad2deg(SPREAD_SOURCES[0][0])
    observation = make_scenes(WIDE, 1, 20.0, 2, sources=SPREAD_SOURCES[:1]).observation
    with (
        pytest.warns(UserWarning, match="misfit"),
        pytest.warns(UserWarning, match=shows("2 sources ... limit")),
    ):
        found = risolve.locate(observation, sources=1, azimuth=(azimuth + 3.0, 60.0))
    assert found["at_limit"].tolist() == [1.0, 1.0]
    np.testing.assert_allclose(found["azimuth_deg"], azimuth + 3.0)
    free = risolve.locate(observation, sources=1)
    assert free["at_limit"].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("model", ["independent", "constant"])
def test_known_coordinates_sharpen_azimuth_to_the_bound(model: Any) -> None:
    place = SPREAD_SOURCES[0]
    scenes = make_scenes(WIDE, 1, 15.0, 300, model, sources=[place])
    observation = scenes.observation
    known = {"elevation": np.rad2deg(place[1]), "range": 1.0 / place[2]}
    found = risolve.locate(observation, sources=1, **known)
    strength = (
        {"power": [1.0]} if model == "independent" else {"amplitude": scenes.amplitudes[:, 0, :1].numpy()}
    )
    every = {"azimuth": [np.rad2deg(place[0])], "elevation": [known["elevation"]], "range": [known["range"]]}
    alone = risolve.bound(observation, **every, **strength, known=["elevation", "range"])
    whole = risolve.bound(observation, **every, **strength)
    error = found["azimuth_deg"] - np.rad2deg(place[0])
    ratio = np.sqrt((error**2).mean() / (alone.azimuth_std_deg**2).mean())
    assert 0.85 < ratio < 1.15
    assert (alone.azimuth_std_deg < whole.azimuth_std_deg).all()
    assert np.isnan(alone.elevation_std_deg).all() and np.isnan(alone.range_std_m).all()
    claimed = error / found["azimuth_std_deg"]
    assert 0.85 < np.sqrt((claimed**2).mean()) < 1.15


def test_a_plane_wave_is_located_at_infinity() -> None:
    place = (SPREAD_SOURCES[0][0], SPREAD_SOURCES[0][1], 0.0)
    observation = make_scenes(WIDE, 1, 20.0, 2, sources=[place]).observation
    found = risolve.locate(observation, sources=1, range=np.inf)
    assert np.isinf(found["range_m"]).all() and (found["inverse_range_per_m"] == 0.0).all()
    np.testing.assert_allclose(found["azimuth_deg"], np.rad2deg(place[0]), atol=1.0)
    assert found["at_limit"].tolist() == [0.0, 0.0]
    assert np.isnan(found["range_std_m"]).all()


@pytest.mark.parametrize(("array", "angle"), [(LINE, "azimuth"), (UPRIGHT, "elevation")])
def test_a_line_locates_by_its_own_angle(array: risolve.Array, angle: str) -> None:
    random = np.random.default_rng(3)
    azimuth, elevation = (0.4, 0.0) if angle == "azimuth" else (0.0, 0.4)
    wave = array.steering(torch.tensor([[azimuth, elevation, 0.0]], dtype=torch.float64)).numpy()
    amplitude = random.normal(size=(30, 1)) + 1j * random.normal(size=(30, 1))
    noise = 0.1 * (random.normal(size=(30, 4)) + 1j * random.normal(size=(30, 4)))
    seen = risolve.Observation(amplitude @ wave + noise, array)
    with pytest.warns(UserWarning, match=shows("elevation" if angle == "azimuth" else "azimuth")):
        found = risolve.locate(seen, sources=1, range=np.inf)
    np.testing.assert_allclose(found[f"{angle}_deg"], np.rad2deg(0.4), atol=1.0)
    other = "elevation" if angle == "azimuth" else "azimuth"
    assert found[f"{other}_deg"].tolist() == [0.0]
    assert np.isnan(found[f"{other}_std_deg"]).all()
    limit = risolve.bound(
        risolve.Observation(amplitude @ wave, array, noise_power=0.02),
        azimuth=[np.rad2deg(azimuth)],
        elevation=[np.rad2deg(elevation)],
        range=[np.inf],
        power=[2.0],
        known=[other, "range"],
    )
    assert np.isfinite(getattr(limit, f"{angle}_std_deg")).all()


def test_what_is_taken_is_named_beside_what_is_stated() -> None:
    """An upright line tells no place at a known elevation but by range; its azimuth is what was taken."""
    seen = risolve.Observation(np.ones((2, 4)) + 1j, UPRIGHT)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        risolve.locate(seen, sources=1, elevation=0.0)
    assert any("on a line" in str(one.message) and "azimuth" in str(one.message) for one in said)


def test_known_names_are_checked() -> None:
    observation = make_scenes(WIDE, 1, 20.0, 1).observation
    places = {"azimuth": [1.0], "elevation": [1.0], "range": [1.0], "power": [1.0]}
    with pytest.raises(ValueError, match="'height'"):
        risolve.bound(observation, **places, known=["height"])
    with pytest.raises(TypeError, match="'range'"):
        risolve.bound(observation, **places, known="range")
