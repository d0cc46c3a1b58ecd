"""Noise that is not alike, and a static background: against least squares with all unknowns written out."""

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import risolve
from risolve.inference.likelihood import concentrated_residual
from risolve.physics.observation import Observation
from risolve.physics.ranks import received_rank
from tests.messages import shows
from tests.worlds import NEUTRAL, WIDE, make_scenes

ARRAY = risolve.planar(4, 4, spacing=0.05, wavelength=0.1)
PLACE = torch.tensor([[[0.35, -0.2, 1.5]]], dtype=torch.float64)
PRESENT = torch.ones((1, 1), dtype=torch.bool)
L, M, N = 12, 3, 16


def numbers(*shape: int, seed: int = 5) -> np.ndarray:
    random = np.random.default_rng(seed)
    return (random.normal(size=shape) + 1j * random.normal(size=shape)) / 2.0**0.5


CHANNEL, CODES = numbers(M, N), np.exp(2j * np.pi * np.random.default_rng(1).random((L, N)))
WAVE = ARRAY.steering(PLACE).numpy()[0, 0]
ROOT = np.linalg.cholesky(numbers(M, M, seed=6) @ numbers(M, M, seed=6).conj().T + 0.1 * np.eye(M))


def seen(snapshots: np.ndarray, **changes: Any) -> Observation:
    return Observation(
        **({"snapshots": snapshots, "array": ARRAY, "channel": CHANNEL, "codes": CODES} | changes)
    )


def residual(observation: Observation) -> float:
    return float(concentrated_residual(observation, PLACE, PRESENT))


def left(columns: np.ndarray, values: np.ndarray) -> float:
    """What least squares leaves."""
    return float(np.sum(np.abs(values - columns @ np.linalg.lstsq(columns, values, rcond=None)[0]) ** 2))


def test_coloured_noise_is_weighed_by_its_covariance() -> None:
    R = ROOT @ ROOT.conj().T
    y = numbers(L, M)
    own = seen(y, noise_power=R[None])
    W = np.linalg.inv(ROOT)
    expected = sum(
        left((W @ (CHANNEL * c) @ WAVE)[:, None], W @ row) for c, row in zip(CODES, y, strict=True)
    )
    assert residual(own) == pytest.approx(expected, rel=1e-6)
    assert own.noise_power is not None and own.noise_power.tolist() == [1.0]


def test_noise_of_each_antenna_is_a_diagonal_covariance() -> None:
    power = np.array([1.0, 4.0, 0.25])
    y = numbers(L, M)
    by_antenna, by_matrix = seen(y, noise_power=power[None]), seen(y, noise_power=np.diag(power)[None])
    assert torch.equal(by_antenna.snapshots, by_matrix.snapshots)
    torch.testing.assert_close(
        by_antenna.snapshots[0], torch.from_numpy(y / power**0.5).to(by_antenna.snapshots.dtype)
    )
    alike = seen(y, noise_power=np.full((1, M), 0.3))
    plain = seen(y, noise_power=0.3)
    assert residual(alike) == pytest.approx(residual(plain) / 0.3, rel=1e-6)
    limits = [
        risolve.bound(one, azimuth=[20.0], elevation=[-10.0], range=[0.7], power=[1.0])
        for one in (alike, plain)
    ]
    np.testing.assert_allclose(limits[0].position_std_m, limits[1].position_std_m, rtol=1e-6)


@pytest.mark.parametrize("is_coded", [True, False])
def test_a_static_background_is_an_unknown_of_each_antenna(is_coded: bool) -> None:
    y = numbers(L, M if is_coded else N)
    if is_coded:
        own = seen(y, source_model="constant", background="static")
        rows = np.concatenate([(CHANNEL * c) @ WAVE for c in CODES])
        columns = np.column_stack((rows, np.tile(np.eye(M), (L, 1))))
        expected = left(columns, y.reshape(-1))
    else:
        own = Observation(y, ARRAY, background="static")
        columns = np.column_stack((np.kron(np.eye(L), WAVE[:, None]), np.tile(np.eye(N), (L, 1))))
        expected = left(columns, y.reshape(-1))
    assert own.n_snapshots == L - 1
    assert residual(own) == pytest.approx(expected, rel=1e-6)


def test_a_source_beside_a_direct_path_is_located() -> None:
    random = np.random.default_rng(4)
    array = risolve.planar(8, 8, spacing=0.05, wavelength=0.1)
    place = torch.tensor([[0.4, -0.2, 1.0]], dtype=torch.float64)
    codes = np.exp(2j * np.pi * random.random((48, 64)))
    y = (codes * array.steering(place).numpy()) @ numbers(1, 64).T
    z = y + 0.05 * np.abs(y).mean() * numbers(48, 1, seed=9) + 10.0 * np.abs(y).mean() * np.exp(2j)
    known: dict[str, Any] = {"channel": numbers(1, 64), "codes": codes, "source_model": "constant"}
    found = risolve.locate(Observation(z, array, **known, background="static"))
    assert len(found) == 1
    np.testing.assert_allclose(found["azimuth_deg"], np.rad2deg(0.4), atol=0.5)
    np.testing.assert_allclose(found["elevation_deg"], np.rad2deg(-0.2), atol=0.5)
    with pytest.warns(UserWarning) as said:
        risolve.locate(Observation(z, array, **known), sources=1)
    assert any("background = static" in str(one.message) for one in said)


def test_a_background_that_scenes_draw_is_projected_out() -> None:
    scenes = make_scenes(WIDE, 1, 20.0, 4, "constant", levels=replace(NEUTRAL, background=10.0))
    one = scenes.observation
    known = (one.array, one.channel, one.codes, "constant")
    declared = risolve.locate(Observation(one.snapshots, *known, background="static"), sources=1)
    with pytest.warns(UserWarning) as said:
        undeclared = risolve.locate(Observation(one.snapshots, *known), sources=1)
    assert any("background = static" in str(one.message) for one in said)
    truth = np.rad2deg(scenes.sources[:, 0, 0].numpy())
    errors = [np.abs(found["azimuth_deg"] - truth) for found in (declared, undeclared)]
    assert (errors[0] < 5.0 * declared["azimuth_std_deg"]).all() and errors[0].max() < 2.0 < errors[1].max()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"background": "moving"}, "moving"),
        ({"background": "static"}, "static ... `constant`"),
        (
            {"background": "static", "source_model": "constant", "codes": np.ones((L, N))},
            "`constant` ... codes",
        ),
        (
            # one scene of two
            {
                "background": "static",
                "source_model": "constant",
                "codes": np.stack((CODES, np.ones((L, N)))),
            },
            "`constant` ... differ by 0",
        ),
        ({"noise_power": -np.ones((1, M))}, "noise_power ... scene 0 is -1"),
        ({"noise_power": np.ones((1, 2))}, "[1, 2]"),
        ({"noise_power": numbers(1, M, M)}, "noise_power ... scene 0"),
    ],
)
def test_what_is_no_noise_and_no_background_is_refused(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=shows(told)):
        seen(np.stack((numbers(L, M), numbers(L, M))), **changes)


def test_a_channel_of_rank_one_determines_no_independent_source() -> None:
    """Sixteen antennas behind one path see one number a snapshot; a code book turns it into places."""
    rank_one = np.outer(numbers(6), numbers(N, seed=8))
    y = ((CODES * WAVE) * numbers(L, 1, seed=7)) @ rank_one.T + 0.01 * numbers(L, 6, seed=9)
    free = Observation(y, ARRAY, rank_one, CODES)
    assert received_rank(free) == 1
    for sources in (None, 1):
        with pytest.raises(ValueError, match=shows("rank 1 ... 0 sources ... paths ... constant")):
            risolve.locate(free, sources=sources)
    with pytest.warns(UserWarning, match="fits"):
        assert risolve.locate(free, sources=0).scenes[:, 2].tolist() == [0]
    y = (CODES * WAVE) @ rank_one.T + 0.01 * numbers(L, 6, seed=9)
    same = risolve.locate(Observation(y, ARRAY, rank_one, CODES, "constant"), sources=1)
    np.testing.assert_allclose(same["azimuth_deg"], np.rad2deg(0.35), atol=0.5)


def test_one_code_for_all_snapshots_determines_as_much_as_one_snapshot() -> None:
    y = np.tile((CHANNEL * CODES[0]) @ WAVE, (L, 1)) + 0.01 * numbers(L, M)
    known: dict[str, Any] = {"source_model": "constant", "codes": np.tile(CODES[0], (L, 1))}
    with pytest.raises(ValueError, match=shows("rank 3 ... 1 sources, got 2 ... codes")):
        risolve.locate(seen(y, **known), sources=2)


def test_one_antenna_is_told_of_the_model_of_a_pilot() -> None:
    with pytest.raises(ValueError, match=shows("M = 1 ... constant")):
        risolve.locate(Observation(numbers(L, 1), ARRAY, CHANNEL[:1], CODES))


LINE = risolve.linear(8, spacing=0.05, wavelength=0.1)


def one_waveform(azimuth: list[float], noise: float, n_scenes: int = 60) -> Observation:
    """Sources that send the same waveform, each with a phase of its own: `coherent`."""
    random = np.random.default_rng(3)
    places = torch.tensor([[a, 0.0, 0.0] for a in np.deg2rad(azimuth)], dtype=torch.float64)
    factors = np.exp(2j * np.pi * random.random((n_scenes, 1, len(azimuth))))
    y = numbers(n_scenes, 50, 1) * (factors @ LINE.steering(places).numpy())
    return Observation(y + noise * numbers(n_scenes, 50, 8, seed=6), LINE, source_model="coherent")


@pytest.mark.parametrize("azimuth", [[-12.0, 20.0], [-45.0, -12.0, 14.0, 40.0]])
def test_coherent_sources_are_counted_located_and_their_errors_stated(azimuth: list[float]) -> None:
    """Four on a line of eight, where angles alone are unknown: 3 K = 12 of 16 real numbers."""
    seen = one_waveform(azimuth, 0.3)
    assert seen.n_snapshots == 1 and seen.source_model == "constant"
    counted = risolve.locate(seen, elevation=0, range=np.inf)
    assert (counted.scenes[:, 2] == len(azimuth)).mean() >= 0.95
    found = risolve.locate(seen, sources=len(azimuth), elevation=0, range=np.inf)
    places, deviations = (
        found[name].reshape(seen.n_scenes, -1) for name in ("azimuth_deg", "azimuth_std_deg")
    )
    order = places.argsort(1)
    ratio = (np.take_along_axis(places, order, 1) - azimuth) / np.take_along_axis(deviations, order, 1)
    assert 0.85 < np.sqrt((ratio**2).mean()) < 1.15


@pytest.mark.parametrize(("noise", "n_snapshots"), [(0.3, 50), (1.8, 50), (1.0, 16)])
@pytest.mark.parametrize("is_told", [False, True])
def test_noise_of_the_one_snapshot_is_what_lies_beside_the_wave(
    noise: float, n_snapshots: int, is_told: bool
) -> None:
    """|z|^2 outside of a, over M - 1; the mean of 400 scenes is known to 3 %."""
    wave = LINE.steering(torch.tensor([[0.2, 0.0, 0.0]], dtype=torch.float64)).numpy()
    y = numbers(400, n_snapshots, 1) * wave + noise * numbers(400, n_snapshots, 8, seed=6)
    power = noise**2 if is_told else None
    seen = Observation(y, LINE, source_model="coherent", noise_power=power)
    z, a = seen.snapshots[:, 0].numpy(), wave[0] / np.linalg.norm(wave)
    beside = (np.abs(z) ** 2).sum(-1) - np.abs(z @ a.conj()) ** 2
    assert seen.noise_power is not None
    assert float(seen.noise_power.mean()) == pytest.approx(beside.mean() / 7.0, rel=0.1)


def test_one_snapshot_or_antenna_shows_no_noise() -> None:
    told = Observation(numbers(2, 1, 8), LINE, source_model="coherent", noise_power=2.0)
    assert told.noise_power is not None and told.noise_power.tolist() == [2.0, 2.0]
    assert Observation(numbers(2, 1, 8), LINE, source_model="coherent").noise_power is None


def test_a_weak_waveform_is_not_counted_twice() -> None:
    """One source at -7 dB of each antenna, l = 1.6: the unknown waveform leaves 2.6 times the noise."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        counted = risolve.locate(one_waveform([10.0], 10.0**0.35, 200), elevation=0, range=np.inf)
    assert (counted.scenes[:, 2] > 1).mean() < 0.03
    assert (counted.scenes[:, 2] == 1).mean() > 0.5


@pytest.mark.parametrize("n_snapshots", [2, 5, 20])
@pytest.mark.parametrize("is_told", [False, True])
def test_noise_alone_is_no_waveform(n_snapshots: int, is_told: bool) -> None:
    """The false-alarm probability is .01: more than 8 of 200 scenes have a chance of 1e-4."""
    power = 1.0 if is_told else None
    empty = Observation(
        numbers(200, n_snapshots, 8, seed=n_snapshots), LINE, source_model="coherent", noise_power=power
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        counted = risolve.locate(empty, elevation=0, range=np.inf)
    assert (counted.scenes[:, 2] > 0).sum() <= 8


def test_coherent_sources_need_one_code() -> None:
    with pytest.raises(ValueError, match=shows("`coherent` ... codes")):
        seen(numbers(L, M), source_model="coherent")


def test_a_known_coordinate_leaves_more_to_be_determined() -> None:
    snapshot = Observation(numbers(1, 8), LINE, source_model="constant")
    with pytest.raises(ValueError, match=shows("4 K ... 0 to 4 sources, got 5")):
        risolve.locate(snapshot, sources=5, elevation=0)
    with pytest.raises(ValueError, match=shows("3 K ... 0 to 5 sources, got 6")):
        risolve.locate(snapshot, sources=6, elevation=0, range=np.inf)
