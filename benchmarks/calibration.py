"""Arrays with planted errors, calibrated from known places and blind, next to the bound of unknown arrays.

    python -m benchmarks.calibration      writes benchmarks/results/calibration.csv, ten minutes of a core

A surface of 6 x 6 elements, half a wavelength apart, before 8 antennas of a random channel, 12 random codes,
`independent` sources; a line of 8 for the heading of an array. 10 dB, sources anywhere from 0.5 m to the
Fraunhofer distance of 2.5 m and a beam apart; on the line plane waves of azimuth alone. Errors: gains of 1 dB
and 20 degrees, any phase of an antenna, positions of 0.05 wavelengths, a heading of 2 degrees. Of each cell
`N_ARRAYS` arrays.

known: calibrated from 20 scenes of known places, scored on 20 others, located by maximum likelihood from the
truth through the nominal array, and the one found. blind: 50 scenes, the gains and positions with their
deviations stated, sources first where the nominal array sees them, scored on all. rmse_over_bound: errors of
all coordinates, each over the root of its own bound (`places_covariance` at the truth); of sources found,
within half a beam, whose share is found_rate. within_1, within_2: share of the errors of the unknowns, where
they are told, within one and two of their deviations.
"""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

import risolve
from benchmarks._cells import write
from benchmarks._located import SEED, normal
from risolve.calibration.fit import ArrayFit, fit_array, places_covariance, theta_covariance
from risolve.calibration.information import Placed, expanded
from risolve.calibration.null_space import null_space
from risolve.calibration.unknowns import Priors, Unknowns
from risolve.field import FieldOfView
from risolve.inference.likelihood import refine
from risolve.locating import CLASSICAL, Options, localizer_for
from risolve.physics.geometry import aperture, directions, fraunhofer_distance
from risolve.physics.observation import respond
from risolve.placing import in_pairs, placed_scenes

N_ARRAYS, N_KNOWN, N_SCORED, N_BLIND, N_SNAPSHOTS, N_ANTENNAS = 8, 20, 20, 50, 12, 8
SNR_DB, NEAREST, ITERATIONS = 10.0, 0.5, 100
LOG_GAIN, PHASE, HEADING, POSITION = math.log(10.0) / 20.0, math.radians(20.0), math.radians(2.0), 0.005
SURFACE, LINE = risolve.planar(6, 6, 0.05, 0.1), risolve.linear(8, 0.05, 0.1)
Mode = Literal["known", "blind"]


@dataclass(frozen=True)
class Cell:
    """Arrays of a kind."""

    mode: Mode
    unknown: tuple[str, ...]
    is_line: bool
    n_sources: int


def grid() -> Iterator[Cell]:
    """What known places determine, one by one and together, and what blind scenes do."""
    everything = ("gains", "antenna_phases", "positions", "heading")
    for n_sources in (1, 2, 3):
        for unknown in (*((name,) for name in everything), everything):
            yield Cell("known", unknown, False, n_sources)
        yield Cell("known", ("heading",), True, n_sources)
        for unknown in (("gains",), ("positions",), ("gains", "positions")):
            yield Cell("blind", unknown, False, n_sources)


@dataclass(frozen=True)
class World:
    """Scenes with their true array: what is seen, without noise too, and the true sources."""

    unknowns: Unknowns
    theta: Float[Tensor, " unknown"]
    seen: risolve.Observation
    exact: risolve.Observation
    sources: Float[Tensor, "scene source 3"]

    def placed(self, scenes: slice, observation: risolve.Observation, is_known: bool) -> Placed:
        """Some scenes with their true sources, known or unknown."""
        free = observation.limits.is_free.expand_as(self.sources) & (not is_known)
        return Placed(observation.select(scenes), self.sources[scenes], free[scenes])


def world(cell: Cell, number: int) -> World:
    """The scenes of one array of a cell."""
    random = np.random.default_rng((SEED, *repr(cell).encode(), number))
    array, n_antennas = (LINE, LINE.n_elements) if cell.is_line else (SURFACE, N_ANTENNAS)
    is_blind = cell.mode == "blind"
    small = is_blind and "gains" in cell.unknown
    priors = Priors(
        LOG_GAIN if small else None,
        PHASE if small else None,
        POSITION if "positions" in cell.unknown else None,
    )
    unknowns = Unknowns(cell.unknown, array, n_antennas, priors)
    theta, N = torch.from_numpy(random.standard_normal(unknowns.size)), array.n_elements
    for name, part in unknowns.parts.items():
        match name:
            case "gains":
                theta[part][:N] *= LOG_GAIN
                theta[part][N:] *= PHASE
            case "antenna_phases":
                theta[part] = 2.0 * math.pi * torch.from_numpy(random.random(n_antennas))
            case "positions":
                theta[part] *= unknowns.wavenumber * POSITION
            case _:
                theta[part] = HEADING * unknowns.lever * unknowns.wavenumber
    n_scenes = N_BLIND if is_blind else N_KNOWN + N_SCORED
    sources = torch.from_numpy(np.stack([_sources(random, cell) for _ in range(n_scenes)]))
    channel = codes = None
    if not cell.is_line:
        channel = normal(random, 1, n_antennas, N)
        codes = np.exp(2j * np.pi * random.random((1, N_SNAPSHOTS, N)))
    shape = (n_scenes, N_SNAPSHOTS, n_antennas)
    nominal = risolve.Observation(np.zeros(shape, dtype=complex), array, channel, codes)
    nominal = nominal.to(torch.complex128)
    if cell.is_line:
        stated = FieldOfView(elevation_deg=0.0, range_m=math.inf).limits(array, n_antennas)
        nominal = replace(nominal, stated=stated)
    true = unknowns.calibration(theta).of(nominal)
    amplitudes = torch.from_numpy(normal(random, *shape[:2], cell.n_sources))
    signal = (respond(true, true.array.steering(sources).mT) @ amplitudes[..., None])[..., 0]
    power = signal.abs().square().mean((1, 2)) / 10.0 ** (SNR_DB / 10.0)
    noise = power.sqrt()[:, None, None] * torch.from_numpy(normal(random, *shape))
    seen, exact = (replace(nominal, snapshots=each, noise_power=power) for each in (signal + noise, signal))
    return World(unknowns, theta, seen, exact, sources)


def _sources(random: np.random.Generator, cell: Cell) -> Float[np.ndarray, "source 3"]:
    """Sources a beam apart."""
    farthest = fraunhofer_distance(aperture(SURFACE.elements), SURFACE.wavelength)
    while True:
        azimuth = random.uniform(-math.pi / 3, math.pi / 3, cell.n_sources)
        elevation = random.uniform(-math.pi / 6, math.pi / 6, cell.n_sources)
        inverse_range = random.uniform(1.0 / farthest, 1.0 / NEAREST, cell.n_sources)
        if cell.is_line:
            elevation, inverse_range = np.zeros((2, cell.n_sources))
        places = np.stack((azimuth, elevation, inverse_range), -1)
        if _nearest(torch.from_numpy(places)) >= _beam(cell):
            return places


def _beam(cell: Cell) -> float:
    array = LINE if cell.is_line else SURFACE
    return array.wavelength / aperture(array.elements)


def _nearest(places: Float[Tensor, "source 3"]) -> float:
    """Least angle between two sources."""
    q = directions(places[:, :2])
    apart = torch.arccos((q @ q.mT).clamp(-1.0, 1.0)) + 4.0 * torch.eye(len(q))
    return float(apart.min())


def scored(cell: Cell, number: int) -> dict[str, Float[np.ndarray, "..."]]:
    """Errors over deviations of one array: of places, nominal and calibrated, and of theta; seconds."""
    made = world(cell, number)
    started = time.process_time()
    if cell.mode == "known":
        known, rest = slice(0, N_KNOWN), slice(N_KNOWN, None)
        found = fit_array([made.placed(known, made.seen, True)], made.unknowns, ITERATIONS)
        seconds = time.process_time() - started
        seen, true = made.seen.select(rest), made.sources[rest]
        calibrated = refine(found.calibration.of(seen), true, ITERATIONS).sources
        nominal = refine(seen, true, ITERATIONS).sources
        of_theta = _bound(made, made.placed(known, made.exact, True))
    else:
        every = slice(None)
        counts = Options(CLASSICAL, cell.n_sources, FieldOfView(), 0.01, Path())
        localizer = localizer_for(made.seen, counts, "the scenes")
        start = placed_scenes(made.seen, torch.full_like(made.sources, torch.nan), localizer)
        found = fit_array([start], made.unknowns, ITERATIONS)
        seconds = time.process_time() - started
        rest, true = every, made.sources
        calibrated, nominal = (
            places.take_along_dim(in_pairs(true, places), 1)
            for places in (found.placed[0].sources, refine(made.seen, start.sources, ITERATIONS).sources)
        )
        of_theta = _bound(made, made.placed(every, made.exact, False))
    target = made.placed(rest, made.exact, False)
    arrow = expanded([target], made.unknowns, made.theta)
    covariance = places_covariance(arrow.scenes[0], target.is_free, of_theta)
    bound = covariance.diagonal(dim1=-2, dim2=-1).sqrt().reshape(true.shape)
    off = [(places - true) for places in (nominal, calibrated)]
    inside = [(each[..., :2].abs() < _beam(cell) / 2.0).all(-1) for each in off]
    ratios = [
        (each / bound)[within][:, target.observation.limits.is_free].numpy()
        for each, within in zip(off, inside, strict=True)
    ]
    return {
        "nominal": ratios[0],
        "calibrated": ratios[1],
        "found": inside[1].numpy(),
        "theta": _normalized(found, made.theta),
        "seconds": np.array([seconds]),
    }


def _bound(made: World, placed: Placed) -> Float[Tensor, "unknown unknown"]:
    """Covariance of theta at the truth."""
    arrow = expanded([placed], made.unknowns, made.theta)
    return theta_covariance(arrow, null_space(arrow, made.unknowns, made.theta).total)


def _normalized(found: ArrayFit, theta: Float[Tensor, " unknown"]) -> Float[np.ndarray, " number"]:
    """Errors of theta over their deviations, beside what is not told; phases within half a turn."""
    error, lost = found.theta - theta, found.null_space.total
    for name, part in found.unknowns.parts.items():
        if name == "antenna_phases":
            phases = error[part] - error[part][0]
            error[part] = torch.remainder(phases + math.pi, 2.0 * math.pi) - math.pi
    error = error - lost @ (lost.mT @ error)
    deviation = found.covariance.diagonal().clamp_min(0.0).sqrt()
    told = deviation > 1e-9
    return (error[told] / deviation[told]).numpy()


def row(cell: Cell) -> dict[str, object]:
    """A row of the table."""
    parts = [scored(cell, number) for number in range(N_ARRAYS)]
    pooled = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return {
        "mode": cell.mode,
        "unknown": " ".join(cell.unknown),
        "array": "line" if cell.is_line else "surface",
        "n_sources": cell.n_sources,
        "rmse_over_bound_nominal": float(np.sqrt(np.mean(pooled["nominal"] ** 2))),
        "rmse_over_bound": float(np.sqrt(np.mean(pooled["calibrated"] ** 2))),
        "found_rate": float(pooled["found"].mean()),
        "within_1": float((np.abs(pooled["theta"]) < 1.0).mean()),
        "within_2": float((np.abs(pooled["theta"]) < 2.0).mean()),
        "seconds": float(np.median(pooled["seconds"])),
    }


def main() -> None:
    torch.set_num_threads(1)
    table = pd.DataFrame([row(cell) for cell in grid()])
    write("calibration", table)
    print(table.to_string(index=False))


if __name__ == "__main__":
    main()
