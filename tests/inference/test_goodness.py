"""Whether a model fits: the rate of false alarms, what is found, and what is not known."""

import math
import re
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

import risolve
from risolve.inference.goodness import goodness
from risolve.inference.grid import Grid, grid_for
from risolve.physics.array import Array
from risolve.physics.observation import Observation, SourceModel
from risolve.physics.scenario import Scenes, System
from tests.messages import shows
from tests.worlds import SMALL, SPREAD_SOURCES, WIDE, direct_array, make_scenes, noiseless, scaled

N_SCENES = 500


def grid_of(array: Array) -> Grid:
    return grid_for(array, (-math.pi / 3, math.pi / 3), (-math.pi / 6, math.pi / 6), (0.5, 10.0))


def fits(observation: Observation, sources: Tensor) -> Tensor:
    return goodness(observation, sources, grid_of(observation.array)).fits


def require_rate(values: Tensor) -> None:
    """Within four standard errors of the binomial distribution; below by the bounds among the tests too."""
    for level in (0.01, 0.05):
        expected, error = level * len(values), math.sqrt(len(values) * level * (1.0 - level))
        assert 0.8 * expected - 4.0 * error < int((values <= level).sum()) < expected + 4.0 * error


def rotated(scenes: Scenes) -> Scenes:
    """As many snapshots of the same covariance, of which most are zero."""
    factor = torch.linalg.qr(scenes.observation.snapshots.to(torch.complex128), mode="r").R
    snapshots = torch.zeros_like(scenes.observation.snapshots, dtype=torch.complex128)
    snapshots[:, : factor.shape[1]] = factor
    return replace(scenes, observation=replace(scenes.observation, snapshots=snapshots))


@pytest.mark.parametrize("noise_known", [True, False])
@pytest.mark.parametrize("model", ["independent", "constant"])
@pytest.mark.parametrize(("system", "n_sources"), [(SMALL, 0), (SMALL, 1), (WIDE, 2)])
def test_false_alarms_come_at_the_stated_rate(
    system: System, n_sources: int, model: SourceModel, noise_known: bool
) -> None:
    """A source takes an amplitude and three coordinates of the noise, at its true place too."""
    scenes = make_scenes(system, n_sources, 10.0, N_SCENES, model)
    observation = scenes.observation
    if not noise_known:
        observation = replace(observation, noise_power=None)
    require_rate(fits(observation, scenes.sources))


def test_under_one_code_snapshots_are_known_by_their_covariance() -> None:
    scenes = direct_array(SPREAD_SOURCES[:1], 10.0, N_SCENES, n_snapshots=40, n_horizontal=4)
    unknown = replace(scenes, observation=replace(scenes.observation, noise_power=None))
    own = fits(unknown.observation, scenes.sources)
    require_rate(own)
    torch.testing.assert_close(fits(rotated(unknown).observation, scenes.sources), own)


@pytest.mark.parametrize("model", ["independent", "constant"])
def test_explained_is_the_share_of_the_least_squares(model: SourceModel) -> None:
    scenes = make_scenes(WIDE, 2, 5.0, 2, model)
    sources = scenes.sources[:, :2]
    found = goodness(scenes.observation, sources, grid_of(scenes.observation.array))
    seen = scenes.observation.to(torch.complex128)
    waves = seen.array.steering(sources).numpy()
    for scene in range(2):
        y = seen.snapshots[scene].numpy()
        channel, codes = seen.channel[scene].numpy(), seen.codes[scene].numpy()
        columns = [(channel * code) @ waves[scene].T for code in codes]
        if model == "constant":
            y, columns = y.reshape(1, -1), [np.concatenate(columns)]
        left = sum(
            np.linalg.norm(own - G @ np.linalg.lstsq(G, own, rcond=None)[0]) ** 2
            for own, G in zip(y, columns, strict=True)
        )
        expected = 1.0 - left / np.linalg.norm(y) ** 2
        np.testing.assert_allclose(found.explained[scene], expected, rtol=1e-9)


def test_neither_unit_nor_phase_nor_other_scenes_matter() -> None:
    scenes = make_scenes(WIDE, 1, 10.0, 5)
    observation = scenes.observation.to(torch.complex128)
    own = fits(observation, scenes.sources)
    torch.testing.assert_close(fits(scaled(observation, 1e3j), scenes.sources), own)
    alone = fits(observation.select(slice(2, 3)), scenes.sources[2:3])
    torch.testing.assert_close(alone, own[2:3])


def test_scenes_without_a_source_are_tested_for_all_that_is_received() -> None:
    scenes = make_scenes(WIDE, 1, 10.0, 4)
    none = torch.full((4, 1, 3), torch.nan, dtype=torch.float64)
    found = goodness(scenes.observation, none, grid_of(scenes.observation.array))
    assert found.explained.tolist() == [0.0] * 4 and bool((found.fits < 0.001).all())


def test_where_nothing_is_left_nothing_is_tested() -> None:
    exact = noiseless(make_scenes(WIDE, 1, 10.0, 2))
    rounded = exact.observation.to(torch.complex64)
    assert bool(fits(rounded, exact.sources).isnan().all())
    three = risolve.circular(3, radius=0.04, wavelength=0.1)
    one = Observation(np.ones((2, 1, 3)) + 1j * np.arange(3), three, source_model="constant")
    pair = torch.tensor(SPREAD_SOURCES[:2], dtype=torch.float64).expand(2, -1, -1)
    found = goodness(one, pair, grid_of(three))
    assert bool(found.fits.isnan().all()) and bool(found.explained.isfinite().all())


def departed(name: str, observation: Observation) -> Observation:
    random, y = np.random.default_rng(8), observation.snapshots.clone()
    match name:
        case "conjugate":
            return replace(observation, snapshots=y.conj())
        case "antenna":
            y[:, :, 1] *= 4.0
        case "phases":
            y *= torch.from_numpy(np.exp(1j * random.uniform(0.0, 2.0 * np.pi, y.shape[-1]))).to(y.dtype)
        case "direct path":
            y += 2.0 * y.abs().mean()
        case "burst":
            y[:, 3] += 5.0 * y[:, 3].conj()
        case "noise power":
            return replace(observation, noise_power=4.0 * observation.noise_power)
    return replace(observation, snapshots=y)


def located(observation: Observation) -> risolve.LocatedSources:
    """One source, of which only the azimuth is not known, and a remark on the fit."""
    known = {"elevation": math.degrees(SPREAD_SOURCES[0][1]), "range": 1.0 / SPREAD_SOURCES[0][2]}
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = risolve.locate(observation, sources=1, **known)
    unfit = int((found.fits < 0.001).sum())
    assert unfit == 0 or any(re.search(shows(f"fits ... {unfit} scenes"), str(one.message)) for one in said)
    return found


@pytest.mark.parametrize("name", ["conjugate", "antenna", "phases", "direct path", "burst", "noise power"])
def test_departures_are_found_and_remarked(name: str) -> None:
    observation = make_scenes(WIDE, 1, 15.0, 3, sources=SPREAD_SOURCES[:1]).observation
    if name != "noise power":
        observation = replace(observation, noise_power=None)
    assert bool((located(observation).fits > 0.01).all())
    found = located(departed(name, observation))
    assert bool((found.fits < 0.001).all())
    np.testing.assert_array_equal(found["fits"], found.fits)


def test_a_source_that_is_not_told_is_found() -> None:
    observation = make_scenes(WIDE, 2, 25.0, 3, sources=SPREAD_SOURCES[:2]).observation
    found = located(replace(observation, noise_power=None))
    assert bool((found.fits < 0.01).all())


def test_what_noise_makes_of_many_scenes_is_not_remarked() -> None:
    random = np.random.default_rng(2)
    noise = random.normal(size=(2, 3000, 5, 4))
    line = risolve.linear(4, spacing=0.05, wavelength=0.1)
    found = risolve.locate(Observation(noise[0] + 1j * noise[1], line), sources=0, elevation=0)
    assert 1 <= (found.fits < 0.001).sum() <= 8
