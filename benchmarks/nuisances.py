"""Nuisances of receivers, drawn and declared, next to the bound of a receiver of which they are known to be.

    python -m benchmarks.nuisances      writes benchmarks/results/nuisances.csv, ten minutes on two cores

One row a cell (system, nuisance, number of sources, SNR) of 100 scenes of a surface or 400 of a line:

surface     params.yaml as it is, sources of either model, SNR of all of them together (`physics.scenario`)
line        8 antennas half a wavelength apart, 16 or 64 snapshots of `independent` plane waves a beam apart,
            SNR of each

background  a constant at every antenna, CN(0, 10 P), P the mean power of the sources there: 10 dB above them;
            declared as background = static. Of a surface it is told from `constant` sources alone
noise       powers at the antennas uniform in 10 dB, their mean that of the SNR; declared as noise = antennas

The bound of `background` is that of the snapshots behind the projection; that of `noise` is of known powers,
which unknown ones leave as it is where the snapshots are many. found_rate, rmse_over_bound, intervals: as
`benchmarks.arrays`; the number of sources is told. count_accuracy, at 10 dB: the number is not told.
"""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from jaxtyping import Complex, Float

import risolve
from benchmarks._cells import RESULTS, write
from benchmarks._located import SEED, Drawn, normal, scores, tables
from risolve.field import CoordinateLike
from risolve.physics.geometry import aperture
from risolve.physics.observation import SourceModel
from risolve.physics.scenario import draw_scene, observe
from stages.evaluation.strata import Bootstrap
from stages.params import objects
from stages.params.file import read_params

N_BOOTSTRAP = 1000
SNRS_DB, COUNTED_DB = (5.0, 10.0, 20.0), 10.0
ABOVE_DB, SPREAD_DB = 10.0, 10.0
WIDEST = math.sin(math.radians(60.0))
LINE = risolve.linear(8, spacing=0.5, wavelength=1.0)

Nuisance = Literal["background", "noise"]


@dataclass(frozen=True)
class Kind:
    """A system, its sources, and scenes of a cell; n_snapshots: None of the surface, which has its own."""

    name: str
    source_model: SourceModel
    n_snapshots: int | None
    n_scenes: int


SURFACES = (
    Kind("surface, constant", "constant", None, 100),
    Kind("surface, independent", "independent", None, 100),
)
LINES = Kind("line, L = 16", "independent", 16, 400), Kind("line, L = 64", "independent", 64, 400)


@dataclass(frozen=True)
class Cell:
    """Scenes of a kind, and whether the number of sources is told."""

    kind: Kind
    nuisance: Nuisance
    n_sources: int
    snr_db: float
    counted: bool


def grid(own: tuple[Kind, ...]) -> Iterator[Cell]:
    """All cells of some kinds whose nuisance is told from the sources."""
    of: dict[Nuisance, tuple[Kind, ...]] = {
        "background": (SURFACES[0], *LINES),
        "noise": (*SURFACES, *LINES),
    }
    for nuisance, kinds in of.items():
        for kind in (kind for kind in kinds if kind in own):
            for k in (1, 2, 3):
                yield from (Cell(kind, nuisance, k, snr_db, False) for snr_db in SNRS_DB)
                yield Cell(kind, nuisance, k, COUNTED_DB, True)


@dataclass(frozen=True)
class Received:
    """What arrives of the sources, noise of how much power goes with it, through what, and the truth."""

    signal: Complex[np.ndarray, "scene snapshot antenna"]
    noise_power: Float[np.ndarray, " scene"]
    array: risolve.Array
    through: dict[str, Any]
    places: Float[np.ndarray, "scene source 3"]
    strength: Complex[np.ndarray, "scene source"] | Float[np.ndarray, "scene source"]
    told: dict[str, CoordinateLike]


def draw(cell: Cell, random: np.random.Generator, n_scenes: int) -> Drawn:
    """Scenes of a cell, with their nuisance."""
    received = (_surface if cell.kind.n_snapshots is None else _line)(cell, random, n_scenes)
    signal, power, n_antennas = received.signal, received.noise_power, received.signal.shape[2]
    known: dict[str, Any] = {"array": received.array, "source_model": cell.kind.source_model}
    known |= received.through
    noise = normal(random, *signal.shape)
    if cell.nuisance == "background":
        of_sources = np.mean(np.abs(signal) ** 2, axis=(1, 2))[:, None, None]
        constant = np.sqrt(10.0 ** (ABOVE_DB / 10.0) * of_sources) * normal(random, n_scenes, 1, n_antennas)
        snapshots = signal + constant + np.sqrt(power)[:, None, None] * noise
        known["background"] = "static"
        seen = risolve.Observation(snapshots, noise_power=power[:, None], **known)
        declared = risolve.Observation(snapshots, **known) if cell.counted else seen
    else:
        spread = 10.0 ** (random.uniform(-SPREAD_DB / 2.0, SPREAD_DB / 2.0, (n_scenes, n_antennas)) / 10.0)
        powers = power[:, None] * spread / spread.mean(1, keepdims=True)
        snapshots = signal + np.sqrt(powers)[:, None, :] * noise
        seen = risolve.Observation(snapshots, noise_power=powers, **known)
        declared = risolve.Observation(snapshots, noise="antennas", **known)
    places = received.places
    return Drawn(declared, seen, places, places, received.strength, received.told, cell.counted)


def _surface(cell: Cell, random: np.random.Generator, n_scenes: int) -> Received:
    params, model = read_params(), cell.kind.source_model
    system, field = objects.system(params), objects.source_distribution(params)
    levels = objects.impairment_levels(params)
    draws = [
        draw_scene(random, system, None, field, model, cell.n_sources, cell.snr_db, levels)
        for _ in range(n_scenes)
    ]
    silent = [replace(one, noise=np.zeros_like(one.noise)) for one in draws]
    scenes = observe(silent, system, model, levels.amplitude_minimum, shared_channel=False)
    own, present = scenes.observation, slice(cell.n_sources)
    assert own.noise_power is not None
    is_constant = model == "constant"
    strength = scenes.amplitudes[:, 0, present] if is_constant else scenes.power[:, present]
    ranges = params.sources
    return Received(
        own.snapshots.numpy().astype(np.complex128),
        own.noise_power.numpy(),
        own.array,
        {"channel": own.channel.numpy(), "codes": own.codes.numpy()},
        scenes.sources[:, present].numpy(),
        strength.numpy(),
        {"azimuth": ranges.azimuth_deg, "elevation": ranges.elevation_deg, "range": ranges.range_m},
    )


def _line(cell: Cell, random: np.random.Generator, n_scenes: int) -> Received:
    assert cell.kind.n_snapshots is not None
    beam = 1.0 / aperture(LINE.elements)
    places = np.zeros((n_scenes, cell.n_sources, 3))
    for own in places:
        while True:
            across = random.uniform(-WIDEST, WIDEST, cell.n_sources)
            apart = np.abs(across[:, None] - across)[np.triu_indices(cell.n_sources, 1)]
            if (apart >= beam).all():
                break
        own[:, 0] = np.arcsin(across)
    sent = normal(random, n_scenes, cell.kind.n_snapshots, cell.n_sources)
    signal = sent @ LINE.steering(torch.from_numpy(places)).numpy()
    return Received(
        signal,
        np.full(n_scenes, 10.0 ** (-cell.snr_db / 10.0)),
        LINE,
        {},
        places,
        np.ones((n_scenes, cell.n_sources)),
        {"elevation": 0.0, "range": math.inf},
    )


KEYS = ["nuisance", "system", "n_sources"]


def documented(table: pd.DataFrame) -> list[str]:
    """The worst cell from 5 dB up of every system, and counts at 10 dB, as Markdown."""
    heads = [f"K = {k}" for k in (1, 2, 3)]
    titles = ["nuisance, system", *(f"RMSE / bound, {one}" for one in heads)]
    titles += [*(f"found, {one}" for one in heads), *(f"count, {one}" for one in heads)]
    lines = [f"| {' | '.join(titles)} |", "|---|" + "---|" * 9]
    worst = table.groupby(KEYS, sort=False).agg(
        {"rmse_over_bound": "max", "found_rate": "min", "count_accuracy": "max"}
    )
    for key, own in worst.groupby(KEYS[:2], sort=False):
        shown = [f" {one:.2f} " for name in own for one in own[name]]
        lines.append(f"| {', '.join(key)} |{'|'.join(shown)}|")
    return lines


def main() -> None:
    torch.set_num_threads(1)
    bootstrap = Bootstrap(SEED, N_BOOTSTRAP)
    surface = objects.system(read_params()).array()
    rows: dict[tuple[str | float, ...], dict[str, str | float]] = {}
    both = (
        tables("nuisances", draw, grid(kinds), kinds[0].n_scenes, (_surface, _line))
        for kinds in (SURFACES, LINES)
    )
    for cell, table in itertools.chain.from_iterable(both):
        own: dict[str, str | float] = {
            "nuisance": cell.nuisance,
            "system": cell.kind.name,
            "n_sources": cell.n_sources,
            "snr_db": cell.snr_db,
        }
        row = rows.setdefault(tuple(own.values()), own)
        if cell.counted:
            counts = table.groupby("scene")["n_estimated"].first()
            row["count_accuracy"] = float((counts == cell.n_sources).mean())
        else:
            array = surface if cell.kind.n_snapshots is None else LINE
            beam = math.degrees(array.wavelength / aperture(array.elements))
            row |= {"n_scenes": cell.kind.n_scenes, **scores(table, beam, bootstrap, repr(cell))}
    write("nuisances", pd.DataFrame(rows.values()))
    print("\n".join(documented(pd.read_csv(RESULTS / "nuisances.csv"))))


if __name__ == "__main__":
    main()
