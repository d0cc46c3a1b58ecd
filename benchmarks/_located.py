"""Scenes of any array located through `risolve.locate`, for the benchmarks of arrays and of published tables.

What is found stays in state/ (`benchmarks._kept`), a table a batch, one row a source that is there:

scene, n_estimated, azimuth_deg, elevation_deg, range_m
error_azimuth_deg, error_elevation_deg, error_inverse_range_per_m    estimate less truth, empty if missed
bound_azimuth_deg, bound_elevation_deg, bound_inverse_range_per_m    empty of what was told
"""

import functools
import math
import warnings
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import numpy as np
import pandas as pd
from jaxtyping import Complex, Float, Int

import risolve
from benchmarks._kept import key_of
from risolve.field import CoordinateLike
from risolve.files.atomic import write_text
from risolve.metrics.assignment import pair
from risolve.metrics.localization import errors
from stages.evaluation import cells
from stages.evaluation.cells import SceneBatch
from stages.evaluation.strata import Bootstrap, rate_interval
from stages.params.file import read_params

SEED = 20261130
SCENES_PER_BATCH = 100
PARAMETERS = ("azimuth_deg", "elevation_deg", "inverse_range_per_m")
DOOR = tuple(
    Path(__file__).parents[1] / "risolve" / name
    for name in ("door.py", "located.py", "locating.py", "field.py")
)

Cell = TypeVar("Cell", bound=Hashable)


@dataclass(frozen=True)
class Drawn:
    """Scenes with their sources, and what an estimator is told of the places.

    places: azimuth, elevation (rad), inverse range (1/m). seen: what the bound is of, with the noise power;
    bounded: the places that it is of. strength: powers, or amplitudes of `constant` and coherent sources, of
    those in several bands a row a band.
    """

    observation: risolve.Observation
    seen: risolve.Observation
    places: Float[np.ndarray, "scene source 3"]
    bounded: Float[np.ndarray, "scene source 3"]
    strength: Complex[np.ndarray, "scene *band source"] | Float[np.ndarray, "scene source"]
    told: Mapping[str, CoordinateLike]
    counted: bool


Draw: TypeAlias = Callable[[Cell, np.random.Generator, int], Drawn]
"""(cell, random numbers, number of scenes): scenes of a cell."""


def tables(
    name: str,
    draw: Draw[Cell],
    cells_of: Iterable[Cell],
    n_scenes: int,
    functions: Sequence[Callable[..., Any]],
) -> Iterator[tuple[Cell, pd.DataFrame]]:
    """Cells with the table of their scenes. functions: what `draw` calls, beside this module."""
    batches = cells.plan(((cell, range(n_scenes)) for cell in cells_of), SCENES_PER_BATCH)
    own = {"seed": SEED, "batches": [(repr(one.cell), one.scenes) for one in batches]}
    key = key_of(own, (draw, _make, table_of, *functions), DOOR)
    workers = read_params().evaluate.workers
    with cells.made(name, key, functools.partial(_make, draw), batches, workers) as (_, done):
        for cell, parts in cells.gathered(done, lambda cell: cell).items():
            yield cell, pd.concat([pd.read_csv(path) for _, path in parts], ignore_index=True)


def _make(draw: Draw[Cell], batch: SceneBatch[Cell], path: Path) -> None:
    """Write the table of a batch, whose scenes depend on the cell and on their numbers alone."""
    random = np.random.default_rng((SEED, *repr(batch.cell).encode(), batch.scenes[0]))
    drawn = draw(batch.cell, random, len(batch.scenes))
    write_text(path, table_of(drawn, batch.scenes).to_csv(index=False))


def directions(
    random: np.random.Generator, n_sources: int, widest_deg: tuple[float, float], least: float
) -> Float[np.ndarray, "source 2"]:
    """Azimuths and elevations (rad) within +-widest, drawn until all direction cosines are `least` apart."""
    azimuth_deg, elevation_deg = widest_deg
    while True:
        azimuth = np.deg2rad(random.uniform(-azimuth_deg, azimuth_deg, n_sources))
        elevation = np.deg2rad(random.uniform(-elevation_deg, elevation_deg, n_sources))
        seen = np.stack((np.sin(azimuth) * np.cos(elevation), np.sin(elevation)), -1)
        apart = np.linalg.norm(seen[:, None] - seen, axis=-1)[np.triu_indices(n_sources, 1)]
        if (apart >= least).all():
            return np.stack((azimuth, elevation), -1)


def normal(random: np.random.Generator, *shape: int) -> Complex[np.ndarray, "..."]:
    """Circular normal numbers of unit power."""
    parts = random.standard_normal((2, *shape))
    numbers: Complex[np.ndarray, ...] = (parts[0] + 1j * parts[1]) / math.sqrt(2.0)
    return numbers


def table_of(drawn: Drawn, scenes: Sequence[int]) -> pd.DataFrame:
    """Rows of all sources that are there, each beside the estimate that is paired with it by angle."""
    n_scenes, n_sources = drawn.places.shape[:2]
    with warnings.catch_warnings():
        # remarks on single scenes, of which there are thousands
        warnings.simplefilter("ignore", UserWarning)
        found = risolve.locate(
            drawn.observation, sources=None if drawn.counted else n_sources, **drawn.told
        ).to_pandas()
    degrees = np.rad2deg(drawn.places)
    with np.errstate(divide="ignore"):
        ranges = 1.0 / drawn.places[..., 2]
    bounds = np.concatenate([_bounds(drawn, slice(scene, scene + 1)) for scene in range(n_scenes)])
    difference = np.full((n_scenes, n_sources, 3), np.nan)
    counts: Int[np.ndarray, " scene"] = np.zeros(n_scenes, dtype=np.int64)
    columns = list(PARAMETERS)
    for scene, rows in found.groupby("scene"):
        places = rows[columns].to_numpy() * (np.pi / 180.0, np.pi / 180.0, 1.0)
        counts[scene] = len(places)
        pairs = pair(drawn.places[scene], places, math.pi)
        true, estimated = drawn.places[scene][pairs.truth], places[pairs.estimate]
        difference[scene, pairs.truth] = errors(true, estimated)
    flat = {
        "scene": np.repeat(scenes, n_sources),
        "n_estimated": np.repeat(counts, n_sources),
        "azimuth_deg": degrees[..., 0],
        "elevation_deg": degrees[..., 1],
        "range_m": ranges,
        "error_azimuth_deg": np.rad2deg(difference[..., 0]),
        "error_elevation_deg": np.rad2deg(difference[..., 1]),
        "error_inverse_range_per_m": difference[..., 2],
        "bound_azimuth_deg": bounds[..., 0],
        "bound_elevation_deg": bounds[..., 1],
        "bound_inverse_range_per_m": bounds[..., 2],
    }
    return pd.DataFrame({key: np.ravel(values) for key, values in flat.items()})


def scores(table: pd.DataFrame, beam_deg: float, bootstrap: Bootstrap, name: str) -> dict[str, float]:
    """Scores of scenes whose sources were told: found are those within half a beam, of which the RMSE over
    the bound of their own scene is taken, by parameter and pooled. name: of the draws of the bootstrap.
    """
    angles = table[["error_azimuth_deg", "error_elevation_deg"]].abs()
    table = table.assign(found=(angles <= beam_deg / 2.0).all(axis=1))
    by_scene = table.groupby("scene")["found"]
    low, high = rate_interval(by_scene.sum().to_numpy(dtype=float), int(by_scene.size().iloc[0]))
    row = {"found_rate": table["found"].mean(), "found_low": low, "found_high": high}
    hits = table[table["found"]]
    squares = pd.DataFrame(
        {name: np.square(hits[f"error_{name}"] / hits[f"bound_{name}"]) for name in PARAMETERS}
    )
    for parameter in PARAMETERS:
        row[f"rmse_over_bound_{parameter.rpartition('_deg')[0] or 'inverse_range'}"] = math.sqrt(
            squares[parameter].mean()
        )
    of_scenes = squares.mean(axis=1).groupby(hits["scene"])
    totals, sizes = of_scenes.sum().to_numpy(), of_scenes.size().to_numpy(dtype=float)
    ends = bootstrap.interval(name, totals, sizes)
    names = ("rmse_over_bound", "rmse_over_bound_low", "rmse_over_bound_high")
    return row | dict(zip(names, (math.sqrt(totals.sum() / sizes.sum()), *ends), strict=True))


def _bounds(drawn: Drawn, scene: slice) -> Float[np.ndarray, "scene source 3"]:
    """Bounds of azimuth, elevation (degrees) and inverse range (1/m) of a scene, NaN where infinite."""
    azimuth, elevation, inverse_range = np.moveaxis(drawn.bounded[scene], -1, 0)
    name = "amplitude" if np.iscomplexobj(drawn.strength) else "power"
    known = [one for one, value in drawn.told.items() if isinstance(value, int | float)]
    with np.errstate(divide="ignore", invalid="ignore"):
        ranges = 1.0 / inverse_range
        try:
            limit = risolve.bound(
                drawn.seen.select(scene),
                azimuth=np.rad2deg(azimuth),
                elevation=np.rad2deg(elevation),
                range=ranges,
                known=known,
                **{name: drawn.strength[scene]},
            )
        except ValueError:
            return np.full(drawn.bounded[scene].shape, np.nan)
        of_range = limit.range_std_m / ranges**2
    return np.stack((limit.azimuth_std_deg, limit.elevation_std_deg, of_range), -1)
