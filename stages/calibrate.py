"""Reads data/models/covariance.pt, and scenes and covariances of the validation splits; writes
data/calibration/learned.pt: the network with the rule by which it counts sources.
"""

import functools
from dataclasses import dataclass
from pathlib import Path

import torch

from stages.artifacts import estimator_setup, grid_setup
from stages.artifacts.covariance_file import Covariances, read_covariances, require_maps
from stages.artifacts.entry import run
from stages.artifacts.errors import MeasurementError
from stages.artifacts.evidence_file import KnownCounts, read_evidence, write_evidence
from stages.artifacts.hdf5 import shard_name, shard_paths
from stages.artifacts.measurements_file import read_observation, read_truth
from stages.artifacts.network_file import MODEL_SECTIONS, read_network, write_network
from stages.artifacts.params_file import read_params
from stages.artifacts.shards import make_shards
from stages.artifacts.state import discard, publish, work_directory, work_key
from stages.estimators.learned import LearnedEstimator
from stages.networks.counting import Evidence, fitted_rule
from stages.networks.trained import TrainedNetwork
from stages.params import VALIDATION_SPLITS, Params, Split
from stages.physics.observation import Observation

_NETWORK = Path("data/models/covariance.pt")


def calibrate(
    observation: Observation, covariances: Covariances, network: TrainedNetwork, estimator: LearnedEstimator
) -> Evidence:
    """What network and likelihood say of every count of some scenes."""
    maps = covariances.maps
    prediction = network.predict(maps.values, maps.estimated_snr, observation.source_model)
    return estimator.evidence(observation, prediction)


@dataclass(frozen=True)
class Batch:
    """Scenes of one validation split."""

    split: Split
    first: int
    last: int


def plan(params: Params) -> tuple[Batch, ...]:
    """Batches of at most evaluate.batch_size scenes."""
    size = params.evaluate.batch_size
    return tuple(
        Batch(split, first, min(first + size, params.simulate.split(split).n_scenes))
        for split in VALIDATION_SPLITS
        for first in range(0, params.simulate.split(split).n_scenes, size)
    )


@functools.lru_cache(maxsize=1)
def _bench(params: Params, root: Path) -> tuple[TrainedNetwork, LearnedEstimator]:
    """Read once by every process."""
    network = read_network(root / _NETWORK, params)
    estimator = LearnedEstimator("learned", grid_setup.grid(params), estimator_setup.settings(params))
    return network, estimator


def _make_batch(params: Params, root: Path, batches: tuple[Batch, ...], number: int, path: Path) -> None:
    batch = batches[number]
    network, estimator = _bench(params, root)
    scenes = torch.arange(batch.first, batch.last)
    observation = read_observation(root / "data/scenes" / batch.split)
    covariances = read_covariances(root / "data/covariances" / batch.split)
    truth = read_truth(root / "data/scenes" / batch.split)
    n_scenes = params.simulate.split(batch.split).n_scenes
    for kind, held in (("scenes", truth.n_scenes), ("covariances", covariances.n_scenes)):
        if held != n_scenes:
            raise MeasurementError(
                f"data/{kind}/{batch.split}: simulate.{batch.split} of params.yaml has {n_scenes} scenes, "
                f"got {held}; run `simulate` and `normalize` again"
            )
    shape = (params.grid.n_w, params.grid.n_v, params.grid.n_u)
    source = f"data/covariances/{batch.split}"
    require_maps(covariances.maps, shape, params.normalize.map_iterations, source)
    evidence = calibrate(observation.select(scenes), covariances.select(scenes), network, estimator)
    write_evidence(path, KnownCounts(evidence, truth.n_sources[scenes]))


def main() -> None:
    """python -m stages.calibrate"""
    params, root = read_params(), Path.cwd()
    _bench.cache_clear()
    network, _ = _bench(params, root)
    batches = plan(params)
    inputs = [root / _NETWORK]
    for split in VALIDATION_SPLITS:
        inputs += shard_paths(root / "data/scenes" / split, f"run `simulate --split {split}` first")
        inputs += shard_paths(root / "data/covariances" / split, f"run `normalize --split {split}` first")
    sections = params.model_dump(
        mode="json", include={**MODEL_SECTIONS, "estimators": True, "evaluate": {"batch_size"}}
    )
    make = functools.partial(_make_batch, params, root, batches)
    with work_directory("calibrate", work_key(sections, inputs)) as work:
        make_shards(make, len(batches), work, params.evaluate.workers, 2, "calibrate", "batches")
        known = read_evidence([work / shard_name(number) for number in range(len(batches))])
        rule = fitted_rule(known.evidence, known.n_sources)
        calibration = work / "calibration"
        calibration.mkdir(exist_ok=True)
        write_network(calibration / "learned.pt", network.network.state_dict(), rule, params)
        publish(calibration, root / "data/calibration")
        discard(work)


if __name__ == "__main__":
    run(main)
