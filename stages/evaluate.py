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

import functools
import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from risolve.covariance import NormalizedCovariance, sample_covariance
from risolve.errors import MeasurementError
from risolve.estimators.comparison import Comparison, Count, Made, Method, Timed
from risolve.estimators.contract import CovarianceKind
from risolve.files import model_grid
from risolve.files.atomic import write_text
from risolve.files.bounds import Deviations, read_bounds
from risolve.files.covariances import Covariances, read_covariances, require_maps
from risolve.files.estimates import read_estimates, write_estimates
from risolve.files.hdf5 import shard_name, shard_paths
from risolve.files.measurements import read_observation, read_truth
from risolve.files.model import read_network
from risolve.inference.maps import MapSettings, MapValues, fit_maps
from risolve.networks.trained import TrainedNetwork
from risolve.physics.observation import Observation
from risolve.running.shards import make_shards
from risolve.running.work import work_key
from risolve.seeds import integer_seed
from risolve.shapes import Sources
from stages.evaluation import counts as evaluation_counts
from stages.evaluation import examples as evaluation_examples
from stages.evaluation import strata as evaluation_strata
from stages.evaluation import tables as evaluation_tables
from stages.evaluation.tables import SCORED, MethodEstimates, Scoring, SplitTruth
from stages.params import estimators as estimator_setup
from stages.params.file import read_params, sections
from stages.params.model import TEST_SPLITS, Params, Split
from stages.running.durations import keep_durations
from stages.running.state import discard, publish, work_directory
from stages.running.verb import run_verb

READS = (
    *("array", "receiver"),
    *("sources.azimuth_deg", "sources.elevation_deg", "sources.range_m", "sources.max_sources"),
    *("grid", "covariance", "normalize", "network"),
    *("simulate.train", "simulate.train_constant", "simulate.test_independent", "simulate.test_constant"),
    *("estimators", "evaluate.batch_size", "evaluate.estimators", "evaluate.blind", "evaluate.refine"),
    *("evaluate.genie_starts", "evaluate.seed", *SCORED, "report.example_scenes"),
)


@dataclass(frozen=True)
class EvaluatedScenes:
    """Scenes of one split that have one number of sources."""

    split: Split
    n_sources: int
    scenes: tuple[int, ...]


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


def plan(params: Params, n_sources: Mapping[Split, Int[np.ndarray, " scene"]]) -> list[EvaluatedScenes]:
    """Batches of at most evaluate.batch_size scenes of one split and one number of sources.

    Scenes without sources are only for methods that are not told so.
    """
    size = params.evaluate.batch_size
    batches = []
    for split, counts in n_sources.items():
        asked = counts >= (0 if params.evaluate.blind else 1)
        for count in np.unique(counts[asked]):
            scenes = np.flatnonzero(counts == count).tolist()
            batches += [
                EvaluatedScenes(split, int(count), tuple(scenes[i : i + size]))
                for i in range(0, len(scenes), size)
            ]
    return batches


@dataclass(frozen=True)
class EvaluationBench:
    """What a process needs to evaluate any batch."""

    observations: dict[Split, Observation]
    covariances: dict[Split, Covariances]
    truths: dict[Split, Sources]
    network: TrainedNetwork
    comparison: Comparison


@functools.lru_cache(maxsize=1)
def read_bench(params: Params, root: Path) -> EvaluationBench:
    """Read once by every process."""
    observations = {
        split: read_observation(root / "data/scenes" / split, params.array.spherical_amplitude)
        for split in TEST_SPLITS
    }
    covariances = {split: read_covariances(root / "data/covariances" / split) for split in TEST_SPLITS}
    network = read_network(root / "data/calibration/learned.pt", params.of_model())
    for split in TEST_SPLITS:
        if observations[split].n_scenes != covariances[split].n_scenes:
            raise MeasurementError(
                f"data/covariances/{split}: one covariance a scene, data/scenes/{split} has "
                f"{observations[split].n_scenes} scenes, got {covariances[split].n_scenes}; "
                f"run `normalize` again"
            )
        shape, iterations = model_grid.grid(params.of_model()).shape, params.normalize.map_iterations
        require_maps(covariances[split].maps, shape, iterations, f"data/covariances/{split}")
    truths = {split: read_truth(root / "data/scenes" / split).sources for split in TEST_SPLITS}
    return EvaluationBench(observations, covariances, truths, network, estimator_setup.comparison(params))


def _make_batch(
    params: Params, root: Path, batches: tuple[EvaluatedScenes, ...], number: int, path: Path
) -> None:
    bench, batch = read_bench(params, root), batches[number]
    scenes = torch.tensor(batch.scenes)
    try:
        results = evaluate(
            bench.observations[batch.split].select(scenes),
            bench.covariances[batch.split].select(scenes),
            bench.truths[batch.split][scenes, : batch.n_sources],
            bench.network,
            bench.comparison,
            torch.Generator().manual_seed(integer_seed(params.evaluate.seed, "genie", number)),
        )
    except ValueError as error:
        raise MeasurementError(
            f"data/scenes/{batch.split}: counting among scenes {list(batch.scenes)}: {error}"
        ) from error
    write_estimates(path, results)


@dataclass(frozen=True)
class Gathered:
    """Estimates of every split and method, and the CPU time (s) and number of scenes of every method."""

    estimates: dict[Split, list[MethodEstimates]]
    cpu_seconds: dict[Method, float]
    n_scenes: dict[Method, int]


def gather(work: Path, batches: tuple[EvaluatedScenes, ...], truths: Mapping[Split, SplitTruth]) -> Gathered:
    """The batches of a finished work directory, scene by scene again.

    A method that is told the number of sources is not asked about a scene that has none. Times are of scenes
    with sources.
    """
    everything: dict[Split, dict[Method, MethodEstimates]] = {split: {} for split in truths}
    cpu_seconds: dict[Method, float] = {}
    n_scenes: dict[Method, int] = {}
    for number, batch in enumerate(batches):
        scenes = list(batch.scenes)
        for method, found in read_estimates(work / shard_name(number)).items():
            own = everything[batch.split].setdefault(method, _none(method, truths[batch.split]))
            width = found.sources.shape[1] - own.sources.shape[1]
            if width > 0:
                own = _widened(own, width)
                everything[batch.split][method] = own
            own.sources[scenes, : found.sources.shape[1]] = found.sources
            own.deviations[scenes, : found.sources.shape[1]] = found.deviations
            own.log_likelihood[scenes] = found.log_likelihood
            own.count_confidence[scenes] = found.count_confidence
            own.resolved[scenes] = found.resolved
            own.asked[scenes] = True
            if batch.n_sources:
                cpu_seconds[method] = cpu_seconds.get(method, 0.0) + found.cpu_seconds
                n_scenes[method] = n_scenes.get(method, 0) + len(scenes)
    estimates = {split: list(methods.values()) for split, methods in everything.items()}
    return Gathered(estimates, cpu_seconds, n_scenes)


def _none(method: Method, truth: SplitTruth) -> MethodEstimates:
    """Estimates of a method that was asked about no scene yet."""
    shape = truth.sources.shape
    unasked = np.zeros(shape[0], dtype=bool)
    return MethodEstimates(
        method,
        np.full(shape, np.nan),
        np.full(shape, np.nan),
        np.full(shape[0], np.nan),
        np.full(shape[0], np.nan),
        unasked,
        unasked.copy(),
    )


def _widened(own: MethodEstimates, n_slots: int) -> MethodEstimates:
    """The same with more, empty, slots: an estimate may hold more sources than there are."""
    more = ((0, 0), (0, n_slots), (0, 0))
    return replace(
        own,
        sources=np.pad(own.sources, more, constant_values=np.nan),
        deviations=np.pad(own.deviations, more, constant_values=np.nan),
    )


def _truth(params: Params, root: Path, split: Split) -> SplitTruth:
    truth = read_truth(root / "data/scenes" / split)
    wanted = params.simulate.split(split).n_scenes
    if truth.n_scenes != wanted:
        raise MeasurementError(
            f"data/scenes/{split}: simulate.{split} of params.yaml has {wanted} scenes, got "
            f"{truth.n_scenes}; run `simulate --split {split}` again"
        )
    bounds = read_bounds(root / f"data/bounds/{split}.h5").conditional
    if bounds.azimuth.shape != truth.sources.shape[:2]:
        raise MeasurementError(
            f"data/bounds/{split}.h5: one bound a source slot, data/scenes/{split} has "
            f"{tuple(truth.sources.shape[:2])} scenes and slots, got {tuple(bounds.azimuth.shape)}; "
            f"run `bound` again"
        )
    present = truth.sources[..., 0].isfinite()
    for name, values in _bound_columns(bounds).items():
        wrong = np.argwhere(np.where(np.isfinite(values), values > 0.0, False) != present.numpy())
        if len(wrong):
            raise MeasurementError(
                f"data/bounds/{split}.h5: {name}: positive where data/scenes/{split} has a source, and empty "
                f"elsewhere; not so in scene {wrong[0, 0]}, slot {wrong[0, 1]}: run `bound` again"
            )
    return SplitTruth(
        split,
        truth.sources.numpy(),
        truth.snr_db.numpy(),
        _bound_columns(bounds),
    )


def _bound_columns(bounds: Deviations) -> dict[str, np.ndarray]:
    return {
        "bound_azimuth_deg": torch.rad2deg(bounds.azimuth).numpy(),
        "bound_elevation_deg": torch.rad2deg(bounds.elevation).numpy(),
        "bound_range_m": bounds.range.numpy(),
        "bound_inverse_range_per_m": bounds.inverse_range.numpy(),
        "bound_position_m": bounds.position.numpy(),
    }


def write_tables(
    directory: Path, params: Params, gathered: Gathered, truths: Mapping[Split, SplitTruth]
) -> None:
    """All tables of the evaluation, and metrics.json, into a directory."""
    scoring = Scoring(math.radians(params.evaluate.found_tolerance_deg), params.evaluate.gospa_cutoff_m)
    scored = [
        evaluation_tables.score(truths[split], own, scoring)
        for split in truths
        for own in gathered.estimates[split]
    ]
    sources = pd.concat([rows for rows, _ in scored], ignore_index=True)
    scenes = pd.concat([rows for _, rows in scored], ignore_index=True)
    with_errors = evaluation_tables.with_errors(sources)
    bootstrap = evaluation_strata.Bootstrap(params.evaluate.seed, params.evaluate.bootstrap_samples)
    strata = evaluation_strata.strata_table(with_errors, scenes, bootstrap)
    trained = evaluation_counts.trained_snr_db(params)
    tables = {
        "sources": sources,
        "scenes": scenes,
        "strata": strata,
        "range_strata": evaluation_strata.range_table(with_errors, params.sources.range_m),
        "counts": evaluation_counts.count_table(scenes),
        "count_confidence": evaluation_counts.confidence_table(scenes, trained),
        "calibration": evaluation_counts.calibration_table(with_errors),
        "found_rate": evaluation_strata.found_rate_curves(strata),
        "rmse_over_bound": evaluation_strata.ratio_curves(strata),
    }
    for name, table in tables.items():
        evaluation_tables.write_csv(directory / f"{name}.csv", table)
    n_scenes = sum(len(truth.sources) for truth in truths.values())
    metrics = evaluation_strata.headline_metrics(strata, with_errors, n_scenes)
    write_text(directory / "metrics.json", json.dumps(metrics, indent=2) + "\n")


def main() -> None:
    """python -m stages.evaluate"""
    params, root = read_params(), Path.cwd()
    read_bench.cache_clear()
    bench = read_bench(params, root)
    truths = {split: _truth(params, root, split) for split in TEST_SPLITS}
    batches = tuple(plan(params, {split: truth.n_sources for split, truth in truths.items()}))
    if not batches:
        raise MeasurementError(f"data/scenes/{{{','.join(TEST_SPLITS)}}}: no scene has a source to estimate")
    inputs = [root / "data/calibration/learned.pt"]
    for split in TEST_SPLITS:
        inputs += shard_paths(root / "data/scenes" / split, "run `simulate` first")
        inputs += shard_paths(root / "data/covariances" / split, "run `normalize` first")
    reads = sections(params, (name for name in READS if name not in (*SCORED, "report.example_scenes")))
    make = functools.partial(_make_batch, params, root, batches)
    with work_directory("evaluate", work_key("stages.evaluate", reads, inputs)) as work:
        make_shards(make, len(batches), work, params.evaluate.workers, 2, "evaluate", "batches")
        tables = work / "tables"
        tables.mkdir(exist_ok=True)
        gathered = gather(work, batches, truths)
        write_tables(tables, params, gathered, truths)
        evaluation_examples.write_examples(
            tables / "examples.npz",
            params.report.example_scenes,
            truths["test_independent"],
            bench.observations["test_independent"],
            bench.covariances["test_independent"],
            bench.network,
            model_grid.grid(params.of_model()),
        )
        times = evaluation_strata.timing_table(gathered.cpu_seconds, gathered.n_scenes)
        keep_durations("evaluate", tables / "strata.csv", times)
        publish(tables, root / "data/evaluation")
        discard(work)


if __name__ == "__main__":
    run_verb(main)
