"""Noise of an unknown power at every antenna: the law of the powers, and what sources beside it cost."""

import math
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import risolve
from risolve.inference.antenna_noise import antenna_powers, of_equal_noise
from risolve.inference.condensing import condensed
from risolve.physics.limits import Limits
from risolve.physics.observation import Observation, SourceModel
from tests.messages import shows
from tests.oracles import noise as oracle
from tests.worlds import SPREAD_SOURCES, WIDE, make_scenes

LINE = risolve.linear(8, spacing=0.5, wavelength=1.0)
FAR: dict[str, Any] = {"elevation": 0, "range": np.inf}
SPREAD_DB = 10.0


def normal(random: np.random.Generator, *shape: int) -> np.ndarray:
    numbers: np.ndarray = random.standard_normal((*shape, 2)) @ [1, 1j] / math.sqrt(2.0)
    return numbers


def received(
    azimuth_deg: list[float], n_scenes: int, n_snapshots: int, spread_db: float, seed: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Snapshots of plane waves 10 dB above the mean noise at a line of 8, and the powers of the noise."""
    random = np.random.default_rng(seed)
    places = torch.tensor([[angle, 0.0, 0.0] for angle in np.deg2rad(azimuth_deg)], dtype=torch.float64)
    waves = LINE.steering(places.reshape(-1, 3)).numpy()
    powers = 10.0 ** (random.uniform(-0.5, 0.5, (n_scenes, 8)) * spread_db / 10.0)
    powers *= 0.1 / powers.mean(1, keepdims=True)
    signal = normal(random, n_scenes, n_snapshots, len(azimuth_deg)) @ waves
    return signal + np.sqrt(powers)[:, None] * normal(random, n_scenes, n_snapshots, 8), powers


def located(seen: Observation, **told: Any) -> risolve.LocatedSources:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return risolve.locate(seen, **FAR, **told)


@pytest.mark.parametrize("model", ["independent", "constant"])
@pytest.mark.parametrize("is_known", [True, False])
def test_powers_solve_their_equation(model: SourceModel, is_known: bool) -> None:
    """Dense algebra in real numbers, derivatives by differences; with places known and unknown."""
    scenes = make_scenes(WIDE, 2, 10.0, 2, model, sources=SPREAD_SOURCES[:2])
    seen = scenes.observation.to(torch.complex128)
    seen = replace(seen, snapshots=seen.snapshots * torch.logspace(-0.5, 0.5, seen.n_antennas))
    if is_known:
        seen = replace(seen, stated=Limits(torch.zeros(3).double(), torch.zeros(3).double()))
    powers = antenna_powers(seen, scenes.sources, torch.ones(2, seen.n_antennas, dtype=torch.float64))
    for scene in range(2):
        one = seen.select(slice(scene, scene + 1))
        left, right = oracle.antenna_equation(
            lambda place, one=one: one.array.steering(torch.from_numpy(place)).numpy(),
            one.channel[0].numpy(),
            one.codes[0].numpy(),
            one.snapshots[0].numpy(),
            scenes.sources[scene, :2].numpy(),
            powers[scene].numpy(),
            model == "constant",
            0 if is_known else 3,
        )
        np.testing.assert_allclose(left, right, rtol=2e-3)


def test_without_sources_powers_are_those_received() -> None:
    y, _ = received([], 3, 400, SPREAD_DB)
    none = torch.empty((3, 0, 3), dtype=torch.float64)
    found = antenna_powers(Observation(y, LINE), none, torch.ones(3, 8, dtype=torch.float64))
    mean = np.mean(np.abs(y) ** 2, axis=1)
    # the prior is worth one snapshot of 400
    np.testing.assert_allclose(found.numpy(), mean, rtol=1.0 / 400 * 10 ** (SPREAD_DB / 10))


def test_the_scale_of_the_weights_keeps_the_likelihood_of_the_snapshots() -> None:
    """Log-likelihood = sum_lm log N(y_lm; 0, q_m) where nothing is there, up to what the prior takes."""
    y, _ = received([], 20, 400, SPREAD_DB)
    seen = Observation(y, LINE, noise="antennas")
    equal = of_equal_noise(seen, torch.zeros(20, dtype=torch.int64), 1, nothing)
    mean = np.mean(np.abs(y) ** 2, axis=1)
    expected = -400 * (np.log(np.pi * mean) + 1.0).sum(1)
    n_numbers = 400 * 8
    energy = equal.snapshots.abs().double().square().sum((1, 2)).numpy()
    found = -n_numbers * (np.log(np.pi * energy / n_numbers) + 1.0)
    assert (found < expected).all()
    np.testing.assert_allclose(found, expected, atol=1.0)
    assert equal.noise == "equal" and equal.noise_power is None


def test_many_snapshots_are_few_of_the_same_covariance() -> None:
    y, _ = received([-25.0, 20.0], 3, 100, SPREAD_DB)
    seen = Observation(torch.from_numpy(y), LINE)
    places = torch.tensor([[np.deg2rad(a), 0.0, 0.0] for a in (-25.0, 20.0)]).double().expand(3, 2, 3)
    start = torch.ones(3, 8, dtype=torch.float64)
    few = condensed(seen)
    assert few.n_snapshots == 8
    found, expected = (antenna_powers(one, places, start) for one in (few, seen))
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=0.0)


def nothing(part: Observation, told: Tensor | None, most: int) -> Tensor:
    return torch.empty((part.n_scenes, 0, 3), dtype=torch.float64)


def test_powers_are_as_sure_as_their_information() -> None:
    """log q has the covariance of the inverse of L |(I - P)_mj|^2, P of known places; 5 standard errors."""
    y, powers = received([-25.0, 20.0], 60, 64, SPREAD_DB)
    places = torch.tensor([[np.deg2rad(a), 0.0, 0.0] for a in (-25.0, 20.0)], dtype=torch.float64)
    seen = replace(Observation(y, LINE), stated=Limits(torch.zeros(3).double(), torch.zeros(3).double()))
    found = antenna_powers(seen, places.expand(60, 2, 3), torch.ones(60, 8, dtype=torch.float64)).numpy()
    basis = np.linalg.qr(LINE.steering(places).numpy().T / np.sqrt(powers)[..., None])[0]
    information = 64 * np.abs(np.eye(8) - basis @ basis.conj().swapaxes(1, 2)) ** 2
    expected = np.linalg.inv(information).diagonal(axis1=1, axis2=2)
    square = (np.square(np.log(found / powers)) / expected).mean()
    assert square == pytest.approx(1.0, abs=5.0 * math.sqrt(2.0 / powers.size))


@pytest.mark.parametrize("azimuth_deg", [[], [-20.0], [-25.0, 20.0]])
def test_counts_are_right_beside_unequal_noise(azimuth_deg: list[float]) -> None:
    """No more false alarms than stated, 1 %, and 4 standard errors, of 16 snapshots."""
    n_scenes = 50
    y, _ = received(azimuth_deg, n_scenes, 16, SPREAD_DB, seed=2)
    counts = located(Observation(y, LINE, noise="antennas")).scenes[:, 2]
    wrong = int((counts != len(azimuth_deg)).sum())
    assert wrong <= 0.01 * n_scenes + 4.0 * math.sqrt(0.01 * n_scenes)


def test_places_are_those_of_stated_powers_nearly() -> None:
    y, powers = received([-25.0, 20.0], 60, 64, SPREAD_DB)
    unknown, stated, equal = (
        located(Observation(y, LINE, **own), sources=2)
        for own in ({"noise": "antennas"}, {"noise_power": powers}, {})
    )
    errors = [
        np.sort(one["azimuth_deg"].reshape(-1, 2), 1) - [-25.0, 20.0] for one in (unknown, stated, equal)
    ]
    squares = [float(np.square(one).mean()) for one in errors]
    assert squares[0] < 1.1 * squares[1] < squares[2]
    ratio = errors[0].ravel() / unknown["azimuth_std_deg"][np.argsort(rank(unknown))]
    assert 0.85 < math.sqrt(np.square(ratio).mean()) < 1.15
    np.testing.assert_allclose(unknown["power_db"].mean(), stated["power_db"].mean(), atol=0.05)


def rank(found: risolve.LocatedSources) -> np.ndarray:
    """Place of every row among those of all scenes, by azimuth within a scene."""
    order = np.lexsort((found["azimuth_deg"], found.scene))
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    return place


def test_equal_noise_costs_next_to_nothing() -> None:
    y, _ = received([-25.0, 20.0], 8, 100, 0.0)
    free, plain = (located(Observation(y, LINE, noise=noise)) for noise in ("antennas", "equal"))
    np.testing.assert_array_equal(free.scenes, plain.scenes)
    apart = np.abs(free["azimuth_deg"] - plain["azimuth_deg"]) / plain["azimuth_std_deg"]
    assert np.quantile(apart, 0.9) < 0.5


def test_one_antenna_has_one_power() -> None:
    scenes = make_scenes(replace(WIDE, n_antennas=1, n_snapshots=40), 1, 20.0, 2, "constant")
    seen = replace(scenes.observation, noise_power=None)
    plain, free = (risolve.locate(replace(seen, noise=noise), sources=1) for noise in ("equal", "antennas"))
    np.testing.assert_allclose(free["azimuth_deg"], plain["azimuth_deg"], rtol=1e-4)


def test_a_silent_antenna_tells_no_power() -> None:
    y, _ = received([20.0], 5, 50, SPREAD_DB)
    y[..., 3] = 0.0
    found = located(Observation(y, LINE, noise="antennas"))
    assert found.scenes[:, 2].tolist() == [1] * 5
    np.testing.assert_allclose(found["azimuth_deg"], 20.0, atol=1.0)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"noise": "loud"}, "noise ... 'loud'"),
        ({"snapshots": np.ones((3, 8)) + 0j}, "noise = antennas ... 4 snapshots ... 3"),
        ({"source_model": "coherent"}, "noise = antennas ... `coherent`"),
        ({"noise_power": 1.0}, "noise = antennas ... noise_power"),
        (
            {"snapshots": np.ones((4, 8)) + 0j, "background": "static"},
            "noise = antennas ... 4 snapshots ... 3",
        ),
    ],
)
def test_what_does_not_tell_the_noise_is_refused(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=shows(told)):
        Observation(**({"snapshots": np.ones((9, 8)) + 0j, "array": LINE, "noise": "antennas"} | changes))


def test_sources_leave_enough_to_tell_the_powers() -> None:
    y, _ = received([-20.0], 1, 30, 0.0)
    with pytest.raises(ValueError, match=shows("(M - K)^2 ... 0 to 5 sources, got 6")):
        located(Observation(y, LINE, noise="antennas"), sources=6)
