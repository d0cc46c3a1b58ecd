"""The beamformer, MUSIC and MVDR against their definitions, and the two ways of computing each."""

import numpy as np
import pytest
import torch

from risolve.covariance import (
    SharedBasis,
    blend,
    predicted_covariance,
    sample_covariance,
    sample_factor,
    true_covariance,
)
from risolve.estimators.beamformer import beamformer_spectrum
from risolve.estimators.contract import Covariance
from risolve.estimators.music import music_spectrum, signal_subspace
from risolve.estimators.mvdr import mvdr_spectrum
from risolve.estimators.spectral import has_short_factor, rank
from risolve.inference.grid import grid_steering
from risolve.physics.observation import Observation
from tests import tolerances
from tests.estimators.cases import GRID, LOADING, drawn_prediction
from tests.messages import shows
from tests.oracles import spectra
from tests.worlds import DEFAULT, WIDE, make_scenes, noiseless, with_amplitude

SCENES = make_scenes(WIDE, 2, 5.0, 3)
WAVE = grid_steering(GRID, SCENES.observation.array)
SAMPLE = sample_covariance(sample_factor(SCENES.observation, 1e-3))
PREDICTED = drawn_prediction(SCENES.observation, SCENES.sources, GRID, torch.complex64)
BLEND = blend(PREDICTED, SAMPLE, 0.3, LOADING)
CASES = pytest.mark.parametrize("covariance", [SAMPLE, PREDICTED, BLEND], ids=["factor", "map", "blend"])


def dense(covariance: Covariance, scene: int) -> np.ndarray:
    return covariance.dense()[scene].to(torch.complex128).numpy()


@CASES
def test_music_is_its_definition(covariance: Covariance) -> None:
    spectrum = music_spectrum(covariance, WAVE, 2)
    for scene in range(3):
        oracle = spectra.music(dense(covariance, scene), WAVE.to(torch.complex128).numpy(), 2)
        # The null 1/P, a share of |a|^2, is what complex64 resolves.
        np.testing.assert_allclose(
            1.0 / spectrum[scene].numpy(), 1.0 / oracle, rtol=0.0, atol=tolerances.SINGLE
        )


@CASES
def test_mvdr_is_its_definition(covariance: Covariance) -> None:
    loading = 0.0 if covariance is BLEND else LOADING
    spectrum = mvdr_spectrum(covariance, WAVE, loading)
    for scene in range(3):
        oracle = spectra.mvdr(dense(covariance, scene), WAVE.to(torch.complex128).numpy(), loading)
        np.testing.assert_allclose(spectrum[scene].numpy(), oracle, rtol=tolerances.SINGLE_SOLVE)


@CASES
def test_the_beamformer_is_its_definition(covariance: Covariance) -> None:
    spectrum = beamformer_spectrum(covariance, WAVE)
    points = torch.arange(0, GRID.n_points, 97)
    for scene in range(3):
        oracle = spectra.beamformer(dense(covariance, scene), WAVE[:, points].to(torch.complex128).numpy())
        np.testing.assert_allclose(
            spectrum[scene, points].numpy(), oracle, rtol=tolerances.SINGLE, atol=tolerances.SINGLE
        )


@CASES
def test_the_beamformer_lies_between_the_extreme_eigenvalues(covariance: Covariance) -> None:
    spectrum = beamformer_spectrum(covariance, WAVE)
    eigenvalues = torch.linalg.eigvalsh(covariance.dense())
    slack = tolerances.SINGLE * eigenvalues[:, -1:]
    assert bool((spectrum >= eigenvalues[:, :1] - slack).all())
    assert bool((spectrum <= eigenvalues[:, -1:] + slack).all())


def test_the_beamformer_of_white_noise_is_flat() -> None:
    """Whatever the amplitude of the wave; a^H R a alone would be |a|^2."""
    observation = with_amplitude(SCENES.observation, True)
    white = predicted_covariance(SharedBasis(torch.eye(40, dtype=torch.complex64)), torch.ones((2, 40)))
    wave = grid_steering(GRID, observation.array)
    assert float(wave.abs().square().sum(0).max() / wave.abs().square().sum(0).min()) > 1.5
    torch.testing.assert_close(
        beamformer_spectrum(white, wave), torch.ones((2, GRID.n_points)), rtol=tolerances.SINGLE, atol=0.0
    )


@pytest.mark.parametrize("point", [7, 302, 601, 778])
def test_the_beamformer_of_one_source_is_highest_at_the_source_with_the_spherical_amplitude(
    point: int,
) -> None:
    """Cauchy-Schwarz: |a^H a_0|^2 / |a|^2 <= |a_0|^2, for near and far places."""
    observation = with_amplitude(SCENES.observation, True)
    rows = observation.array.steering(GRID.sources)
    one = true_covariance(rows[None, point : point + 1], torch.ones((1, 1), dtype=torch.float64))
    spectrum = beamformer_spectrum(one, rows.mT)[0]
    assert int(spectrum.argmax()) == point
    torch.testing.assert_close(float(spectrum[point]), 40.0, rtol=1e-12, atol=0.0)


def test_a_null_of_the_beamformer_is_positive() -> None:
    wave = torch.eye(40, dtype=torch.complex64)
    one = true_covariance(wave[None, :1], torch.ones((1, 1)))
    assert bool((beamformer_spectrum(one, wave) > 0.0).all())


def in_double(observation: Observation) -> dict[str, Covariance]:
    """The covariances of SCENES in complex128."""
    sample = sample_covariance(sample_factor(observation.to(torch.complex128), 1e-3))
    predicted = drawn_prediction(observation, SCENES.sources, GRID, torch.complex128)
    return {"factor": sample, "map": predicted, "blend": blend(predicted, sample, 0.3, LOADING)}


@pytest.mark.parametrize("kind", ["factor", "map", "blend"])
def test_a_spectrum_has_the_precision_of_its_steering_vectors(kind: str) -> None:
    """In complex128 it is its definition to 1e-9, on points of each scene as on one grid for all."""
    covariance = in_double(SCENES.observation)[kind]
    loading = 0.0 if kind == "blend" else LOADING
    rows = SCENES.observation.array.steering(GRID.sources)
    points = torch.tensor([[3, 500, 77], [120, 9, 779], [0, 1, 333]])
    music = music_spectrum(covariance, rows[points].mT, 2)
    mvdr = mvdr_spectrum(covariance, rows[points].mT, loading)
    through = beamformer_spectrum(covariance, rows[points].mT)
    for spectrum, shared in (
        (through, beamformer_spectrum(covariance, rows.mT)),
        (music, music_spectrum(covariance, rows.mT, 2)),
        (mvdr, mvdr_spectrum(covariance, rows.mT, loading)),
    ):
        assert spectrum.dtype == torch.float64
        torch.testing.assert_close(spectrum, shared.gather(1, points), rtol=1e-9, atol=0.0)
    for scene in range(3):
        R, A = dense(covariance, scene), rows[points[scene]].mT.numpy()
        np.testing.assert_allclose(through[scene].numpy(), spectra.beamformer(R, A), rtol=1e-9)
        np.testing.assert_allclose(music[scene].numpy(), spectra.music(R, A, 2), rtol=1e-9)
        np.testing.assert_allclose(mvdr[scene].numpy(), spectra.mvdr(R, A, loading), rtol=1e-9)
    assert music_spectrum(covariance, WAVE, 2).dtype == torch.float32
    assert mvdr_spectrum(covariance, WAVE, loading).dtype == torch.float32
    assert beamformer_spectrum(covariance, WAVE).dtype == torch.float32


def test_which_covariances_have_a_short_factor() -> None:
    assert has_short_factor(SAMPLE)
    assert not has_short_factor(PREDICTED)
    assert not has_short_factor(BLEND)


def test_signal_subspace_is_orthonormal_and_holds_the_steering_of_noiseless_sources() -> None:
    scenes = noiseless(make_scenes(WIDE, 2, 20.0, 3))
    basis = signal_subspace(sample_covariance(sample_factor(scenes.observation, 1e-3)), 2, torch.complex64)
    torch.testing.assert_close(
        basis.mH @ basis, torch.eye(2).expand(3, 2, 2).to(torch.complex64), rtol=0.0, atol=tolerances.SINGLE
    )


def test_columns_beyond_the_rank_span_nothing() -> None:
    scenes = make_scenes(WIDE, 1, 20.0, 3, "constant")
    basis = signal_subspace(sample_covariance(sample_factor(scenes.observation, 1e-3)), 2, torch.complex64)
    torch.testing.assert_close(
        basis.mH @ basis,
        torch.ones(1, 1).to(torch.complex64).expand(3, 1, 1),
        rtol=0.0,
        atol=tolerances.SINGLE,
    )


@pytest.mark.parametrize("n_sources", [1, 2])
def test_music_of_a_rank_one_covariance_is_its_beamformer(n_sources: int) -> None:
    """With U_s = x / |x| the spectrum is 1 / (1 - |x^H a|^2 / (|x|^2 |a|^2)), whatever K is asked for."""
    factor = sample_factor(make_scenes(WIDE, 2, 20.0, 3, "constant").observation, 1e-3)
    spectrum = music_spectrum(sample_covariance(factor), WAVE, n_sources)
    share = (
        (factor.conj() @ WAVE)[:, 0].abs().square()
        / factor.abs().square().sum(-1)
        / WAVE.abs().square().sum(0)
    )
    torch.testing.assert_close(1.0 / spectrum, 1.0 - share, rtol=0.0, atol=tolerances.SINGLE)
    assert rank(sample_covariance(factor)).tolist() == [1, 1, 1]


def test_mvdr_without_loading_is_refused() -> None:
    with pytest.raises(ValueError, match=shows("rank 9 of 40 ... eps ... got 0.0")):
        mvdr_spectrum(SAMPLE, WAVE, 0.0)
    with pytest.raises(ValueError, match=shows("MVDR ... scenes [0, 1, 2] ... eps > 0")):
        mvdr_spectrum(blend(SAMPLE, SAMPLE, 0.3, 0.0), WAVE, 0.0)


def test_complex64_is_enough_for_the_blend_of_the_default_system() -> None:
    """Null of MUSIC and spectrum of MVDR in complex64 against complex128, at eps = 1e-3."""
    scenes = make_scenes(DEFAULT, 2, 10.0, 2)
    observation = scenes.observation
    wave = grid_steering(GRID, observation.array)
    predicted = drawn_prediction(observation, scenes.sources, GRID, torch.complex64)
    covariance = blend(predicted, sample_covariance(sample_factor(observation, 1e-3)), 0.3, LOADING)
    for scene in range(2):
        R, A = dense(covariance, scene), wave.to(torch.complex128).numpy()
        nulls = 1.0 / music_spectrum(covariance, wave, 2)[scene].numpy()
        np.testing.assert_allclose(nulls, 1.0 / spectra.music(R, A, 2), rtol=0.0, atol=tolerances.SINGLE)
        np.testing.assert_allclose(
            mvdr_spectrum(covariance, wave, 0.0)[scene].numpy(),
            spectra.mvdr(R, A, 0.0),
            rtol=tolerances.SINGLE_SOLVE,
        )
