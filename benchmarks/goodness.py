"""Whether a model fits: false alarms of `fits` in scenes of the model, and detection of departures.

    python -m benchmarks.goodness      writes benchmarks/results/goodness.csv, needs 6 minutes of a core

Scenes at 10 dB of the default surface (`benchmarks.bounds`), a line and a circle of 8 antennas; sources of
equal power, uniform in azimuth within 60 degrees and in range from 0.5 to 10 m, at elevation 0 but of the
surface. Rows `none` are of the model; every other one of a departure from it, the noise power not stated:

conjugate       conjugate snapshots                    dead antenna      antenna 2 receives noise alone
phases          of the antennas, uniform               phases 20 deg     of the antennas, rms
wavelengths     places of elements over lambda         source beyond     one source more than is told
axes            elements of the codes column by column
direct path     the same at an antenna under all codes, of the power of all that is received
channel 15 %    error of the known channel, rms

below_NAME is the share of scenes with `fits` below, of those that have it; explained the median of the share
of the energy that the sources explain; cost the time that `fits` takes over that of the location with it.
"""

import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

import risolve
from benchmarks.bounds import NO_IMPAIRMENTS, SYSTEM
from risolve import seeds
from risolve.field import FieldOfView, coordinate_of
from risolve.files.atomic import write_text
from risolve.inference.goodness import goodness
from risolve.locating import CLASSICAL, Options, localizer_for
from risolve.physics.array import Array
from risolve.physics.observation import Observation, SourceModel
from risolve.physics.scenario import SourceDistribution, draw_scene, observe

RESULTS = Path(__file__).parent / "results" / "goodness.csv"
SEED = 20261130
SNR_DB = 10.0
SNR = 10.0 ** (SNR_DB / 10.0)
ARRAYS = {"line": risolve.linear(8, 0.05, 0.1), "circle": risolve.circular(8, 0.08, 0.1)}
RANGE_M = (0.5, 10.0)
LEVELS = (0.001, 0.01, 0.05)
N_DETECTED = {"line": 50, "circle": 50, "surface": 16}


@dataclass(frozen=True)
class Cell:
    """Scenes of K sources; told: the number that is told, None where it is counted."""

    system: str
    source_model: SourceModel
    n_snapshots: int
    n_sources: int
    told: int | None
    noise_stated: bool
    n_scenes: int


def false_alarm_cells() -> Iterator[Cell]:
    """Scenes of the model."""
    sizes = {0: 1000, 1: 400, 2: 60, 3: 30}
    for stated in (False, True):
        for model in ("independent", "constant"):
            for system in ARRAYS:
                for L in (1, 4, 16, 64, 512) if model == "independent" else (4, 16, 64):
                    for K, n_scenes in sizes.items():
                        yield Cell(system, model, L, K, K, stated, n_scenes)
                    yield Cell(system, model, L, 1, None, stated, 60)
            for L in (4, 16):
                for K, n_scenes in {0: 500, 1: 32, 3: 12}.items():
                    yield Cell("surface", model, L, K, K, stated, n_scenes)
            yield Cell("surface", model, 64, 1, 1, stated, 4)


def observed(cell: Cell) -> Observation:
    """Snapshots of the scenes of a cell, with their noise power."""
    random = seeds.generator(SEED, "test_independent", 10 * cell.n_snapshots + cell.n_sources)
    if cell.system == "surface":
        system = replace(SYSTEM, n_snapshots=cell.n_snapshots)
        angles = (-np.pi / 3, np.pi / 3), (-np.pi / 6, np.pi / 6)
        field = SourceDistribution(*angles, RANGE_M, 0.0, path_loss=False, max_sources=3)
        drawn = (system, None, field, cell.source_model, cell.n_sources, SNR_DB, NO_IMPAIRMENTS)
        draws = [draw_scene(random, *drawn) for _ in range(cell.n_scenes)]
        return observe(draws, system, cell.source_model, 1.0, shared_channel=False).observation
    array, n, K = ARRAYS[cell.system], cell.n_scenes, cell.n_sources
    places = np.stack(
        (
            random.uniform(-np.pi / 3, np.pi / 3, (n, K)),
            np.zeros((n, K)),
            1.0 / random.uniform(*RANGE_M, (n, K)),
        ),
        -1,
    )
    L = cell.n_snapshots if cell.source_model == "independent" else 1
    amplitudes = _normal(random, n, L, K)
    waves = array.steering(torch.from_numpy(places)) if K else torch.empty((n, 0, 8), dtype=torch.complex128)
    power = max(K, 1) / SNR
    noise = power**0.5 * _normal(random, n, cell.n_snapshots, 8)
    return Observation(amplitudes @ waves + noise, array, source_model=cell.source_model, noise_power=power)


def departures(cell: Cell, seen: Observation) -> Iterator[tuple[str, Observation]]:
    """What differs from the model of an observation, and what is then received, or believed."""
    random = seeds.generator(SEED, "test_constant", cell.n_sources)
    y, array = seen.snapshots, seen.array
    n, L, M = y.shape
    power = y.abs().square().mean((1, 2), keepdim=True)
    yield "conjugate", replace(seen, snapshots=y.conj())
    dead = y.clone()
    dead[:, :, 2] = (power[:, 0] / (1.0 + SNR)).sqrt() * _normal(random, n, L)
    yield "dead antenna", replace(seen, snapshots=dead)
    for name, phases in (
        ("phases", random.uniform(0.0, 2.0 * np.pi, (n, 1, M))),
        ("phases 20 deg", np.deg2rad(20.0) * random.standard_normal((n, 1, M))),
    ):
        yield name, replace(seen, snapshots=y * torch.from_numpy(np.exp(1j * phases)))
    if cell.system != "surface":
        yield "wavelengths", replace(seen, array=Array(array.elements / array.wavelength, array.wavelength))
        return
    yield "axes", replace(seen, codes=seen.codes.unflatten(-1, (12, 12)).mT.flatten(-2))
    yield "direct path", replace(seen, snapshots=y + power.sqrt() * _normal(random, n, 1, M))
    error = seen.channel.abs().square().mean((1, 2), keepdim=True).sqrt() * _normal(random, n, M, 144)
    yield "channel 15 %", replace(seen, channel=seen.channel + 0.15 * error)


def _normal(random: np.random.Generator, *shape: int) -> Tensor:
    """CN(0, 1)."""
    real, imaginary = random.standard_normal((2, *shape)) * 0.5**0.5
    return torch.from_numpy(real + 1j * imaginary)


def measured(cell: Cell, seen: Observation, departure: str) -> dict[str, object]:
    """A row of the table."""
    limits = {"range": RANGE_M, "elevation": None if cell.system == "surface" else 0.0}
    started = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = risolve.locate(seen, sources=cell.told, **limits)
    seconds = time.process_time() - started
    stated = {name: coordinate_of(name, value) for name, value in limits.items()}
    field = FieldOfView(None, stated["elevation"], stated["range"])
    grid = localizer_for(seen, Options(CLASSICAL, cell.told, field, 0.01, Path()), "").grid
    known = found.fits[~np.isnan(found.fits)]
    row = {
        "departure": departure,
        "system": cell.system,
        "source_model": cell.source_model,
        "n_snapshots": cell.n_snapshots,
        "n_sources": cell.n_sources,
        "told": "counted" if cell.told is None else cell.told,
        "noise_power": "stated" if cell.noise_stated else "unknown",
        "n_scenes": len(known),
        **{f"below_{level:g}": float((known < level).mean()) for level in LEVELS},
        "explained": float(np.median(found.explained)),
    }
    if cell.told is None:
        return row
    sources = np.stack(
        (np.deg2rad(found["azimuth_deg"]), np.deg2rad(found["elevation_deg"]), found["inverse_range_per_m"]),
        -1,
    )
    placed = torch.from_numpy(sources.reshape(cell.n_scenes, cell.told, 3))
    started = time.process_time()
    goodness(found.observation, placed, grid)
    return row | {"cost": (time.process_time() - started) / seconds}


def rows() -> Iterator[dict[str, object]]:
    """All rows of the table."""
    for cell in false_alarm_cells():
        seen = observed(cell)
        yield measured(cell, seen if cell.noise_stated else replace(seen, noise_power=None), "none")
    for system, n_scenes in N_DETECTED.items():
        for model in ("independent", "constant"):
            for K in (1, 3):
                cell = Cell(system, model, 16, K, K, noise_stated=False, n_scenes=n_scenes)
                seen = replace(observed(cell).to(torch.complex128), noise_power=None)
                for name, other in departures(cell, seen):
                    yield measured(cell, other, name)
                if K > 1:
                    yield measured(replace(cell, told=K - 1), seen, "source beyond")


def main() -> None:
    torch.set_num_threads(1)
    table = pd.DataFrame(rows())
    write_text(RESULTS, table.to_csv(index=False, float_format="%.3g", lineterminator="\n"))
    print(table.to_string(index=False))


if __name__ == "__main__":
    main()
