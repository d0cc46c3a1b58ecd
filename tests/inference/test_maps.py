"""What the network reads, of both source models and with the noise power stated or not."""

from dataclasses import replace

import pytest
import torch

from risolve.inference.grid import grid_steering, search_grid
from risolve.inference.maps import MapSettings, fit_maps
from risolve.inference.noise import estimated_noise_power
from risolve.inference.sparse_fit import sparse_fit_maps
from risolve.physics.observation import Observation, SourceModel, estimated_snr
from tests.tolerances import SINGLE
from tests.worlds import FIELD_OF_VIEW, WIDE, make_observation, make_scenes, scaled

MODELS: tuple[SourceModel, ...] = ("independent", "constant")
GRID = search_grid(9, 5, 3, FIELD_OF_VIEW.azimuth, FIELD_OF_VIEW.elevation, FIELD_OF_VIEW.range)
SETTINGS = MapSettings(GRID, (0, 1))


def unstated(observation: Observation) -> Observation:
    return replace(observation, noise_power=None)


@pytest.mark.parametrize("source_model", MODELS)
def test_are_the_sparse_fit_and_the_estimated_snr(source_model: SourceModel) -> None:
    observation = make_observation(WIDE, 2, 5.0, 3, source_model)
    found = fit_maps(observation, SETTINGS)
    wave = grid_steering(GRID, observation.array)
    assert torch.equal(found.values, sparse_fit_maps(observation, wave, (0, 1)))
    assert torch.equal(found.estimated_snr, estimated_snr(observation).float())


@pytest.mark.parametrize("source_model", MODELS)
def test_a_noise_power_that_is_not_stated_is_the_estimated_one_for_map_and_snr(
    source_model: SourceModel,
) -> None:
    observation = make_observation(WIDE, 2, 5.0, 3, source_model)
    stated = replace(observation, noise_power=estimated_noise_power(unstated(observation)))
    found, expected = fit_maps(unstated(observation), SETTINGS), fit_maps(stated, SETTINGS)
    assert torch.equal(found.values, expected.values)
    assert torch.equal(found.estimated_snr, expected.estimated_snr)
    assert not torch.equal(found.estimated_snr, fit_maps(observation, SETTINGS).estimated_snr)


@pytest.mark.parametrize("n_sources", [0, 2])
@pytest.mark.parametrize("factor", [1e-8, 1e8, 3e-5 + 4e-5j])
@pytest.mark.parametrize("is_stated", [True, False])
@pytest.mark.parametrize("source_model", MODELS)
def test_scale_changes_nothing(
    source_model: SourceModel, is_stated: bool, factor: complex, n_sources: int
) -> None:
    observation = make_observation(WIDE, n_sources, 10.0, 3, source_model)
    observation = observation if is_stated else unstated(observation)
    expected, found = fit_maps(observation, SETTINGS), fit_maps(scaled(observation, factor), SETTINGS)
    assert expected.values.isfinite().all()
    largest = float(expected.values.max())
    torch.testing.assert_close(found.values, expected.values, rtol=1e-3, atol=SINGLE * largest)
    torch.testing.assert_close(found.estimated_snr, expected.estimated_snr, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("snr_db", [10.0, 40.0])
@pytest.mark.parametrize("source_model", MODELS)
def test_the_first_map_peaks_at_a_source_whose_noise_nobody_states(
    source_model: SourceModel, snr_db: float
) -> None:
    place = GRID.sources[60]
    scenes = make_scenes(WIDE, 1, snr_db, 4, source_model, sources=[tuple(place.tolist())])
    found = fit_maps(unstated(scenes.observation), SETTINGS)
    assert (found.values[:, 0].argmax(-1) == 60).all()
