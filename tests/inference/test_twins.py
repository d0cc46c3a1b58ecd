"""Two sources that are none: nearly opposite, and nowhere near what they make together."""

import numpy as np
import pytest
import torch

import risolve
from risolve.inference.likelihood import refine
from risolve.inference.twins import has_twins
from risolve.physics.observation import Observation

LINE = risolve.linear(8, 0.05, 0.1)


def of_phases(n_scenes: int) -> Observation:
    """One source at 20 dB, antennas of phases of 20 degrees."""
    random = np.random.default_rng(7)

    def normal(*shape: int) -> np.ndarray:
        return (random.standard_normal(shape) + 1j * random.standard_normal(shape)) / 2**0.5

    azimuth = random.uniform(-0.9, 0.9, (n_scenes, 1))
    sources = torch.from_numpy(np.stack((azimuth, 0.0 * azimuth, np.full_like(azimuth, 0.5)), -1))
    phases = np.exp(1j * np.deg2rad(20.0) * random.standard_normal((n_scenes, 1, 8)))
    waves = LINE.steering(sources).numpy()
    return Observation(phases * (normal(n_scenes, 64, 1) @ waves) + 0.1 * normal(n_scenes, 64, 8), LINE)


@pytest.mark.parametrize("model", ["independent", "constant"])
@pytest.mark.parametrize(
    ("apart", "opposite", "twins"), [(0.02, True, True), (0.02, False, False), (0.6, True, False)]
)
def test_twins_cancel(model: str, apart: float, opposite: bool, twins: bool) -> None:
    """Their powers against the power of their sum, number by number."""
    places = torch.tensor([[[0.1, 0.0, 0.2], [0.1 + apart, 0.0, 0.2], [-0.8, 0.0, 0.2]]], dtype=torch.float64)
    waves = LINE.steering(places)[0].numpy()
    s = np.array([[1.0, -1.0 if opposite else 1.0, 0.3]]) * np.exp(
        1j * np.array([[0.3], [1.1], [2.0], [2.5]])
    )
    s = s if model == "independent" else s[:1].repeat(4, 0)
    fit = refine(Observation((s @ waves)[None], LINE, source_model=model), places, 0)
    np.testing.assert_allclose(fit.amplitudes[0].numpy(), s, rtol=1e-6)
    powers = (np.abs(s[:, :2, None] * waves[:2]) ** 2).sum()
    together = (np.abs(s[:, :2] @ waves[:2]) ** 2).sum()
    assert (powers > 10.0 * together) == twins
    assert has_twins(Observation((s @ waves)[None], LINE, source_model=model), fit).tolist() == [twins]


def test_counting_stops_before_them() -> None:
    with pytest.warns(UserWarning) as said:
        found = risolve.locate(of_phases(20), elevation=0.0, range=(0.5, 20.0))
    stopped = found.resolved == 0.0
    assert stopped.any() and (found.scenes[stopped, 2] >= 1).all()
    remarks = [str(one.message) for one in said]
    assert any(
        f"in {int(stopped.sum())} scenes, the first {int(np.argmax(stopped))}" in one for one in remarks
    )
