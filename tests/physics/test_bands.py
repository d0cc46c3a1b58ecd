"""Several wavelengths as one observation: residuals, informations and bounds are sums over the bands."""

import math
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

import risolve
from risolve.bounds.cramer_rao import conditional_bound, constant_bound
from risolve.inference.condensing import condensed
from risolve.inference.determinability import require_told
from risolve.inference.goodness import goodness
from risolve.inference.grid import grid_for
from risolve.inference.likelihood import concentrated_residual
from risolve.inference.projection import project
from risolve.physics.observation import Observation, SourceModel
from tests.messages import shows
from tests.tolerances import DOUBLE, FINITE_DIFFERENCE

MODELS: tuple[SourceModel, ...] = ("independent", "constant")
WAVELENGTHS = (0.26, 0.3, 0.37)
PLACES = torch.tensor([[-0.5, 0.2, 1 / 2.0], [0.35, -0.3, 1 / 3.0]], dtype=torch.float64)


def normal(random: np.random.Generator, *shape: int) -> Tensor:
    parts = random.standard_normal((*shape, 2)) / math.sqrt(2.0)
    return torch.view_as_complex(torch.from_numpy(parts))


def seen_in_bands(
    model: SourceModel,
    sigma: float = 0.3,
    n_scenes: int = 2,
    n_sources: int = 2,
    *,
    coded: bool = True,
    noise_known: bool = True,
) -> tuple[list[Observation], list[Tensor]]:
    """A surface of 3 x 5 elements before 4 antennas, 7 snapshots, in three bands; and the amplitudes of each.

    Without codes the 15 elements are the antennas.
    """
    random = np.random.default_rng(3)
    held, amplitudes = [], []
    for wavelength in WAVELENGTHS:
        array = risolve.planar(3, 5, spacing=0.15, wavelength=wavelength)
        H = normal(random, 4, 15) if coded else torch.eye(15, dtype=torch.complex128)
        turns = torch.from_numpy(random.integers(8, size=(7, 15))) if coded else torch.zeros(7, 15)
        codes = torch.polar(torch.ones(7, 15, dtype=torch.float64), math.pi / 4 * turns.double())
        s = normal(random, n_scenes, 1 if model == "constant" else 7, n_sources).expand(
            n_scenes, 7, n_sources
        )
        clean = ((s @ array.steering(PLACES[:n_sources])) * codes) @ H.mT
        noise = sigma * normal(random, *clean.shape)
        held.append(
            Observation(
                clean + noise,
                array,
                channel=H if coded else None,
                codes=codes if coded else None,
                source_model=model,
                noise_power=sigma**2 if noise_known else None,
            )
        )
        amplitudes.append(s[:, :1] if model == "constant" else s)
    return held, amplitudes


@pytest.mark.parametrize("coded", [True, False])
@pytest.mark.parametrize("model", MODELS)
def test_the_residual_is_the_sum_over_bands(model: SourceModel, coded: bool) -> None:
    held, _ = seen_in_bands(model, coded=coded)
    held[1] = replace(held[1], noise_power=torch.tensor([0.04, 0.5], dtype=torch.float64))
    places = (PLACES + 0.05).expand(2, -1, -1)
    present = torch.ones(2, 2, dtype=torch.bool)
    expected = torch.zeros(2, dtype=torch.float64)
    for own in held:
        assert own.noise_power is not None
        expected += 0.09 * concentrated_residual(own, places, present) / own.noise_power
    found = concentrated_residual(risolve.bands(held), places, present)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=0.0)


@pytest.mark.parametrize("model", MODELS)
def test_the_slope_is_that_of_the_residual(model: SourceModel) -> None:
    held, _ = seen_in_bands(model)
    seen, places = risolve.bands(held), (PLACES + 0.03).expand(2, -1, -1)
    slope = project(seen, places).slope
    step = 1e-6
    for coordinate in range(6):
        moved = torch.zeros(6, dtype=torch.float64)
        moved[coordinate] = step
        before, after = (project(seen, places + sign * moved.view(2, 3)).residual for sign in (-1.0, 1.0))
        expected = -(after - before) / (4.0 * step)
        torch.testing.assert_close(slope[:, coordinate], expected, rtol=FINITE_DIFFERENCE, atol=1e-3)


@pytest.mark.parametrize("model", MODELS)
def test_informations_of_bands_add_up(model: SourceModel) -> None:
    held, amplitudes = seen_in_bands(model)
    places = PLACES.expand(2, -1, -1)
    total = torch.zeros(2, 6, 6, dtype=torch.float64)
    for own, s in zip(held, amplitudes, strict=True):
        assert own.noise_power is not None
        of_band = (
            constant_bound(own, places, s[:, 0], own.noise_power)
            if model == "constant"
            else conditional_bound(own, places, s, own.noise_power)
        )
        total += torch.linalg.inv(of_band.covariance)
    found = risolve.bound(
        risolve.bands(held),
        azimuth=np.rad2deg(PLACES[:, 0].numpy()),
        elevation=np.rad2deg(PLACES[:, 1].numpy()),
        range=1 / PLACES[:, 2].numpy(),
        amplitude=torch.cat(amplitudes, 1).numpy(),
    )
    expected = torch.linalg.inv(total).diagonal(dim1=1, dim2=2).sqrt().reshape(2, 2, 3)
    np.testing.assert_allclose(np.deg2rad(found.azimuth_std_deg), expected[..., 0].numpy(), rtol=DOUBLE)
    np.testing.assert_allclose(np.deg2rad(found.elevation_std_deg), expected[..., 1].numpy(), rtol=DOUBLE)


def test_one_band_is_the_observation_itself() -> None:
    held, _ = seen_in_bands("independent")
    assert risolve.bands(held[:1]) is held[0]


@pytest.mark.parametrize("model", MODELS)
def test_sources_of_bands_are_found_with_their_powers(model: SourceModel) -> None:
    held, amplitudes = seen_in_bands(model, sigma=0.1)
    seen = risolve.bands(held)
    found = risolve.locate(seen, sources=2)
    order = np.argsort(found["azimuth_deg"].reshape(2, 2), axis=1)
    azimuths = np.take_along_axis(found["azimuth_deg"].reshape(2, 2), order, 1)
    deviations = np.take_along_axis(found["azimuth_std_deg"].reshape(2, 2), order, 1)
    assert (np.abs(azimuths - np.rad2deg(PLACES[:, 0].numpy())) < 5.0 * deviations).all()
    powers = np.take_along_axis(found["power_db"].reshape(2, 2), order, 1)
    sent = torch.cat(amplitudes, 1).abs().square().mean(1)
    np.testing.assert_allclose(powers, 10.0 * np.log10(sent.numpy()), atol=0.5)
    assert "15 elements in 3 bands" in repr(seen)
    assert (found.fits > 1e-3).all()


def test_a_noise_power_that_differs_between_bands_is_that_of_each() -> None:
    """A band of strong noise weighs little: the likelihood is that of bands over their noise."""
    held, _ = seen_in_bands("independent", sigma=0.1)
    loud = held[0].snapshots + 3.0 * normal(np.random.default_rng(5), *held[0].snapshots.shape)
    held[0] = replace(held[0], snapshots=loud, noise_power=torch.full((2,), 9.01, dtype=torch.float64))
    found, without = (risolve.locate(risolve.bands(own), sources=2) for own in (held, held[1:]))
    np.testing.assert_allclose(found["azimuth_deg"], without["azimuth_deg"], atol=0.2)
    assert (found["azimuth_std_deg"] < without["azimuth_std_deg"]).all()


@pytest.mark.parametrize("model", MODELS)
def test_what_antennas_see_is_what_they_see_in_one_band(model: SourceModel) -> None:
    for coded in (True, False):
        held, _ = seen_in_bands(model, coded=coded)
        seen = risolve.bands(held)
        for own, expected in ((seen.limits, held[0].limits), (seen.mirrors, held[0].mirrors)):
            torch.testing.assert_close(own.low, expected.low, equal_nan=True)
            torch.testing.assert_close(own.high[:2], expected.high[:2], equal_nan=True)


def test_channels_of_one_path_determine_no_more_in_several_bands() -> None:
    """Each band has rank 1, and free amplitudes explain all that it brings."""
    held, _ = seen_in_bands("independent", n_sources=1)
    flat = [replace(own, channel=own.channel[:, :, :1] @ own.channel[:, :1]) for own in held]
    with pytest.raises(ValueError, match=shows("rank ... M = 4 ... N = 15 ... rank 1")):
        require_told(risolve.bands(flat), 1)


def test_long_recordings_are_condensed_band_by_band() -> None:
    held, _ = seen_in_bands("independent", coded=False)
    many = [
        replace(own, snapshots=own.snapshots.repeat(1, 3, 1), codes=own.codes.repeat(1, 3, 1)) for own in held
    ]
    seen = risolve.bands(many)
    few = condensed(seen)
    assert (seen.n_snapshots, few.n_snapshots, few.n_recorded) == (63, 45, 63)
    places, present = PLACES.expand(2, -1, -1) + 0.05, torch.ones(2, 2, dtype=torch.bool)
    torch.testing.assert_close(
        concentrated_residual(few, places, present), concentrated_residual(seen, places, present)
    )


@pytest.mark.parametrize("model", MODELS)
def test_fits_is_uniform_in_true_bands(model: SourceModel) -> None:
    """Four standard errors of the binomial distribution."""
    n_scenes = 300
    held, _ = seen_in_bands(model, n_scenes=n_scenes, noise_known=False)
    seen = risolve.bands(held)
    grid = grid_for(seen.array, (-1.0, 1.0), (-0.5, 0.5), (1.0, 10.0))
    fits = goodness(seen, PLACES.expand(n_scenes, -1, -1), grid).fits
    for level in (0.05, 0.5):
        error = math.sqrt(n_scenes * level * (1.0 - level))
        assert int((fits <= level).sum()) < level * n_scenes + 4.0 * error
    assert int((fits <= 0.5).sum()) > 0.25 * n_scenes


@pytest.mark.parametrize("model", MODELS)
def test_noise_is_counted_as_a_source_no_more_often_than_stated(model: SourceModel) -> None:
    n_scenes, rate = 150, 0.1
    held, _ = seen_in_bands(model, n_scenes=n_scenes)
    random = np.random.default_rng(8)
    empty = [
        replace(
            own, snapshots=normal(random, *own.snapshots.shape), noise_power=torch.ones(n_scenes).double()
        )
        for own in held
    ]
    with warnings.catch_warnings():
        # of places beside the field searched
        warnings.simplefilter("ignore")
        found = risolve.locate(risolve.bands(empty), range=np.inf, false_alarm=rate)
    false = int((found.scenes[:, 2] > 0).sum())
    assert 0 < false < rate * n_scenes + 4.0 * math.sqrt(n_scenes * rate * (1.0 - rate))


def test_bands_that_do_not_agree_are_refused() -> None:
    (first, second, third), _ = seen_in_bands("independent")
    (constant, *_), _ = seen_in_bands("constant")
    moved = replace(second.array, elements=second.array.elements + 0.1)
    few = Observation(second.snapshots[:, :, :2], second.array, second.channel[:, :2], second.codes)
    refused = {
        "scenes ... 2 ... 1": second.select(slice(0, 1)),
        "source_model ... independent ... constant": constant,
        "noise_power stated ... True ... False": replace(second, noise_power=None),
        "elements ... 1 ... 0.173": replace(second, array=moved),
        "antennas ... 4 ... 2": replace(few, noise_power=second.noise_power),
        "noise_power ... 1e+12 ... 9e+12": replace(second, noise_power=torch.full((2,), 8.1e11).double()),
        "noise_power ... band 1 has [-1.0": replace(second, noise_power=-torch.ones(2).double()),
        "noise = antennas": replace(second, noise_power=None, noise="antennas"),
        "band 1 ... 2": risolve.bands([second, third]),
    }
    for parts, other in refused.items():
        with pytest.raises(ValueError, match=shows(parts)):
            risolve.bands([first, other])
    with pytest.raises(ValueError, match=shows("band 0 ... gains = equal")):
        risolve.bands([replace(constant, gains="equal"), constant])
    for wrong in ([], [first, None], first):
        with pytest.raises(TypeError):
            risolve.bands(wrong)


def test_what_is_made_for_one_wavelength_says_so() -> None:
    held, _ = seen_in_bands("independent")
    seen = risolve.bands(held)
    for estimator in ("music", "modified_music+ml", "beamformer"):
        with pytest.raises(ValueError, match=shows(f"{estimator} ... 3")):
            risolve.locate(seen, sources=1, estimator=estimator)
    with pytest.raises(ValueError, match=shows("got 3 ... 0")):
        risolve.calibrate(seen, unknown=["gains"], sources=1)
