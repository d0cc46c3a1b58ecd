"""What a search costs against the number of elements.

    python -m benchmarks.growth      writes benchmarks/results/growth.csv, twenty minutes of one core

Square surfaces of elements half a wavelength apart, two `independent` sources at 10 dB together, every system
in a process of its own on one thread:

own codes       16 antennas, 16 snapshots under codes of random phases, anew in every scene
shared codes    the same, with one set of codes for all scenes
one antenna     256 snapshots of `constant` sources under one set of codes

Azimuths within 50, elevations within 25 degrees, at least two beams apart; distances from .7 to 6 apertures.
ms: CPU time a scene of `locate`, with rivals, fit and deviations, the number of sources told, and with the
tables of the search, which all scenes share. first_ms: of one scene alone. megabytes: the largest resident
set. found_rate, rmse_over_bound: as `benchmarks.arrays`.
"""

import json
import math
import multiprocessing
import resource
import time
import warnings
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float

import risolve
from benchmarks._cells import RESULTS, write
from benchmarks._located import SEED, Drawn, directions, normal, scores, table_of
from risolve.physics.geometry import aperture
from stages.evaluation.strata import Bootstrap

WAVELENGTH, NOISE, N_SOURCES, N_BOOTSTRAP = 1.0, 0.2, 2, 1000
SCENES = {12: 100, 16: 100, 24: 100, 32: 100, 48: 50, 64: 50, 100: 4}
"""Elements along a side -> scenes."""

KINDS = {"own codes": 100, "shared codes": 64, "one antenna": 24}
"""Systems, and the most elements along a side."""

LARGE = 24
"""Elements along a side from which the exponent is told."""


def draw(kind: str, side: int, random: np.random.Generator, n_scenes: int) -> Drawn:
    """Scenes of a system."""
    array = risolve.planar(side, side, WAVELENGTH / 2.0, WAVELENGTH)
    span = aperture(array.elements)
    places = np.stack([_places(span, random) for _ in range(n_scenes)])
    n_antennas, n_snapshots = (1, 256) if kind == "one antenna" else (16, 16)
    n_codes = n_scenes if kind == "own codes" else 1
    channel = normal(random, n_antennas, array.n_elements) / math.sqrt(array.n_elements)
    codes = np.exp(2j * np.pi * random.random((n_codes, n_snapshots, array.n_elements)))
    is_constant = kind == "one antenna"
    sent = normal(random, n_scenes, 1 if is_constant else n_snapshots, N_SOURCES)
    sent = sent / np.abs(sent) if is_constant else sent
    y = np.empty((n_scenes, n_snapshots, n_antennas), dtype=complex)
    for scene, place in enumerate(places):
        field = np.broadcast_to(
            sent[scene] @ array.steering(torch.from_numpy(place)).numpy(), codes.shape[1:]
        )
        y[scene] = (codes[min(scene, n_codes - 1)] * field) @ channel.T
    y += math.sqrt(NOISE) * normal(random, *y.shape)
    model = "constant" if is_constant else "independent"
    observation = risolve.Observation(y, array, channel, codes, model)
    seen = risolve.Observation(y, array, channel, codes, model, NOISE)
    strength = sent[:, 0] if is_constant else np.ones((n_scenes, N_SOURCES))
    return Drawn(observation, seen, places, places, strength, {}, False)


def _places(span: float, random: np.random.Generator) -> Float[np.ndarray, "source 3"]:
    """Directions two beams apart, and inverse ranges."""
    seen = directions(random, N_SOURCES, (50.0, 25.0), 2.0 * math.sqrt(2.0) * WAVELENGTH / span)
    return np.column_stack((seen, 1.0 / (span * random.uniform(0.7, 6.0, N_SOURCES))))


def measured(kind: str, side: int) -> dict[str, Any]:
    """A row, measured in this process."""
    torch.set_num_threads(1)
    n_scenes = SCENES[side]
    drawn = draw(kind, side, np.random.default_rng((SEED, *kind.encode(), side)), n_scenes)
    one = _seconds(drawn.observation.select(slice(0, 1)))
    every = _seconds(drawn.observation) / n_scenes
    row = {
        "system": kind,
        "n_elements": side**2,
        "n_scenes": n_scenes,
        "ms": 1e3 * every,
        "first_ms": 1e3 * one,
    }
    row["megabytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0
    beam = math.degrees(2.0 * WAVELENGTH / (side * WAVELENGTH))
    return row | scores(
        table_of(drawn, range(n_scenes)), beam, Bootstrap(SEED, N_BOOTSTRAP), f"{kind} {side}"
    )


def _seconds(observation: risolve.Observation) -> float:
    """CPU time of its sources."""
    start = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        risolve.locate(observation, sources=N_SOURCES)
    return time.process_time() - start


def exponent(table: pd.DataFrame) -> tuple[float, float]:
    """b of ms ~ N^b from `LARGE` elements along a side up, and its standard error."""
    large = table[table["n_elements"] >= LARGE**2]
    x, y = np.log(large["n_elements"]), np.log(large["ms"])
    slope, offset = np.polyfit(x, y, 1)
    left = y - slope * x - offset
    error = math.sqrt(float((left**2).sum()) / (len(x) - 2) / float(((x - x.mean()) ** 2).sum()))
    return float(slope), error


def documented(table: pd.DataFrame) -> list[str]:
    """Every system and number of elements, as Markdown."""
    lines = [
        "| system | elements | ms a scene | first scene, s | MB | found | RMSE / bound |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in table.to_dict("records"):
        lines.append(
            f"| {row['system']} | {row['n_elements']:,} | {row['ms']:.0f} | {row['first_ms'] / 1e3:.1f} | "
            f"{row['megabytes']:.0f} | {row['found_rate']:.3f} | {row['rmse_over_bound']:.2f} |"
        )
    return lines


def main() -> None:
    context = multiprocessing.get_context("spawn")
    rows: list[dict[str, Any]] = []
    for kind, most in KINDS.items():
        for side in (one for one in SCENES if one <= most):
            with context.Pool(1) as pool:
                rows.append(pool.apply(measured, (kind, side)))
            print(json.dumps(rows[-1]), flush=True)
            write("growth", pd.DataFrame(rows))
    table = pd.read_csv(RESULTS / "growth.csv")
    print("\n".join(documented(table)))
    for kind in ("own codes", "shared codes"):
        print(f"{kind}: ms ~ N^b, b and its standard error {exponent(table[table['system'] == kind])}")


if __name__ == "__main__":
    main()
