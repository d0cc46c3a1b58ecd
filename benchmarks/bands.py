"""One wavelength against three, at equal energy, next to the bound of each.

    python -m benchmarks.bands      writes benchmarks/results/bands.csv, eight minutes of one core

One row a cell (system, source model, number of sources, SNR of all sources together, number of bands) of 24
snapshots: all at the wavelength 1, or 8 at each of 0.9, 1 and 1.12, so that equal noise means equal energy.

surface     6 x 6 elements half a wavelength apart before 6 antennas of a channel of normal numbers, 3-bit
            codes, both anew in every scene and band; azimuths within 50, elevations within 25 degrees,
            inverse ranges from that of the Fraunhofer distance to that of 1.2 apertures; 100 scenes
wide line   8 antennas two wavelengths apart and plane waves of `independent` sources within 60 degrees, each
            of which one wavelength alone sees in three or four directions; 400 scenes

Directions are at least a beam apart. found_rate, rmse_over_bound, intervals: as `benchmarks.arrays`; of
`constant` sources beside the bound of free amplitudes, one a band. The number of sources is told.
count_accuracy, at 10 dB: neither it nor the noise power is told.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float

import risolve
from benchmarks._cells import RESULTS, write
from benchmarks._located import SEED, Drawn, directions, normal, scores, tables
from risolve.physics.geometry import aperture
from risolve.physics.observation import SourceModel
from stages.evaluation.strata import Bootstrap

N_BOOTSTRAP, N_SNAPSHOTS = 1000, 24
N_SCENES = {"surface": 100, "wide line": 400}
SNRS_DB, COUNTED_DB = (10.0, 20.0), 10.0
WAVELENGTHS = {1: (1.0,), 3: (0.9, 1.0, 1.12)}
ELEMENTS = {
    "surface": risolve.planar(6, 6, spacing=0.5, wavelength=1.0).elements,
    "wide line": risolve.linear(8, spacing=2.0, wavelength=1.0).elements,
}
WIDEST = {"surface": (50.0, 25.0), "wide line": (60.0, 0.0)}
"""Azimuth and elevation, degrees."""


@dataclass(frozen=True)
class Cell:
    """Scenes of a system, and whether the number of sources and the noise power are told."""

    system: str
    source_model: SourceModel
    n_sources: int
    snr_db: float
    n_bands: int
    counted: bool


def grid(system: str) -> Iterator[Cell]:
    """All cells of a system."""
    models: tuple[SourceModel, ...] = ("independent", "constant")
    for model in models if system == "surface" else models[:1]:
        for k in (1, 2):
            for n_bands in WAVELENGTHS:
                yield from (Cell(system, model, k, snr_db, n_bands, False) for snr_db in SNRS_DB)
                yield Cell(system, model, k, COUNTED_DB, n_bands, True)


def draw(cell: Cell, random: np.random.Generator, n_scenes: int) -> Drawn:
    """Scenes of a cell."""
    is_line, is_constant = cell.system == "wide line", cell.source_model == "constant"
    places = np.stack([_places(cell, random) for _ in range(n_scenes)])
    n_snapshots = N_SNAPSHOTS // cell.n_bands
    power = 10.0 ** (-cell.snr_db / 10.0)
    known, unknown, sent = [], [], []
    for wavelength in WAVELENGTHS[cell.n_bands]:
        array = risolve.Array(ELEMENTS[cell.system], wavelength)
        manifold = array.steering(torch.from_numpy(places)).numpy()
        s = normal(random, n_scenes, 1 if is_constant else n_snapshots, cell.n_sources)
        s = s / np.abs(s) if is_constant else s
        field = np.broadcast_to(s @ manifold, (n_scenes, n_snapshots, array.n_elements))
        through = {}
        if not is_line:
            H = normal(random, n_scenes, 6, array.n_elements) / math.sqrt(array.n_elements)
            codes = np.exp(0.25j * np.pi * random.integers(8, size=(n_scenes, n_snapshots, array.n_elements)))
            field, through = (codes * field) @ H.swapaxes(1, 2), {"channel": H, "codes": codes}
        noise = math.sqrt(power * cell.n_sources) * normal(random, *field.shape)
        stated = {"source_model": cell.source_model, **through}
        known.append(risolve.Observation(field + noise, array, noise_power=power * cell.n_sources, **stated))
        unknown.append(risolve.Observation(field + noise, array, **stated))
        sent.append(s)
    strength = np.ones((n_scenes, cell.n_sources))
    if is_constant:
        strength = sent[0][:, 0] if cell.n_bands == 1 else np.concatenate(sent, axis=1)
    seen = risolve.bands(known)
    told = {"elevation": 0.0, "range": math.inf} if is_line else {}
    observation = risolve.bands(unknown) if cell.counted else seen
    return Drawn(observation, seen, places, places, strength, told, cell.counted)


def _places(cell: Cell, random: np.random.Generator) -> Float[np.ndarray, "source 3"]:
    """Directions a beam apart, and inverse ranges."""
    span = aperture(ELEMENTS[cell.system])
    seen = directions(random, cell.n_sources, WIDEST[cell.system], 1.0 / span)
    inverse_range = np.zeros(cell.n_sources)
    if cell.system == "surface":
        inverse_range = random.uniform(1.0 / (2.0 * span**2), 1.0 / (1.2 * span), cell.n_sources)
    return np.column_stack((seen, inverse_range))


KEYS = ["system", "source_model", "n_sources"]


def documented(table: pd.DataFrame) -> list[str]:
    """The worst cell of every system, model and number of sources, and counts at 10 dB, as Markdown."""
    heads = ("1 band", "3 bands")
    titles = ["system, sources", *(f"RMSE / bound, {one}" for one in heads)]
    titles += [*(f"found, {one}" for one in heads), *(f"count, {one}" for one in heads)]
    lines = [f"| {' | '.join(titles)} |", "|---|" + "---|" * 6]
    worst = table.groupby([*KEYS, "n_bands"], sort=False).agg(
        {"rmse_over_bound": "max", "found_rate": "min", "count_accuracy": "max"}
    )
    for (system, model, k), own in worst.groupby(KEYS, sort=False):
        shown = [f" {one:.2f} " for name in own for one in own[name]]
        lines.append(f"| {system}, {k} {model} |{'|'.join(shown)}|")
    return lines


def main() -> None:
    torch.set_num_threads(1)
    bootstrap = Bootstrap(SEED, N_BOOTSTRAP)
    rows: dict[tuple[str | float, ...], dict[str, str | float]] = {}
    for system, n_scenes in N_SCENES.items():
        beam = math.degrees(1.0 / aperture(ELEMENTS[system]))
        for cell, table in tables(f"bands {system}", draw, grid(system), n_scenes, (_places, directions)):
            own = {name: getattr(cell, name) for name in (*KEYS, "snr_db", "n_bands")}
            row = rows.setdefault(tuple(own.values()), own)
            if cell.counted:
                counts = table.groupby("scene")["n_estimated"].first()
                row["count_accuracy"] = float((counts == cell.n_sources).mean())
            else:
                row |= {"n_scenes": n_scenes, **scores(table, beam, bootstrap, repr(cell))}
    write("bands", pd.DataFrame(rows.values()))
    print("\n".join(documented(pd.read_csv(RESULTS / "bands.csv"))))


if __name__ == "__main__":
    main()
