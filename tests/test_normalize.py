"""The shared normalization stage: files with trace N, maps, and clear words about bad scenes."""

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from risolve.covariance import sample_covariance
from risolve.errors import MeasurementError
from risolve.files.covariances import read_covariances
from risolve.files.measurements import read_observation, read_truth
from risolve.files.model_grid import grid
from risolve.inference.grid import grid_steering
from risolve.inference.noise import estimated_noise_power
from risolve.inference.sparse_fit import sparse_fit_maps
from risolve.physics.observation import estimated_snr
from stages import normalize as normalize_verb
from stages import simulate as simulate_verb
from stages.params.file import read_params
from tests import tolerances
from tests.messages import shows
from tests.tiny_run import call_verb, write_params
from tests.worlds import scaled

SPLITS = ("train", "train_constant", "test_constant")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("run")
    write_params(directory, {"normalize.map_iterations": [0, 2]})
    for split in SPLITS:
        call_verb(directory, simulate_verb.main, "--split", split)
        call_verb(directory, normalize_verb.main, "--split", split)
    return directory


@pytest.mark.parametrize("split", SPLITS)
def test_laws_of_the_stored_covariances(finished: Path, split: str) -> None:
    found = read_covariances(finished / "data/covariances" / split)
    covariance = sample_covariance(found.factor)
    n = float(covariance.n_elements)
    energy = found.factor.abs().square().sum((1, 2))
    torch.testing.assert_close(energy, torch.full_like(energy, n), rtol=tolerances.TRACE, atol=0.0)
    norm = covariance.frobenius_norm()
    assert (norm >= n**0.5 * (1.0 - tolerances.TRACE)).all()
    assert (norm <= n * (1.0 + tolerances.TRACE)).all()
    rank = torch.linalg.matrix_rank(covariance.dense(), rtol=1e-4)
    assert int(rank.max()) == (1 if split.endswith("constant") else 6)


@pytest.mark.parametrize("split", SPLITS)
def test_files_hold_what_the_functions_make(finished: Path, split: str) -> None:
    params = read_params(finished / "params.yaml")
    for path in sorted((finished / "data/scenes" / split).iterdir()):
        observation = read_observation(path, False)
        found = read_covariances(finished / "data/covariances" / split / path.name)
        assert found.source_model == observation.source_model
        assert torch.equal(found.maps.estimated_snr, estimated_snr(observation).float())
        assert (found.maps.iterations, found.maps.grid_shape) == ((0, 2), (3, 5, 7))
        steering = grid_steering(grid(params.of_model()), observation.array)
        assert torch.equal(found.maps.values, sparse_fit_maps(observation, steering, (0, 2)))


@pytest.mark.parametrize("split", SPLITS)
def test_scenes_without_sources_are_normalized_like_the_others(finished: Path, split: str) -> None:
    """Noise of power 1 alone; K = 0 is among the scenes of every one of these splits."""
    truth = read_truth(finished / "data/scenes" / split)
    empty = truth.n_sources == 0
    assert 0 < int(empty.sum()) < truth.n_scenes
    observation = read_observation(finished / "data/scenes" / split, False)
    assert observation.noise_power is not None
    assert torch.equal(observation.noise_power[empty], torch.ones(int(empty.sum()), dtype=torch.float64))
    assert bool((observation.noise_power[~empty] != 1.0).all())
    found = read_covariances(finished / "data/covariances" / split)
    assert bool(torch.view_as_real(found.factor[empty]).isfinite().all())
    assert bool(found.maps.values[empty].isfinite().all())


def test_factors_of_constant_sources_have_one_row(finished: Path) -> None:
    found = read_covariances(finished / "data/covariances/test_constant")
    assert found.source_model == "constant"
    assert found.factor.shape == (6, 1, 15)


@pytest.mark.parametrize("split", SPLITS)
def test_the_noise_power_is_estimated_where_it_is_not_known(finished: Path, split: str) -> None:
    params = read_params(finished / "params.yaml")
    known = read_observation(finished / "data/scenes" / split, False)
    unknown = replace(known, noise_power=None)
    found = normalize_verb.normalize(unknown, params)
    stated = replace(known, noise_power=estimated_noise_power(unknown))
    expected = normalize_verb.normalize(stated, params)
    assert torch.equal(found.maps.values, expected.maps.values)
    assert torch.equal(found.maps.estimated_snr, expected.maps.estimated_snr)
    assert torch.equal(found.factor, normalize_verb.normalize(known, params).factor)


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("factor", [1e-8, 1e-4, 3.0 - 4.0j, 1e8])
def test_scale_of_the_snapshots_changes_nothing(finished: Path, split: str, factor: complex) -> None:
    params = read_params(finished / "params.yaml")
    observation = read_observation(finished / "data/scenes" / split, False)
    expected = normalize_verb.normalize(observation, params)
    found = normalize_verb.normalize(scaled(observation, factor), params)
    close = {"rtol": tolerances.SINGLE, "atol": 1e-4}
    torch.testing.assert_close(
        sample_covariance(found.factor).dense(), sample_covariance(expected.factor).dense(), **close
    )
    torch.testing.assert_close(found.maps.estimated_snr, expected.maps.estimated_snr, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.maps.values, expected.maps.values, rtol=1e-3, atol=1e-5)


def test_bad_scenes_are_named_and_earlier_results_stay(finished: Path, tmp_path: Path) -> None:
    write_params(tmp_path)
    with pytest.raises(
        MeasurementError, match=shows("data/scenes/train: ... shard-*.h5; ... `simulate --split train`")
    ):
        call_verb(tmp_path, normalize_verb.main, "--split", "train")
    call_verb(tmp_path, simulate_verb.main, "--split", "train")
    call_verb(tmp_path, normalize_verb.main, "--split", "train")
    results = {path: path.read_bytes() for path in (tmp_path / "data/covariances/train").iterdir()}
    shard = tmp_path / "data/scenes/train/shard-0001.h5"
    for value, message in (
        (0.0, "shard-0001.h5: scene 2: snapshots: ... zero"),
        (np.nan, "shard-0001.h5: scene 2: snapshots: ... of"),
    ):
        with h5py.File(shard, "r+") as file:
            file["snapshots"][2] = value
        with pytest.raises(MeasurementError, match=shows(message)):
            call_verb(tmp_path, normalize_verb.main, "--split", "train")
    shard.write_bytes(shard.read_bytes()[:5000])
    with pytest.raises(MeasurementError, match=r"shard-0001\.h5: truncated"):
        call_verb(tmp_path, normalize_verb.main, "--split", "train")
    assert {path: path.read_bytes() for path in (tmp_path / "data/covariances/train").iterdir()} == results
