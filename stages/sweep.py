"""Reads params.yaml, data/calibration/learned.pt; writes data/sweep: impairments.csv, impairments.svg.

How every estimator, the trained network included, bears departures of the true system from the known one.
One kind of departure at a time is raised, the others off; the number of sources is known.

impairments.csv: one row a kind (`impairment`, as `impairments` of params.yaml names it), `level` and method,
with the columns of strata.csv. The bound is that of the known system at the truth and at the noise of the
scene; departures that no estimator knows of keep all of them from it, the more the higher the SNR. Scene i
has the same sources, channel, codes and noise at every level, and the same draws of every departure, scaled:
a curve changes by its level alone.
"""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pandas as pd
import torch
from torch.linalg import LinAlgError  # type: ignore[attr-defined]

from risolve.covariance import sample_covariance, sample_factor
from risolve.estimators.comparison import Comparison, Method, Timed
from risolve.files import model_grid
from risolve.files.atomic import write_bytes
from risolve.files.estimates import write_estimates
from risolve.files.model import read_network
from risolve.inference.maps import MapSettings, fit_maps
from risolve.networks.trained import TrainedNetwork
from risolve.physics.scenario import Scenes
from risolve.running.work import work_key
from stages.evaluation import cells
from stages.evaluation.cells import Done, Once, SceneBatch
from stages.evaluation.departures import Point, draw_scenes, fault, points, truth_of
from stages.evaluation.strata import Bootstrap, strata_table
from stages.evaluation.tables import SCORED, scored, write_csv
from stages.page import sweep as sweep_figure
from stages.params import estimators
from stages.params.file import read_params, sections, system_files
from stages.params.model import Params
from stages.running.state import discard, publishing
from stages.running.verb import run_verb

READS = (
    *("array", "receiver", "channel", "codebook", "sources"),
    *("grid", "covariance", "normalize", "network", "simulate.seed", "estimators"),
    *("evaluate.batch_size", "evaluate.estimators", "evaluate.refine", *SCORED, "sweep"),
)

NETWORK = Path("data/calibration/learned.pt")


def sweep(
    scenes: Scenes, network: TrainedNetwork, comparison: Comparison, params: Params
) -> dict[Method, Timed]:
    """Method -> estimate on scenes of K = params.sweep.n_sources sources, K known."""
    observation = scenes.observation
    settings = MapSettings(model_grid.grid(params.of_model()), params.normalize.map_iterations)
    maps, snr = fit_maps(observation, settings)
    sample = sample_covariance(sample_factor(observation, params.covariance.ls_ridge))
    told = torch.full((observation.n_scenes,), params.sweep.n_sources)
    prediction = network.predict(maps, snr, observation)
    made = comparison.made(observation, told, sample, prediction, 0.0)
    truth = scenes.sources[:, : params.sweep.n_sources]
    return comparison.run(observation, truth, {"known": made}, torch.Generator())


def plan(params: Params) -> tuple[SceneBatch[Point], ...]:
    """Batches of scenes of the points that differ."""
    different: dict[str, Point] = {}
    for point in points(params):
        different.setdefault(point.label, point)
    scenes = range(params.sweep.n_scenes)
    return cells.plan([(point, scenes) for point in different.values()], params.evaluate.batch_size)


@dataclass(frozen=True)
class SweepBench:
    """What a process needs to estimate any batch."""

    network: TrainedNetwork
    comparison: Comparison


def read_bench(params: Params) -> SweepBench:
    """The network and the estimators, without the genie, and with the number of sources told alone.

    Raises:
        CheckpointError: as `read_network`.
    """
    network = read_network(NETWORK, params.of_model())
    return SweepBench(network, replace(estimators.comparison(params), blind=(), genie_starts=0))


def make_batch(params: Params, bench: Once[SweepBench], batch: SceneBatch[Point], path: Path) -> None:
    """Write the estimates of the scenes of one batch.

    Raises:
        ParameterError: scenes that cannot be estimated, with the departure that made them.
    """
    held = bench()
    try:
        results = sweep(draw_scenes(params, batch.cell, batch.scenes), held.network, held.comparison, params)
    except (ValueError, LinAlgError) as error:
        raise fault(batch.cell, batch.scenes, error) from error
    write_estimates(path, results)


def table_of(params: Params, done: Done[Point]) -> pd.DataFrame:
    """impairments.csv: the strata of every point, a point that several impairments share under each."""
    bootstrap = Bootstrap(params.sweep.seed, params.evaluate.bootstrap_samples)
    strata: dict[str, pd.DataFrame] = {}
    for point, own in cells.gathered(done, lambda point: point).items():
        tables = scored(params, [(truth_of(params, point), own)])
        strata[point.label] = strata_table(*tables, bootstrap).drop(columns="split")
    rows = []
    for point in points(params):
        labelled = strata[point.label].copy()
        labelled.insert(0, "impairment", point.impairment)
        labelled.insert(1, "level", point.level)
        rows.append(labelled)
    return pd.concat(rows, ignore_index=True)


def main() -> None:
    """python -m stages.sweep"""
    params = read_params()
    bench = Once(partial(read_bench, params))
    bench()
    reads = sections(params, (name for name in READS if name not in SCORED))
    key, make = (
        work_key("stages.sweep", reads, [NETWORK, *system_files(params)]),
        partial(make_batch, params, bench),
    )
    with cells.made("sweep", key, make, plan(params), params.evaluate.workers) as (work, done):
        with publishing(work, Path("data/sweep")) as tables:
            csv = tables / "impairments.csv"
            write_csv(csv, table_of(params, done))
            write_bytes(tables / "impairments.svg", sweep_figure.impairment_figure(pd.read_csv(csv)))
        discard(work)


if __name__ == "__main__":
    run_verb(main)
