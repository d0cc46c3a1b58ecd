import math
from dataclasses import replace

import numpy as np
import pytest

from risolve.physics.augmentation import Augmentation, augmented
from risolve.physics.codebook import CodebookKind
from risolve.physics.impairments import RANDOM_LEVELS, ImpairmentLevels
from risolve.physics.scenario import SourceDistribution, System
from risolve.seeds import generator
from tests import tolerances
from tests.worlds import FIELD_OF_VIEW, NEUTRAL, SMALL

SOME = Augmentation(
    spread_share=0.5,
    power_spread_db=(5.0, 20.0),
    impaired_share=0.3,
    phase_bits=(1, 3),
    lowest=ImpairmentLevels(0.01, 0.1, 0.02, 0.05, 0.03, 1.0, 0.0, 0.0),
    highest=ImpairmentLevels(0.02, 0.4, 0.1, 0.1, 0.15, 1.0, 0.0, 0.0),
)
ALL = replace(SOME, spread_share=1.0, impaired_share=1.0)
N = 4000
GLOBAL = replace(NEUTRAL, channel_error=0.5, amplitude_minimum=0.7)

Drawn = tuple[System, SourceDistribution, ImpairmentLevels]


def drawn(augmentation: Augmentation, n: int = N, system: System = SMALL) -> list[Drawn]:
    return [
        augmented(generator(3, "train", i), augmentation, system, FIELD_OF_VIEW, GLOBAL) for i in range(n)
    ]


def test_scenes_depart_in_the_stated_shares_independently() -> None:
    """A share p of n scenes has standard deviation sqrt(p (1 - p) / n); of both, p = .5 x .3."""
    found = drawn(SOME)
    spread = np.array([distribution.power_spread_db > 0.0 for _, distribution, _ in found])
    impaired = np.array([levels != GLOBAL for *_, levels in found])
    for share, expected in ((spread, 0.5), (impaired, 0.3), (spread & impaired, 0.15)):
        error = tolerances.SIGMAS * math.sqrt(expected * (1.0 - expected) / N)
        assert abs(share.mean() - expected) < error


def test_levels_are_uniform_in_their_ranges_and_independent() -> None:
    """Scaled to 0..1: mean 1/2, variance 1/12 (its own is 1/180 / n), quarters alike, no correlation."""
    found = drawn(ALL)
    columns = [[(d.power_spread_db - 5.0) / 15.0 for _, d, _ in found]]
    for name in RANDOM_LEVELS:
        low, high = getattr(SOME.lowest, name), getattr(SOME.highest, name)
        columns.append([(getattr(levels, name) - low) / (high - low) for *_, levels in found])
    scaled = np.array(columns)
    assert 0.0 <= scaled.min() and scaled.max() < 1.0 + 1e-12
    assert np.abs(scaled.mean(1) - 0.5).max() < tolerances.SIGMAS / math.sqrt(12.0 * N)
    assert np.abs(scaled.var(1) - 1.0 / 12.0).max() < tolerances.SIGMAS / math.sqrt(180.0 * N)
    assert np.abs((scaled < 0.25).mean(1) - 0.25).max() < tolerances.SIGMAS * math.sqrt(0.1875 / N)
    correlation = np.corrcoef(scaled)[~np.eye(len(scaled), dtype=bool)]
    assert np.abs(correlation).max() < tolerances.SIGMAS / math.sqrt(N)


@pytest.mark.parametrize(("lowest", "highest"), [(1, 3), (1, 2), (2, 2)])
def test_phase_bits_are_uniform_integers(lowest: int, highest: int) -> None:
    bits = np.array([own.phase_bits for own, *_ in drawn(replace(ALL, phase_bits=(lowest, highest)))])
    values = range(lowest, highest + 1)
    assert set(bits.tolist()) == set(values)
    p = 1.0 / len(values)
    for value in values:
        assert abs((bits == value).mean() - p) <= tolerances.SIGMAS * math.sqrt(p * (1.0 - p) / N)


def test_a_scene_that_does_not_depart_is_drawn_from_what_all_are() -> None:
    for own in drawn(replace(SOME, spread_share=0.0, impaired_share=0.0), 50):
        assert own == (SMALL, FIELD_OF_VIEW, GLOBAL)


def test_a_share_decides_which_scenes_depart_and_not_how_far() -> None:
    found, everywhere = drawn(SOME, 200), drawn(ALL, 200)
    departed = 0
    for own, always in zip(found, everywhere, strict=True):
        if own[1] != FIELD_OF_VIEW:
            assert own[1] == always[1]
        if own[2] != GLOBAL:
            departed += 1
            assert (own[0], own[2]) == (always[0], always[2])
    assert 0 < departed < 200


@pytest.mark.parametrize("kind", ["dft2d", "hadamard"])
def test_structured_codes_keep_their_phase_bits(kind: CodebookKind) -> None:
    system = replace(SMALL, codebook=kind)
    found = drawn(ALL, 50, system)
    assert all(own == system for own, *_ in found)
    assert all(levels != GLOBAL for *_, levels in found)


def test_only_the_random_levels_are_drawn() -> None:
    """The amplitude that depends on the phase is that of all scenes, whatever the ends of the ranges say."""
    assert {levels.amplitude_minimum for *_, levels in drawn(ALL, 50)} == {0.7}


def test_an_empty_range_is_its_level() -> None:
    for _, _, levels in drawn(replace(ALL, lowest=SOME.highest), 20):
        for name in RANDOM_LEVELS:
            assert getattr(levels, name) == pytest.approx(getattr(SOME.highest, name), rel=1e-15)
