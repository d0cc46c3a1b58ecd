import math
from typing import get_args

import numpy as np
import pytest

from risolve.seeds import Stream, generator, integer_seed
from stages.params.model import SPLITS
from tests import tolerances
from tests.worlds import default_parameters

STREAMS: tuple[Stream, ...] = get_args(Stream)


def _fingerprint(seed: int, stream: Stream, index: int) -> tuple[int, ...]:
    return tuple(generator(seed, stream, index).integers(0, 2**63, 2).tolist())


def test_a_stream_is_its_name() -> None:
    for stream in STREAMS:
        np.testing.assert_array_equal(
            generator(1, stream, 3).standard_normal(8), generator(1, stream, 3).standard_normal(8)
        )


def test_no_two_scenes_of_any_splits_coincide() -> None:
    """Every scene of the default splits has its own stream: 126 bits, so no two agree by chance."""
    simulate = default_parameters()["simulate"]
    seen = set()
    n_scenes = 0
    for split in SPLITS:
        size = sum(stratum["n_scenes"] for stratum in simulate[split]["strata"].values())
        n_scenes += size
        seen |= {_fingerprint(simulate["seed"], split, scene) for scene in range(size)}
    assert len(seen) == n_scenes


def test_streams_seeds_and_indices_all_differ() -> None:
    names = [(seed, stream, index) for seed in range(20) for stream in STREAMS for index in range(20)]
    assert len({_fingerprint(*name) for name in names}) == len(names)


def test_neighbouring_seeds_do_not_shift_scenes_into_each_other() -> None:
    """Seeds that were added to scene numbers would share scenes; here no (seed, i) equals (seed', i')."""
    seeds = (42, 165, 498)
    seen = [{_fingerprint(seed, stream, i) for stream in SPLITS for i in range(600)} for seed in seeds]
    assert len(set.union(*seen)) == sum(len(s) for s in seen) == 3 * len(SPLITS) * 600


def test_neighbouring_streams_are_uncorrelated() -> None:
    """Correlation of n normal numbers has standard deviation 1/sqrt(n); the largest of 2 n_pairs stays below
    5.5 of them.
    """
    draws = np.stack([generator(1, stream, i).standard_normal(4096) for stream in SPLITS for i in range(20)])
    correlation = (draws @ draws.T / 4096)[~np.eye(len(draws), dtype=bool)]
    assert np.abs(correlation).max() < (tolerances.SIGMAS + 0.5) / math.sqrt(4096)


def test_integer_seeds_fit_torch_and_differ() -> None:
    seeds = [integer_seed(1, stream, i) for stream in STREAMS for i in range(50)]
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert len(set(seeds)) == len(seeds)


def test_global_random_state_is_neither_read_nor_moved() -> None:
    legacy = np.random.get_state()  # noqa: NPY002
    generator(1, "train").standard_normal(10)
    after = np.random.get_state()  # noqa: NPY002
    np.testing.assert_array_equal(legacy[1], after[1])
    assert legacy[2] == after[2]


@pytest.mark.parametrize("seed", [-1, 1.5])
def test_a_seed_is_a_count(seed: float) -> None:
    with pytest.raises((TypeError, ValueError)):
        generator(seed, "train")  # type: ignore[arg-type]
