"""Reads data/models/covariance.pt, and scenes and covariances of the validation splits; writes
data/calibration: learned.pt, the network with the rules by which it counts sources, the noise power told or
not, and with the weight of R_samp in the blend; blend.csv, the errors by that weight.
"""

import functools
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from risolve.covariance import NormalizedCovariance, blend, sample_covariance, true_covariance
from risolve.errors import MeasurementError
from risolve.estimators.learned import LearnedEstimator
from risolve.files import model_grid
from risolve.files.atomic import write_text
from risolve.files.covariances import Covariances, read_covariances, require_maps
from risolve.files.evidence import Known, read_evidence, write_evidence
from risolve.files.hdf5 import shard_name, shard_paths
from risolve.files.measurements import read_observation, read_truth
from risolve.files.model import read_network, write_network
from risolve.files.truth import Truth
from risolve.inference.maps import MapSettings, fit_maps
from risolve.networks.counting import fitted_rule
from risolve.networks.losses import covariance_errors
from risolve.networks.trained import Calibration, TrainedNetwork
from risolve.physics.observation import Observation
from risolve.running.shards import make_shards, one_thread
from risolve.running.work import work_key
from stages.params import estimators
from stages.params.file import read_params, sections
from stages.params.model import MODEL_READS, VALIDATION_SPLITS, Params, Split
from stages.running.state import discard, publish, work_directory
from stages.running.verb import run_verb

READS = (
    *MODEL_READS,
    *(f"simulate.{split}" for split in VALIDATION_SPLITS),
    *("estimators", "evaluate.batch_size"),
)

_NETWORK = Path("data/models/covariance.pt")

BETAS = tuple(n / 20 for n in range(21))
"""Weights of R_samp in the blend among which one is chosen."""


def calibrate(
    observation: Observation,
    covariances: Covariances,
    truth: Truth,
    network: TrainedNetwork,
    estimator: LearnedEstimator,
) -> Known:
    """What network and likelihood say of the counts of some scenes, the noise power told and not told, and
    the errors of R_blend.
    """
    maps = covariances.maps
    prediction = network.predict(maps.values, maps.estimated_snr, observation)
    unknown = replace(observation, noise_power=None)
    estimated = fit_maps(unknown, MapSettings(estimator.grid, maps.iterations))
    blind = network.predict(*estimated, unknown)

    present = torch.nonzero(truth.n_sources > 0).flatten()
    errors = torch.full((observation.n_scenes, len(BETAS)), torch.nan)
    errors[present] = blend_errors(
        prediction.covariance.select(present),
        sample_covariance(covariances.factor[present]),
        _true_covariance(truth, present, network),
        estimator.settings.diagonal_loading,
    )
    return Known(
        estimator.evidence(observation, prediction),
        estimator.evidence(unknown, blind),
        truth.n_sources,
        errors,
    )


def blend_errors(
    predicted: NormalizedCovariance, sample: NormalizedCovariance, truth: NormalizedCovariance, loading: float
) -> Float[Tensor, "scene beta"]:
    """`covariance_errors` of R_blend at every weight of `BETAS`: parabolas, which three weights tell."""
    blends = [blend(predicted, sample, beta, loading) for beta in (0.0, 0.5, 1.0)]
    told = torch.stack([covariance_errors(own, own.squared_norms(), truth) for own in blends], dim=-1)
    beta = told.new_tensor(BETAS)
    parts = ((1.0 - beta) * (1.0 - 2.0 * beta), 4.0 * beta * (1.0 - beta), beta * (2.0 * beta - 1.0))
    return told @ torch.stack(parts)


def _true_covariance(truth: Truth, scenes: Tensor, network: TrainedNetwork) -> NormalizedCovariance:
    """R of scenes that have sources."""
    dictionary, power = network.dictionary, truth.power[scenes].float().nan_to_num()
    sources = torch.where(power[..., None] > 0.0, truth.sources[scenes], 1.0)
    waves = dictionary.array.steering(sources)
    return true_covariance(waves.to(torch.complex64), power)


def blend_table(known: Known) -> pd.DataFrame:
    """blend.csv: the mean error by weight, of the scenes of either source model that have sources and of all.

    Empty where there are none.
    """
    shared = known.noise_known.shared
    kinds = {"independent": ~shared, "constant": shared, "all": torch.ones_like(shared)}
    errors = {f"error_{name}": known.blend_error[of].nanmean(0).numpy() for name, of in kinds.items()}
    return pd.DataFrame({"blend_beta": BETAS, **errors})


def fitted_calibration(known: Known) -> Calibration:
    """The rules of largest likelihood and the weight of least mean error.

    Raises:
        ValueError: no scene has sources; or as `fitted_rule`.
    """
    error = known.blend_error.nanmean(0)
    if bool(error.isnan().any()):
        raise ValueError("the weight of the blend is chosen on scenes with sources; there is none")
    return Calibration(
        fitted_rule(known.noise_known, known.n_sources),
        fitted_rule(known.noise_unknown, known.n_sources),
        BETAS[int(error.argmin())],
    )


@dataclass(frozen=True)
class ExamBatch:
    """Scenes of one validation split."""

    split: Split
    first: int
    last: int


def plan(params: Params) -> tuple[ExamBatch, ...]:
    """Batches of at most evaluate.batch_size scenes."""
    size = params.evaluate.batch_size
    return tuple(
        ExamBatch(split, first, min(first + size, params.simulate.split(split).n_scenes))
        for split in VALIDATION_SPLITS
        for first in range(0, params.simulate.split(split).n_scenes, size)
    )


@functools.lru_cache(maxsize=1)
def _bench(params: Params, root: Path) -> tuple[TrainedNetwork, LearnedEstimator]:
    """Read once by every process."""
    network = read_network(root / _NETWORK, params.of_model())
    estimator = LearnedEstimator("learned", model_grid.grid(params.of_model()), estimators.settings(params))
    return network, estimator


def _make_batch(params: Params, root: Path, batches: tuple[ExamBatch, ...], number: int, path: Path) -> None:
    batch = batches[number]
    network, estimator = _bench(params, root)
    scenes = torch.arange(batch.first, batch.last)
    observation = read_observation(root / "data/scenes" / batch.split, params.array.spherical_amplitude)
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
    known = calibrate(
        observation.select(scenes), covariances.select(scenes), truth.select(scenes), network, estimator
    )
    write_evidence(path, known)


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
    make = functools.partial(_make_batch, params, root, batches)
    key = work_key("stages.calibrate", sections(params, READS), inputs)
    with one_thread(), work_directory("calibrate", key) as work:
        make_shards(make, len(batches), work, params.evaluate.workers, 2, "calibrate", "batches")
        known = read_evidence([work / shard_name(number) for number in range(len(batches))])
        try:
            fitted = fitted_calibration(known)
        except ValueError as error:
            raise MeasurementError(f"data/scenes/{{{','.join(VALIDATION_SPLITS)}}}: {error}") from error
        calibration = work / "calibration"
        calibration.mkdir(exist_ok=True)
        write_network(calibration / "learned.pt", network.network.state_dict(), fitted, params.of_model())
        text = blend_table(known).to_csv(index=False, float_format="%.6g", lineterminator="\n")
        write_text(calibration / "blend.csv", text)
        publish(calibration, root / "data/calibration")
        discard(work)


if __name__ == "__main__":
    run_verb(main)
