"""Reads params.yaml, data/calibration/learned.pt; writes data/sweep: impairments.csv, impairments.svg.

How every estimator, the trained network included, bears departures of the true system from the known one.
One kind of departure at a time is raised, the others off; the number of sources is known.

impairments.csv: one row a kind (`impairment`, as `impairments` of params.yaml names it), `level` and method,
with the columns of strata.csv. The bound is that of the known system at the truth and at the noise of the
scene; departures that no estimator knows of keep all of them from it, the more the higher the SNR. Scene i
has the same sources, channel, codes and noise at every level, and the same draws of every departure, scaled:
a curve changes by its level alone.
"""

import functools
import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch.linalg import LinAlgError  # type: ignore[attr-defined]

from risolve import seeds
from risolve.bounds.cramer_rao import conditional_bound
from risolve.covariance import sample_covariance, sample_factor
from risolve.errors import ParameterError
from risolve.estimators.comparison import Comparison, Method, Timed
from risolve.files import model_grid
from risolve.files.atomic import write_bytes
from risolve.files.estimates import read_estimates, write_estimates
from risolve.files.hdf5 import shard_name
from risolve.files.model import read_network
from risolve.inference.maps import MapSettings, fit_maps
from risolve.networks.trained import TrainedNetwork
from risolve.physics.scenario import Scenes, draw_installation, draw_scene, observe
from risolve.running.shards import make_shards
from risolve.running.work import work_key
from stages.evaluation import strata as evaluation_strata
from stages.evaluation import tables as evaluation_tables
from stages.evaluation.tables import SCORED, MethodEstimates, Scoring, SplitTruth
from stages.page import sweep as sweep_figure
from stages.params import estimators, objects
from stages.params.file import read_params, sections
from stages.params.model import Params
from stages.running.state import discard, publish, work_directory
from stages.running.verb import run_verb

READS = (
    *("array", "receiver", "channel", "codebook", "sources"),
    *("grid", "covariance", "normalize", "network", "simulate.seed", "estimators"),
    *("evaluate.batch_size", "evaluate.estimators", "evaluate.refine", *SCORED, "sweep"),
)

SWEEP = Path("data/sweep")

NEUTRAL = {
    "position_jitter_m": 0.0,
    "phase_error_deg": 0.0,
    "gain_jitter_db": 0.0,
    "dead_fraction": 0.0,
    "channel_error": 0.0,
    "amplitude_minimum": 1.0,
}
"""The section `impairments` of a system that is as it is known."""


@dataclass(frozen=True)
class Point:
    """One level of one impairment."""

    impairment: str
    level: float

    @property
    def label(self) -> str:
        """A neutral level is the same system whatever it is a level of."""
        neutral = self.level == NEUTRAL[self.impairment]
        return "none" if neutral else f"{self.impairment} = {self.level}"


@dataclass(frozen=True)
class SweepBatch:
    """Some scenes of one point."""

    point: Point
    scenes: range


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


def points(params: Params) -> list[Point]:
    """Every level of every impairment in the order of the parameters."""
    levels = params.sweep.points.model_dump()
    return [Point(name, level) for name, own in levels.items() for level in own]


def plan(params: Params) -> list[SweepBatch]:
    """Batches of at most evaluate.batch_size scenes of the points that differ."""
    size, n_scenes = params.evaluate.batch_size, params.sweep.n_scenes
    different: dict[str, Point] = {}
    for point in points(params):
        different.setdefault(point.label, point)
    return [
        SweepBatch(point, range(first, min(first + size, n_scenes)))
        for point in different.values()
        for first in range(0, n_scenes, size)
    ]


def draw_scenes(params: Params, point: Point, scenes: range) -> Scenes:
    """Scenes of a point by their numbers; scene i is drawn from the stream (seed, "sweep", i) alone.

    A fixed installation is that of the data sets, which the network was trained on.

    Raises:
        ParameterError: nothing of the sources of a scene arrives, or too much for single precision.
    """
    departed = Params.model_validate(
        {**params.model_dump(), "impairments": {**NEUTRAL, point.impairment: point.level}}
    )
    levels, system = objects.impairment_levels(departed), objects.system(params)
    installation = None
    if not params.channel.per_scene:
        stream = seeds.generator(params.simulate.seed, "installation")
        installation = draw_installation(stream, system, levels)
    distribution, own = objects.source_distribution(params), params.sweep
    draws = [
        draw_scene(
            seeds.generator(own.seed, "sweep", scene),
            system,
            installation,
            distribution,
            "independent",
            own.n_sources,
            own.snr_db,
            levels,
        )
        for scene in scenes
    ]
    drawn = observe(draws, system, "independent", levels.amplitude_minimum, installation is not None)
    assert drawn.observation.noise_power is not None
    usable = (drawn.observation.noise_power > 0.0) & drawn.observation.snapshots.isfinite().all(-1).all(-1)
    if not bool(usable.all()):
        wrong = [scenes[int(i)] for i in torch.nonzero(~usable).flatten()]
        raise ParameterError(
            f"params.yaml: sweep.points.{point.impairment}: an SNR needs a signal, 0 < mean |B_l A s_l|^2, "
            f"that single precision holds; scenes {wrong} have none at {point.level:g}: choose lower levels"
        )
    return drawn


@functools.lru_cache(maxsize=1)
def _bench(params: Params, root: Path) -> tuple[TrainedNetwork, Comparison]:
    """Made once by every process; without the genie, and with the number of sources told alone."""
    network = read_network(root / "data/calibration/learned.pt", params.of_model())
    return network, replace(estimators.comparison(params), blind=(), genie_starts=0)


def make_batch(params: Params, root: Path, batches: tuple[SweepBatch, ...], number: int, path: Path) -> None:
    """Write the estimates of the scenes of one batch.

    Raises:
        ParameterError: scenes that cannot be estimated, with the departure that made them.
    """
    network, comparison = _bench(params, root)
    batch = batches[number]
    try:
        results = sweep(draw_scenes(params, batch.point, batch.scenes), network, comparison, params)
    except (ValueError, LinAlgError) as error:
        raise ParameterError(_fault(batch.point, batch.scenes, error)) from error
    write_estimates(path, results)


def _fault(point: Point, scenes: range, error: Exception) -> str:
    return (
        f"params.yaml: sweep.points.{point.impairment}: level {point.level:g}, counting from scene "
        f"{scenes.start}: {error}"
    )


def truth_of(params: Params, point: Point) -> SplitTruth:
    """Sources of the scenes of a point with the bound of the known system.

    Raises:
        ParameterError: a singular Fisher information (two sources at one place).
    """
    numbers = range(params.sweep.n_scenes)
    scenes = draw_scenes(params, point, numbers)
    assert scenes.observation.noise_power is not None
    K = params.sweep.n_sources
    try:
        bound = conditional_bound(
            scenes.observation,
            scenes.sources[:, :K],
            scenes.amplitudes[:, :, :K].to(torch.complex128),
            scenes.observation.noise_power,
        )
    except ValueError as error:
        raise ParameterError(_fault(point, numbers, error)) from error
    azimuth, elevation, inverse_range = bound.standard_deviations().unbind(-1)
    deviations = {
        "bound_azimuth_deg": torch.rad2deg(azimuth),
        "bound_elevation_deg": torch.rad2deg(elevation),
        "bound_range_m": bound.range_deviation(),
        "bound_inverse_range_per_m": inverse_range,
        "bound_position_m": bound.position_deviation(),
    }
    return SplitTruth(
        point.label,
        scenes.sources[:, :K].numpy(),
        scenes.snr_db.numpy(),
        {name: values.numpy() for name, values in deviations.items()},
    )


def gather(work: Path, batches: tuple[SweepBatch, ...]) -> dict[str, list[MethodEstimates]]:
    """Label of a point -> estimates of every method on its scenes, from a finished work directory."""
    parts: dict[str, dict[Method, list[MethodEstimates]]] = {}
    for number, batch in enumerate(batches):
        for method, found in read_estimates(work / shard_name(number)).items():
            asked = np.ones(len(batch.scenes), dtype=bool)
            own = MethodEstimates(
                method,
                found.sources,
                found.deviations,
                found.log_likelihood,
                found.count_confidence,
                found.resolved,
                asked,
            )
            parts.setdefault(batch.point.label, {}).setdefault(method, []).append(own)
    return {
        label: [_joined(method, own) for method, own in methods.items()] for label, methods in parts.items()
    }


def _joined(method: Method, parts: list[MethodEstimates]) -> MethodEstimates:
    names = ("sources", "deviations", "log_likelihood", "count_confidence", "resolved", "asked")
    return MethodEstimates(
        method, *(np.concatenate([getattr(part, name) for part in parts]) for name in names)
    )


def table_of(params: Params, gathered: dict[str, list[MethodEstimates]]) -> pd.DataFrame:
    """impairments.csv: the strata of every point, a point that several impairments share under each."""
    bootstrap = evaluation_strata.Bootstrap(params.sweep.seed, params.evaluate.bootstrap_samples)
    scoring = Scoring(math.radians(params.evaluate.found_tolerance_deg), params.evaluate.gospa_cutoff_m)
    strata: dict[str, pd.DataFrame] = {}
    tables = []
    for point in points(params):
        if point.label not in strata:
            truth = truth_of(params, point)
            scored = [evaluation_tables.score(truth, own, scoring) for own in gathered[point.label]]
            sources = pd.concat([rows for rows, _ in scored], ignore_index=True)
            scenes = pd.concat([rows for _, rows in scored], ignore_index=True)
            sources = evaluation_tables.with_errors(sources)
            strata[point.label] = evaluation_strata.strata_table(sources, scenes, bootstrap)
        own = strata[point.label].drop(columns="split")
        own.insert(0, "impairment", point.impairment)
        own.insert(1, "level", point.level)
        tables.append(own)
    return pd.concat(tables, ignore_index=True)


def main() -> None:
    """python -m stages.sweep"""
    params, root = read_params(), Path.cwd()
    _bench.cache_clear()
    _bench(params, root)
    batches = tuple(plan(params))
    reads = sections(params, (name for name in READS if name not in SCORED))
    make = functools.partial(make_batch, params, root, batches)
    key = work_key("stages.sweep", reads, [root / "data/calibration/learned.pt"])
    with work_directory("sweep", key) as work:
        make_shards(make, len(batches), work, params.evaluate.workers, 2, "sweep", "batches")
        tables = work / "tables"
        tables.mkdir(exist_ok=True)
        csv = tables / "impairments.csv"
        evaluation_tables.write_csv(csv, table_of(params, gather(work, batches)))
        write_bytes(tables / "impairments.svg", sweep_figure.impairment_figure(pd.read_csv(csv)))
        publish(tables, root / SWEEP)
        discard(work)


if __name__ == "__main__":
    run_verb(main)
