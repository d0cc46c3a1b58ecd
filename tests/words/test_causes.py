"""Where the model lacks something, what does is named beside the result."""

import warnings

import numpy as np
import pytest
import torch

import risolve
from risolve.physics.array import Array
from tests.words.test_tried import POSITIONS, WAVELENGTH, field


def said_of(seen: risolve.Observation) -> str:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        risolve.locate(seen, sources=1)
    return "\n".join(str(one.message) for one in caught)


def unequal_noise() -> np.ndarray:
    """Powers at the antennas within 15 dB."""
    random = np.random.default_rng(7)
    noise: np.ndarray = random.standard_normal((20, 60, 2)) @ [1, 1j]
    return 0.3 * 10.0 ** (random.uniform(-0.75, 0.0, 60)) * noise


def test_a_model_that_fits_is_left_alone() -> None:
    assert "fits better" not in said_of(risolve.Observation(field(), Array(POSITIONS, WAVELENGTH)))


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        (field().conj(), ("--conjugate",)),
        (field()[:, ::-1] * np.exp(0.3j * np.arange(60) ** 2), ("diag(g)",)),
        (np.where(np.arange(60) == 7, 1e-3, 1.0) * field(), ("antennas 7 ",)),
        (field() + unequal_noise(), ("noise = antennas",)),
    ],
    ids=["conjugate", "phases of the antennas", "a dead antenna", "noise of the antennas"],
)
def test_the_cause_is_named(seen: np.ndarray, words: tuple[str, ...]) -> None:
    said = said_of(risolve.Observation(seen, Array(POSITIONS, WAVELENGTH)))
    assert all(word in said for word in words), said


def test_an_amplitude_that_falls_is_named() -> None:
    near = Array(POSITIONS, WAVELENGTH, spherical_amplitude=True)
    flat = Array(POSITIONS, WAVELENGTH)
    place = np.array([[np.deg2rad(10.0), np.deg2rad(5.0), 1.0 / 0.25]])
    numbers = np.random.default_rng(2).standard_normal((2, 20, 61))
    drawn = numbers[0] + 1j * numbers[1]
    wave = near.steering(torch.from_numpy(place)).numpy()
    said = said_of(risolve.Observation(drawn[:, :1] * wave + 0.02 * drawn[:, 1:], flat))
    assert "amplitude = spherical" in said


def test_a_dead_antenna_that_receives_noise_is_named() -> None:
    """It is a tenth of the signal, and nothing that `_silent` sees."""
    numbers = np.random.default_rng(3).standard_normal((2, 20, 60))
    noise = 0.05 * (numbers[0] + 1j * numbers[1])
    dead = np.where(np.arange(60) == 7, 0.0, field()[:20]) + noise
    assert "without antenna 7 " in said_of(risolve.Observation(dead, Array(POSITIONS, WAVELENGTH)))


def test_gains_that_are_not_equal_are_named() -> None:
    """Two sources of 10 dB and half a turn between, counted as if they had one amplitude."""
    line = Array(0.5 * np.arange(8)[:, None] * np.array([[1.0, 0.0, 0.0]]), 1.0)
    places = torch.tensor([[[np.deg2rad(a), 0.0, 0.0] for a in (-25.0, 20.0)]], dtype=torch.float64)
    numbers = np.random.default_rng(5).standard_normal((2, 20, 9))
    drawn = numbers[0] + 1j * numbers[1]
    wave = np.array([1.0, -0.32]) @ line.steering(places).numpy()[0]
    received = drawn[:, :1] * wave + 0.02 * drawn[:, 1:]
    seen = risolve.Observation(received, line, source_model="coherent", gains="equal")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        risolve.locate(seen, sources=2, elevation=0, range=np.inf)
    assert any("gains = free" in str(one.message) for one in caught)


@pytest.mark.parametrize("model", ["independent", "constant"])
@pytest.mark.parametrize(("powers", "is_named"), [((1.0, 10.0, 1.0), True), ((1.0, 1.0, 1.0), False)])
def test_noise_of_another_power_in_a_band_is_named(
    model: str, powers: tuple[float, ...], is_named: bool
) -> None:
    random, held = np.random.default_rng(4), []
    for wavelength, power in zip((0.09, 0.1, 0.11), powers, strict=True):
        array = risolve.linear(8, spacing=0.045, wavelength=wavelength)
        wave = array.steering(torch.tensor([[0.2, 0.0, 0.0]], dtype=torch.float64)).numpy()
        drawn = (random.standard_normal((2, 10, 20, 9)) / 2.0**0.5).T @ [1, 1j]
        drawn = drawn.transpose(2, 1, 0)
        amplitude = drawn[:, :1, :1] if model == "constant" else drawn[..., :1]
        y = 4.0 * amplitude * wave + power**0.5 * drawn[..., 1:]
        held.append(risolve.Observation(y, array, source_model=model))
    said = said_of(risolve.bands(held))
    assert ("noise_power of each" in said) == is_named, said
