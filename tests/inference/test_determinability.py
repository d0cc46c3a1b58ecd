"""What of a channel, or of channel and codes, determines sources beside noise and errors."""

import re
import warnings

import numpy as np
import pytest
import torch

import risolve
from risolve.inference.determinability import heard
from tests.messages import shows

ARRAY = risolve.planar(8, 8, spacing=0.05, wavelength=0.1)
PLACES = torch.tensor([[0.35, -0.17, 0.7], [-0.44, 0.14, 1.0]], dtype=torch.float64)
N_ANTENNAS, N_SNAPSHOTS = 6, 32


def numbers(random: np.random.Generator, *shape: int) -> np.ndarray:
    found: np.ndarray = random.standard_normal((*shape, 2)) @ [1, 1j] / 2.0**0.5
    return found


def behind(
    singular: list[float], snr_db: float, n_sources: int, error: float = 0.0, seed: int = 3
) -> risolve.Observation:
    """Sources behind a channel of these singular values, measured with an error relative to its entries."""
    random = np.random.default_rng(seed)
    left, right = (np.linalg.qr(numbers(random, n, n))[0] for n in (N_ANTENNAS, 64))
    channel = 16.0 * (left[:, : len(singular)] * singular) @ right[: len(singular)]
    codes = np.exp(2j * np.pi * random.random((N_SNAPSHOTS, 64)))
    wave = ARRAY.steering(PLACES[:n_sources]).numpy()
    signal = (codes * (numbers(random, 4, N_SNAPSHOTS, n_sources) @ wave)) @ channel.T
    power = np.mean(np.abs(signal) ** 2, axis=(1, 2)) / 10.0 ** (snr_db / 10.0)
    noise = np.sqrt(power)[:, None, None] * numbers(random, *signal.shape)
    measured = channel + error * np.abs(channel).mean() * numbers(random, *channel.shape)
    return risolve.Observation(signal + noise, ARRAY, measured, codes, noise_power=power[:, None])


def said_of(seen: risolve.Observation, n_sources: int | None) -> list[str]:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        risolve.locate(seen, sources=n_sources)
    return [str(one.message) for one in said if "of rank" in str(one.message)]


@pytest.mark.parametrize("n_sources", [1, 2])
@pytest.mark.parametrize("snr_db", [20.0, 100.0])
def test_errors_of_a_channel_of_one_path_determine_nothing(n_sources: int, snr_db: float) -> None:
    """Without noise the claimed deviations are small, and the places wrong."""
    (line,) = said_of(behind([1.0], snr_db, n_sources, error=1e-4), n_sources)
    assert re.search(shows("4 scenes ... rank 1 ... %"), line)
    percent = float(re.findall(r"but for ([\d.e-]+) %", line)[0])
    assert 0.001 < percent < 0.1


def test_paths_below_noise_determine_nothing_and_above_it_do() -> None:
    singular = [1.0, *[0.02] * 5]
    assert len(said_of(behind(singular, 10.0, 1), 1)) == 1
    assert said_of(behind(singular, 40.0, 1), 1) == []


@pytest.mark.parametrize("known", [True, False])
def test_weak_directions_count_together_by_their_law(known: bool) -> None:
    """sqrt(L) M SNR 4 t^2 / (1 + 4 t^2) against sqrt(4); without a noise power it is estimated."""
    t = 0.05
    even = 2.0 * (1.0 + 4.0 * t**2) / (N_SNAPSHOTS**0.5 * N_ANTENNAS * 4.0 * t**2)
    for factor, rank in ((0.1, 1), (10.0, 5)):
        seen = behind([1.0, *[t] * 4], 10.0 * np.log10(factor * even), 1)
        if not known:
            seen = risolve.Observation(seen.snapshots, ARRAY, seen.channel, seen.codes)
        told = heard(seen)
        assert told.rank.tolist() == [rank] * 4
        # 2 L rank >= (2 L + 3) K
        assert told.most.tolist() == [2 * N_SNAPSHOTS * rank // (2 * N_SNAPSHOTS + 3)] * 4
        np.testing.assert_allclose(told.beside.numpy(), t if rank == 1 else 0.0, atol=1e-4)


@pytest.mark.parametrize("snr_db", [-10.0, 20.0])
@pytest.mark.parametrize("n_antennas", [6, 16])
@pytest.mark.parametrize("model", ["independent", "constant"])
def test_random_channels_count_whole(n_antennas: int, snr_db: float, model: str) -> None:
    random = np.random.default_rng(n_antennas)
    array = risolve.planar(12, 12, spacing=0.15, wavelength=0.3)
    channel = numbers(random, n_antennas, 144)
    codes = np.exp(2j * np.pi * random.random((16, 144)))
    y = numbers(random, 3, 16, n_antennas)
    power = 1.0 / (1.0 + 10.0 ** (snr_db / 10.0))
    told = heard(risolve.Observation(y, array, channel, codes, model, noise_power=power))
    # 2 L min(M, N) >= (2 L + 3) K, 2 min(L M, N) >= 5 K
    expected = 32 * n_antennas // 35 if model == "independent" else 2 * min(16 * n_antennas, 144) // 5
    assert told.most.tolist() == [expected] * 3


@pytest.mark.parametrize("model", ["independent", "constant"])
def test_antennas_without_a_surface_count_whole(model: str) -> None:
    for array in (
        risolve.linear(8, spacing=0.05, wavelength=0.1),
        risolve.circular(8, radius=0.1, wavelength=0.1),
    ):
        random = np.random.default_rng(1)
        told = heard(risolve.Observation(numbers(random, 2, 40, 8), array, source_model=model))
        assert told.rank.tolist() == [8, 8]


def test_one_antenna_hears_as_many_directions_as_codes() -> None:
    random = np.random.default_rng(4)
    codes = np.exp(2j * np.pi * random.random((30, 64)))
    y = numbers(random, 2, 30, 1)
    told = heard(risolve.Observation(y, ARRAY, numbers(random, 1, 64), codes, "constant", noise_power=1.0))
    assert told.rank.tolist() == [30, 30]
