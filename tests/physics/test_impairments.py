import math
from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from risolve.physics import impairments
from risolve.physics.geometry import planar_array
from risolve.physics.impairments import ImpairmentLevels, phase_dependent_amplitude
from risolve.seeds import generator
from tests import tolerances
from tests.oracles import observation as oracle
from tests.oracles import steering as wave_oracle
from tests.worlds import NEUTRAL, SMALL, draw_scenes, make_scenes

RANDOM = ("position_jitter", "phase_error", "gain_jitter", "dead_fraction", "channel_error")
RECEIVER = ("background", "noise_spread")
ALL_ON = ImpairmentLevels(0.01, 0.2, 0.1, 0.25, 0.1, 0.5, 3.0, 1.0)


def draw(
    levels: ImpairmentLevels, n_elements: int = 20000, n_antennas: int = 2
) -> impairments.ImpairmentDraw:
    return impairments.draw(generator(7, "train"), levels, n_elements, n_antennas)


def test_each_is_off_at_its_neutral_value() -> None:
    assert not NEUTRAL.any_random
    found = draw(NEUTRAL, 50)
    assert not found.position.any()
    assert not found.channel.any() and not found.background.any()
    np.testing.assert_array_equal(found.noise, np.ones(2, dtype=np.float32))
    np.testing.assert_array_equal(found.response, np.ones(50, dtype=np.complex64))
    codes = make_scenes(SMALL, 1, 10.0, 2).observation.codes
    torch.testing.assert_close(phase_dependent_amplitude(codes, 1.0), codes, rtol=1e-6, atol=0.0)


@pytest.mark.parametrize("name", [*RANDOM, *RECEIVER])
def test_each_alone_changes_its_own_part(name: str) -> None:
    levels = replace(NEUTRAL, **{name: getattr(ALL_ON, name)})
    assert levels.any_random
    found = draw(levels)
    changed = {
        "position": bool(found.position.any()),
        "modulus": bool((np.abs(np.abs(found.response) - 1.0) > 1e-6).any()),
        "phase": bool((np.abs(np.angle(found.response)) > 1e-6).any()),
        "channel": bool(found.channel.any()),
        "background": bool(found.background.any()),
        "noise": bool((np.abs(found.noise - 1.0) > 1e-6).any()),
    }
    part = {
        "position_jitter": "position",
        "phase_error": "phase",
        "gain_jitter": "modulus",
        "dead_fraction": "modulus",
        "channel_error": "channel",
        "background": "background",
        "noise_spread": "noise",
    }[name]
    assert {key for key, value in changed.items() if value} == {part}


def test_levels_mean_what_they_say() -> None:
    """Of n normal draws the variance has relative standard deviation sqrt(2/n); a fraction p has
    sqrt(p(1-p)/n).
    """
    n = 20000
    relative = tolerances.SIGMAS * math.sqrt(2.0 / n)
    found = draw(replace(ALL_ON, dead_fraction=0.0), n)
    for axis in (0, 1):
        assert abs(np.var(found.position[:, axis]) / ALL_ON.position_jitter**2 - 1.0) < relative
    assert not found.position[:, 2].any()
    assert abs(np.var(np.angle(found.response)) / ALL_ON.phase_error**2 - 1.0) < relative
    assert abs(np.var(np.log(np.abs(found.response))) / ALL_ON.gain_jitter**2 - 1.0) < relative
    error_power = np.mean(np.abs(found.channel) ** 2) / ALL_ON.channel_error**2
    assert abs(error_power - 1.0) < tolerances.SIGMAS / math.sqrt(found.channel.size)
    dead = np.mean(np.abs(draw(ALL_ON, n).response) == 0.0)
    assert abs(dead - 0.25) < tolerances.SIGMAS * math.sqrt(0.25 * 0.75 / n)


def test_nuisances_of_the_receiver_mean_what_they_say() -> None:
    """|b|^2 is exponential, of deviation 1 over its mean; powers lie within the spread, 1 on average."""
    found = draw(ALL_ON, 2, 20000)
    power = np.mean(np.abs(found.background) ** 2) / ALL_ON.background**2
    assert abs(power - 1.0) < tolerances.SIGMAS / math.sqrt(20000)
    powers = found.noise.astype(float) ** 2
    assert np.mean(powers) == pytest.approx(1.0, rel=1e-6)
    assert 0.95 < np.log(powers.max() / powers.min()) / ALL_ON.noise_spread <= 1.0 + 1e-6


@pytest.mark.parametrize("name", [*RANDOM, *RECEIVER])
def test_a_sweep_of_one_level_moves_nothing_else(name: str) -> None:
    """Levels scale standard draws: the parts that a changed level does not touch stay bit-equal."""
    other = replace(ALL_ON, **{name: getattr(ALL_ON, name) * 0.5})
    first, second = draw(ALL_ON, 50), draw(other, 50)
    parts = {"position_jitter": "position", "channel_error": "channel"}
    parts |= {"background": "background", "noise_spread": "noise"}
    touched = parts.get(name, "response")
    for field in fields(impairments.ImpairmentDraw):
        same = np.array_equal(getattr(first, field.name), getattr(second, field.name))
        assert same == (field.name != touched)


def test_dead_elements_stay_dead_as_more_die() -> None:
    few = np.abs(draw(replace(ALL_ON, dead_fraction=0.1), 500).response) == 0.0
    many = np.abs(draw(replace(ALL_ON, dead_fraction=0.3), 500).response) == 0.0
    assert few.sum() < many.sum()
    assert not (few & ~many).any()


def test_an_impairment_leaves_the_rest_of_the_scene_alone() -> None:
    """Sources, amplitudes, noise, codes and channel of scene i are the same with and without impairments."""
    for clean, impaired in zip(
        draw_scenes(SMALL, 2, 10.0, 3), draw_scenes(SMALL, 2, 10.0, 3, levels=ALL_ON), strict=True
    ):
        assert clean.impairment is None
        assert impaired.impairment is not None
        for name in ("sources", "power_db", "amplitudes", "noise", "levels"):
            np.testing.assert_array_equal(getattr(clean, name), getattr(impaired, name))
        np.testing.assert_array_equal(clean.system.scattered, impaired.system.scattered)


def test_amplitude_falls_to_its_minimum_at_its_phase() -> None:
    """|c| = a at arg c = 0.43 pi - pi/2 and 1 at 0.43 pi + pi/2; the phase stays, modulus stays within [a,
    1].
    """
    phases = torch.tensor([0.43 * math.pi - math.pi / 2, 0.43 * math.pi + math.pi / 2], dtype=torch.float64)
    found = phase_dependent_amplitude(torch.polar(torch.ones_like(phases), phases)[None], 0.2)[0]
    torch.testing.assert_close(
        found.abs(), torch.tensor([0.2, 1.0], dtype=torch.float64), rtol=1e-9, atol=1e-9
    )
    phases = torch.linspace(-3.0, 3.0, 200, dtype=torch.float64)
    found = phase_dependent_amplitude(torch.polar(torch.ones_like(phases), phases)[None], 0.2)[0]
    torch.testing.assert_close(torch.angle(found), phases, rtol=0.0, atol=1e-9)
    assert 0.2 - 1e-12 <= float(found.abs().min()) and float(found.abs().max()) <= 1.0 + 1e-12
    expected = 0.8 * ((torch.sin(phases - 0.43 * math.pi) + 1.0) / 2.0) ** 1.6 + 0.2
    torch.testing.assert_close(found.abs(), expected, rtol=1e-9, atol=1e-9)


def test_impaired_snapshots_come_from_the_true_system_and_are_reported_with_the_nominal_one() -> None:
    """Loops over the true system (positions, responses, channel, amplitudes) at 150 dB; H, c, e of the file
    are nominal.
    """
    scenes = make_scenes(SMALL, 2, 150.0, 2, levels=ALL_ON)
    nominal = make_scenes(SMALL, 2, 150.0, 2).observation
    observation = scenes.observation
    assert torch.equal(observation.channel, nominal.channel)
    assert torch.equal(observation.codes, nominal.codes)
    assert torch.equal(observation.array.elements, nominal.array.elements)
    for scene, drawn in enumerate(draw_scenes(SMALL, 2, 150.0, 2, levels=ALL_ON)):
        assert drawn.impairment is not None
        array = (planar_array(3, 5, 0.15).numpy() + drawn.impairment.position).tolist()
        waves = [
            wave_oracle.steering([float(x) for x in source], array, 0.3, False)
            for source in scenes.sources[scene, :2]
        ]
        response = observation.codes[scene].numpy().astype(complex) * drawn.impairment.response
        dip = ((np.sin(np.angle(response) - 0.43 * np.pi) + 1.0) / 2.0) ** 1.6
        expected = oracle.snapshots(
            observation.channel[scene].numpy().astype(complex) + drawn.impairment.channel,
            response * (0.5 * dip + 0.5),
            np.array(waves),
            scenes.amplitudes[scene, :, :2].numpy().astype(complex),
        )
        of_sources = np.sqrt(np.mean(np.abs(expected) ** 2))
        expected = expected + of_sources * drawn.impairment.background
        error = np.abs(observation.snapshots[scene].numpy() - expected).max() / np.abs(expected).max()
        assert error < tolerances.SINGLE


def test_noise_of_the_antennas_is_spread_about_its_power() -> None:
    levels = replace(NEUTRAL, noise_spread=3.0)
    drawn = draw_scenes(SMALL, 2, 10.0, 2, levels=levels)
    clean, spread = (make_scenes(SMALL, 2, snr, 2, levels=levels).observation for snr in (200.0, 10.0))
    assert spread.noise_power is not None
    for scene, own in enumerate(drawn):
        assert own.impairment is not None
        sigma = float(spread.noise_power[scene]) ** 0.5 * own.impairment.noise
        found = spread.snapshots[scene] - clean.snapshots[scene]
        np.testing.assert_allclose(found.numpy(), sigma * own.noise, atol=1e-5 * float(sigma.max()))


@pytest.mark.parametrize("name", [*RANDOM, "background", "amplitude_minimum"])
def test_each_impairment_reaches_the_snapshots(name: str) -> None:
    levels = replace(NEUTRAL, **{name: getattr(ALL_ON, name)})
    clean = make_scenes(SMALL, 1, 60.0, 2).observation.snapshots
    impaired = make_scenes(SMALL, 1, 60.0, 2, levels=levels).observation.snapshots
    change = (impaired - clean).norm() / clean.norm()
    assert float(change) > 1e-2
