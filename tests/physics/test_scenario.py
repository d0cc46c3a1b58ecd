import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from risolve.physics.observation import SourceModel
from tests import tolerances
from tests.worlds import (
    DEFAULT,
    FIELD_OF_VIEW,
    NEUTRAL,
    SMALL,
    SPREAD_SOURCES,
    WIDE,
    draw_scenes,
    make_scenes,
    noiseless,
    separations,
    signal_of,
)

MODELS: tuple[SourceModel, ...] = ("independent", "constant")


@pytest.mark.parametrize("source_model", MODELS)
@pytest.mark.parametrize("snr_db", [-5.0, 0.0, 13.0])
def test_snr_is_a_power_ratio(snr_db: float, source_model: SourceModel) -> None:
    """mean_lm |B_l A s_l|^2 / sigma^2 = 10^(SNR / 10) in every scene, all sources together."""
    for n_sources in (1, 3):
        scenes = make_scenes(WIDE, n_sources, snr_db, 5, source_model)
        assert scenes.observation.noise_power is not None
        ratio = signal_of(scenes).abs().square().mean((1, 2)) / scenes.observation.noise_power
        expected = torch.full((5,), 10.0 ** (snr_db / 10.0), dtype=torch.float64)
        torch.testing.assert_close(ratio, expected, rtol=tolerances.SINGLE, atol=0.0)


@pytest.mark.parametrize("source_model", MODELS)
def test_noise_is_white_circular_and_of_the_stated_power(source_model: SourceModel) -> None:
    """n = (y - signal) / sigma over S L M entries: E|n|^2 = 1 (standard deviation 1), E n = E n^2 = 0,
    E|n^2|^2 = 2.
    """
    scenes = make_scenes(DEFAULT, 2, 5.0, 300, source_model)
    assert scenes.observation.noise_power is not None
    noise = scenes.observation.snapshots - signal_of(scenes)
    noise = noise / scenes.observation.noise_power.sqrt()[:, None, None]
    error = tolerances.SIGMAS / math.sqrt(noise.numel())
    assert abs(float(noise.abs().square().mean()) - 1.0) < error
    assert abs(complex(noise.mean())) < error
    assert abs(complex(noise.square().mean())) < math.sqrt(2.0) * error
    for lagged, base in ((noise[:, 1:], noise[:, :-1]), (noise[:, :, 1:], noise[:, :, :-1])):
        products = lagged * base.conj()
        assert abs(complex(products.mean())) < tolerances.SIGMAS / math.sqrt(products.numel())


@pytest.mark.parametrize("source_model", MODELS)
def test_a_scene_without_sources_is_noise_of_unit_power(source_model: SourceModel) -> None:
    scenes = make_scenes(DEFAULT, 0, 20.0, 100, source_model)
    observation = scenes.observation
    assert observation.noise_power is not None
    assert torch.equal(observation.noise_power, torch.ones(100, dtype=torch.float64))
    power = float(observation.snapshots.abs().square().mean())
    assert abs(power - 1.0) < tolerances.SIGMAS / math.sqrt(observation.snapshots.numel())
    assert bool(scenes.sources.isnan().all()) and bool(scenes.power.isnan().all())
    assert not bool(scenes.n_sources.any())


def test_independent_amplitudes_have_the_power_of_their_source() -> None:
    """E|s|^2 = P: over n draws |s|^2 / P has mean 1 within 1/sqrt(n); neighbouring snapshots are
    uncorrelated.
    """
    distribution = replace(FIELD_OF_VIEW, power_spread_db=6.0)
    scenes = make_scenes(WIDE, 3, 10.0, 600, distribution=distribution)
    amplitudes = scenes.amplitudes[:, :, :3] / scenes.power[:, None, :3].sqrt()
    error = tolerances.SIGMAS / math.sqrt(amplitudes.numel())
    assert abs(float(amplitudes.abs().square().mean()) - 1.0) < error
    assert abs(complex(amplitudes.mean())) < error
    assert abs(complex(amplitudes.square().mean())) < math.sqrt(2.0) * error
    products = amplitudes[:, 1:] * amplitudes[:, :-1].conj()
    assert abs(complex(products.mean())) < tolerances.SIGMAS / math.sqrt(products.numel())
    cross = amplitudes[:, :, 1:] * amplitudes[:, :, :-1].conj()
    assert abs(complex(cross.mean())) < tolerances.SIGMAS / math.sqrt(cross.numel())


def test_constant_amplitudes_are_one_pilot_for_all_snapshots() -> None:
    """|s|^2 = P in every snapshot, one value a source; phases uniform: |mean s| < k / sqrt(n)."""
    distribution = replace(FIELD_OF_VIEW, power_spread_db=6.0)
    scenes = make_scenes(WIDE, 2, 10.0, 500, "constant", distribution=distribution)
    amplitudes = scenes.amplitudes[:, :, :2]
    assert torch.equal(amplitudes, amplitudes[:, :1].expand_as(amplitudes))
    power = amplitudes[:, 0].abs().square().double()
    torch.testing.assert_close(power, scenes.power[:, :2], rtol=tolerances.SINGLE, atol=0.0)
    phases = amplitudes[:, 0] / amplitudes[:, 0].abs()
    assert abs(complex(phases.mean())) < tolerances.SIGMAS / math.sqrt(phases.numel())
    products = phases[:, 0] * phases[:, 1].conj()
    assert abs(complex(products.mean())) < tolerances.SIGMAS / math.sqrt(products.numel())


def test_powers_are_equal_by_default() -> None:
    scenes = make_scenes(SMALL, 4, 10.0, 5)
    assert torch.equal(scenes.power[:, :4], torch.ones((5, 4), dtype=torch.float64))
    assert bool(scenes.power[:, 4:].isnan().all())


def test_power_spread_is_uniform_in_decibels() -> None:
    """Uniform in +-3 dB: mean 0, variance 6^2 / 12, extremes approached within the range."""
    distribution = replace(FIELD_OF_VIEW, power_spread_db=6.0)
    decibels = 10.0 * make_scenes(SMALL, 5, 10.0, 400, distribution=distribution).power.log10()
    assert float(decibels.abs().max()) <= 3.0
    assert abs(float(decibels.mean())) < tolerances.SIGMAS * math.sqrt(3.0 / decibels.numel())
    assert float(decibels.max()) > 2.9 and float(decibels.min()) < -2.9


def test_path_loss_is_free_space() -> None:
    scenes = make_scenes(SMALL, 3, 10.0, 4, distribution=replace(FIELD_OF_VIEW, path_loss=True))
    reach = 1.0 / scenes.sources[:, :3, 2]
    expected = (0.3 / (4.0 * math.pi * reach)) ** 2
    torch.testing.assert_close(scenes.power[:, :3], expected, rtol=1e-9, atol=0.0)


def test_sources_fill_their_ranges_uniformly() -> None:
    """Azimuth, elevation and range (not its inverse) uniform: mean within k sqrt((b - a)^2 / 12 n), none
    outside.
    """
    sources = make_scenes(SMALL, 5, 10.0, 800).sources.reshape(-1, 3)
    columns = (sources[:, 0], sources[:, 1], 1.0 / sources[:, 2])
    ranges = (FIELD_OF_VIEW.azimuth, FIELD_OF_VIEW.elevation, FIELD_OF_VIEW.range)
    for column, (low, high) in zip(columns, ranges, strict=True):
        assert low <= float(column.min()) and float(column.max()) <= high * (1.0 + 1e-12)
        error = tolerances.SIGMAS * (high - low) / math.sqrt(12.0 * len(column))
        assert abs(float(column.mean()) - (low + high) / 2.0) < error
        lower_quarter = float((column < low + (high - low) / 4.0).double().mean())
        assert abs(lower_quarter - 0.25) < tolerances.SIGMAS * math.sqrt(0.25 * 0.75 / len(column))


def test_truth_is_padded_with_nan_in_the_empty_slots_only() -> None:
    scenes = make_scenes(SMALL, 2, 10.0, 3)
    assert scenes.sources.shape == (3, FIELD_OF_VIEW.max_sources, 3)
    present = torch.arange(FIELD_OF_VIEW.max_sources) < 2
    assert torch.equal(~scenes.sources.isnan().any(-1), present.expand(3, -1))
    assert torch.equal(~scenes.power.isnan(), present.expand(3, -1))
    assert torch.equal(~scenes.amplitudes.isnan().any(1), present.expand(3, -1))
    assert scenes.n_sources.tolist() == [2, 2, 2]
    assert bool(torch.isfinite(torch.view_as_real(scenes.observation.snapshots)).all())


def test_snr_changes_the_noise_level_and_nothing_else() -> None:
    """Scene i at another SNR: same sources, codes, channel, amplitudes; same noise up to its power."""
    quiet, loud = make_scenes(SMALL, 2, 20.0, 3), make_scenes(SMALL, 2, 0.0, 3)
    assert torch.equal(quiet.sources[:, :2], loud.sources[:, :2])
    assert torch.equal(quiet.observation.codes, loud.observation.codes)
    assert torch.equal(quiet.observation.channel, loud.observation.channel)
    assert torch.equal(quiet.amplitudes[:, :, :2], loud.amplitudes[:, :, :2])
    signal = signal_of(quiet)
    quiet_noise, loud_noise = quiet.observation.snapshots - signal, loud.observation.snapshots - signal
    torch.testing.assert_close(
        loud_noise, 10.0 * quiet_noise, rtol=0.0, atol=1e-4 * float(signal.abs().max())
    )


def test_order_of_the_sources_does_not_matter() -> None:
    """Positions exchanged together with amplitudes leave the received signal as it is."""
    order = [2, 0, 1, 3, 4]
    scenes = make_scenes(SMALL, 3, 10.0, 2)
    permuted = replace(
        scenes,
        sources=scenes.sources[:, order],
        power=scenes.power[:, order],
        amplitudes=scenes.amplitudes[:, :, order],
    )
    torch.testing.assert_close(signal_of(permuted), signal_of(scenes), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("source_model", MODELS)
def test_a_scene_is_the_same_in_any_company(source_model: SourceModel) -> None:
    """Scene i drawn alone or among others: same draws bit by bit, same snapshots to single precision."""
    alone, among = draw_scenes(SMALL, 2, 10.0, 2, source_model), draw_scenes(SMALL, 2, 10.0, 5, source_model)
    for first, second in zip(alone, among, strict=False):
        for name in ("sources", "power_db", "amplitudes", "noise", "levels"):
            np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    few = make_scenes(SMALL, 2, 10.0, 2, source_model).observation.snapshots
    many = make_scenes(SMALL, 2, 10.0, 5, source_model).observation.snapshots[:2]
    torch.testing.assert_close(
        few, many, rtol=tolerances.SINGLE, atol=tolerances.SINGLE * float(few.abs().max())
    )


def test_same_seed_same_bits_and_another_seed_other_scenes() -> None:
    first, second = (make_scenes(WIDE, 2, 10.0, 4).observation.snapshots for _ in range(2))
    other = make_scenes(WIDE, 2, 10.0, 4, seed=2).observation.snapshots
    assert torch.equal(first, second)
    assert not bool((first == other).any())


def test_noiseless_world_is_the_signal() -> None:
    scenes = make_scenes(WIDE, 3, 20.0, 3, sources=SPREAD_SOURCES)
    clean = noiseless(scenes)
    assert clean.observation.snapshots.dtype == torch.complex128
    assert clean.observation.noise_power is not None
    error = (scenes.observation.snapshots - clean.observation.snapshots).abs().square().mean((1, 2))
    # mean |n|^2 of 54 entries: standard deviation 1/sqrt(54)
    assert float((error / clean.observation.noise_power - 1.0).abs().max()) < tolerances.SIGMAS / math.sqrt(
        54
    )
    assert math.degrees(float(separations(scenes.sources[:, :3]).min())) > 30.0


def test_channel_error_is_invisible_to_the_receiver_but_real() -> None:
    """With a channel error of rms e the unexplained power of a scene rises from 1/SNR to about e^2 of the
    signal.
    """
    scenes = make_scenes(DEFAULT, 1, 60.0, 50, levels=replace(NEUTRAL, channel_error=0.1))
    signal = signal_of(scenes)
    unexplained = (scenes.observation.snapshots - signal).abs().square().mean((1, 2))
    ratio = unexplained / signal.abs().square().mean((1, 2))
    # e^2 E|sum_n dH_mn c_n a_n|^2 = e^2 N |s|^2 on each antenna, as from the CN(0, 1) part of the channel
    # itself.
    assert 0.005 < float(ratio.median()) < 0.02
