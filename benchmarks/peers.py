"""Published tables on scenes drawn anew, located through `risolve.locate`, next to the Cramer-Rao bound.

    python -m benchmarks.peers      writes benchmarks/results/peers.csv, three quarters of an hour, two cores

2,000 scenes a cell, the number of sources told.

coherent    Line of 8, half a wavelength, plane waves of one waveform with equal factors, directions within 90
            degrees and 15 degrees apart; error of a scene: root mean square over its sources, modulo 180
            degrees. Published: Shmuel et al., "SubspaceNet: Deep learning-aided subspace methods for DoA
            estimation", IEEE Trans. Veh. Technol. 74(3) (2025), Tables I and II, whose amplitude is
            10^(SNR/10), so that their 10 dB is 20 dB of power. Their network knows that the factors are
            equal; `risolve.locate` does not.
equal       The same, and `risolve.locate` is told of it: gains = equal, at the first element.
compressed  Line of 64 at 28 GHz, half a wavelength, 64 snapshots through one random 64 x 8 matrix of unit
            moduli, whitened; azimuths of 30 to 70 degrees and ranges of 0.05 to 1 times 2 D^2 / lambda, both
            told; SNR: power of all sources together at an antenna over the noise. A scene fails unless all
            its sources are within 15 degrees and 60 % of range. Published: rvsenyuva/nearfield-clkl, GitHub.

Errors are of all scenes, failed ones included. Empty: not published. A bound is that at 89.5 degrees where a
source is farther from broadside: at 90 it is infinite, and so it is of two sources at 89.5 and -89.5.
"""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from scipy.constants import speed_of_light

import risolve
from benchmarks._cells import RESULTS, write
from benchmarks._located import Drawn, normal, tables

N_SCENES = 2000
APART_DEG, CLOSE_DEG, BOUNDED_DEG = 15.0, 5.0, 89.5
WAVELENGTH_M = speed_of_light / 28e9
FRAUNHOFER_M = 63.0**2 / 2.0 * WAVELENGTH_M
NEAREST = 0.05
FAILS_DEG, FAILS_SHARE = 15.0, 0.6
Kind = Literal["coherent", "equal", "compressed"]

COHERENT = {
    (2, 100, 10.0): None,
    (3, 100, 10.0): None,
    (4, 100, 10.0): None,
    (2, 100, 20.0): 0.2005,
    (3, 100, 20.0): 0.7219,
    (4, 100, 20.0): 3.8846,
    (2, 2, 5.0): None,
    (2, 2, 10.0): 1.8907,
}
"""Number of sources, of snapshots, SNR (dB of power): best published mean error (degrees)."""

COMPRESSED = {
    (3, -10.0): (11.0, 15.1, 0.995),
    (3, 0.0): (9.13, 16.4, 0.98),
    (3, 10.0): (6.98, 16.6, 0.95),
    (3, 20.0): (7.61, 16.0, 0.97),
    (1, 10.0): (0.966, math.nan, math.nan),
    (2, 10.0): (5.31, math.nan, math.nan),
    (4, 10.0): (8.14, math.nan, math.nan),
    (5, 10.0): (9.0, math.nan, math.nan),
}
"""Number of sources, SNR (dB): published RMSE (degrees, m) and share of failed scenes."""


@dataclass(frozen=True)
class Cell:
    """Scenes of a kind."""

    kind: Kind
    n_sources: int
    n_snapshots: int
    snr_db: float


def grid() -> Iterator[Cell]:
    """All cells."""
    yield from (Cell(kind, *key) for kind in ("coherent", "equal") for key in COHERENT)
    yield from (Cell("compressed", k, 64, snr_db) for k, snr_db in COMPRESSED)


def draw(cell: Cell, random: np.random.Generator, n_scenes: int) -> Drawn:
    """Scenes of a cell."""
    of_kind = _compressed if cell.kind == "compressed" else _coherent
    return of_kind(cell, random, n_scenes)


def _coherent(cell: Cell, random: np.random.Generator, n_scenes: int) -> Drawn:
    array, K = risolve.linear(8, 0.5, 1.0), cell.n_sources
    gains = "equal" if cell.kind == "equal" else "free"
    if gains == "equal":
        array = risolve.Array(array.elements - array.elements[0], array.wavelength)
    places = np.zeros((n_scenes, K, 3))
    places[..., 0] = [_apart(K, random) for _ in range(n_scenes)]
    waveform = normal(random, n_scenes, cell.n_snapshots)
    manifold = array.steering(torch.from_numpy(places)).numpy()
    # phases are equal at the first element
    phases = manifold[..., 0].conj()
    power = 10.0 ** (-cell.snr_db / 10.0)
    noise = math.sqrt(power) * normal(random, n_scenes, cell.n_snapshots, array.n_elements)
    received = waveform[..., None] * (phases[..., None] * manifold).sum(1)[:, None] + noise
    observation = risolve.Observation(received, array, source_model="coherent", gains=gains)
    amplitude = np.linalg.norm(waveform, axis=1)[:, None] * phases
    nothing = np.zeros((n_scenes, 1, array.n_elements), complex)
    seen = risolve.Observation(nothing, array, source_model="constant", noise_power=power, gains=gains)
    told = {"azimuth": (-90.0, 90.0), "elevation": 0.0, "range": math.inf}
    most = math.radians(BOUNDED_DEG)
    bounded = places.clip((-most, 0.0, 0.0), (most, 0.0, 0.0))
    return Drawn(observation, seen, places, bounded, amplitude, told, False)


def _apart(n_sources: int, random: np.random.Generator) -> Float[np.ndarray, " source"]:
    """Directions (rad) drawn until all are apart."""
    while True:
        azimuth = np.sort(random.uniform(-90.0, 90.0, n_sources))
        if (np.diff(azimuth) >= APART_DEG).all():
            return np.deg2rad(azimuth)


def _compressed(cell: Cell, random: np.random.Generator, n_scenes: int) -> Drawn:
    array, K = risolve.linear(64, WAVELENGTH_M / 2.0, WAVELENGTH_M), cell.n_sources
    weights = np.exp(2j * np.pi * np.random.default_rng(0).random((64, 8))) / 8.0
    values, vectors = np.linalg.eigh(weights.conj().T @ weights)
    channel = (vectors / np.sqrt(values)) @ vectors.conj().T @ weights.conj().T
    places = np.zeros((n_scenes, K, 3))
    places[..., 0] = np.deg2rad(random.uniform(30.0, 70.0, (n_scenes, K)))
    places[..., 2] = 1.0 / (FRAUNHOFER_M * random.uniform(NEAREST, 1.0, (n_scenes, K)))
    sent = normal(random, n_scenes, cell.n_snapshots, K) / math.sqrt(K)
    power = 10.0 ** (-cell.snr_db / 10.0)
    noise = math.sqrt(power) * normal(random, n_scenes, cell.n_snapshots, 8)
    manifold = array.steering(torch.from_numpy(places)).numpy()
    received = np.einsum("slk,skn->sln", sent, manifold) @ channel.T + noise
    seen = risolve.Observation(received, array, channel=channel, noise_power=power)
    told = {"azimuth": (30.0, 70.0), "elevation": 0.0, "range": (NEAREST * FRAUNHOFER_M, FRAUNHOFER_M)}
    return Drawn(seen, seen, places, places, np.full((n_scenes, K), 1.0 / K), told, False)


def row_of(cell: Cell, table: pd.DataFrame) -> dict[str, float]:
    """Scores of a cell, and what was published."""
    scene, bound = table["scene"], table["bound_azimuth_deg"]
    degrees = table["error_azimuth_deg"]
    if cell.kind != "compressed":
        true = table["azimuth_deg"].to_numpy().reshape(-1, cell.n_sources)
        apart = _periodic(true, true + degrees.to_numpy().reshape(true.shape))
        errors = pd.Series(np.sqrt(np.square(apart).mean(axis=1)))
        best = COHERENT[cell.n_sources, cell.n_snapshots, cell.snr_db]
        return {
            "mean_deg": errors.mean(),
            "median_deg": errors.median(),
            "bound_median_deg": _by_scene(bound, scene).median(),
            "found_rate": float((np.abs(apart) <= CLOSE_DEG).mean()),
            "published_mean_deg": math.nan if best is None else best,
        }
    with np.errstate(divide="ignore"):
        found_m = 1.0 / (table["error_inverse_range_per_m"] + 1.0 / table["range_m"])
    metres = found_m - table["range_m"]
    close = (degrees.abs() <= FAILS_DEG) & (metres.abs() <= FAILS_SHARE * table["range_m"])
    bound_m = table["bound_inverse_range_per_m"] * table["range_m"] ** 2
    published_deg, published_m, published_failed = COMPRESSED[cell.n_sources, cell.snr_db]
    return {
        "mean_deg": _by_scene(degrees, scene).mean(),
        "median_deg": _by_scene(degrees, scene).median(),
        "bound_median_deg": _by_scene(bound, scene).median(),
        "rmse_deg": math.sqrt(np.square(degrees).mean()),
        "bound_rms_deg": math.sqrt(np.square(bound).mean()),
        "rmse_m": math.sqrt(np.square(metres).mean()),
        "median_m": _by_scene(metres, scene).median(),
        "bound_median_m": _by_scene(bound_m, scene).median(),
        "failed": 1.0 - float(close.groupby(scene).all().mean()),
        "published_rmse_deg": published_deg,
        "published_rmse_m": published_m,
        "published_failed": published_failed,
    }


def _periodic(
    true: Float[np.ndarray, "scene source"], estimated: Float[np.ndarray, "scene source"]
) -> Float[np.ndarray, "scene source"]:
    """Errors modulo 180 degrees of the pairing of least root mean square."""
    orders = [list(order) for order in itertools.permutations(range(true.shape[1]))]
    every = np.stack([(estimated[:, order] - true + 90.0) % 180.0 - 90.0 for order in orders])
    best = np.square(every).mean(axis=2).argmin(axis=0)
    least: Float[np.ndarray, "scene source"] = every[best, np.arange(len(true))]
    return least


def _by_scene(values: "pd.Series[float]", scene: "pd.Series[int]") -> "pd.Series[float]":
    """Root mean square over the sources of every scene."""
    roots: pd.Series[float] = np.sqrt(np.square(values).groupby(scene).mean())
    return roots


_ONE_WAVEFORM = {
    "mean_deg": "mean error",
    "median_deg": "median error",
    "bound_median_deg": "median bound",
    "found_rate": "found within 5 degrees",
    "published_mean_deg": "best published mean",
}

COLUMNS = {
    "coherent": _ONE_WAVEFORM,
    "equal": _ONE_WAVEFORM,
    "compressed": {
        "rmse_deg": "RMSE, degrees",
        "published_rmse_deg": "published, degrees",
        "median_deg": "median error, degrees",
        "bound_median_deg": "median bound, degrees",
        "rmse_m": "RMSE, m",
        "published_rmse_m": "published, m",
        "failed": "failed",
        "published_failed": "published",
    },
}
"""Columns of the tables of docs/estimators.md."""


def documented(table: pd.DataFrame, kind: Kind) -> list[str]:
    """One of the tables as Markdown; a dash was not published."""
    columns = COLUMNS[kind]
    lines = [f"| sources, snapshots, dB | {' | '.join(columns.values())} |", "|---|" + "---|" * len(columns)]
    for row in table[table["kind"] == kind].to_dict("records"):
        values = (row[name] for name in columns)
        shown = " | ".join("-" if math.isnan(value) else f"{value:.3g}" for value in values)
        lines.append(f"| {row['n_sources']}, {row['n_snapshots']}, {row['snr_db']:g} | {shown} |")
    return lines


def main() -> None:
    torch.set_num_threads(1)
    rows = []
    for cell, table in tables("peers", draw, grid(), N_SCENES, (_coherent, _apart, _compressed)):
        keys = {"kind": cell.kind, "n_sources": cell.n_sources, "n_snapshots": cell.n_snapshots}
        rows.append({**keys, "snr_db": cell.snr_db, "n_scenes": N_SCENES, **row_of(cell, table)})
    write("peers", pd.DataFrame(rows))
    held = pd.read_csv(RESULTS / "peers.csv")
    print("\n".join(line for kind in COLUMNS for line in documented(held, kind)))


if __name__ == "__main__":
    main()
