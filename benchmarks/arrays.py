"""Sources of lines, circles and volumes of antennas, next to the Cramer-Rao bound, through `risolve.locate`.

    python -m benchmarks.arrays      writes benchmarks/results/arrays.csv, half an hour on two cores

One row a cell (array, near or far, source model, number of sources, SNR of an antenna and source) of 100
scenes of 16 snapshots, spacing half a wavelength, equal powers. Directions are at least a beam apart,
wavelength over aperture; azimuths within 60 degrees on a line (by their sine), all round elsewhere; elevation
told as 0 but of volumes, where it is within 50 degrees. The cube has 0.4 wavelengths: half of one does not
tell the two ends of its axes apart. Near: inverse ranges uniform from that of the Fraunhofer distance to that
of 1.2 apertures, nothing told; far: plane waves, told.

found_rate: errors of direction within half a beam, with its interval; rmse_over_bound: of found sources, by
parameter and pooled, each error over the bound of its own scene (`risolve.bound`: Gaussian amplitudes of
`independent` sources); count_accuracy: neither the number of sources nor the noise power told. Intervals of
95 %. Cells whose sources the snapshots do not determine are left out.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float

import risolve
from benchmarks._cells import RESULTS, write
from benchmarks._located import SEED, Drawn, normal, scores, tables
from risolve.field import CoordinateLike
from risolve.identifiability import most_sources
from risolve.physics.geometry import aperture
from risolve.physics.observation import SourceModel
from stages.evaluation.strata import Bootstrap

N_SCENES, N_SNAPSHOTS, N_BOOTSTRAP = 100, 16, 1000
SNRS_DB, COUNTED_DB = (0.0, 5.0, 10.0, 20.0), 10.0
NEAREST, WIDEST_DEG, STEEPEST_DEG = 1.2, 60.0, 50.0
Field = Literal["near", "far"]


def _ring(n_elements: int) -> Float[np.ndarray, "element 3"]:
    """Half a wavelength from one to the next, in the x-z plane."""
    angle = 2.0 * math.pi * np.arange(n_elements) / n_elements
    radius = 0.25 / math.sin(math.pi / n_elements)
    return radius * np.stack((np.sin(angle), np.zeros(n_elements), np.cos(angle)), -1)


_TWO = np.array([-0.25, 0.25])
_ACROSS = np.array([1.0, 0.0, 0.0])
ARRAYS = {
    "line of 8": 0.5 * np.outer(np.arange(8) - 3.5, _ACROSS),
    "line of 16": 0.5 * np.outer(np.arange(16) - 7.5, _ACROSS),
    "line of 32": 0.5 * np.outer(np.arange(32) - 15.5, _ACROSS),
    "sparse line of 5": 0.5 * np.outer(np.array([0, 1, 4, 7, 9]) - 4.5, _ACROSS),
    "circle of 5": _ring(5),
    "circle of 8": _ring(8),
    "cylinder of 16": np.concatenate([_ring(8) + np.array([0.0, height, 0.0]) for height in _TWO]),
    "cube of 8": 0.8 * np.stack(np.meshgrid(_TWO, _TWO, _TWO), -1).reshape(-1, 3),
}
"""Places of elements in wavelengths; the wavelength is 1 m."""


@dataclass(frozen=True)
class Cell:
    """Scenes of a kind, and whether the number of sources and the noise power are told."""

    array: str
    field: Field
    source_model: SourceModel
    n_sources: int
    snr_db: float
    counted: bool


def grid() -> Iterator[Cell]:
    """All cells whose sources the snapshots determine."""
    for array, elements in ARRAYS.items():
        for field in get_args(Field):
            n_free = 1 + (field == "near") + _is_volume(array)
            for model in get_args(SourceModel):
                most = most_sources(model, N_SNAPSHOTS, len(elements), len(elements), n_free).n_sources
                # snapshots of constant sources that no code changes are one snapshot
                one = most_sources(model, 1, len(elements), len(elements), n_free).n_sources
                for k in range(1, min(3, most if model == "independent" else one) + 1):
                    yield from (Cell(array, field, model, k, snr_db, False) for snr_db in SNRS_DB)
                    yield Cell(array, field, model, k, COUNTED_DB, True)


def _is_line(array: str) -> bool:
    return "line" in array


def _is_volume(array: str) -> bool:
    return not _is_line(array) and "circle" not in array


def draw(cell: Cell, random: np.random.Generator, n_scenes: int) -> Drawn:
    """Scenes of a cell."""
    array = risolve.Array(ARRAYS[cell.array], 1.0)
    span = aperture(array.elements)
    places = np.stack([_places(cell, span, random) for _ in range(n_scenes)])
    shape = (n_scenes, N_SNAPSHOTS if cell.source_model == "independent" else 1, cell.n_sources)
    sent = normal(random, *shape)
    if cell.source_model == "constant":
        sent /= np.abs(sent)
    manifold = array.steering(torch.from_numpy(places)).numpy()
    power = 10.0 ** (-cell.snr_db / 10.0)
    noise = math.sqrt(power) * normal(random, n_scenes, N_SNAPSHOTS, array.n_elements)
    received = noise + np.einsum("slk,skn->sln", sent, manifold)
    seen = risolve.Observation(received, array, source_model=cell.source_model, noise_power=power)
    unknown = risolve.Observation(received, array, source_model=cell.source_model)
    told: dict[str, CoordinateLike] = {} if _is_volume(cell.array) else {"elevation": 0.0}
    if cell.field == "far":
        told["range"] = math.inf
    strength = np.ones((n_scenes, cell.n_sources)) if cell.source_model == "independent" else sent[:, 0]
    return Drawn(unknown if cell.counted else seen, seen, places, places, strength, told, cell.counted)


def _places(cell: Cell, span: float, random: np.random.Generator) -> Float[np.ndarray, "source 3"]:
    """Directions drawn until all are a beam apart, and inverse ranges."""
    while True:
        azimuth, elevation = _directions(cell, random)
        across = np.sin(azimuth) * np.cos(elevation)
        along = np.cos(azimuth) * np.cos(elevation)
        seen = (across,) if _is_line(cell.array) else (across, np.sin(elevation), along)
        apart = np.linalg.norm([one[:, None] - one for one in seen], axis=0)
        if (apart[np.triu_indices(cell.n_sources, 1)] >= 1.0 / span).all():
            break
    inverse_range = np.zeros(cell.n_sources)
    if cell.field == "near":
        inverse_range = random.uniform(1.0 / (2.0 * span**2), 1.0 / (NEAREST * span), cell.n_sources)
    return np.stack((azimuth, elevation, inverse_range), -1)


def _directions(
    cell: Cell, random: np.random.Generator
) -> tuple[Float[np.ndarray, " source"], Float[np.ndarray, " source"]]:
    level = np.zeros(cell.n_sources)
    if _is_line(cell.array):
        widest = math.sin(math.radians(WIDEST_DEG))
        return np.arcsin(random.uniform(-widest, widest, cell.n_sources)), level
    azimuth = random.uniform(-math.pi, math.pi, cell.n_sources)
    if not _is_volume(cell.array):
        return azimuth, level
    steepest = math.sin(math.radians(STEEPEST_DEG))
    return azimuth, np.arcsin(random.uniform(-steepest, steepest, cell.n_sources))


KEYS = ["array", "field", "source_model", "n_sources"]


def documented(table: pd.DataFrame) -> list[str]:
    """The worst cell from 5 dB up of every array, field and model, and counts at 10 dB, as Markdown."""
    heads = [f"K = {k}" for k in (1, 2, 3)]
    titles = ["array", *(f"RMSE / bound, {one}" for one in heads), *(f"found, {one}" for one in heads)]
    titles += [f"count, {one}" for one in heads]
    lines = [f"| {' | '.join(titles)} |", "|---|" + "---|" * 9]
    strong = table[table["snr_db"] >= 5.0]
    worst = strong.groupby(KEYS, sort=False).agg(
        {"rmse_over_bound": "max", "found_rate": "min", "count_accuracy": "max"}
    )
    for key, own in worst.groupby(KEYS[:3], sort=False):
        rows = own.droplevel(KEYS[:3]).reindex([1, 2, 3])
        shown = [" - " if math.isnan(one) else f" {one:.2f} " for name in rows for one in rows[name]]
        lines.append(f"| {', '.join(key)} |{'|'.join(shown)}|")
    return lines


def main() -> None:
    torch.set_num_threads(1)
    bootstrap = Bootstrap(SEED, N_BOOTSTRAP)
    rows: dict[tuple[str | float, ...], dict[str, str | float]] = {}
    for cell, table in tables("arrays", draw, grid(), N_SCENES, (_places, _directions)):
        own = {name: getattr(cell, name) for name in (*KEYS, "snr_db")}
        row = rows.setdefault(tuple(own.values()), own)
        if cell.counted:
            counts = table.groupby("scene")["n_estimated"].first()
            row["count_accuracy"] = float((counts == cell.n_sources).mean())
        else:
            beam = math.degrees(1.0 / aperture(torch.from_numpy(ARRAYS[cell.array])))
            row |= {"n_scenes": N_SCENES, **scores(table, beam, bootstrap, repr(cell))}
    write("arrays", pd.DataFrame(rows.values()))
    print("\n".join(documented(pd.read_csv(RESULTS / "arrays.csv"))))


if __name__ == "__main__":
    main()
