"""What the codes and the Fresnel phase do over the field of view of params.yaml.

    python -m benchmarks.codebooks        writes benchmarks/results/codebooks.csv and fresnel.csv

codebooks.csv: spread of the received power mean_lm |b_l(p)|^2, b_l(p) = H diag(c_l) a(p), 5th to 95th
percentile in dB, over random points p (uniform in azimuth, elevation and range) and Rician channels, all
pooled; and the mean over channels of the spread over points, with its standard error over channels. Random
codes are drawn anew for every channel. The power depends on the codes through C^H C alone, which is the same
for 4 x 4 structured codes of 1, 2 and 3 bits on sides that 4 divides.

fresnel.csv: azimuth error of the Fresnel steering vector f that fits an exact spherical wave a best,

    argmax |f(phi, theta, 1/r)^H a| - phi of the source,

over all three coordinates, by a local search from the source: median and largest modulus over a lattice of
midpoints, azimuth 0 ... 60 by elevation 0 ... 30 degrees for the default field of view (mirror symmetry gives
the rest), and the signed error at azimuth 30, elevation 10 degrees.
"""

import csv
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from jaxtyping import Complex
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor

from risolve import seeds
from risolve.physics.codebook import CodebookKind
from risolve.physics.observation import stacked_gram
from risolve.physics.scenario import draw_scene, observe
from risolve.physics.steering import fresnel_steering, steering
from stages.params import objects
from stages.params.file import read_params
from stages.params.model import Params

RESULTS = Path(__file__).parent / "results"
SEED, N_CHANNELS, N_POINTS, CHANNELS_AT_ONCE = 20261125, 400, 1000, 50
PHASE_BITS, RANGES_M = (1, 2, 3), (1.0, 2.0, 3.0, 5.0, 10.0)
N_AZIMUTHS, N_ELEVATIONS = 12, 4

Row = dict[str, str | int | float]


def points(params: Params) -> Complex[Tensor, "point element"]:
    """Exact waves of random points of the field of view."""
    system, field = objects.system(params), objects.source_distribution(params)
    random = seeds.generator(SEED, "bootstrap")
    angles = [random.uniform(*limits, N_POINTS) for limits in (field.azimuth, field.elevation)]
    sources = np.stack((*angles, 1.0 / random.uniform(*field.range, N_POINTS)), -1)
    wave = steering(torch.from_numpy(sources), system.array().elements, system.wavelength, False)
    return wave.to(torch.complex64)


def spread(
    params: Params, kind: CodebookKind, phase_bits: int, waves: Complex[Tensor, "point element"]
) -> Row:
    """One row of codebooks.csv; channel i is the same for every code."""
    system = replace(objects.system(params), codebook=kind, phase_bits=phase_bits)
    levels, field = objects.impairment_levels(params), objects.source_distribution(params)
    decibels = []
    for first in range(0, N_CHANNELS, CHANNELS_AT_ONCE):
        draws = [
            draw_scene(
                seeds.generator(SEED, "test_independent", channel),
                system,
                None,
                field,
                "independent",
                0,
                0.0,
                levels,
            )
            for channel in range(first, first + CHANNELS_AT_ONCE)
        ]
        scenes = observe(draws, system, "independent", levels.amplitude_minimum, False)
        gram = stacked_gram(scenes.observation)
        power = ((waves.conj() @ gram) * waves).sum(-1).real / (system.n_snapshots * system.n_antennas)
        decibels.append(10.0 * power.log10().double().numpy())
    pooled = np.concatenate(decibels)
    low, high = np.quantile(pooled, (0.05, 0.95))
    of_channel = np.diff(np.quantile(pooled, (0.05, 0.95), axis=1), axis=0)
    return {
        "kind": kind,
        "phase_bits": phase_bits,
        "spread_db": round(float(high - low), 3),
        "mean_channel_spread_db": round(float(of_channel.mean()), 3),
        "standard_error_db": round(float(of_channel.std(ddof=1)) / math.sqrt(N_CHANNELS), 3),
        "n_channels": N_CHANNELS,
        "n_points": N_POINTS,
    }


def azimuth_error(params: Params, source: NDArray[np.float64]) -> float:
    """Azimuth (deg) of the best Fresnel fit minus that of the source."""
    elements, wavelength = objects.system(params).array().elements, params.array.wavelength_m
    wave = steering(torch.from_numpy(source)[None], elements, wavelength, False)[0]

    def mismatch(fitted: NDArray[np.float64]) -> float:
        vector = fresnel_steering(torch.from_numpy(fitted)[None], elements, wavelength)[0]
        return -float((vector.conj() @ wave).abs())

    found = minimize(mismatch, source, method="Nelder-Mead", options={"xatol": 1e-5, "fatol": 1e-7})
    return math.degrees(found.x[0] - source[0])


def bias(params: Params, range_m: float) -> Row:
    """One row of fresnel.csv."""
    field = objects.source_distribution(params)
    azimuths = (np.arange(N_AZIMUTHS) + 0.5) * field.azimuth[1] / N_AZIMUTHS
    elevations = (np.arange(N_ELEVATIONS) + 0.5) * field.elevation[1] / N_ELEVATIONS
    errors = [
        abs(azimuth_error(params, np.array([a, e, 1.0 / range_m]))) for a in azimuths for e in elevations
    ]
    reference = np.array([math.radians(30.0), math.radians(10.0), 1.0 / range_m])
    return {
        "range_m": range_m,
        "median_azimuth_bias_deg": round(float(np.median(errors)), 3),
        "largest_azimuth_bias_deg": round(max(errors), 3),
        "azimuth_error_at_30_10_deg": round(azimuth_error(params, reference), 3),
        "n_points": len(errors),
    }


def write(name: str, rows: Sequence[Row]) -> None:
    with (RESULTS / name).open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    for row in rows:
        print("  ".join(f"{column}={value}" for column, value in row.items()))


def main() -> None:
    torch.set_num_threads(1)
    params = read_params()
    waves = points(params)
    kinds = get_args(CodebookKind)
    write("codebooks.csv", [spread(params, kind, bits, waves) for kind in kinds for bits in PHASE_BITS])
    write("fresnel.csv", [bias(params, range_m) for range_m in RANGES_M])


if __name__ == "__main__":
    main()
