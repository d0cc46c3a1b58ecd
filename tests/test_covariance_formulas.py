"""Covariances against dense formulas, loops, and statistics; gradients of what training reads."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from risolve import covariance
from risolve.amplitudes import joint_ls_amplitudes, ls_amplitudes
from risolve.covariance import SharedBasis
from risolve.physics.observation import Observation
from tests import tolerances
from tests.covariances import KINDS, RIDGE, kinds, sample, true_waves
from tests.oracles import covariance as oracle
from tests.worlds import (
    DEFAULT,
    SMALL,
    SPREAD_SOURCES,
    WIDE,
    direct_array,
    make_observation,
    make_scenes,
    noiseless,
)


@pytest.mark.parametrize("first", KINDS)
def test_inner_products_equal_the_dense_formula(first: str) -> None:
    """<R1, R2> = tr(R1 R2) and ||R||_F^2 = <R, R>."""
    one = kinds()[first]
    for other in kinds().values():
        if other.n_elements == one.n_elements:
            dense = (
                (one.dense().to(torch.complex128) * other.dense().to(torch.complex128).mT).sum((1, 2)).real
            )
            found = covariance.inner_product(one, other)
            torch.testing.assert_close(found.double(), dense, rtol=tolerances.SINGLE, atol=0.0)
    dense_norm = torch.linalg.matrix_norm(one.dense())
    torch.testing.assert_close(one.frobenius_norm(), dense_norm, rtol=tolerances.SINGLE, atol=0.0)


@pytest.mark.parametrize("part", ["predicted", "true, one source"])
@pytest.mark.parametrize(("beta", "eps"), [(0.0, 0.0), (0.3, 1e-3), (0.7, 0.5), (1.0, 1e-3)])
def test_blend_norms_equal_the_dense_formulas(beta: float, eps: float, part: str) -> None:
    """||R_blend|| before loading and ||R_blend - (R + eps I)||^2 from the parts, which lose eps ||R||^2 by
    cancelling.
    """
    target = kinds()["true"]
    blend = covariance.blend(kinds()[part], kinds()["sample, independent"], beta, eps)
    unloaded = blend.dense().to(torch.complex128) - eps * torch.eye(144, dtype=torch.complex128)
    expected = unloaded.abs().square().sum((1, 2)).sqrt()
    torch.testing.assert_close(
        blend.squared_norms().blend.sqrt().double(), expected, rtol=tolerances.SINGLE, atol=0.0
    )
    expected = (unloaded - target.dense()).abs().square().sum((1, 2))
    scale = target.frobenius_norm().square().double()
    found = blend.squared_distance(target, blend.squared_norms()).double()
    assert float(((found - expected).abs() / scale).max()) < tolerances.SINGLE


def test_spectrum_is_the_conventional_beamformer() -> None:
    """a_i^H R a_i for every column of a basis, of covariances on that basis and on another."""
    held = kinds()["predicted"]
    basis = held.basis
    assert isinstance(basis, SharedBasis)
    for other in (held, kinds()["sample, independent"], kinds()["predicted, more columns than elements"]):
        columns, dense = basis.matrix.to(torch.complex128), other.dense().to(torch.complex128)
        expected = (columns.conj() * (dense @ columns)).sum(1).real
        found = covariance.spectrum(other, basis).double()
        torch.testing.assert_close(found, expected, rtol=tolerances.SINGLE, atol=tolerances.SINGLE * 144)


def test_a_blend_of_some_scenes_is_some_scenes_of_the_blend() -> None:
    whole = covariance.blend(kinds()["predicted"], kinds()["sample, independent"], 0.3, 1e-3)
    part = whole.select(slice(1, 3))
    torch.testing.assert_close(part.dense(), whole.dense()[1:3], rtol=0.0, atol=tolerances.SINGLE)
    assert (part.beta, part.loading) == (0.3, 1e-3)


def test_distance_to_itself_is_nothing() -> None:
    """Zero within the rounding of ||R||^2; a covariance on its target is at NMSE 0."""
    target = kinds()["true"]
    own = covariance.blend(target, target, 0.3, 1e-3)
    found = own.squared_distance(target, own.squared_norms()) / target.squared_norm
    assert float(found.abs().max()) < tolerances.SINGLE


@pytest.mark.parametrize("unit_modulus", [True, False])
@pytest.mark.parametrize("shared_channel", [True, False])
@pytest.mark.parametrize("codebook", ["random", "hadamard"])
def test_amplitudes_are_the_formula_snapshot_by_snapshot(
    codebook: str, shared_channel: bool, unit_modulus: bool
) -> None:
    """Up to the scale of each scene, which the normalization takes out; also for codes that are not of unit
    modulus.
    """
    system = replace(WIDE, codebook=codebook)  # type: ignore[arg-type]
    observation = make_scenes(system, 1, 10.0, 3, shared_channel=shared_channel).observation.to(
        torch.complex128
    )
    # Unit modulus to double precision, or a gain that differs by element.
    gain = torch.ones(40) if unit_modulus else torch.linspace(0.3, 1.0, 40)
    codes = observation.codes / observation.codes.abs() * gain.double()
    observation = replace(observation, codes=codes)
    found = ls_amplitudes(observation, RIDGE)
    for scene in range(3):
        one = observation.select(slice(scene, scene + 1))
        expected = oracle.ls_amplitudes(
            one.snapshots[0].numpy(), one.channel[0].numpy(), one.codes[0].numpy(), RIDGE
        )
        scale = one.snapshots.abs().square().mean().sqrt().item()
        np.testing.assert_allclose(found[scene].numpy() * scale, expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("shared_channel", [True, False])
@pytest.mark.parametrize("codebook", ["random", "hadamard"])
def test_joint_amplitude_is_the_formula(codebook: str, shared_channel: bool) -> None:
    system = replace(WIDE, codebook=codebook)  # type: ignore[arg-type]
    scenes = make_scenes(system, 2, 10.0, 3, "constant", shared_channel=shared_channel)
    observation = scenes.observation.to(torch.complex128)
    found = joint_ls_amplitudes(observation, RIDGE)
    for scene in range(3):
        one = observation.select(slice(scene, scene + 1))
        expected = oracle.joint_ls_amplitude(
            one.snapshots[0].numpy(), one.channel[0].numpy(), one.codes[0].numpy(), RIDGE
        )
        scale = one.snapshots.abs().square().mean().sqrt().item()
        np.testing.assert_allclose(found[scene, 0].numpy() * scale, expected, rtol=1e-8, atol=1e-10)


def test_sample_covariance_is_the_formula() -> None:
    """Precision of storage: complex64 against the float64 loops, relative to ||R||."""
    observation = make_observation(WIDE, 2, 10.0, 3)
    found = sample(observation).dense()
    for scene in range(3):
        amplitudes = oracle.ls_amplitudes(
            observation.snapshots[scene].numpy().astype(complex),
            observation.channel[scene].numpy().astype(complex),
            observation.codes[scene].numpy().astype(complex),
            RIDGE,
        )
        expected = oracle.sample_covariance(amplitudes)
        error = np.linalg.norm(found[scene].numpy() - expected) / np.linalg.norm(expected)
        assert error < tolerances.SINGLE


def test_joint_covariance_in_single_precision() -> None:
    """Default size, complex64, against complex128: the N x N solution keeps its digits."""
    observation = make_observation(DEFAULT, 3, 20.0, 4, "constant")
    single, double = sample(observation).dense(), sample(observation.to(torch.complex128)).dense()
    change = (single - double).norm(dim=(1, 2)) / double.norm(dim=(1, 2))
    assert float(change.max()) < tolerances.SINGLE_SOLVE


def test_true_and_blended_covariances_are_the_formulas() -> None:
    waves, powers = true_waves(SMALL, 1), torch.tensor([[1.0, 0.5, 2.0]])
    true = covariance.true_covariance(waves, powers)
    other = sample(make_observation(SMALL, 1, 10.0, 1))
    expected_true = oracle.source_covariance(
        waves[0].numpy().astype(complex), powers[0].numpy().astype(float)
    )
    np.testing.assert_allclose(true.dense()[0].numpy(), expected_true, atol=tolerances.SINGLE * 15)
    expected = oracle.loaded_blend(expected_true, other.dense()[0].numpy().astype(complex), 0.3, 1e-3)
    found = covariance.blend(true, other, 0.3, 1e-3).dense()[0].numpy()
    np.testing.assert_allclose(found, expected, atol=tolerances.SINGLE * 15)


def test_covariance_has_the_phase_convention_of_the_field() -> None:
    """R = E x x^H, not its conjugate: a noiseless direct array with one source has R a = N a, off axis."""
    scenes = noiseless(direct_array([(0.5, -0.3, 0.7)], 10.0, 2))
    wave = scenes.observation.array.steering(scenes.sources)[:, 0]
    matrix = sample(scenes.observation).dense()
    torch.testing.assert_close((matrix @ wave[..., None])[..., 0], 15.0 * wave, rtol=1e-9, atol=1e-9)
    mirrored = (matrix @ wave.conj()[..., None])[..., 0]
    assert float(mirrored.norm()) < 0.5 * 15.0 * float(wave.norm())


def test_sample_covariance_tends_to_the_model_as_one_over_root_l() -> None:
    """Direct array at 60 dB: ||R_samp - R||^2 falls as 1 / (L - 1).

    64 times the snapshots divide the root mean square error by 8. Each of S = 200 scenes gives a squared
    error of relative standard deviation below 2 (it is a quadratic form of few Gaussian terms): the logarithm
    of the ratio of root mean squares strays by 2 / sqrt(2 S).
    """
    errors = []
    n_scenes = 200
    for n_snapshots in (17, 1025):
        scenes = direct_array(SPREAD_SOURCES, 60.0, n_scenes, n_snapshots)
        waves = scenes.observation.array.steering(scenes.sources).to(torch.complex64)
        model = covariance.true_covariance(waves, torch.ones((n_scenes, 3)))
        found = covariance.sample_covariance(covariance.sample_factor(scenes.observation, 1e-6))
        squared = (found.dense() - model.dense()).abs().square().sum((1, 2))
        assert float(squared.std() / squared.mean()) < 2.0
        errors.append(float(squared.mean().sqrt()))
    deviation = abs(math.log(errors[0] / errors[1]) - math.log(8.0))
    assert deviation < tolerances.SIGMAS * 2.0 / math.sqrt(2.0 * n_scenes)


@pytest.mark.parametrize(("snr_db", "reference"), [(10.0, 46.6), (0.0, 40.8)])
def test_mean_norm_of_the_sample_covariance_at_default_size(snr_db: float, reference: float) -> None:
    """46.6 at 10 dB, 40.8 at 0 dB, K = 1, measured independently: within the sampling error of both
    measurements.

    The reference comes from scenes of unknown number; taken as at least 200, its standard error is that of
    200 scenes here. It is rounded to 0.05.
    """
    n_scenes = 600
    norm = sample(make_observation(DEFAULT, 1, snr_db, n_scenes)).frobenius_norm()
    deviation = float(norm.std())
    error = math.hypot(deviation / math.sqrt(n_scenes), deviation / math.sqrt(200))
    assert abs(float(norm.mean()) - reference) < tolerances.SIGMAS * error + 0.05
    assert 30.0 < float(norm.mean()) < 60.0


def test_constant_sources_give_rank_one_of_norm_n() -> None:
    norm = sample(make_observation(DEFAULT, 2, 10.0, 20, "constant")).frobenius_norm()
    torch.testing.assert_close(norm, torch.full((20,), 144.0), rtol=tolerances.TRACE, atol=0.0)


def _energies(observation: Observation, waves: Tensor) -> Tensor:
    """a^H R a / N^2: share of R on the true steering vector; 1 / N for a vector that R does not know."""
    factor = covariance.sample_factor(observation, RIDGE)
    return (waves.conj() @ factor.mT).abs().square().sum((1, 2)) / factor.shape[-1] ** 2


def test_centring_removes_a_constant_signal() -> None:
    """`constant` scenes at 20 dB: centred, the share on the true steering is chance (1/144 = .0069; reference
    .0072).

    Joint and uncentred it is far above. `independent` scenes keep theirs through the same centring.
    """
    n_scenes = 400
    scenes = make_scenes(DEFAULT, 1, 20.0, n_scenes, "constant")
    waves = scenes.observation.array.steering(scenes.sources[:, :1]).to(torch.complex64)
    centred = _energies(replace(scenes.observation, source_model="independent"), waves)
    error = tolerances.SIGMAS * float(centred.std()) / math.sqrt(n_scenes)
    assert abs(float(centred.mean()) - 1.0 / 144) < error
    assert abs(float(centred.mean()) - 0.0072) < math.sqrt(2.0) * error + 0.00005
    assert error < 1e-3
    assert float(_energies(scenes.observation, waves).mean()) > 0.5

    independent = make_scenes(DEFAULT, 1, 20.0, n_scenes)
    waves = scenes.observation.array.steering(independent.sources[:, :1]).to(torch.complex64)
    assert float(_energies(independent.observation, waves).mean()) > 10.0 / 144


def random_basis(dtype: torch.dtype) -> SharedBasis:
    random = torch.Generator().manual_seed(2)
    return SharedBasis(torch.randn((144, 6), dtype=dtype, generator=random))


def random_powers(seed: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.rand((4, 6), dtype=dtype, generator=torch.Generator().manual_seed(seed)).requires_grad_()


def test_only_the_predicted_part_carries_a_gradient() -> None:
    basis, powers, own = random_basis(torch.complex64), random_powers(1), random_powers(2)
    part, other = covariance.predicted_covariance(basis, powers), covariance.predicted_covariance(basis, own)
    blend = covariance.blend(part, other, 0.3, 1e-3)
    blend.squared_distance(kinds()["true"], blend.squared_norms()).sum().backward()
    assert powers.grad is not None and bool(torch.isfinite(powers.grad).all()) and bool(powers.grad.any())
    assert own.grad is None


def test_gradient_of_the_loss_is_its_central_difference() -> None:
    """Covariance NMSE of the blend by the power map, complex128."""
    basis, powers = random_basis(torch.complex128), random_powers(1, torch.float64)
    other = covariance.predicted_covariance(basis, random_powers(2, torch.float64))
    target = covariance.predicted_covariance(basis, random_powers(3, torch.float64)).detach()

    def loss(values: Tensor) -> Tensor:
        blend = covariance.blend(covariance.predicted_covariance(basis, values), other, 0.3, 1e-3)
        return blend.squared_distance(target, blend.squared_norms()).sum()

    assert torch.autograd.gradcheck(loss, (powers,), rtol=1e-5)


def test_normalization_takes_the_scale_out_of_the_gradient() -> None:
    """A function of p / tr is homogeneous of degree 0: p . grad = 0 (Euler)."""
    powers = random_powers(1, torch.float64)
    covariance.predicted_covariance(random_basis(torch.complex128), powers).frobenius_norm().sum().backward()
    assert powers.grad is not None
    values = powers.detach()
    radial = float((values * powers.grad).sum())
    assert abs(radial) < 1e-10 * float(values.norm() * powers.grad.norm())


def test_a_reading_without_gradient_does_not_change_the_gradient() -> None:
    """Health reads norms under no_grad, of the very covariances that the loss reads."""
    basis, target = random_basis(torch.complex64), kinds()["true"]
    gradients = []
    for read_first in (False, True):
        powers = random_powers(1)
        part = covariance.predicted_covariance(basis, powers)
        blend = covariance.blend(part, kinds()["sample, independent"], 0.3, 1e-3)
        if read_first:
            with torch.no_grad():
                part.frobenius_norm()
                blend.squared_norms()
        blend.squared_distance(target, blend.squared_norms()).sum().backward()
        assert powers.grad is not None
        gradients.append(powers.grad)
    assert torch.equal(*gradients)


def test_a_basis_first_read_in_inference_serves_training() -> None:
    """Validation in inference mode may come before the first step on the same grid."""
    basis, powers = random_basis(torch.complex64), random_powers(1)
    with torch.inference_mode():
        covariance.predicted_covariance(basis, torch.ones((4, 6))).frobenius_norm()
    covariance.predicted_covariance(basis, powers).frobenius_norm().sum().backward()
    assert powers.grad is not None and bool(powers.grad.any())


def test_detached_covariance_is_the_same_without_gradient() -> None:
    held = covariance.predicted_covariance(random_basis(torch.complex64), random_powers(1))
    held.frobenius_norm()
    detached = held.detach()
    assert held.weights.requires_grad and not detached.weights.requires_grad
    assert not detached.frobenius_norm().requires_grad
    assert torch.equal(held.weights, detached.weights)
