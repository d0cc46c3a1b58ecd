"""Reads params.yaml, data/scenes/test_*, data/covariances/test_*, data/bounds/test_*.h5,
data/calibration/learned.pt; writes data/evaluation: sources.csv, scenes.csv, strata.csv, range_strata.csv,
counts.csv, count_confidence.csv, calibration.csv, found_rate.csv, rmse_over_bound.csv, metrics.json,
examples.npz.

Every estimator runs on the same scenes with the number of sources known: alone, and where it looks for no
maximum of the likelihood itself followed by the best refinement of several starts that its peaks give
("+ml", the same for all). Those of evaluate.blind run again without being told the number of sources and the
noise power; the network then reads maps that are made without it. The genie (`genie`, `genie_unconditional`)
is also started at the truth. The network is trained on `independent` sources and predicts for both models.
Times are CPU times from the covariance file on, one torch thread: what maps took is not in them.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from risolve.covariance import NormalizedCovariance, sample_covariance
from risolve.errors import MeasurementError
from risolve.estimators.comparison import Comparison, Count, Made, Method, Timed
from risolve.estimators.contract import CovarianceKind
from risolve.files import model_grid
from risolve.files.covariances import Covariances
from risolve.files.estimates import write_estimates
from risolve.files.model import read_network
from risolve.inference.maps import MapSettings, MapValues, fit_maps
from risolve.networks.trained import TrainedNetwork
from risolve.physics.observation import Observation
from risolve.running.work import work_key
from risolve.seeds import integer_seed
from stages.evaluation import cells
from stages.evaluation.cells import Once, SceneBatch
from stages.evaluation.estimates import timing_table
from stages.evaluation.examples import write_examples
from stages.evaluation.results import write_tables
from stages.evaluation.splits import SplitScenes, read_whole_split
from stages.evaluation.tables import SCORED, scored
from stages.evaluation.truth import read_bounded_truth
from stages.params import estimators as estimator_setup
from stages.params.file import read_params, sections
from stages.params.model import TEST_SPLITS, Params, Split
from stages.running.durations import keep_durations
from stages.running.splits import split_files
from stages.running.state import discard, publishing
from stages.running.verb import run_verb

READS = (
    *("array", "receiver"),
    *("sources.azimuth_deg", "sources.elevation_deg", "sources.range_m", "sources.max_sources"),
    *("grid", "covariance", "normalize", "network"),
    *("simulate.train", "simulate.train_constant", "simulate.test_independent", "simulate.test_constant"),
    *("estimators", "evaluate.batch_size", "evaluate.estimators", "evaluate.blind", "evaluate.refine"),
    *("evaluate.genie_starts", "evaluate.seed", *SCORED, "report.example_scenes"),
)


NETWORK = Path("data/calibration/learned.pt")


@dataclass(frozen=True)
class EvaluatedCell:
    """Scenes of one split that have one number of sources."""

    split: Split
    n_sources: int


@dataclass(frozen=True)
class EvaluationBench:
    """What a process needs to evaluate any batch."""

    splits: Mapping[Split, SplitScenes]
    network: TrainedNetwork
    comparison: Comparison


def evaluate(
    observation: Observation,
    covariances: Covariances,
    truth: Float[Tensor, "scene source 3"],
    network: TrainedNetwork,
    comparison: Comparison,
    random: torch.Generator,
) -> dict[Method, Timed]:
    """Method -> estimate on scenes of K = truth.shape[1] sources; see `Comparison.run`."""
    told = torch.full((observation.n_scenes,), truth.shape[1])
    sample = sample_covariance(covariances.factor)
    maps = MapValues(covariances.maps.values, covariances.maps.estimated_snr)
    made: dict[Count, dict[CovarianceKind, Made]] = {}
    made["known"] = make_covariances(observation, sample, maps, told, network, comparison)
    if comparison.blind:
        unknown = replace(observation, noise_power=None)
        maps = fit_maps(unknown, MapSettings(comparison.grid, covariances.maps.iterations))
        made["estimated"] = make_covariances(unknown, sample, maps, None, network, comparison)
    return comparison.run(observation, truth, made, random)


def make_covariances(
    observation: Observation,
    sample: NormalizedCovariance,
    maps: MapValues,
    n_sources: Int[Tensor, " scene"] | None,
    network: TrainedNetwork,
    comparison: Comparison,
) -> dict[CovarianceKind, Made]:
    """What estimators read of an observation, its sample covariance and its maps; see `Comparison.made`."""
    started = time.process_time()
    prediction = network.predict(*maps, observation)
    return comparison.made(observation, n_sources, sample, prediction, time.process_time() - started)


def plan(
    params: Params, n_sources: Mapping[Split, Int[np.ndarray, " scene"]]
) -> tuple[SceneBatch[EvaluatedCell], ...]:
    """Batches of scenes of one split and one number of sources.

    Scenes without sources are only for methods that are not told so.
    """
    fewest = 0 if params.evaluate.blind else 1
    return cells.plan(
        (
            (EvaluatedCell(split, int(count)), np.flatnonzero(counts == count).tolist())
            for split, counts in n_sources.items()
            for count in np.unique(counts[counts >= fewest])
        ),
        params.evaluate.batch_size,
    )


def read_bench(params: Params) -> EvaluationBench:
    """The test scenes, the network and the estimators."""
    network = read_network(NETWORK, params.of_model())
    splits = {split: read_whole_split(params, split) for split in TEST_SPLITS}
    return EvaluationBench(splits, network, estimator_setup.comparison(params))


def _make_batch(
    bench: Once[EvaluationBench], seed: int, batch: SceneBatch[EvaluatedCell], path: Path
) -> None:
    held, split = bench(), batch.cell.split
    own = held.splits[split].select(torch.tensor(batch.scenes))
    try:
        results = evaluate(
            own.observation,
            own.covariances,
            own.truth.sources[:, : batch.cell.n_sources],
            held.network,
            held.comparison,
            torch.Generator().manual_seed(integer_seed(seed, "genie", batch.number)),
        )
    except ValueError as error:
        raise MeasurementError(
            f"data/scenes/{split}: counting among scenes {list(batch.scenes)}: {error}"
        ) from error
    write_estimates(path, results)


def main() -> None:
    """python -m stages.evaluate"""
    params = read_params()
    inputs = [NETWORK, *split_files(TEST_SPLITS)]
    bench = Once(partial(read_bench, params))
    splits = bench().splits
    truths = {split: read_bounded_truth(split, own.truth) for split, own in splits.items()}
    batches = plan(params, {split: truth.n_sources for split, truth in truths.items()})
    if not batches:
        raise MeasurementError(f"data/scenes/{{{','.join(TEST_SPLITS)}}}: no scene has a source to estimate")
    reads = sections(params, (name for name in READS if name not in (*SCORED, "report.example_scenes")))
    key = work_key("stages.evaluate", reads, inputs)
    make = partial(_make_batch, bench, params.evaluate.seed)
    with cells.made("evaluate", key, make, batches, params.evaluate.workers) as (work, done):
        of_splits = cells.gathered(done, lambda cell: cell.split)
        tables = scored(params, ((truths[split], own) for split, own in of_splits.items()))
        with publishing(work, Path("data/evaluation")) as results:
            write_tables(results, params, tables, sum(len(truth.sources) for truth in truths.values()))
            write_examples(
                results / "examples.npz",
                params.report.example_scenes,
                truths["test_independent"],
                splits["test_independent"],
                bench().network,
                model_grid.grid(params.of_model()),
            )
            times = timing_table([(batch, path) for batch, path in done if batch.cell.n_sources])
            keep_durations("evaluate", results / "strata.csv", times)
        discard(work)


if __name__ == "__main__":
    run_verb(main)
