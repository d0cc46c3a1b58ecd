"""Scenes that depart each in its own way: power spread, phase bits and impairments drawn for every scene."""

from dataclasses import dataclass, replace

import numpy as np

from risolve.physics.impairments import RANDOM_LEVELS, ImpairmentLevels
from risolve.physics.scenario import SourceDistribution, System


@dataclass(frozen=True)
class Augmentation:
    """How often and how far scenes depart from the system and the source powers that the others have.

    A share `spread_share` of the scenes has a power spread uniform in `power_spread_db`. A share
    `impaired_share`, independent of it, has every random impairment at a level uniform between `lowest` and
    `highest`, and random codes of phase bits uniform on the integers of `phase_bits`.
    """

    spread_share: float
    power_spread_db: tuple[float, float]
    impaired_share: float
    phase_bits: tuple[int, int]
    lowest: ImpairmentLevels
    highest: ImpairmentLevels


def augmented(
    generator: np.random.Generator,
    augmentation: Augmentation,
    system: System,
    distribution: SourceDistribution,
    levels: ImpairmentLevels,
) -> tuple[System, SourceDistribution, ImpairmentLevels]:
    """What one scene is drawn from.

    Structured codes keep their phase bits, and the phase-dependent amplitude is that of `levels`. All is
    drawn whether it applies or not, so that a share decides which scenes depart and not how far.
    """
    spread, spread_at, impaired, *levels_at = generator.random(3 + len(RANDOM_LEVELS))
    phase_bits = int(generator.integers(*augmentation.phase_bits, endpoint=True))
    if spread < augmentation.spread_share:
        power_spread_db = _between(*augmentation.power_spread_db, spread_at)
        distribution = replace(distribution, power_spread_db=power_spread_db)
    if impaired < augmentation.impaired_share:
        if system.codebook == "random":
            system = replace(system, phase_bits=phase_bits)
        ends = [(getattr(augmentation.lowest, n), getattr(augmentation.highest, n)) for n in RANDOM_LEVELS]
        drawn = [_between(low, high, at) for (low, high), at in zip(ends, levels_at, strict=True)]
        levels = replace(levels, **dict(zip(RANDOM_LEVELS, drawn, strict=True)))
    return system, distribution, levels


def _between(low: float, high: float, share: float) -> float:
    return float(low + (high - low) * share)
