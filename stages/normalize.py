"""Reads params.yaml, data/scenes/SPLIT; writes covariance factors and maps, data/covariances/SPLIT."""

import functools
from pathlib import Path

from torch.linalg import LinAlgError  # type: ignore[attr-defined]

from risolve.covariance import sample_factor
from risolve.errors import MeasurementError
from risolve.files import model_grid
from risolve.files.covariances import Covariances, Maps, write_covariances
from risolve.files.hdf5 import shard_name, shard_paths
from risolve.files.measurements import read_observation
from risolve.inference.maps import MapSettings, fit_maps
from risolve.physics.observation import Observation
from risolve.running.shards import make_shards
from risolve.running.work import work_key
from stages.params.file import read_params, sections
from stages.params.model import SPLITS, Params
from stages.running.state import publish, work_directory
from stages.running.verb import run_verb, split_argument

READS = (
    *("array.spherical_amplitude", "sources.azimuth_deg", "sources.elevation_deg", "sources.range_m"),
    *("grid", "covariance.ls_ridge", "normalize"),
)


def normalize(observation: Observation, params: Params) -> Covariances:
    """Normalized sample covariance factors, and the maps that the network reads."""
    settings = MapSettings(model_grid.grid(params.of_model()), params.normalize.map_iterations)
    values, snr = fit_maps(observation, settings)
    maps = Maps(values, snr, settings.iterations, settings.grid.shape)
    factor = sample_factor(observation, params.covariance.ls_ridge)
    return Covariances(factor, observation.source_model, maps)


def _make_shard(params: Params, scenes: Path, number: int, path: Path) -> None:
    source = scenes / shard_name(number)
    try:
        covariances = normalize(read_observation(source, params.array.spherical_amplitude), params)
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
    run_verb(main)
