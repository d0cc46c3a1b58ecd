"""Median Cramer-Rao bounds of the default scene against reference medians.

    python -m benchmarks.bounds        writes benchmarks/results/bounds.csv

12 x 12 elements at half a wavelength of 0.3 m, 16 antennas, 16 random 3-bit codes, Rician channel with a
planar line of sight and a linear K-factor uniform in 0.5 ... 10. All K sources stand at range r, uniform in
azimuth +-60 and elevation +-30 degrees, with equal powers; amplitudes are CN(0, 1) in every snapshot
(`independent`) or one unit-modulus pilot (`constant`). Medians are over all sources of all scenes.
"""

import csv
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from risolve import seeds
from risolve.bounds.cramer_rao import Bound, conditional_bound, constant_bound
from risolve.physics.impairments import ImpairmentLevels
from risolve.physics.observation import SourceModel
from risolve.physics.scenario import Scenes, SourceDistribution, System, draw_scene, observe

RESULTS = Path(__file__).parent / "results" / "bounds.csv"
N_SCENES = 2000
SEED = 20261123
QUANTITIES = ("azimuth_deg", "elevation_deg", "range_m")

SYSTEM = System(
    n_horizontal=12,
    n_vertical=12,
    spacing=0.15,
    wavelength=0.3,
    n_antennas=16,
    n_snapshots=16,
    codebook="random",
    phase_bits=3,
    k_factor=(0.5, 10.0),
    spherical_amplitude=False,
)
NO_IMPAIRMENTS = ImpairmentLevels(
    position_jitter=0.0,
    phase_error=0.0,
    gain_jitter=0.0,
    dead_fraction=0.0,
    channel_error=0.0,
    amplitude_minimum=1.0,
    background=0.0,
    noise_spread=0.0,
)


@dataclass(frozen=True)
class Cell:
    """One row of the reference table: K sources of one model at one range."""

    source_model: SourceModel
    n_sources: int
    range_m: float


Medians = tuple[float, float, float]
"""Medians of sqrt(CRB) of azimuth (deg), elevation (deg) and range (m)."""

# Medians of an independent computation (two digits, 200 scenes a cell).
REFERENCE: dict[Cell, dict[float, Medians]] = {
    Cell("independent", 1, 1.0): {
        0.0: (0.70, 0.52, 0.034),
        10.0: (0.22, 0.17, 0.011),
        20.0: (0.070, 0.052, 0.0034),
    },
    Cell("independent", 1, 3.0): {
        0.0: (0.51, 0.43, 0.22),
        10.0: (0.16, 0.14, 0.071),
        20.0: (0.051, 0.043, 0.022),
    },
    Cell("independent", 1, 10.0): {
        0.0: (0.52, 0.40, 2.36),
        10.0: (0.16, 0.13, 0.75),
        20.0: (0.052, 0.040, 0.24),
    },
    Cell("independent", 2, 3.0): {
        0.0: (0.98, 0.77, 0.41),
        10.0: (0.31, 0.24, 0.13),
        20.0: (0.10, 0.08, 0.041),
    },
    Cell("independent", 3, 3.0): {
        0.0: (1.26, 1.00, 0.54),
        10.0: (0.40, 0.32, 0.17),
        20.0: (0.13, 0.10, 0.054),
    },
    Cell("constant", 1, 3.0): {
        0.0: (0.35, 0.27, 0.14),
        10.0: (0.11, 0.084, 0.045),
        20.0: (0.035, 0.027, 0.014),
    },
    Cell("constant", 2, 3.0): {
        0.0: (0.51, 0.40, 0.22),
        10.0: (0.16, 0.13, 0.069),
        20.0: (0.051, 0.040, 0.022),
    },
    Cell("constant", 3, 3.0): {
        0.0: (0.68, 0.53, 0.29),
        10.0: (0.21, 0.17, 0.092),
        20.0: (0.068, 0.053, 0.029),
    },
}


def scenes(cell: Cell, n_scenes: int) -> Scenes:
    """Scenes of a cell at an SNR of 0 dB; scene i is the same for any number of scenes."""
    distribution = SourceDistribution(
        azimuth=(-math.pi / 3, math.pi / 3),
        elevation=(-math.pi / 6, math.pi / 6),
        range=(cell.range_m, cell.range_m),
        power_spread_db=0.0,
        path_loss=False,
        max_sources=cell.n_sources,
    )
    stream: seeds.Stream = "test_independent" if cell.source_model == "independent" else "test_constant"
    row = list(REFERENCE).index(cell)
    draws = [
        draw_scene(
            seeds.generator(SEED, stream, row * 1_000_000 + scene),
            SYSTEM,
            None,
            distribution,
            cell.source_model,
            cell.n_sources,
            0.0,
            NO_IMPAIRMENTS,
        )
        for scene in range(n_scenes)
    ]
    return observe(draws, SYSTEM, cell.source_model, NO_IMPAIRMENTS.amplitude_minimum, shared_channel=False)


def bound(batch: Scenes, snr_db: float) -> Bound:
    """Bound that belongs to the source model of scenes drawn at 0 dB, at another SNR."""
    reference_noise = batch.observation.noise_power
    assert reference_noise is not None
    noise_power = reference_noise / 10.0 ** (snr_db / 10.0)
    if batch.observation.source_model == "independent":
        return conditional_bound(batch.observation, batch.sources, batch.amplitudes, noise_power)
    return constant_bound(batch.observation, batch.sources, batch.amplitudes[:, 0], noise_power)


def medians(result: Bound) -> Medians:
    """Medians over all sources of all scenes."""
    angles = result.standard_deviations()[..., :2].rad2deg().flatten(0, 1).median(0).values
    return float(angles[0]), float(angles[1]), float(result.range_deviation().median())


def measure(cell: Cell, n_scenes: int, snrs_db: tuple[float, ...]) -> Iterator[tuple[float, Medians]]:
    """(SNR in dB, medians) of a cell."""
    batch = scenes(cell, n_scenes)
    for snr_db in snrs_db:
        yield snr_db, medians(bound(batch, snr_db))


def main() -> None:
    """Measure every cell, write the table, print the worst ratio."""
    RESULTS.parent.mkdir(exist_ok=True)
    ratios: dict[str, float] = {}
    with RESULTS.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("cell", "measured", "reference", "ratio"))
        for cell, reference in REFERENCE.items():
            for snr_db, measured in measure(cell, N_SCENES, tuple(reference)):
                for quantity, value, cited in zip(QUANTITIES, measured, reference[snr_db], strict=True):
                    name = (
                        f"{cell.source_model} K={cell.n_sources} {cell.range_m:g} m {snr_db:g} dB {quantity}"
                    )
                    ratios[name] = value / cited
                    writer.writerow((name, f"{value:.4g}", f"{cited:g}", f"{ratios[name]:.3f}"))
            print(f"{cell.source_model} K={cell.n_sources} {cell.range_m:g} m: {measured}")
    worst = max(ratios, key=lambda name: abs(math.log(ratios[name])))
    print(
        f"{len(ratios)} figures, {N_SCENES} scenes a cell: ratios {min(ratios.values()):.3f} ... "
        f"{max(ratios.values()):.3f}, worst {ratios[worst]:.3f} ({worst})\n{RESULTS}"
    )


if __name__ == "__main__":
    main()
