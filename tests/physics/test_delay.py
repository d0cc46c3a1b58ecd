"""Bands of one clock: amplitudes tied by the delay of each source, against the model written loop by loop."""

import math
import warnings

import numpy as np
import pytest
import torch
from jaxtyping import Complex, Float
from torch import Tensor

import risolve
from risolve.inference.grid import grid_for
from risolve.inference.likelihood import concentrated_residual
from risolve.inference.projection import project
from risolve.physics.banded_array import DelayedArray
from risolve.physics.bands import bands
from risolve.physics.observation import Observation, SourceModel
from risolve.words.unequal_noise import noise_of_bands
from tests.messages import shows
from tests.tolerances import DOUBLE, FINITE_DIFFERENCE

MODELS: tuple[SourceModel, ...] = ("independent", "constant")
CARRIER = 0.1
WAVELENGTHS = (CARRIER / np.linspace(0.95, 1.05, 6)).tolist()
AGAIN = CARRIER * 5.0 / 0.1
"""Range after which a delay comes again, c over the spacing of the bands."""

PLACES = np.array([[-0.4, 0.2, 1.0 / 2.2], [0.3, -0.25, 1.0 / 3.1]])


def normal(random: np.random.Generator, *shape: int) -> Complex[np.ndarray, "..."]:
    parts = random.standard_normal((2, *shape))
    numbers: Complex[np.ndarray, ...] = (parts[0] + 1j * parts[1]) / math.sqrt(2.0)
    return numbers


def wave(
    places: Float[np.ndarray, "source 3"], elements: Float[np.ndarray, "element 3"], wavelength: float
) -> Complex[np.ndarray, "source element"]:
    """exp(-j k |p - e|), with the phase of the whole path."""
    azimuth, elevation, inverse_range = places.T
    level = np.cos(elevation)
    unit = np.stack((np.sin(azimuth) * level, np.sin(elevation), np.cos(azimuth) * level), -1)
    path = np.linalg.norm((unit / inverse_range[:, None])[:, None] - elements, axis=-1)
    held: Complex[np.ndarray, "source element"] = np.exp(-2j * np.pi / wavelength * path)
    return held


def seen_on_a_line(
    places: Float[np.ndarray, "source 3"],
    n_scenes: int = 1,
    model: SourceModel = "independent",
    sigma: float = 0.3,
) -> list[Observation]:
    """Six elements half a wavelength apart, 5 snapshots, in six bands."""
    random = np.random.default_rng(7)
    s = normal(random, n_scenes, 1 if model == "constant" else 5, len(places))
    held = []
    for wavelength in WAVELENGTHS:
        line = risolve.linear(6, spacing=CARRIER / 2.0, wavelength=wavelength)
        y = s @ wave(places, line.elements.numpy(), wavelength) + sigma * normal(random, n_scenes, 5, 6)
        held.append(Observation(y, line, source_model=model, noise_power=sigma**2))
    return held


def delayed(is_spherical: bool = False) -> DelayedArray:
    """A surface of 3 x 5 elements in six bands."""
    held = [risolve.planar(3, 5, spacing=0.05, wavelength=own) for own in WAVELENGTHS]
    return DelayedArray([risolve.Array(own.elements, own.wavelength, is_spherical) for own in held], True)


@pytest.mark.parametrize("model", MODELS)
def test_the_residual_is_that_of_one_amplitude_for_all_bands(model: SourceModel) -> None:
    """Rows band by band: y_fl = H_f diag(c_fl) exp(-j k_f |p - e|) s_l, with s_l by least squares."""
    random, n_snapshots = np.random.default_rng(5), 4
    held, rows, targets = [], [[] for _ in range(n_snapshots)], [[] for _ in range(n_snapshots)]
    for wavelength, sigma in zip(WAVELENGTHS, (0.2, 0.4, 0.2, 0.3, 0.2, 0.5), strict=True):
        array = risolve.planar(3, 5, spacing=0.05, wavelength=wavelength)
        H, y = normal(random, 2, 15), normal(random, 1, n_snapshots, 2)
        codes = np.exp(0.25j * np.pi * random.integers(8, size=(n_snapshots, 15)))
        held.append(Observation(y, array, channel=H, codes=codes, source_model=model, noise_power=sigma**2))
        a = wave(PLACES, array.elements.numpy(), wavelength)
        for snapshot in range(n_snapshots):
            rows[snapshot].append((H @ (codes[snapshot] * a).T) / sigma)
            targets[snapshot].append(y[0, snapshot] / sigma)
    groups = [(np.concatenate(G), np.concatenate(y)) for G, y in zip(rows, targets, strict=True)]
    if model == "constant":
        groups = [(np.concatenate([G for G, _ in groups]), np.concatenate([y for _, y in groups]))]
    expected = 0.0
    for G, y in groups:
        left = y - G @ np.linalg.lstsq(G, y)[0]
        expected += 0.2**2 * float(np.square(np.abs(left)).sum())
    seen, present = risolve.bands(held, delay="common"), torch.ones(1, 2, dtype=torch.bool)
    found = concentrated_residual(seen, torch.from_numpy(PLACES)[None], present)
    assert float(found) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("is_spherical", [False, True])
def test_derivatives_are_those_of_the_steering_vector(is_spherical: bool) -> None:
    array, sources = delayed(is_spherical), torch.from_numpy(PLACES)
    found = array.steering_derivatives(sources)
    torch.testing.assert_close(found.steering, array.steering(sources), rtol=DOUBLE, atol=DOUBLE)
    for coordinate in range(3):
        step = torch.zeros(3, dtype=torch.float64)
        step[coordinate] = 1e-6
        slope = (array.steering(sources + step) - array.steering(sources - step)) / 2e-6
        torch.testing.assert_close(found.by_source[:, coordinate], slope, rtol=1e-5, atol=1e-5)


def test_the_phase_counts_the_whole_path_of_every_band() -> None:
    """But for one phase of all bands, which is that of the amplitude."""
    array = delayed()
    by_band = array.steering(torch.from_numpy(PLACES)).numpy().reshape(2, 6, 15)
    phases = np.exp(2j * np.pi * np.mean(1.0 / np.array(WAVELENGTHS)) / PLACES[:, 2])
    for number, own in enumerate(array.bands):
        turned = by_band[:, number] / wave(PLACES, own.elements.numpy(), own.wavelength)
        np.testing.assert_allclose(turned, np.broadcast_to(phases[:, None], turned.shape), atol=1e-9)


@pytest.mark.parametrize("model", MODELS)
def test_the_slope_is_that_of_the_residual(model: SourceModel) -> None:
    seen = risolve.bands(seen_on_a_line(PLACES * (1.0, 0.0, 1.0), model=model), delay="common")
    places = torch.from_numpy(PLACES * (1.0, 0.0, 1.0))[None] + 0.002
    slope, step = project(seen, places).slope, 1e-7
    for coordinate in range(6):
        moved = torch.zeros(6, dtype=torch.float64)
        moved[coordinate] = step
        before, after = (project(seen, places + sign * moved.view(2, 3)).residual for sign in (-1.0, 1.0))
        expected = -(after - before) / (4.0 * step)
        torch.testing.assert_close(slope[:, coordinate], expected, rtol=FINITE_DIFFERENCE, atol=1e-2)


def test_the_bound_of_a_far_range_is_that_of_the_bandwidth() -> None:
    """var r = sigma^2 / (2 |s|^2 L M sum_f (k_f - k)^2), to which the curvature adds as 1 / r^2."""
    k = 2.0 * np.pi / np.array(WAVELENGTHS)
    expected = 0.3 / math.sqrt(2.0 * 4.0 * 5.0 * 6.0 * np.square(k - k.mean()).sum())
    off = []
    for away in (40.0, 80.0):
        seen = risolve.bands(seen_on_a_line(np.array([[0.3, 0.0, 1.0 / away]])), delay="common")
        bound = risolve.bound(
            seen,
            azimuth=np.rad2deg([0.3]),
            elevation=[0.0],
            range=[away],
            amplitude=np.full((5, 1), 2.0 + 0j),
            known=["elevation"],
        )
        off.append(abs(float(bound.range_std_m[0, 0]) / expected - 1.0))
    assert off[0] < 1e-3
    assert off[1] == pytest.approx(off[0] / 4.0, rel=0.1)


@pytest.mark.parametrize("model", MODELS)
def test_far_sources_are_counted_and_located_with_their_deviations(model: SourceModel) -> None:
    """Squares over variances of 2 x 2 x 12 errors have the mean 1 with a deviation of sqrt(2 / 48)."""
    places = np.array([[-0.4, 0.0, 1.0 / 3.2], [0.3, 0.0, 1.0 / 4.1]])
    seen = risolve.bands(seen_on_a_line(places, 12, model), delay="common")
    found = risolve.locate(seen, elevation=0)
    assert found.scene.tolist() == [scene for scene in range(12) for _ in range(2)]
    order = np.argsort(found["azimuth_deg"].reshape(12, 2), axis=1)
    squares = []
    for name, true in (("azimuth", np.rad2deg(places[:, 0])), ("range", 1.0 / places[:, 2])):
        unit = "deg" if name == "azimuth" else "m"
        values, deviations = (
            np.take_along_axis(found[f"{name}{kind}_{unit}"].reshape(12, 2), order, 1)
            for kind in ("", "_std")
        )
        squares.append(np.square((values - true) / deviations))
    assert abs(float(np.mean(squares)) - 1.0) < 4.0 * math.sqrt(2.0 / 48.0)
    assert (found["range_std_m"] < 0.1).all()
    assert (found.fits > 1e-3).all()


def test_sources_in_one_direction_are_told_by_their_delays() -> None:
    places = np.array([[0.2, 0.0, 1.0 / 2.0], [0.2, 0.0, 1.0 / 4.0]])
    seen = risolve.bands(seen_on_a_line(places, 2), delay="common")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = risolve.locate(seen, elevation=0)
    np.testing.assert_allclose(np.sort(found["range_m"].reshape(2, 2), 1), [[2.0, 4.0]] * 2, atol=0.1)


def test_a_delay_that_comes_again_is_a_rival() -> None:
    """Of what is not stated the first range is searched; two that answer alike are said."""
    held = seen_on_a_line(np.array([[0.2, 0.0, 1.0 / 2.0]]))
    seen = risolve.bands(held, delay="common")
    assert seen.array.unambiguous_range == pytest.approx(AGAIN)
    assert float(seen.limits.low[2]) == pytest.approx(1.0 / AGAIN)
    with pytest.warns(UserWarning, match="ambiguous"):
        found = risolve.locate(seen, sources=1, elevation=0, range=(1.5, 9.0))
    pair = sorted((float(found["range_m"][0]), float(found["rival_range_m"][0])))
    np.testing.assert_allclose(pair, [2.0, 2.0 + AGAIN], atol=0.1)
    alone = risolve.locate(seen, sources=1, elevation=0)
    assert alone["range_m"][0] == pytest.approx(2.0, abs=0.1)
    assert np.isnan(alone["rival_range_m"]).all()


def test_a_grid_of_a_delay_has_no_step_above_half_a_beam_of_it() -> None:
    array, ends = delayed(), (0.1, AGAIN)
    for azimuth in ((-0.6, 0.6), (-2.0, 2.0)):
        grid = grid_for(array, azimuth, (-0.3, 0.3), ends)
        away = 1.0 / grid.sources.reshape(*grid.shape, 3)[:, 0, 0, 2]
        assert away[0] == pytest.approx(AGAIN) and away[-1] == pytest.approx(0.1)
        assert (-away.diff() <= 0.5 * array.range_resolution).all() and (away.diff() < 0.0).all()
        torch.testing.assert_close(grid.coordinates_of(grid.sources), grid.coordinates, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(grid.sources_at(grid.coordinates), grid.sources, rtol=1e-9, atol=1e-9)
        assert grid.at_end(torch.tensor([10.0, 1.0 / AGAIN, 1.0], dtype=torch.float64)).tolist() == [
            True,
            True,
            False,
        ]


def test_more_sources_than_elements_are_told_by_bands() -> None:
    """The elements of all bands share an amplitude, and are those that the law counts."""
    seen = risolve.bands(seen_on_a_line(np.array([[0.2, 0.0, 0.5]])), delay="common")
    assert (seen.n_antennas, seen.array.n_coherent, seen.array.n_places) == (36, 36, 6)
    with pytest.raises(ValueError, match=shows("N = 36 ... got 40")):
        risolve.locate(seen, sources=40, elevation=0)


def refused(held: list[Observation]) -> Observation:
    return bands(held, delay="common")


def test_what_tells_no_common_delay_is_refused() -> None:
    held = seen_on_a_line(np.array([[0.2, 0.0, 0.5]]))
    with pytest.raises(ValueError, match=shows("delay ... got 'tied'")):
        bands(held, delay="tied")
    with pytest.raises(ValueError, match=shows("delay = common ... got 1")):
        refused(held[:1])
    with pytest.raises(ValueError, match=shows("delay = common ... 0.105263 m")):
        refused([held[0], *held])
    fewer = Observation(held[1].snapshots[:, :4], held[1].array, noise_power=0.09)
    with pytest.raises(ValueError, match=shows("snapshots ... 5 ... band 1 ... 4")):
        refused([held[0], fewer])
    waveform = [Observation(own.snapshots, own.array, source_model="coherent") for own in held]
    with pytest.raises(ValueError, match=shows("delay = common ... band 0 ... source_model = constant")):
        refused(waveform)
    seen = refused(held)
    for stated in (np.inf, (1.0, np.inf)):
        with pytest.raises(ValueError, match=shows("range ... inf ... 5 m")):
            risolve.locate(seen, elevation=0, range=stated)
    with pytest.raises(ValueError, match=shows("range ... got inf")):
        risolve.bound(seen, azimuth=[0], elevation=[0], range=[np.inf], power=[1.0], known=["elevation"])
    with pytest.raises(ValueError, match=shows("music ... 6")):
        risolve.locate(seen, elevation=0, estimator="music")


@pytest.mark.parametrize("estimator", ["ml_unconditional", "nomp", "sbl"])
def test_other_estimators_of_several_bands_take_a_common_delay(estimator: str) -> None:
    seen = risolve.bands(seen_on_a_line(np.array([[0.3, 0.0, 1.0 / 3.1]])), delay="common")
    found = risolve.locate(seen, sources=1, elevation=0, estimator=estimator)
    assert abs(found["range_m"][0] - 3.1) < 5.0 * found["range_std_m"][0] < 0.2


def test_the_same_array_elsewhere_keeps_its_delay() -> None:
    moved: Tensor = delayed().to("cpu").steering(torch.from_numpy(PLACES))
    torch.testing.assert_close(moved, delayed().steering(torch.from_numpy(PLACES)), rtol=0.0, atol=0.0)


def test_a_near_range_is_told_by_bandwidth_and_curvature_together() -> None:
    """Information adds up: the bound is below that of free amplitudes, of curvature alone, and of a delay."""
    place = np.array([[0.3, 0.0, 1.0 / 0.35]])
    held = seen_on_a_line(place, 8)
    told = {"azimuth": np.rad2deg([0.3]), "elevation": [0.0], "range": [0.35], "known": ["elevation"]}
    tied = risolve.bound(risolve.bands(held, delay="common"), **told, amplitude=np.ones((5, 1), complex))
    free = risolve.bound(risolve.bands(held), **told, amplitude=np.ones((30, 1), complex))
    k = 2.0 * np.pi / np.array(WAVELENGTHS)
    by_delay = 0.3 / math.sqrt(2.0 * 5.0 * 6.0 * np.square(k - k.mean()).sum())
    assert tied.range_std_m[0, 0] < min(free.range_std_m[0, 0], by_delay)
    found = risolve.locate(risolve.bands(held, delay="common"), sources=1, elevation=0)
    assert (np.abs(found["range_m"] - 0.35) < 5.0 * found["range_std_m"]).all()
    assert (found["range_std_m"] < 0.35).all()


def test_noise_that_differs_between_bands_is_named() -> None:
    held = seen_on_a_line(np.array([[0.3, 0.0, 1.0 / 3.1]]))
    random = np.random.default_rng(3)
    loud = held[2].snapshots.numpy() + 2.0 * normal(random, 1, 5, 6)
    unknown = [Observation(own.snapshots, own.array) for own in (*held[:2], held[3])]
    seen = risolve.bands([*unknown, Observation(loud, held[2].array)], delay="common")
    place = torch.tensor([[[0.3, 0.0, 1.0 / 3.1]]], dtype=torch.float64)
    (line,) = noise_of_bands(seen, place)
    *quiet, noisy = (float(power) for power in line.split("about ")[1].split(":")[0].split(", "))
    # 60 numbers of a band, to 4 deviations
    assert noisy == pytest.approx(4.09, rel=4.0 / math.sqrt(30.0))
    assert quiet == pytest.approx([0.09] * 3, rel=4.0 / math.sqrt(30.0))
    alike = risolve.bands([*unknown, Observation(held[2].snapshots, held[2].array)], delay="common")
    assert noise_of_bands(alike, place) == []
