"""Places that answer alike: those of a sparse lattice are known from its geometry."""

import math
import warnings

import numpy as np
import pytest
import torch
from torch import Tensor

import risolve
from risolve.field import FieldOfView
from risolve.inference.assessment import log_likelihood
from risolve.inference.grid import grid_for
from risolve.inference.likelihood import concentrated_residual, refine
from risolve.inference.rivals import rivals
from risolve.physics.geometry import radians
from risolve.physics.observation import Observation
from tests.messages import shows
from tests.worlds import DEFAULT, SPREAD_SOURCES, make_scenes

SPARSE = risolve.planar(6, 6, spacing=0.1, wavelength=0.1)
GRID = grid_for(SPARSE, radians((-60.0, 60.0)), radians((-30.0, 30.0)), (1.0, math.inf))
ALIASED = torch.tensor([[math.radians(40.0), 0.0, 0.0]], dtype=torch.float64)
ALONE = torch.tensor([[0.05, 0.0, 0.0]], dtype=torch.float64)
"""The shifts of u by one, the period of the lattice, lead to 72 degrees and more, beyond the limits."""

ONE = torch.ones((1, 1), dtype=torch.bool)
LIMITS = FieldOfView((-60.0, 60.0), (-30.0, 30.0)).limits(SPARSE, SPARSE.n_elements)


def observed(places: Tensor, noise: float, source_model: str = "independent") -> Observation:
    """Scenes of NaN-padded places within the limits."""
    random, n_snapshots = np.random.default_rng(3), 20
    shape = (len(places), n_snapshots if source_model == "independent" else 1, places.shape[1])
    amplitude = np.exp(2j * np.pi * random.random(shape)) * ~places[..., 0].isnan()[:, None].numpy()
    wave = SPARSE.steering(places.nan_to_num()).numpy()
    numbers = random.normal(size=(2, len(places), n_snapshots, SPARSE.n_elements))
    spread = noise / 2.0**0.5 * (numbers[0] + 1j * numbers[1])
    return risolve.Observation(amplitude @ wave + spread, SPARSE, None, None, source_model, noise**2, LIMITS)


@pytest.mark.parametrize("source_model", ["independent", "constant"])
def test_a_lattice_a_wavelength_apart_has_a_rival_one_period_away(source_model: str) -> None:
    seen = observed(ALIASED[None], 0.1, source_model=source_model)
    found = rivals(seen, ALIASED[None], GRID, 40)
    azimuth, elevation, _ = found.places[0, 0].tolist()
    assert math.sin(azimuth) == pytest.approx(math.sin(math.radians(40.0)) - 1.0, abs=0.005)
    assert math.degrees(elevation) == pytest.approx(0.0, abs=0.3)
    assert abs(float(found.below[0, 0])) < 5.0
    here, there = (
        log_likelihood(seen, concentrated_residual(seen, places, ONE))
        for places in (refine(seen, ALIASED[None], 40).sources, found.places)
    )
    torch.testing.assert_close(found.below[0], here - there)


def test_what_is_unambiguous_has_no_rival_or_an_unlikely_one() -> None:
    seen = observed(ALONE[None], 0.1)
    none = rivals(seen, ALONE[None], GRID, 40)
    # the flank of the lobe one period away, at the limit of -60 degrees
    assert float(none.below[0, 0]) > 1e3
    scenes = make_scenes(DEFAULT, 3, 10.0, 4, sources=SPREAD_SOURCES[:3])
    grid = grid_for(scenes.observation.array, radians((-60.0, 60.0)), radians((-30.0, 30.0)), (0.5, 10.0))
    through_codes = rivals(scenes.observation, scenes.sources[:, :3], grid, 40)
    assert not bool((through_codes.below < 7.0).any())


def test_each_source_has_the_rival_of_its_own() -> None:
    """Scenes of one, two and no source beside each other: one aliased, one not."""
    empty = torch.full((1, 3), torch.nan, dtype=torch.float64)
    places = torch.stack(
        (torch.cat((ALONE, ALIASED)), torch.cat((empty, ALIASED)), torch.cat((empty, empty))), 0
    )
    seen = observed(places, 0.05)
    found = rivals(seen, places, GRID, 40)
    assert (found.below < 7.0).tolist() == [[False, True], [False, True], [False, False]]
    assert found.below.isnan().tolist()[1:] == [[True, False], [True, True]]
    assert torch.rad2deg(found.places[:2, 1, 0]).tolist() == pytest.approx([-20.9, -20.9], abs=0.3)


def test_limits_leave_no_rival_beyond_them() -> None:
    seen = observed(ALIASED[None], 0.1)
    with pytest.warns(UserWarning, match=shows("ambiguous ... 0 ... rival_azimuth_deg")):
        found = risolve.locate(seen, sources=1, range=np.inf)
    below = found["log_likelihood"] - found["rival_log_likelihood"]
    assert {round(float(found[name][0])) for name in ("azimuth_deg", "rival_azimuth_deg")} == {40, -21}
    assert -1e-6 <= float(below[0]) < 5.0 and np.isinf(found["rival_range_m"][0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        narrow = risolve.locate(seen, sources=1, azimuth=(0, 60), range=np.inf)
    assert np.isnan(narrow["rival_azimuth_deg"]).all()


def test_a_likelihood_of_gaussian_amplitudes_is_not_taken_for_one_of_free_ones() -> None:
    scenes = make_scenes(DEFAULT, 3, 10.0, 4, sources=SPREAD_SOURCES[:3])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = risolve.locate(scenes.observation, sources=3, estimator="ml_unconditional")
    below = found["log_likelihood"] - found["rival_log_likelihood"]
    assert np.isfinite(below).any()
    assert not (below < 30.0).any()
