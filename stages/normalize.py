"""Reads params.yaml, data/scenes/SPLIT; writes covariance factors and maps, data/covariances/SPLIT."""

import functools
from pathlib import Path

from torch.linalg import LinAlgError  # type: ignore[attr-defined]

from stages.artifacts import grid_setup
from stages.artifacts.covariance_file import Covariances, Maps, write_covariances
from stages.artifacts.entry import run, split_argument
from stages.artifacts.errors import MeasurementError
from stages.artifacts.hdf5 import shard_name, shard_paths
from stages.artifacts.measurements_file import read_observation
from stages.artifacts.params_file import read_params, sections
from stages.artifacts.shards import make_shards
from stages.artifacts.state import publish, work_directory, work_key
from stages.covariance import sample_factor
from stages.inference.maps import MapSettings, fit_maps
from stages.params import SPLITS, Params
from stages.physics.observation import Observation

READS = (
    *("array.spherical_amplitude", "sources.azimuth_deg", "sources.elevation_deg", "sources.range_m"),
    *("grid", "covariance.ls_ridge", "normalize"),
)


def normalize(observation: Observation, params: Params) -> Covariances:
    """Normalized sample covariance factors, and the maps that the network reads."""
    settings = MapSettings(
        grid_setup.grid(params), params.normalize.map_iterations, params.array.spherical_amplitude
    )
    values, snr = fit_maps(observation, settings)
    maps = Maps(values, snr, settings.iterations, settings.grid.shape)
    factor = sample_factor(observation, params.covariance.ls_ridge)
    return Covariances(factor, observation.source_model, maps)


def _make_shard(params: Params, scenes: Path, number: int, path: Path) -> None:
    source = scenes / shard_name(number)
    try:
        covariances = normalize(read_observation(source), params)
    except ValueError as error:
        raise MeasurementError(f"{source}: {error}") from error
    except LinAlgError as error:
        raise MeasurementError(
            f"{source}: channel, codes, snapshots: the matrices of H diag(c) and of the fit are "
            f"positive definite; look for channels or codes of zeros and for vanishing powers ({error})"
        ) from error
    write_covariances(path, covariances)


def main() -> None:
    """python -m stages.normalize --split SPLIT"""
    split = split_argument("normalize", __doc__, SPLITS)
    params = read_params()
    scenes = Path("data/scenes") / split
    shards = shard_paths(scenes, f"run `simulate --split {split}` first")
    make = functools.partial(_make_shard, params, scenes)
    key = work_key("stages.normalize", sections(params, READS), shards)
    with work_directory(f"normalize-{split}", key) as work:
        make_shards(make, len(shards), work, params.simulate.workers, 4, f"normalize {split}", "shards")
        publish(work, Path("data/covariances") / split)


if __name__ == "__main__":
    run(main)
