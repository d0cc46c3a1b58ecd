"""Where elements see: in front, all round, beside a mirror; and that sources are located there."""

import math
import re
import warnings
from typing import Any

import numpy as np
import pytest
import torch

import risolve
from risolve.physics.limits import visible
from tests.messages import shows

LINE = risolve.linear(4, spacing=0.1, wavelength=0.2)
PLANE = risolve.planar(4, 4, spacing=0.1, wavelength=0.2)
ANGLE = 2.0 * np.pi * np.arange(8) / 8
RING = risolve.Array(0.05 * np.stack((np.sin(ANGLE), 0.0 * ANGLE, np.cos(ANGLE)), -1), 0.1)
DOOR = risolve.Array(RING.elements[:, [1, 0, 2]], 0.1)
WIDE_RING = risolve.Array(1.3 * RING.elements, 0.1)
CUBE = risolve.Array(0.04 * (np.indices((3, 3, 3)).reshape(3, -1).T - 1.0), 0.1)
COLUMN = risolve.Array(np.outer(np.arange(4.0), [0.0, 0.0, 0.05]), 0.1)


@pytest.mark.parametrize(
    ("array", "azimuth", "elevation"),
    [
        (PLANE, (-90, 90), (-90, 90)),
        (LINE, (-90, 90), (-90, 90)),
        (COLUMN, (0, 180), (-90, 90)),
        (RING, (-math.inf, math.inf), (0, 90)),
        (DOOR, (0, 180), (-90, 90)),
        (CUBE, (-math.inf, math.inf), (-90, 90)),
    ],
)
def test_what_elements_see_follows_from_where_they_are(
    array: risolve.Array, azimuth: tuple[float, float], elevation: tuple[float, float]
) -> None:
    seen = visible(array, array.n_elements)
    degrees = torch.rad2deg(torch.stack((seen.low, seen.high))[:, :2]).T.tolist()
    assert degrees[0] == pytest.approx(azimuth) and degrees[1] == pytest.approx(elevation)
    # elements of a surface are seen from its front alone
    assert float(visible(array, array.n_elements + 1).high[0]) == math.pi / 2


def _seen(array: risolve.Array, places: torch.Tensor, noise: float = 0.1) -> risolve.Observation:
    """One source a scene."""
    random = np.random.default_rng(8)
    wave = array.steering(places).numpy()[:, None]
    numbers = random.normal(size=(2, len(places), 40, array.n_elements))
    amplitude = np.exp(2j * np.pi * random.random((len(places), 40, 1)))
    spread = noise / 2.0**0.5 * (numbers[0] + 1j * numbers[1])
    return risolve.Observation(amplitude * wave + spread, array, noise_power=noise**2)


def _placed(azimuth_deg: list[float], elevation_deg: float, inverse_range: float = 0.0) -> torch.Tensor:
    degrees = torch.tensor([[a, elevation_deg] for a in azimuth_deg], dtype=torch.float64)
    reach = torch.full((len(azimuth_deg), 1), inverse_range, dtype=torch.float64)
    return torch.cat((torch.deg2rad(degrees), reach), 1)


@pytest.mark.parametrize("estimator", ["ml", "ml_unconditional", "music", "beamformer+ml", "sbl", "nomp"])
def test_a_circle_sees_all_round(estimator: str) -> None:
    azimuth = [-179.0, 180.0, 121.0, 95.0, -90.0, 10.0]
    seen = _seen(RING, _placed(azimuth, 0.0))
    found = risolve.locate(seen, sources=1, elevation=0, range=np.inf, estimator=estimator)
    beside = (found["azimuth_deg"] - azimuth + 180.0) % 360.0 - 180.0
    np.testing.assert_allclose(beside, 0.0, atol=1.0)
    assert np.abs(found["azimuth_deg"]).max() <= 180.0
    counted = risolve.locate(seen, elevation=0, range=np.inf, estimator=estimator)
    assert counted.scenes[:, 2].tolist() == [1] * len(azimuth)


@pytest.mark.parametrize("estimator", ["ml", "ml_unconditional"])
@pytest.mark.parametrize(
    ("array", "azimuth", "elevation", "known"),
    [
        (WIDE_RING, 40.0, 6.0, {}),
        (WIDE_RING, 40.0, 6.0, {"azimuth": (0, 80), "elevation": (-30, 30)}),
        (DOOR, 8.0, 20.0, {}),
        (DOOR, 172.0, 20.0, {}),
    ],
)
def test_beside_a_mirror_the_answer_is_the_least_residual(
    array: risolve.Array, azimuth: float, elevation: float, known: dict[str, Any], estimator: str
) -> None:
    """On the plane of the elements J has no slope across it, and points of the grid stand there."""
    seen = _seen(array, _placed([azimuth] * 4, elevation))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = risolve.locate(seen, sources=1, range=np.inf, estimator=estimator, **known)
    np.testing.assert_allclose(found["azimuth_deg"], azimuth, atol=2.0)
    np.testing.assert_allclose(found["elevation_deg"], elevation, atol=2.0)


def test_a_mirror_is_no_limit() -> None:
    assert (risolve.locate(_seen(RING, _placed([40.0] * 8, 0.0)), sources=1)["at_limit"] == 0).all()


def test_limits_of_a_circle_hold_behind_it() -> None:
    seen = _seen(RING, _placed([150.0, -150.0, 20.0], 0.0))
    with pytest.warns(UserWarning):
        found = risolve.locate(seen, sources=1, azimuth=(100, 180), elevation=0, range=np.inf)
    assert float(found["azimuth_deg"][0]) == pytest.approx(150.0, abs=1.0)
    assert ((found["azimuth_deg"] >= 100.0) & (found["azimuth_deg"] <= 180.0)).all()
    with pytest.raises(ValueError, match=shows("+-90 degrees ... got -100 to 20")):
        risolve.locate(_seen(PLANE, _placed([0.0], 0.0)), azimuth=(-100, 20))
    for limits, shown in (((-20, -10), "-20 to -10"), ((-20, 0), "-20 to 0")):
        with pytest.raises(ValueError, match=shows(f"azimuth -180 to 180 ... elevation 0 to 90 ... {shown}")):
            risolve.locate(seen, sources=1, elevation=limits)


@pytest.mark.parametrize("elevation", [-70.0, 0.0, 45.0])
def test_a_volume_tells_every_direction(elevation: float) -> None:
    azimuth = [-179.5, -100.0, 0.0, 100.0, 179.5]
    seen = _seen(CUBE, _placed(azimuth, elevation, 1.0))
    found = risolve.locate(seen, sources=1)
    true = _unit(np.array(azimuth), np.full(5, elevation))
    place = _unit(found["azimuth_deg"], found["elevation_deg"])
    assert np.rad2deg(np.arccos(np.clip((true * place).sum(-1), -1.0, 1.0))).max() < 1.0
    limit = risolve.bound(
        seen,
        azimuth=np.array(azimuth)[:, None],
        elevation=[elevation],
        range=[1.0],
        power=[1.0],
    )
    np.testing.assert_allclose(found["azimuth_std_deg"], limit.azimuth_std_deg[:, 0], rtol=0.3)


def _unit(azimuth: np.ndarray, elevation: np.ndarray) -> np.ndarray:
    phi, theta = np.deg2rad(azimuth), np.deg2rad(elevation)
    return np.stack((np.sin(phi) * np.cos(theta), np.sin(theta), np.cos(phi) * np.cos(theta)), -1)


def test_a_peak_at_the_edge_of_the_ranges_is_remarked() -> None:
    """A spectrum of near ranges has a peak in a wrong direction where the source is far."""
    plane = risolve.planar(6, 6, spacing=0.05, wavelength=0.1)
    seen = _seen(plane, _placed([-20.0, 30.0], 5.0))
    with pytest.warns(UserWarning) as said:
        risolve.locate(seen, sources=1, estimator="music", range=(0.1, 1.0))
    assert any(re.search(shows("2 peaks ... 0 ... +ml"), str(one.message)) for one in said)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        wide = risolve.locate(seen, sources=1, estimator="music", range=(0.2, np.inf))
    np.testing.assert_allclose(wide["azimuth_deg"], [-20.0, 30.0], atol=1.0)


def test_a_tilted_plane_has_two_places_that_are_both_told() -> None:
    """The mirror image across the plane answers alike: one of the two, the other is its rival."""
    flat = risolve.planar(4, 4, spacing=0.05, wavelength=0.1).elements.numpy()
    turn = np.array([[1.0, 0.0, 1.0], [0.0, 2.0**0.5, 0.0], [-1.0, 0.0, 1.0]]) / 2.0**0.5
    array = risolve.Array(flat @ turn.T, 0.1)
    assert bool(visible(array, 16).high[0].isinf())
    seen = _seen(array, _placed([120.0], 10.0))
    with pytest.warns(UserWarning, match=shows("ambiguous")):
        found = risolve.locate(seen, sources=1, range=np.inf)
    both = sorted(float(found[name][0]) for name in ("azimuth_deg", "rival_azimuth_deg"))
    # q - 2 (q.n) n of q at azimuth 120, elevation 10 and n = (1, 0, 1) / sqrt(2)
    assert both == pytest.approx([120.0, 150.0], abs=2.0)


def test_two_constant_sources_of_one_code_are_counted() -> None:
    """Near opposite phases one source alone explains neither of two."""
    line = risolve.Array(0.05 * np.outer([0.0, 1.0, 4.0, 7.0, 9.0], [1.0, 0.0, 0.0]), 0.1)
    random = np.random.default_rng(5)
    wave = line.steering(_placed([-35.0, 20.0], 0.0)).numpy()
    numbers = random.normal(size=(2, 40, 32, 5))
    amplitude = np.exp(2j * np.pi * random.random((40, 1, 2)))
    y = amplitude @ wave + (0.1 / 2.0) ** 0.5 * (numbers[0] + 1j * numbers[1])
    seen = risolve.Observation(y, line, source_model="constant", noise_power=0.1)
    counted = risolve.locate(seen, elevation=0, range=np.inf)
    assert (counted.scenes[:, 2] == 2).mean() >= 0.95


def test_three_near_constant_sources_of_one_code_are_found() -> None:
    """They hide each other: a search of one at a time, or of two, misses them in one scene of six."""
    line = risolve.linear(16, 0.5, 1.0)
    random = np.random.default_rng(2)
    sines = np.sort(random.uniform(-0.85, 0.85, (800, 3)))
    sines = sines[(np.diff(sines) >= 1.0 / 7.5).all(axis=1)][:40]
    azimuth = np.rad2deg(np.arcsin(sines))
    inverse_range = random.uniform(1.0 / 112.0, 1.0 / 9.0, sines.shape)
    places = np.stack((np.arcsin(sines), np.zeros_like(sines), inverse_range), -1)
    amplitude = np.exp(2j * np.pi * random.random((len(sines), 1, 3)))
    numbers = random.normal(size=(2, len(sines), 16, 16))
    noise = 0.05**0.5 * (numbers[0] + 1j * numbers[1])
    received = amplitude @ line.steering(torch.from_numpy(places)).numpy() + noise
    seen = risolve.Observation(received, line, source_model="constant", noise_power=0.1)
    found = risolve.locate(seen, sources=3, elevation=0)
    error = np.sort(found["azimuth_deg"].reshape(-1, 3)) - azimuth
    assert (np.abs(error).max(axis=1) < 1.5).mean() >= 0.95


@pytest.mark.parametrize("azimuth", [-89.0, -84.0, 10.0, 87.0])
def test_a_line_sees_from_end_to_end(azimuth: float) -> None:
    """At +-90 degrees the phases of a line have no slope: a descent that starts there would stay."""
    line = risolve.linear(8, 0.45, 1.0)
    numbers = np.random.default_rng(3).normal(size=(2, 40, 9))
    complex_numbers = numbers[0] + 1j * numbers[1]
    wave = line.steering(_placed([azimuth], 0.0)).numpy()
    received = complex_numbers[:, :1] * wave + 0.05 * complex_numbers[:, 1:]
    seen = risolve.Observation(received, line)
    found = risolve.locate(seen, sources=1, azimuth=(-90, 90), elevation=0, range=np.inf)
    assert found["azimuth_deg"][0] == pytest.approx(azimuth, abs=1.0)
    assert found["at_limit"][0] == 0
