import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from risolve.physics.observation import Observation, estimated_snr, respond, sensing
from tests import tolerances
from tests.messages import shows
from tests.oracles import observation as oracle
from tests.oracles import steering as wave_oracle
from tests.worlds import DEFAULT, SMALL, WIDE, direct_array, make_observation, make_scenes, noiseless, scaled


def _random_field(observation: Observation, n_columns: int) -> torch.Tensor:
    random = torch.Generator().manual_seed(3)
    shape = (observation.n_scenes, observation.n_elements, n_columns)
    return torch.randn(shape, dtype=torch.complex128, generator=random)


@pytest.mark.parametrize("source_model", ["independent", "constant"])
@pytest.mark.parametrize("spherical_amplitude", [False, True])
def test_snapshots_are_the_formula_term_by_term(source_model: str, spherical_amplitude: bool) -> None:
    """Simulated snapshots at 150 dB against the loops: the noise is 3e-8 of the signal."""
    assert source_model in ("independent", "constant")
    system = replace(SMALL, spherical_amplitude=spherical_amplitude)
    scenes = make_scenes(system, 3, 150.0, 2, source_model)  # type: ignore[arg-type]
    observation = scenes.observation
    array = wave_oracle.elements(3, 5, 0.15)
    for scene in range(2):
        waves = [
            wave_oracle.steering([float(x) for x in source], array, 0.3, spherical_amplitude)
            for source in scenes.sources[scene, :3]
        ]
        expected = oracle.snapshots(
            observation.channel[scene].numpy().astype(complex),
            observation.codes[scene].numpy().astype(complex),
            np.array(waves),
            scenes.amplitudes[scene, :, :3].numpy().astype(complex),
        )
        error = np.abs(observation.snapshots[scene].numpy() - expected).max() / np.abs(expected).max()
        assert error < tolerances.SINGLE


@pytest.mark.parametrize("system", [SMALL, WIDE])
@pytest.mark.parametrize("codebook", ["random", "dft2d"])
@pytest.mark.parametrize("shared_channel", [False, True])
def test_respond_is_the_sensing_matrix_applied(system, codebook: str, shared_channel: bool) -> None:  # type: ignore[no-untyped-def]
    """Channels and codes may be one a scene or one for all."""
    scenes = make_scenes(replace(system, codebook=codebook), 1, 10.0, 3, shared_channel=shared_channel)
    observation = scenes.observation.to(torch.complex128)
    field = _random_field(observation, 4)
    found = respond(observation, field)
    torch.testing.assert_close(
        found, sensing(observation) @ field[:, None], rtol=tolerances.DOUBLE, atol=1e-12
    )
    one_for_all = respond(observation, field[:1])
    everything_shared = shared_channel and codebook == "dft2d"
    assert one_for_all.shape == (1 if everything_shared else 3, *found.shape[1:])
    torch.testing.assert_close(one_for_all[0], found[0], rtol=tolerances.DOUBLE, atol=1e-12)


def test_sensing_is_channel_times_diagonal_code() -> None:
    observation = make_observation().to(torch.complex128)
    for scene in range(3):
        for snapshot in range(7):
            expected = oracle.sensing(
                observation.channel[scene].numpy(), observation.codes[scene, snapshot].numpy()
            )
            np.testing.assert_allclose(sensing(observation)[scene, snapshot].numpy(), expected, rtol=1e-12)


def test_direct_array_is_a_surface_with_identity_channel() -> None:
    """channel = I and codes = 1 make y_l the field on the elements itself."""
    observation = direct_array([(0.4, -0.2, 0.5)], 10.0, 2).observation
    field = _random_field(observation, 1)
    received = respond(observation.to(torch.complex128), field)
    torch.testing.assert_close(
        received, field[:, None].expand(-1, 9, -1, -1), rtol=tolerances.DOUBLE, atol=0.0
    )


def test_select_keeps_what_is_shared() -> None:
    each = make_observation(n_scenes=4)
    picked = each.select(torch.tensor([2, 0]))
    assert torch.equal(picked.snapshots, each.snapshots[[2, 0]])
    assert torch.equal(picked.channel, each.channel[[2, 0]])
    assert torch.equal(picked.codes, each.codes[[2, 0]])
    assert picked.noise_power is not None and each.noise_power is not None
    assert torch.equal(picked.noise_power, each.noise_power[[2, 0]])
    system = replace(SMALL, codebook="hadamard")
    shared = make_scenes(system, 1, 10.0, 4, shared_channel=True).observation.select(slice(1, 3))
    assert shared.n_scenes == 2
    assert shared.channel.shape[0] == shared.codes.shape[0] == 1
    assert replace(each, noise_power=None).select(slice(0, 1)).noise_power is None


@pytest.mark.parametrize(("precision", "real"), [("complex64", "float32"), ("complex128", "float64")])
def test_precision_is_that_asked_for(precision: str, real: str) -> None:
    observation = make_observation().to(getattr(torch, precision))
    dtypes = {str(t.dtype) for t in (observation.snapshots, observation.channel, observation.codes)}
    assert dtypes == {f"torch.{precision}"}
    assert observation.noise_power is not None
    assert str(observation.noise_power.dtype) == f"torch.{real}"
    assert observation.array.elements.dtype == torch.float64


@pytest.mark.parametrize("snr_db", [0.0, 10.0])
def test_estimated_snr_is_unbiased(snr_db: float) -> None:
    """mean |y|^2 / sigma^2 - 1 = SNR + noise terms.

    Of n = L M samples a scene |n|^2 / sigma^2 - 1 has variance 1 and 2 Re(s* n) / sigma^2 has 2 SNR: the mean
    over S scenes has standard deviation sqrt((1 + 2 SNR) / (n S)), exactly, given the signals.
    """
    n_scenes, power_ratio = 400, 10.0 ** (snr_db / 10.0)
    found = estimated_snr(make_observation(DEFAULT, 2, snr_db, n_scenes))
    error = math.sqrt((1.0 + 2.0 * power_ratio) / (256 * n_scenes))
    assert abs(float(found.mean()) - power_ratio) < tolerances.SIGMAS * error


@pytest.mark.parametrize("factor", [1e-8, 1e-4j, 3.0, 1e8])
def test_estimated_snr_does_not_know_the_scale(factor: complex) -> None:
    observation = make_observation()
    before, after = estimated_snr(observation), estimated_snr(scaled(observation, factor))
    torch.testing.assert_close(after, before, rtol=tolerances.SCALE, atol=tolerances.SCALE)


def test_estimated_snr_of_a_noiseless_scene_is_the_stated_one() -> None:
    scenes = noiseless(make_scenes(WIDE, 2, 7.0, 3))
    expected = torch.full((3,), 10.0**0.7 - 1.0, dtype=torch.float64)
    torch.testing.assert_close(estimated_snr(scenes.observation), expected, rtol=tolerances.SINGLE, atol=0.0)


def test_estimated_snr_needs_the_noise_power() -> None:
    with pytest.raises(ValueError, match=shows("SNR ... noise power; ... none")):
        estimated_snr(replace(make_observation(), noise_power=None))
