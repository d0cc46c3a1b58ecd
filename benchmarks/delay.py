"""Range by the common delay of 20 bands over 10 % of the carrier, in the far field, next to its bound.

    python -m benchmarks.delay      writes benchmarks/results/delay.csv, a quarter of an hour of one core

One row a cell (system, number of sources, SNR of all sources together) of 200 scenes. Frequencies are evenly
apart from 0.95 to 1.05 of the carrier, whose wavelength is 0.1 m: delays come again after 19 m, and 0.95 m
are resolved. Ranges are from 4 to 18 m, beyond the Fraunhofer distance.

line        8 antennas half a wavelength apart, 8 snapshots of `independent` sources within 60 degrees
surface     4 x 4 elements half a wavelength apart before one antenna, `constant` sources within 50 degrees of
            azimuth and 25 of elevation, 16 codes of 3 bits, another channel in every band

Directions are at least a beam apart. rmse_over_bound_inverse_range is that of the range; found_rate, and
those of the angles, as `benchmarks.arrays`. range_rate: share of all sources within half a resolution of
their range too. The number of sources is told. count_accuracy, at 10 dB: neither it nor the noise power is.
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
from stages.evaluation.strata import Bootstrap

N_SCENES, N_BOOTSTRAP = 200, 1000
SNRS_DB, COUNTED_DB = (0.0, 10.0), 10.0
CARRIER = 0.1
WAVELENGTHS = (CARRIER / np.linspace(0.95, 1.05, 20)).tolist()
RANGES = (4.0, 18.0)
RESOLUTION = 0.95
"""m; see `DelayedArray.range_resolution`."""

ELEMENTS = {
    "line": risolve.linear(8, spacing=CARRIER / 2.0, wavelength=CARRIER).elements,
    "surface": risolve.planar(4, 4, spacing=CARRIER / 2.0, wavelength=CARRIER).elements,
}
WIDEST = {"line": (60.0, 0.0), "surface": (50.0, 25.0)}
"""Azimuth and elevation, degrees."""

N_SNAPSHOTS = {"line": 8, "surface": 16}


@dataclass(frozen=True)
class Cell:
    """Scenes of a system, and whether the number of sources and the noise power are told."""

    system: str
    n_sources: int
    snr_db: float
    counted: bool


def grid() -> Iterator[Cell]:
    """All cells."""
    for system in ELEMENTS:
        for k in (1, 2):
            yield from (Cell(system, k, snr_db, False) for snr_db in SNRS_DB)
            yield Cell(system, k, COUNTED_DB, True)


def draw(cell: Cell, random: np.random.Generator, n_scenes: int) -> Drawn:
    """Scenes of a cell."""
    is_line, L = cell.system == "line", N_SNAPSHOTS[cell.system]
    places = np.stack([_places(cell, random) for _ in range(n_scenes)])
    azimuth, elevation, inverse_range = np.moveaxis(places, -1, 0)
    level = np.cos(elevation)
    unit = np.stack((np.sin(azimuth) * level, np.sin(elevation), np.cos(azimuth) * level), -1)
    at = unit / inverse_range[..., None]
    paths = np.linalg.norm(at[:, :, None] - ELEMENTS[cell.system].numpy(), axis=-1)
    s = normal(random, n_scenes, L if is_line else 1, cell.n_sources)
    s = s if is_line else s / np.abs(s)
    power = cell.n_sources * 10.0 ** (-cell.snr_db / 10.0)
    model = "independent" if is_line else "constant"
    known, unknown = [], []
    for wavelength in WAVELENGTHS:
        array = risolve.Array(ELEMENTS[cell.system], wavelength)
        sent = s @ np.exp(-2j * np.pi / wavelength * paths)
        field = np.broadcast_to(sent, (n_scenes, L, array.n_elements))
        through = {}
        if not is_line:
            H = normal(random, 1, array.n_elements) / math.sqrt(array.n_elements)
            codes = np.exp(0.25j * np.pi * random.integers(8, size=(L, array.n_elements)))
            field, through = (codes * field) @ H.T, {"channel": H, "codes": codes}
        y = field + math.sqrt(power) * normal(random, *field.shape)
        known.append(risolve.Observation(y, array, source_model=model, noise_power=power, **through))
        unknown.append(risolve.Observation(y, array, source_model=model, **through))
    seen = risolve.bands(known, delay="common")
    # an amplitude has the phase of its source at the mean wavenumber
    middle = 2.0 * np.pi * np.mean(1.0 / np.array(WAVELENGTHS))
    s = s * np.exp(-1j * middle / inverse_range)[:, None]
    strength = s if is_line else s[:, 0]
    told = {"elevation": 0.0} if is_line else {}
    observation = risolve.bands(unknown, delay="common") if cell.counted else seen
    return Drawn(observation, seen, places, places, strength, told, cell.counted)


def _places(cell: Cell, random: np.random.Generator) -> Float[np.ndarray, "source 3"]:
    """Directions a beam apart, and inverse ranges."""
    least = CARRIER / aperture(ELEMENTS[cell.system])
    seen = directions(random, cell.n_sources, WIDEST[cell.system], least)
    return np.column_stack((seen, 1.0 / random.uniform(*RANGES, cell.n_sources)))


KEYS = ["system", "n_sources"]


def documented(table: pd.DataFrame) -> list[str]:
    """Every system and number of sources at both SNRs, and counts at 10 dB, as Markdown."""
    titles = ["system, sources", *(f"range RMSE / bound, {snr_db:g} dB" for snr_db in SNRS_DB)]
    titles += ["azimuth RMSE / bound", "found", "range found", "count"]
    lines = [f"| {' | '.join(titles)} |", "|---|" + "---|" * 6]
    for (system, k), own in table.groupby(KEYS, sort=False):
        by_snr = own.set_index("snr_db")["rmse_over_bound_inverse_range"]
        shown = [*by_snr[list(SNRS_DB)], own["rmse_over_bound_azimuth"].max()]
        shown += [own["found_rate"].min(), own["range_rate"].min(), own["count_accuracy"].max()]
        lines.append(f"| {system}, {k} |{'|'.join(f' {one:.2f} ' for one in shown)}|")
    return lines


def _range_rate(table: pd.DataFrame) -> float:
    found = 1.0 / (1.0 / table["range_m"] + table["error_inverse_range_per_m"])
    return float(((found - table["range_m"]).abs() <= RESOLUTION / 2.0).mean())


def main() -> None:
    torch.set_num_threads(1)
    bootstrap = Bootstrap(SEED, N_BOOTSTRAP)
    rows: dict[tuple[str | float, ...], dict[str, str | float]] = {}
    for cell, table in tables("delay", draw, grid(), N_SCENES, (_places, directions)):
        own = {name: getattr(cell, name) for name in (*KEYS, "snr_db")}
        row = rows.setdefault(tuple(own.values()), own)
        if cell.counted:
            counts = table.groupby("scene")["n_estimated"].first()
            row["count_accuracy"] = float((counts == cell.n_sources).mean())
        else:
            beam = math.degrees(CARRIER / aperture(ELEMENTS[cell.system]))
            row |= {"n_scenes": N_SCENES, **scores(table, beam, bootstrap, repr(cell))}
            row["range_rate"] = _range_rate(table)
    write("delay", pd.DataFrame(rows.values()))
    print("\n".join(documented(pd.read_csv(RESULTS / "delay.csv"))))


if __name__ == "__main__":
    main()
