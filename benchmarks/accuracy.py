"""Accuracy of every estimator on scenes of params.yaml, next to the genie and the Cramer-Rao bound.

    python -m benchmarks.accuracy        writes benchmarks/results/accuracy*.csv, an hour and more

Scenes have the system and the source ranges of params.yaml, equal powers, one number of sources and one SNR a
cell, both source models. The network is left out: it is trained on data that this program does not have.

accuracy.csv          one row a cell (source model, number of sources, SNR), count (known | estimated) and
                      estimator: found rate; RMSE over bound of found sources, and (`_apart`) of those 10
                      degrees or more from the next; `+ml`: followed by `refined`. With an estimated count
                      the noise power is not known either; `count_accuracy` and `mean_count_error` are of it,
                      and `false_alarm_rate` is the share of empty scenes in which something was found.
                      `within_n_std_*`: share of found sources within n of the stated standard deviations.
accuracy_ranges.csv   K = 1 by range of the source, `ml`, as many scenes a stratum
accuracy_genie.csv    found rate of `ml` and `ml_unconditional` less that of a genie, scene by scene

A cell without anything to measure is empty, never 0. Intervals are of 95 %. Finished batches wait in
state/accuracy for a run that goes on.
"""

import functools
import math
import zlib
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias, get_args

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float

from stages import bound, seeds
from stages.artifacts import estimator_setup, evaluation_strata, evaluation_tables, grid_setup, setup
from stages.artifacts.atomic import write_text
from stages.artifacts.estimates_file import BatchEstimates, read_estimates, write_estimates
from stages.artifacts.evaluation_counts import calibration_table
from stages.artifacts.evaluation_strata import Bootstrap, strata_table
from stages.artifacts.evaluation_tables import MethodEstimates, Scoring, SplitTruth
from stages.artifacts.hdf5 import shard_name
from stages.artifacts.params_file import read_params
from stages.artifacts.shards import make_shards
from stages.artifacts.state import discard, work_directory, work_key
from stages.covariance import sample_covariance, sample_factor
from stages.estimators.comparison import Comparison, Method
from stages.estimators.registry import estimator
from stages.inference.counting import eigenvalue_count
from stages.metrics.normalized import bootstrap_interval
from stages.params import Params
from stages.physics.observation import SourceModel
from stages.physics.scenario import Scenes, draw_scene, observe

RESULTS = Path(__file__).parent / "results"
SEED = 20261126
SCENES_PER_BATCH, N_SCENES, N_COUNTED, N_EMPTY, N_PER_RANGE = 50, 200, 200, 1000, 200
GENIE_STARTS, APART_DEG = 20, 10.0
RANGES_M = ((0.5, 1.0), (1.0, 3.0), (3.0, 5.0), (5.0, 10.0))

LIKELIHOOD = ("nomp", "sbl", "ml", "ml_unconditional")
SPECTRAL = ("beamformer", "music", "mvdr", "modified_music", "music_fitted", "mvdr_fitted")
COUNTING = ("ml", "nomp")
GENIES = ("genie", "genie_unconditional")
EigenvalueRule: TypeAlias = Literal["aic", "mdl"]

Task: TypeAlias = Literal["known", "genie", "ranges", "estimated"]
SNRS_DB = {1: (0.0, 5.0, 10.0, 20.0), 2: (0.0, 5.0, 10.0), 3: (0.0, 5.0, 10.0), 5: (20.0,)}
GENIE_SNRS_DB = (0.0, 5.0, 10.0)
COUNTED = ((0, 0.0), (1, 10.0), (2, 10.0), (3, 10.0), (4, 20.0), (5, 20.0))


@dataclass(frozen=True)
class Batch:
    """Some scenes of one cell, and what is asked of them. Tasks of equal cells have equal scenes."""

    task: Task
    source_model: SourceModel
    n_sources: int
    snr_db: float
    range_m: tuple[float, float]
    first: int
    n_scenes: int

    @property
    def cell(self) -> tuple[SourceModel, int, float, tuple[float, float]]:
        return self.source_model, self.n_sources, self.snr_db, self.range_m


def plan(params: Params) -> tuple[Batch, ...]:
    """All batches; those of a cell stand in the order of its scenes."""
    every = params.sources.range_m
    batches: list[Batch] = []

    def add(
        task: Task, model: SourceModel, k: int, snr_db: float, range_m: tuple[float, float], n: int
    ) -> None:
        for first in range(0, n, SCENES_PER_BATCH):
            batches.append(Batch(task, model, k, snr_db, range_m, first, min(SCENES_PER_BATCH, n - first)))

    models = get_args(SourceModel)
    for model in models:
        for k, snrs_db in SNRS_DB.items():
            for snr_db in snrs_db:
                add("known", model, k, snr_db, every, N_SCENES)
    for model in models:
        for k, snr_db in COUNTED:
            add("estimated", model, k, snr_db, every, N_COUNTED if k else N_EMPTY)
    for model in models:
        for k in (1, 2, 3):
            for snr_db in GENIE_SNRS_DB:
                add("genie", model, k, snr_db, every, N_SCENES)
    for model in models:
        for snr_db in SNRS_DB[1]:
            for range_m in RANGES_M:
                add("ranges", model, 1, snr_db, range_m, N_PER_RANGE)
    return tuple(batches)


def scenes(params: Params, batch: Batch) -> Scenes:
    """The scenes of a batch: scene i of a cell is the same in every batch that holds it."""
    system, levels = setup.system(params), setup.impairment_levels(params)
    field = replace(setup.source_distribution(params), range=batch.range_m)
    stream: seeds.Stream = "test_independent" if batch.source_model == "independent" else "test_constant"
    cell = seeds.integer_seed(SEED, stream, _number(batch))
    draws = [
        draw_scene(
            seeds.generator(cell, stream, scene),
            system,
            None,
            field,
            batch.source_model,
            batch.n_sources,
            batch.snr_db,
            levels,
        )
        for scene in range(batch.first, batch.first + batch.n_scenes)
    ]
    return observe(draws, system, batch.source_model, levels, shared_channel=False)


def _number(batch: Batch) -> int:
    """A number of its own for every number of sources, SNR and range stratum."""
    stratum = RANGES_M.index(batch.range_m) + 1 if batch.range_m in RANGES_M else 0
    return (batch.n_sources * 100 + round(batch.snr_db)) * 10 + stratum


def make(params: Params, batches: tuple[Batch, ...], number: int, path: Path) -> None:
    """Estimates of one batch."""
    batch = batches[number]
    drawn = scenes(params, batch)
    truth = drawn.sources[:, : batch.n_sources]
    observation = drawn.observation
    match batch.task:
        case "known":
            one = comparison(params, (*LIKELIHOOD, *SPECTRAL))
        case "ranges":
            one = comparison(params, ("ml",))
        case "estimated":
            # Nobody is told how many there are where there is no truth.
            one, truth = replace(comparison(params, COUNTING), blind=COUNTING), truth[:, :0]
        case "genie":
            one = replace(comparison(params, ()), genie_starts=GENIE_STARTS)
    sample = sample_covariance(sample_factor(observation, params.covariance.ls_ridge))
    made = one.made(observation, drawn.n_sources.long(), sample, None, params.covariance.blend_beta, 0.0)
    random = torch.Generator().manual_seed(seeds.integer_seed(SEED, "genie", number))
    write_estimates(path, one.run(observation, truth, made, random))


def comparison(params: Params, names: tuple[str, ...]) -> Comparison:
    """Estimators that are told the number of sources and the noise power, peaks refined too."""
    grid, settings = grid_setup.grid(params), estimator_setup.settings(params)
    estimators = tuple(estimator(name, grid, settings) for name in names)
    return Comparison(estimators, grid, settings, blind=(), refine=(False, True), genie_starts=0)


class Scored(NamedTuple):
    """Tables of sources (with errors) and of scenes, as `evaluation_tables` makes them."""

    sources: pd.DataFrame
    scenes: pd.DataFrame


def scored(params: Params, cells: list[list[tuple[Batch, Path]]]) -> Scored:
    """Scores of every method on the scenes of cells."""
    scoring = Scoring(math.radians(params.evaluate.found_tolerance_deg), params.evaluate.gospa_cutoff_m)
    sources: list[pd.DataFrame] = []
    scene_rows: list[pd.DataFrame] = []
    for cell in cells:
        drawn = [scenes(params, batch) for batch, _ in cell]
        truth = split_truth(params, cell[0][0].source_model, drawn)
        files = [read_estimates(path) for _, path in cell]
        for method in files[0]:
            own = joined_estimates(method, [file[method] for file in files])
            of_sources, of_scenes = evaluation_tables.score(truth, own, scoring)
            sources.append(of_sources)
            scene_rows.append(of_scenes)
    every = pd.concat(sources, ignore_index=True)
    return Scored(evaluation_tables.with_errors(every), pd.concat(scene_rows, ignore_index=True))


def split_truth(params: Params, source_model: SourceModel, drawn: list[Scenes]) -> SplitTruth:
    """Sources and bounds of the scenes of a cell; its split is named by the source model."""
    columns: dict[str, list[torch.Tensor]] = {name: [] for name in evaluation_tables.BOUNDS}
    for part in drawn:
        limit = bound.bound(part, params.array.spherical_amplitude).conditional
        values = (
            limit.azimuth.rad2deg(),
            limit.elevation.rad2deg(),
            limit.range,
            limit.inverse_range,
            limit.position,
        )
        for name, value in zip(columns, values, strict=True):
            columns[name].append(value)
    return SplitTruth(
        source_model,
        torch.cat([part.sources for part in drawn]).numpy(),
        torch.cat([part.snr_db for part in drawn]).numpy(),
        {name: torch.cat(parts).numpy() for name, parts in columns.items()},
    )


def joined_estimates(method: Method, parts: list[BatchEstimates]) -> MethodEstimates:
    """Estimates of one method on all scenes of a cell."""
    width = max(part.sources.shape[1] for part in parts)

    def padded(values: Float[np.ndarray, "scene source 3"]) -> Float[np.ndarray, "scene slot 3"]:
        return np.pad(values, ((0, 0), (0, width - values.shape[1]), (0, 0)), constant_values=np.nan)

    resolved = np.concatenate([part.resolved for part in parts])
    return MethodEstimates(
        method,
        np.concatenate([padded(part.sources) for part in parts]),
        np.concatenate([padded(part.deviations) for part in parts]),
        np.concatenate([part.log_likelihood for part in parts]),
        resolved,
        np.ones_like(resolved),
    )


KEYS = ["source_model", "n_sources", "snr_db", "count", "estimator"]
RATIOS = [f"rmse_over_bound_{name}" for name in evaluation_strata.PARAMETERS]


def named(table: pd.DataFrame) -> pd.DataFrame:
    """The table with the column names of this benchmark."""
    return table.rename(columns={"split": "source_model", "method": "estimator"})


def accuracy_table(own: Scored, bootstrap: Bootstrap) -> pd.DataFrame:
    """accuracy.csv without the eigenvalue rules."""
    columns = ["n_scenes", "n_true", "found_rate", "found_low", "found_high"]
    columns += [f"{name}{ending}" for name in RATIOS for ending in ("", "_low", "_high")]
    columns += ["median_position_m", "gospa_m", "count_accuracy"]
    table = named(strata_table(own.sources, own.scenes, bootstrap)).set_index(KEYS)[columns]
    apart = own.sources[~(own.sources["separation_deg"] < APART_DEG)]
    clear = named(strata_table(apart, own.scenes, bootstrap)).set_index(KEYS)
    table["n_found_apart"] = named(apart[apart["found"]]).groupby(KEYS).size()
    for name in RATIOS:
        table[f"{name}_apart"] = clear[name]
    counted = named(own.scenes).set_index(KEYS)
    surplus = (counted["n_estimated"] - counted.index.get_level_values("n_sources")).groupby(KEYS).mean()
    table["mean_count_error"] = surplus[surplus.index.get_level_values("count") == "estimated"]
    empty = (table.index.get_level_values("n_sources") == 0).astype(bool)
    table["false_alarm_rate"] = (1.0 - table["count_accuracy"]).where(empty)
    stated = named(calibration_table(own.sources)).set_index([*KEYS, "parameter"])
    for n in (1, 2):
        shares = stated[f"within_{n}_std"].unstack("parameter")
        for parameter in evaluation_strata.PARAMETERS:
            table[f"within_{n}_std_{parameter}"] = shares[parameter]
    return table.reset_index()


def eigenvalue_rows(params: Params, cells: list[list[tuple[Batch, Path]]]) -> pd.DataFrame:
    """Rows of accuracy.csv of the eigenvalue rules, which count and do not locate."""
    rows = []
    for cell in cells:
        batch, drawn = cell[0][0], [scenes(params, part) for part, _ in cell]
        for rule in get_args(EigenvalueRule):
            counts = torch.cat([eigenvalue_count(part.observation, rule) for part in drawn]).double()
            right = float((counts == batch.n_sources).double().mean())
            rows.append(
                {
                    "source_model": batch.source_model,
                    "n_sources": batch.n_sources,
                    "snr_db": batch.snr_db,
                    "count": "estimated",
                    "estimator": f"eigenvalue_{rule}",
                    "n_scenes": len(counts),
                    "n_true": len(counts) * batch.n_sources,
                    "count_accuracy": right,
                    "mean_count_error": float(counts.mean()) - batch.n_sources,
                    "false_alarm_rate": 1.0 - right if batch.n_sources == 0 else math.nan,
                }
            )
    return pd.DataFrame(rows)


def range_table(own: Scored, params: Params) -> pd.DataFrame:
    """accuracy_ranges.csv: every stratum has scenes of its own, so that none is thin."""
    table = named(evaluation_strata.range_table(own.sources, params.sources.range_m))
    return table.rename(columns={"n_true": "n_sources_true"})


def genie_table(own: Scored) -> pd.DataFrame:
    """accuracy_genie.csv: the difference of two found rates on the same scenes, and its interval."""
    keys = ["source_model", "n_sources", "snr_db"]
    hits = named(own.sources).groupby([*keys, "estimator", "scene"])["found"].sum()
    rows = []
    for cell in hits.index.droplevel(["estimator", "scene"]).unique():
        of_cell = hits.loc[cell].unstack("estimator") / cell[1]
        for limit in (name for name in GENIES if name in of_cell):
            for name in LIKELIHOOD:
                difference = (of_cell[name] - of_cell[limit]).to_numpy(dtype=np.float64)
                label = zlib.crc32(f"{cell}/{name}/{limit}".encode())
                random = seeds.generator(SEED, "bootstrap", label)
                low, high = bootstrap_interval(difference, np.mean, random, 2000)
                rows.append(
                    {
                        **dict(zip(keys, cell, strict=True)),
                        "estimator": name,
                        "genie": limit,
                        "n_scenes": len(difference),
                        "found_rate": float(of_cell[name].mean()),
                        "genie_found_rate": float(of_cell[limit].mean()),
                        "genie_difference": float(difference.mean()),
                        "genie_difference_low": low,
                        "genie_difference_high": high,
                    }
                )
    return pd.DataFrame(rows)


def grouped(batches: tuple[Batch, ...], work: Path, tasks: set[Task]) -> list[list[tuple[Batch, Path]]]:
    """Batches of some tasks and their files, cell by cell."""
    cells: dict[tuple[object, ...], list[tuple[Batch, Path]]] = {}
    for number, batch in enumerate(batches):
        if batch.task in tasks:
            cells.setdefault((batch.task, *batch.cell), []).append((batch, work / shard_name(number)))
    return list(cells.values())


def write_tables(params: Params, batches: tuple[Batch, ...], work: Path) -> None:
    """The three tables."""
    bootstrap = Bootstrap(SEED, params.evaluate.bootstrap_samples)
    main_cells = grouped(batches, work, {"known", "genie", "estimated"})
    own = scored(params, main_cells)
    eigenvalues = eigenvalue_rows(params, grouped(batches, work, {"estimated"}))
    table = pd.concat([accuracy_table(own, bootstrap), eigenvalues], ignore_index=True)
    order = table["source_model"].map(list(get_args(SourceModel)).index)
    table = table.assign(order=order).sort_values(["order", *KEYS[1:4]], kind="stable").drop(columns="order")
    write("accuracy", table)
    write("accuracy_ranges", range_table(scored(params, grouped(batches, work, {"ranges"})), params))
    write("accuracy_genie", genie_table(Scored(own.sources[own.sources["count"] == "known"], own.scenes)))


DOCUMENTED = (
    ("independent", 1, 0.0),
    ("independent", 2, 0.0),
    ("independent", 2, 10.0),
    ("independent", 3, 5.0),
    ("independent", 3, 10.0),
    ("independent", 5, 20.0),
    ("constant", 2, 0.0),
    ("constant", 3, 10.0),
)
"""Cells of the table of docs/estimators.md."""


def documented(table: pd.DataFrame) -> list[str]:
    """Found rates of all estimators in some cells, as lines of Markdown; a dash was not measured."""
    own = table[(table["count"] == "known") & table["found_rate"].notna()].set_index(KEYS)["found_rate"]
    names = list(dict.fromkeys(own.index.get_level_values("estimator")))
    heads = [f"{'C ' if model == 'constant' else ''}{k}, {snr_db:g}" for model, k, snr_db in DOCUMENTED]
    lines = [f"| found (K, dB) | {' | '.join(heads)} |", "|---|" + "---|" * len(heads)]
    for name in names:
        rates = (own.get((*cell, "known", name)) for cell in DOCUMENTED)
        shown = (" - " if rate is None else f" {rate:.2f} " for rate in rates)
        lines.append(f"| `{name}` |{'|'.join(shown)}|")
    return lines


def counts_documented(table: pd.DataFrame) -> list[str]:
    """Share of scenes with the right number of sources, as lines of Markdown."""
    own = table[table["count"] == "estimated"].set_index(KEYS)["count_accuracy"]
    heads = [f"{k}, {snr_db:g}" if k else "0" for k, snr_db in COUNTED]
    lines = [f"| counted right (K, dB) | {' | '.join(heads)} |", "|---|" + "---|" * len(heads)]
    for model in get_args(SourceModel):
        for name in (*COUNTING, *(f"eigenvalue_{rule}" for rule in get_args(EigenvalueRule))):
            rates = (own[(model, k, snr_db, "estimated", name)] for k, snr_db in COUNTED)
            lines.append(f"| `{name}`, {model} |" + "|".join(f" {rate:.2f} " for rate in rates) + "|")
    return lines


def write(name: str, table: pd.DataFrame) -> None:
    """Five significant digits say more than the number of scenes does."""
    text = table.to_csv(index=False, float_format="%.5g", lineterminator="\n")
    write_text(RESULTS / f"{name}.csv", text)


def main() -> None:
    torch.set_num_threads(1)
    params = read_params()
    batches = plan(params)
    sections = params.model_dump(
        mode="json",
        include={"array", "receiver", "channel", "codebook", "sources", "impairments", "grid", "estimators"},
    )
    settings = {**sections, "ls_ridge": params.covariance.ls_ridge, "batches": [asdict(b) for b in batches]}
    with work_directory("accuracy", work_key({**settings, "seed": SEED, "starts": GENIE_STARTS})) as work:
        run = functools.partial(make, params, batches)
        make_shards(run, len(batches), work, params.evaluate.workers, 1, "accuracy", "batches")
        write_tables(params, batches, work)
        discard(work)
    table = pd.read_csv(RESULTS / "accuracy.csv")
    print("\n".join((*documented(table), *counts_documented(table))))


if __name__ == "__main__":
    main()
