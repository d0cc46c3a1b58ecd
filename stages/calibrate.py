"""Reads data/models/covariance.pt, and scenes and covariances of the validation splits; writes
data/calibration: learned.pt, the network with the rules by which it counts sources, the noise power told or
not, and with the weight of R_samp in the blend; blend.csv, the errors by that weight.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
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
from risolve.files.covariances import Covariances
from risolve.files.evidence import Known, read_evidence, write_evidence
from risolve.files.model import read_network, write_network
from risolve.inference.maps import MapSettings, fit_maps
from risolve.networks.counting import fitted_rule
from risolve.networks.losses import covariance_errors
from risolve.networks.trained import Calibration, TrainedNetwork
from risolve.physics.observation import Observation
from risolve.physics.scenario import Truth
from risolve.running.shards import one_thread
from risolve.running.work import work_key
from stages.evaluation import cells
from stages.evaluation.cells import Once, SceneBatch
from stages.evaluation.splits import SplitScenes, read_whole_split
from stages.params import estimators
from stages.params.file import read_params, sections
from stages.params.model import MODEL_READS, VALIDATION_SPLITS, Params, Split
from stages.running.splits import split_files
from stages.running.state import discard, publishing
from stages.running.verb import run_verb

READS = (
    *MODEL_READS,
    *(f"simulate.{split}" for split in VALIDATION_SPLITS),
    *("estimators", "evaluate.batch_size"),
)

NETWORK = Path("data/models/covariance.pt")

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


def plan(params: Params) -> tuple[SceneBatch[Split], ...]:
    """Batches of scenes of one validation split."""
    scenes = ((split, range(params.simulate.split(split).n_scenes)) for split in VALIDATION_SPLITS)
    return cells.plan(scenes, params.evaluate.batch_size)


@dataclass(frozen=True)
class CalibrationBench:
    """What a process needs to calibrate by any batch."""

    splits: Mapping[Split, SplitScenes]
    network: TrainedNetwork
    estimator: LearnedEstimator


def _read_bench(params: Params) -> CalibrationBench:
    network = read_network(NETWORK, params.of_model())
    estimator = LearnedEstimator("learned", model_grid.grid(params.of_model()), estimators.settings(params))
    splits = {split: read_whole_split(params, split) for split in VALIDATION_SPLITS}
    return CalibrationBench(splits, network, estimator)


def _make_batch(bench: Once[CalibrationBench], batch: SceneBatch[Split], path: Path) -> None:
    held = bench()
    own = held.splits[batch.cell].select(torch.tensor(batch.scenes))
    known = calibrate(own.observation, own.covariances, own.truth, held.network, held.estimator)
    write_evidence(path, known)


def main() -> None:
    """python -m stages.calibrate"""
    params = read_params()
    inputs = [NETWORK, *split_files(VALIDATION_SPLITS)]
    bench = Once(partial(_read_bench, params))
    network = bench().network.network
    key, make = work_key("stages.calibrate", sections(params, READS), inputs), partial(_make_batch, bench)
    made = cells.made("calibrate", key, make, plan(params), params.evaluate.workers)
    with one_thread(), made as (work, done):
        known = read_evidence([path for _, path in done])
        try:
            fitted = fitted_calibration(known)
        except ValueError as error:
            raise MeasurementError(f"data/scenes/{{{','.join(VALIDATION_SPLITS)}}}: {error}") from error
        with publishing(work, Path("data/calibration")) as results:
            write_network(results / "learned.pt", network.state_dict(), fitted, params.of_model())
            text = blend_table(known).to_csv(index=False, float_format="%.6g", lineterminator="\n")
            write_text(results / "blend.csv", text)
        discard(work)


if __name__ == "__main__":
    run_verb(main)
