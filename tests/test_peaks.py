"""Peaks of a spectrum as located sources: their deviations, infinity, and scenes that are not resolved."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch

import risolve
from risolve.field import FieldOfView
from risolve.inference.assessment import covariance_of_peaks, likelihood_of
from risolve.inference.likelihood import refine
from risolve.physics.observation import Observation
from tests.worlds import SPREAD_SOURCES, WIDE, make_scenes

LINE = risolve.linear(16, 0.05, 0.1)


def located(observation: Observation, estimator: str, **stated: object) -> risolve.LocatedSources:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return risolve.locate(observation, estimator=estimator, **stated)


def far(n_scenes: int, range_m: float) -> tuple[Observation, np.ndarray]:
    """One source of 50 snapshots at 20 dB, and its azimuths (rad)."""
    random = np.random.default_rng(3)

    def normal(*shape: int) -> np.ndarray:
        return (random.standard_normal(shape) + 1j * random.standard_normal(shape)) / 2**0.5

    azimuth = random.uniform(-0.9, 0.9, (n_scenes, 1))
    places = np.stack((azimuth, 0.0 * azimuth, np.full_like(azimuth, 1.0 / range_m)), -1)
    waves = LINE.steering(torch.from_numpy(places)).numpy()
    return Observation(normal(n_scenes, 50, 1) @ waves + 0.1 * normal(n_scenes, 50, 16), LINE), azimuth[:, 0]


@pytest.mark.parametrize("estimator", ["music", "mvdr", "beamformer"])
@pytest.mark.parametrize("range_m", [2.0, 50.0, np.inf])
def test_errors_of_peaks_are_as_stated(estimator: str, range_m: float) -> None:
    """Deviations of a maximum of the likelihood are less than a tenth of them."""
    observation, azimuth = far(30, range_m)
    found = located(observation, estimator, sources=1, elevation=0.0)
    errors = np.deg2rad(found["azimuth_deg"]) - azimuth
    stated = np.deg2rad(found["azimuth_std_deg"])
    assert np.sqrt(np.mean((errors / stated) ** 2)) < 1.5
    likeliest = np.deg2rad(located(observation, "ml", sources=1, elevation=0.0)["azimuth_std_deg"])
    assert np.sqrt(np.mean((errors / likeliest) ** 2)) > 1.5
    assert (np.isinf(found["range_m"]) | (range_m < 10.0)).all()


def test_the_deviation_of_a_peak_is_its_distance_from_the_maximum() -> None:
    observation, azimuth = far(3, 2.0)
    observation = replace(observation, stated=FieldOfView(elevation_deg=0.0).limits(LINE, 16))
    place = torch.tensor([[[one, 0.0, 0.5]] for one in azimuth], dtype=torch.float64)
    best = refine(observation, place, 40)
    at_best = covariance_of_peaks(observation, best.sources, 40)
    torch.testing.assert_close(at_best, likelihood_of(observation, best).covariance, rtol=1e-4, atol=1e-12)
    d = torch.tensor([0.004, 0.0, 0.01], dtype=torch.float64)
    beside = covariance_of_peaks(observation, best.sources + d, 40)
    torch.testing.assert_close(
        (beside - at_best)[:, 0], d[:, None] * d * torch.ones(3, 1, 1), rtol=0.05, atol=2e-7
    )


def test_a_scene_that_is_not_resolved_has_no_deviations_and_is_refined_from_the_search() -> None:
    """R_samp of `constant` sources has rank one."""
    scenes = make_scenes(WIDE, 2, 20.0, 4, "constant", sources=SPREAD_SOURCES[:2])
    peaks = located(scenes.observation, "music", sources=2)
    assert (
        (peaks.resolved == 0.0).all()
        and np.isnan(peaks["azimuth_std_deg"]).all()
        and np.isnan(peaks.robust).all()
    )
    refined, searched = (located(scenes.observation, name, sources=2) for name in ("music+ml", "ml"))
    assert (refined.resolved == 1.0).all() and (refined.robust == 0.0).all()

    def ordered(found: risolve.LocatedSources) -> np.ndarray:
        return np.sort(found["azimuth_deg"].reshape(4, 2))

    np.testing.assert_allclose(ordered(refined), ordered(searched), atol=1e-3)
