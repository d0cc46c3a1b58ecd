"""Deviations where the model does not fit: against sums antenna by antenna, and against errors."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch

import risolve
from risolve.field import FieldOfView
from risolve.inference.projection import project
from risolve.inference.robust import robust_covariance
from risolve.physics.observation import Observation

LINE = risolve.linear(8, 0.05, 0.1)


def seen(
    n_scenes: int, places: np.ndarray, model: str = "independent", phases_deg: float = 0.0
) -> Observation:
    """Sources at (azimuth (rad), inverse range) of 16 snapshots at 20 dB, phases of the antennas beside."""
    random = np.random.default_rng(5)

    def normal(*shape: int) -> np.ndarray:
        return (random.standard_normal(shape) + 1j * random.standard_normal(shape)) / 2**0.5

    K = places.shape[1]
    sources = torch.from_numpy(np.stack((places[..., 0], 0.0 * places[..., 0], places[..., 1]), -1))
    waves = LINE.steering(sources).numpy()
    amplitudes = normal(n_scenes, 16 if model == "independent" else 1, K)
    phases = np.exp(1j * np.deg2rad(phases_deg) * random.standard_normal((n_scenes, 1, 8)))
    return Observation(
        phases * (amplitudes @ waves) + 0.1 * normal(n_scenes, 16, 8), LINE, source_model=model
    )


def located(observation: Observation) -> risolve.LocatedSources:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return risolve.locate(observation, sources=1, elevation=0.0, range=(0.5, 20.0))


@pytest.mark.parametrize("model", ["independent", "constant"])
def test_it_is_the_sum_over_antennas(model: str) -> None:
    places = np.array([[[0.2, 0.5]], [[-0.4, 0.3]]])
    found = located(seen(2, places, model, 20.0))
    observation = found.observation.to(torch.complex128)
    at = np.stack((np.deg2rad(found["azimuth_deg"]), [0.0, 0.0], found["inverse_range_per_m"]), -1)
    sources = torch.from_numpy(at)[:, None]
    none = torch.diag(torch.tensor([1e-30, 0.0, 1e-30], dtype=torch.float64)).expand(2, 1, 3, 3)
    result = robust_covariance(observation, sources, none)
    for scene in range(2):
        y = observation.snapshots[scene].numpy()
        here, step = sources[scene, 0].numpy(), 1e-6
        b = LINE.steering(sources[scene]).numpy()[0]
        slopes = []
        for axis in (0, 2):
            moved = np.eye(3)[axis] * step
            up, down = (LINE.steering(torch.from_numpy((here + s * moved)[None])).numpy()[0] for s in (1, -1))
            slopes.append((up - down) / (2 * step))
        s = y @ b.conj() / np.vdot(b, b).real
        if model == "constant":
            s = np.full_like(s, s.mean())
        H, B = np.zeros((2, 2)), np.zeros((2, 2))
        outside = [d - b * np.vdot(b, d) / np.vdot(b, b) for d in slopes]
        for m in range(8):
            g = np.zeros(2)
            for t in range(16):
                left = y[t, m] - s[t] * b[m]
                V = np.array([s[t] * d[m] for d in outside])
                g += (V.conj() * left).real
                H += np.outer(V.conj(), V).real
            B += np.outer(g, g)
        expected = 8 / 6 * np.linalg.inv(H) @ B @ np.linalg.inv(H)
        own = result[scene, 0].numpy()[np.ix_([0, 2], [0, 2])]
        np.testing.assert_allclose(own, expected, rtol=1e-5)
        assert (result[scene, 0, 1] == 0.0).all()


def test_it_is_no_less_than_what_is_stated() -> None:
    places = np.array([[[0.2, 0.5], [-0.5, 0.4]]] * 4)
    stated = FieldOfView(elevation_deg=0.0).limits(LINE, 8)
    observation = replace(seen(4, places, phases_deg=20.0).to(torch.complex128), stated=stated)
    sources = torch.from_numpy(np.stack((places[..., 0], 0.0 * places[..., 0], places[..., 1]), -1))
    spread = torch.tensor([[2.0, 0.0, 0.3], [0.0, 0.0, 0.0], [0.3, 0.0, 1.0]], dtype=torch.float64)
    small, large = (factor * spread.expand(4, 2, 3, 3) for factor in (1e-9, 1e9))
    torch.testing.assert_close(robust_covariance(observation, sources, large), large, rtol=1e-9, atol=0.0)
    more = robust_covariance(observation, sources, small)
    assert (torch.linalg.eigvalsh(more - small)[..., 0] > -1e-12).all()
    assert (more.diagonal(dim1=-2, dim2=-1)[..., 0] > 1e2 * small[..., 0, 0]).all()
    unknown = small.clone()
    unknown[2, 1] = torch.nan
    kept = robust_covariance(observation, sources, unknown)
    assert kept[2, 1].isnan().all() and torch.equal(kept[2, 0], more[2, 0])
    without_range = small.clone()
    without_range[1, 0, 2], without_range[1, 0, :, 2] = torch.nan, torch.nan
    kept = robust_covariance(observation, sources, without_range)[1, 0]
    assert kept[2].isnan().all() and kept[0, 0] > 1e2 * small[1, 0, 0, 0]


def test_deviations_hold_where_antennas_have_phases() -> None:
    """Of a true model they are a third of the errors."""
    random = np.random.default_rng(6)
    places = np.stack((random.uniform(-0.9, 0.9, (40, 1)), random.uniform(0.1, 1.0, (40, 1))), -1)
    observation = seen(40, places, phases_deg=20.0)
    found = located(observation)
    assert (found.robust == (found.fits < 0.001)).all() and found.robust.mean() > 0.8
    errors = found["azimuth_deg"] - np.rad2deg(places[:, 0, 0])
    own = found.robust == 1.0
    assert np.sqrt(np.mean((errors / found["azimuth_std_deg"])[own] ** 2)) < 1.7
    sources = np.stack((np.deg2rad(found["azimuth_deg"]), 0 * errors, found["inverse_range_per_m"]), -1)
    fit = project(found.observation.to(torch.complex128), torch.from_numpy(sources)[:, None])
    information = 2.0 * fit.curvature[:, 0, 0] / (fit.residual / 112.0)
    assert np.sqrt(np.mean((np.deg2rad(errors) ** 2 * information.numpy())[own])) > 3.0
    clean = located(seen(40, places))
    assert not clean.robust.any()
