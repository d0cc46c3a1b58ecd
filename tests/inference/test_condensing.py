"""Few snapshots in place of many: the same residuals, places and counts."""

import numpy as np
import pytest
import torch

import risolve
from risolve.inference.condensing import condensed
from risolve.inference.likelihood import concentrated_residual
from risolve.physics.observation import Observation
from tests.worlds import WIDE, make_scenes

ARRAY = risolve.planar(4, 4, spacing=0.05, wavelength=0.1)
PLACES = torch.tensor([[0.4, -0.1, 2.0], [-0.3, 0.2, 1.0]], dtype=torch.float64)


def recorded(n_snapshots: int, n_sources: int, noise: float, noise_power: float | None = None) -> Observation:
    random = np.random.default_rng(7)

    def normal(*shape: int) -> np.ndarray:
        return (random.normal(size=shape) + 1j * random.normal(size=shape)) / 2.0**0.5

    wave = ARRAY.steering(PLACES[:n_sources]).numpy()
    y = normal(3, n_snapshots, n_sources) @ wave + noise * normal(3, n_snapshots, 16)
    return Observation(y, ARRAY, noise_power=noise_power)


def test_residuals_stay() -> None:
    seen = recorded(400, 2, 0.3)
    few = condensed(seen)
    assert (few.n_snapshots, few.n_recorded, seen.n_recorded) == (16, 400, 400)
    for n_sources in (1, 2):
        places = (PLACES[:n_sources] + 0.05).expand(3, -1, -1)
        present = torch.ones((3, n_sources), dtype=torch.bool)
        torch.testing.assert_close(
            concentrated_residual(few, places, present),
            concentrated_residual(seen, places, present),
            rtol=1e-10,
            atol=0.0,
        )


@pytest.mark.parametrize("noise_power", [None, 0.09])
@pytest.mark.parametrize("estimator", ["ml", "ml_unconditional", "nomp"])
def test_places_and_counts_are_those_of_all_snapshots(
    estimator: str, noise_power: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = recorded(60, 2, 0.3, noise_power)
    found = risolve.locate(seen, estimator=estimator, range=(0.2, 10.0))
    for module in ("estimators.searching", "estimators.counted", "inference.rivals"):
        monkeypatch.setattr(f"risolve.{module}.condensed", lambda observation: observation)
    whole = risolve.locate(seen, estimator=estimator, range=(0.2, 10.0))
    assert found.scenes.tolist() == whole.scenes.tolist() == [[0, 0, 2], [0, 1, 2], [0, 2, 2]]
    for name, deviation in (
        ("azimuth_deg", "azimuth_std_deg"),
        ("elevation_deg", "elevation_std_deg"),
        ("inverse_range_per_m", "inverse_range_std_per_m"),
    ):
        assert (np.abs(found[name] - whole[name]) < 0.01 * found[deviation]).all()
    np.testing.assert_allclose(found["log_likelihood"], whole["log_likelihood"], rtol=1e-6)
    np.testing.assert_allclose(found["azimuth_std_deg"], whole["azimuth_std_deg"], rtol=1e-3)


def test_noise_alone_is_counted_by_the_snapshots_recorded() -> None:
    """In 60 scenes of noise a source is counted at most now and then, as the false alarm of 1 % says."""
    random = np.random.default_rng(11)
    noise = random.normal(size=(2, 60, 200, 16))
    empty = risolve.locate(Observation(noise[0] + 1j * noise[1], ARRAY))
    assert (empty.scenes[:, 2] > 0).sum() <= 3


def test_what_codes_or_models_tell_apart_stays() -> None:
    coded = make_scenes(WIDE, 1, 20.0, 2).observation
    assert condensed(coded) is coded
    constant = Observation(recorded(40, 1, 0.1).snapshots, ARRAY, source_model="constant")
    assert condensed(constant) is constant
    few = recorded(16, 1, 0.1)
    assert condensed(few) is few
