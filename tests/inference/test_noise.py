"""The noise power that nobody states: its oracles, its laws, and how far it strays."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from risolve.inference import noise
from risolve.inference.noise import estimated_noise_power
from risolve.physics.observation import Observation, SourceModel
from risolve.physics.scenario import System
from tests.messages import shows
from tests.oracles import noise as oracle
from tests.tolerances import SCALE, SIGMAS, SINGLE
from tests.worlds import DEFAULT, SMALL, WIDE, direct_array, make_observation, make_scenes, noiseless, scaled

MODELS: tuple[SourceModel, ...] = ("independent", "constant")
LONG = replace(SMALL, n_snapshots=12)
"""L M = 24 numbers of N = 15 elements: 9 of them hold noise alone. SMALL has fewer numbers than elements."""


def unstated(observation: Observation) -> Observation:
    return replace(observation, noise_power=None)


def over_the_true_one(
    system: System, n_sources: int, snr_db: float, n_scenes: int, source_model: SourceModel
) -> torch.Tensor:
    observation = make_observation(system, n_sources, snr_db, n_scenes, source_model)
    assert observation.noise_power is not None
    return estimated_noise_power(unstated(observation)) / observation.noise_power


def assert_equals_oracle(observation: Observation, is_joint: bool) -> None:
    found = estimated_noise_power(unstated(observation))
    assert found.dtype == torch.float64
    for scene in range(observation.n_scenes):
        channel = observation.channel[min(scene, len(observation.channel) - 1)].numpy().astype(complex)
        codes = observation.codes[min(scene, len(observation.codes) - 1)].numpy().astype(complex)
        snapshots = observation.snapshots[scene].numpy().astype(complex)
        if is_joint:
            expected = oracle.left_by_least_squares(channel, codes, snapshots)
        else:
            ratios_db = np.linspace(-30.0, 30.0, 121)
            expected = oracle.beside_isotropic_field(channel, codes, snapshots, ratios_db)
        np.testing.assert_allclose(found[scene], expected, rtol=SINGLE)


@pytest.mark.parametrize("snr_db", [-5.0, 15.0])
@pytest.mark.parametrize(
    ("source_model", "system", "is_joint"),
    [
        ("independent", SMALL, False),
        ("independent", WIDE, False),
        ("constant", SMALL, False),
        ("constant", LONG, True),
        ("constant", WIDE, True),
    ],
    ids=["independent 3x5", "independent 5x8", "constant, L M < N", "constant 3x5", "constant 5x8"],
)
@pytest.mark.parametrize("is_lossy", [False, True], ids=["unit modulus", "any modulus"])
def test_equals_the_oracle(
    source_model: SourceModel, system: System, is_joint: bool, snr_db: float, is_lossy: bool
) -> None:
    observation = make_observation(system, 2, snr_db, 3, source_model)
    if is_lossy:
        gains = 0.5 + torch.rand(observation.codes.shape, generator=torch.Generator().manual_seed(1))
        observation = replace(observation, codes=observation.codes * gains)
    assert_equals_oracle(observation, is_joint)


@pytest.mark.parametrize(("source_model", "is_joint"), [("independent", False), ("constant", True)])
def test_equals_the_oracle_with_channel_and_codes_shared_by_all_scenes(
    source_model: SourceModel, is_joint: bool
) -> None:
    scenes = make_scenes(replace(LONG, codebook="hadamard"), 1, 5.0, 3, source_model, shared_channel=True)
    assert scenes.observation.channel.shape[0] == scenes.observation.codes.shape[0] == 1
    assert_equals_oracle(scenes.observation, is_joint)


def test_codes_that_repeat_leave_more_numbers_to_noise() -> None:
    """One code in all snapshots: B has rank M = 2, and 22 of 24 numbers hold noise alone."""
    observation = make_observation(LONG, 1, 20.0, 3, "constant")
    codes = observation.codes[:, :1].expand(-1, LONG.n_snapshots, -1)
    assert_equals_oracle(replace(observation, codes=codes), True)


@pytest.mark.parametrize("n_sources", [0, 1, 5])
@pytest.mark.parametrize("snr_db", [-10.0, 10.0, 30.0])
def test_constant_sources_do_not_bias_it(n_sources: int, snr_db: float) -> None:
    """d = L M - N numbers hold noise alone, |.|^2 / sigma^2 is of mean 1 and variance 1 in each."""
    n_scenes, d = 200, WIDE.n_snapshots * WIDE.n_antennas - 40
    ratio = over_the_true_one(WIDE, n_sources, snr_db, n_scenes, "constant")
    assert abs(float(ratio.mean()) - 1.0) < SIGMAS / math.sqrt(n_scenes * d)
    assert float(ratio.std()) == pytest.approx(1.0 / math.sqrt(d), rel=0.25)


@pytest.mark.parametrize("source_model", MODELS)
def test_scenes_without_sources_have_the_power_received(source_model: SourceModel) -> None:
    ratio = over_the_true_one(DEFAULT, 0, 0.0, 200, source_model)
    assert float(ratio.mean()) == pytest.approx(1.0, abs=0.03)
    assert float(ratio.std()) < 0.12


@pytest.mark.parametrize("n_sources", [1, 3])
@pytest.mark.parametrize(("snr_db", "bias_db", "spread_db"), [(-5.0, 0.2, 0.5), (0.0, 0.3, 1.0)])
def test_independent_sources_hide_it_little_up_to_0_db(
    n_sources: int, snr_db: float, bias_db: float, spread_db: float
) -> None:
    """At 1/sqrt(L M) = 6 % = 0.27 dB of chance; from 10 dB on there is no more than the order of it."""
    error = 10.0 * over_the_true_one(DEFAULT, n_sources, snr_db, 100, "independent").log10()
    assert abs(float(error.median())) < bias_db
    assert float(error.square().mean().sqrt()) < spread_db


@pytest.mark.parametrize("snr_db", [10.0, 20.0])
def test_independent_sources_leave_the_order_of_it_at_high_snr(snr_db: float) -> None:
    error = 10.0 * over_the_true_one(DEFAULT, 2, snr_db, 100, "independent").log10()
    assert float(error.square().mean().sqrt()) < 5.0


@pytest.mark.parametrize("system", [SMALL, LONG])
@pytest.mark.parametrize("source_model", MODELS)
def test_scales_as_the_square_of_the_snapshots(source_model: SourceModel, system: System) -> None:
    observation = unstated(make_observation(system, 1, 10.0, 3, source_model))
    before = estimated_noise_power(observation)
    assert torch.equal(estimated_noise_power(scaled(observation, 2.0**-26)), before * 2.0**-52)
    for factor in (1e-8, 1e8, 3e-5 + 4e-5j):
        after = estimated_noise_power(scaled(observation, factor))
        torch.testing.assert_close(after, before * abs(factor) ** 2, rtol=20 * SCALE, atol=0.0)


@pytest.mark.parametrize("source_model", MODELS)
def test_factors_of_the_channel_and_of_the_codes_change_nothing(source_model: SourceModel) -> None:
    observation = unstated(make_observation(LONG, 1, 10.0, 3, source_model))
    other = replace(observation, channel=observation.channel * 1e-4, codes=observation.codes * (0.2 - 0.4j))
    expected = estimated_noise_power(observation)
    torch.testing.assert_close(estimated_noise_power(other), expected, rtol=SINGLE, atol=0.0)


@pytest.mark.parametrize("source_model", MODELS)
def test_a_scene_does_not_depend_on_its_batch(
    source_model: SourceModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    observation = unstated(make_observation(LONG, 1, 10.0, 7, source_model))
    together = estimated_noise_power(observation)
    monkeypatch.setattr(noise, "CHUNK_VALUES", 6000)
    in_pieces = estimated_noise_power(observation)
    alone = estimated_noise_power(observation.select(slice(4, 5)))
    torch.testing.assert_close(in_pieces, together, rtol=1e-9, atol=0.0)
    torch.testing.assert_close(alone, together[4:5], rtol=1e-9, atol=0.0)


def test_is_never_nothing() -> None:
    """A millionth of the power received at least, where there is no noise at all."""
    observation = unstated(noiseless(make_scenes(LONG, 1, 10.0, 3, "constant")).observation)
    received = observation.snapshots.abs().square().mean((1, 2))
    torch.testing.assert_close(estimated_noise_power(observation), 1e-6 * received, rtol=SINGLE, atol=0.0)


def test_equal_eigenvalues_leave_what_was_thought_before() -> None:
    """channel = identity, codes = 1: sigma^2 = mean |y|^2 / (1 + rho), at all rho as likely."""
    observation = unstated(direct_array([(0.3, -0.2, 0.5)], 10.0, 2).observation)
    shares = np.log1p(10.0 ** (np.linspace(-30.0, 30.0, 121) / 10.0))
    expected = observation.snapshots.abs().double().square().mean((1, 2)) * math.exp(-shares.mean())
    torch.testing.assert_close(estimated_noise_power(observation), expected, rtol=SINGLE, atol=0.0)
    assert 10.0 * math.log10(math.exp(shares.mean())) == pytest.approx(8.1, abs=0.1)


@pytest.mark.parametrize("source_model", MODELS)
def test_names_scenes_that_received_nothing(source_model: SourceModel) -> None:
    observation = unstated(make_observation(LONG, 1, 10.0, 3, source_model))
    snapshots = observation.snapshots.clone()
    snapshots[1] = 0.0
    with pytest.raises(ValueError, match=shows("|y|^2 ... scenes [1] ... [0.0]")):
        estimated_noise_power(replace(observation, snapshots=snapshots))
