from dataclasses import replace
from pathlib import Path

import h5py
import pytest
import torch

from risolve.covariance import sample_covariance, sample_factor
from risolve.errors import MeasurementError
from risolve.files.covariances import Covariances, Maps, read_covariances, write_covariances
from risolve.files.hdf5 import shard_name
from tests import tolerances
from tests.messages import shows
from tests.worlds import SMALL, make_observation


def covariances(n_scenes: int = 4, seed: int = 1) -> Covariances:
    factor = sample_factor(make_observation(SMALL, 1, 10.0, n_scenes, seed=seed), 1e-3)
    random = torch.Generator().manual_seed(seed)
    values = torch.rand((n_scenes, 2, 12), generator=random)
    snr = values[:, 0, 0].clone()
    return Covariances(factor, "independent", Maps(values, snr, (0, 3), (3, 2, 2)))


def test_round_trip_over_shards(tmp_path: Path) -> None:
    parts = [covariances(4, 1), covariances(3, 2)]
    for number, part in enumerate(parts):
        write_covariances(tmp_path / shard_name(number), part)
    found = read_covariances(tmp_path)
    assert found.n_scenes == 7
    assert found.source_model == "independent"
    assert torch.equal(found.factor, torch.cat([p.factor for p in parts]))
    assert torch.equal(found.maps.values, torch.cat([p.maps.values for p in parts]))
    assert torch.equal(found.maps.estimated_snr, torch.cat([p.maps.estimated_snr for p in parts]))
    assert (found.maps.iterations, found.maps.grid_shape) == ((0, 3), (3, 2, 2))


def test_read_factor_makes_the_same_covariance(tmp_path: Path) -> None:
    """The stored factor has trace N already, and reading it changes no bit of the covariance."""
    written = covariances()
    write_covariances(tmp_path / "covariances.h5", written)
    found = sample_covariance(read_covariances(tmp_path / "covariances.h5").factor)
    expected = torch.full((4,), float(SMALL.n_elements))
    torch.testing.assert_close(found.trace(), expected, rtol=tolerances.TRACE, atol=0.0)
    assert torch.equal(found.dense(), sample_covariance(written.factor.contiguous()).dense())


@pytest.mark.parametrize("name", ["factor", "maps", "estimated_snr"])
def test_a_file_without_a_part_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "covariances.h5"
    write_covariances(path, replace(covariances(), source_model="constant"))
    assert read_covariances(path).source_model == "constant"
    with h5py.File(path, "r+") as file:
        del file[name]
    with pytest.raises(MeasurementError, match=shows(f"covariances.h5: {name}: missing")):
        read_covariances(path)


def test_wrong_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "covariances.h5"
    write_covariances(path, covariances())
    with h5py.File(path, "r+") as file:
        file.attrs["grid_shape"] = (3, 2, 3)
    with pytest.raises(MeasurementError, match=shows("maps: float32 [scene, 2, 18] ... got 12 ... axis 2")):
        read_covariances(path)
    with h5py.File(path, "r+") as file:
        file.attrs["grid_shape"] = "wide"
    with pytest.raises(MeasurementError, match=shows("attribute grid_shape: ... ['wide']")):
        read_covariances(path)
    with pytest.raises(MeasurementError, match=shows("gone.h5: ... `normalize`")):
        read_covariances(tmp_path / "gone.h5")


def test_files_with_other_maps_are_not_mixed(tmp_path: Path) -> None:
    one = covariances()
    write_covariances(tmp_path / shard_name(0), one)
    write_covariances(tmp_path / shard_name(1), replace(one, maps=replace(one.maps, iterations=(0, 6))))
    with pytest.raises(MeasurementError, match=shows("shard-0001.h5: attributes: ... (0, 3) ... (0, 6)")):
        read_covariances(tmp_path)
