"""Augmented splits: scenes depart in powers, phase bits and impairments, and in nothing else."""

import math
from collections.abc import Mapping
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest
import torch

from risolve.files.measurements import read_scenes
from risolve.physics.scenario import Scenes
from stages.params.file import read_params
from stages.params.model import SPLITS, Params, Split
from stages.simulate import main, simulate
from tests import tolerances
from tests.tiny_run import call_verb, write_params
from tests.worlds import signal_of

AUGMENTATION = "simulate.augmentation."
TRAINING: tuple[Split, ...] = ("train", "train_constant")
N = 1000


def params(directory: Path, changes: Mapping[str, Any]) -> Params:
    return read_params(write_params(directory, changes))


def strata(split: Split, n_sources: tuple[int, int], n_scenes: int) -> dict[str, Any]:
    stratum = {"n_sources": list(n_sources), "snr_db": [10.0, 10.0], "n_scenes": n_scenes}
    return {f"simulate.{split}.strata": {"only": stratum}}


def shares(spread: float, impaired: float) -> dict[str, float]:
    return {f"{AUGMENTATION}spread_share": spread, f"{AUGMENTATION}impaired_share": impaired}


def made(directory: Path, split: Split, n_scenes: int, changes: Mapping[str, Any]) -> Scenes:
    return simulate(params(directory, changes), split, range(n_scenes))


def same(first: Scenes, second: Scenes, *names: str) -> bool:
    """Bit-equal observations (or the named parts of them), counts, places and amplitudes of unit power."""

    def unit(scenes: Scenes) -> torch.Tensor:
        return (scenes.amplitudes / scenes.power.sqrt()[:, None, :]).nan_to_num().to(torch.complex64)

    parts = all(
        torch.equal(attrgetter(n)(first.observation), attrgetter(n)(second.observation)) for n in names
    )
    truth = torch.equal(first.n_sources, second.n_sources) and torch.equal(
        first.sources.nan_to_num(), second.sources.nan_to_num()
    )
    return parts and truth and torch.allclose(unit(first), unit(second), rtol=1e-6, atol=0.0)


@pytest.fixture(scope="module", params=TRAINING)
def batch(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Scenes:
    """One source in every scene, at the shares and ranges of params.yaml."""
    split: Split = request.param
    return made(tmp_path_factory.mktemp("batch"), split, N, strata(split, (1, 1), N))


def bits_of(scenes: Scenes) -> torch.Tensor:
    """Phase bits of every scene: the least b with c^(2^b) = 1 throughout."""
    codes = scenes.observation.codes.to(torch.complex128)
    residues = torch.stack([(codes ** (2**b) - 1.0).abs().amax((1, 2)) for b in (1, 2, 3)])
    assert bool((residues[2] < 1e-5).all())
    return 1 + (residues[:2] > 1e-5).sum(0)


def test_a_share_of_the_scenes_has_unequal_powers(batch: Scenes) -> None:
    """x = S v dB, S uniform in 0..20 and v in +-1/2: E x^2 = 400/3/12, E x^4 = 20^4/5/80 = 400."""
    decibels = 10.0 * batch.power[:, 0].log10()
    spread = decibels != 0.0
    n = int(spread.sum())
    assert abs(n / N - 0.5) < tolerances.SIGMAS * math.sqrt(0.25 / N)
    own = decibels[spread]
    second = 400.0 / 36.0
    assert float(own.abs().max()) <= 10.0
    assert abs(float(own.mean())) < tolerances.SIGMAS * math.sqrt(second / n)
    assert abs(float(own.square().mean()) - second) < tolerances.SIGMAS * math.sqrt((400.0 - second**2) / n)


def test_a_share_of_the_scenes_has_codes_of_few_bits(batch: Scenes) -> None:
    """.1 of 1 bit, .1 of 2, the rest of 3; 1-bit codes are +-1 with equal odds, sum of n +-1 ~ sqrt(n)."""
    bits = bits_of(batch)
    for value, share in ((1, 0.1), (2, 0.1), (3, 0.8)):
        found = float((bits == value).double().mean())
        assert abs(found - share) < tolerances.SIGMAS * math.sqrt(share * (1.0 - share) / N)
    signs = batch.observation.codes[bits == 1]
    assert float(signs.imag.abs().max()) < 1e-6
    assert abs(float(signs.real.double().mean())) < tolerances.SIGMAS / math.sqrt(signs.numel())


def unexplained(scenes: Scenes) -> torch.Tensor:
    """|y - B A s|^2 over the noise power, of the known system."""
    assert scenes.observation.noise_power is not None
    rest = (scenes.observation.snapshots - signal_of(scenes)).abs().square().mean((1, 2))
    return rest / scenes.observation.noise_power


def test_the_known_system_explains_all_scenes_but_the_impaired(tmp_path: Path) -> None:
    """At 60 dB the rest is noise, 1 +- 1/sqrt(L M) of sigma^2, or thousands of it; the SNR is exact there."""
    loud = {"simulate.train.strata": {"only": {"n_sources": [1, 1], "snr_db": [60.0, 60.0], "n_scenes": N}}}
    scenes = made(tmp_path, "train", N, loud)
    rest = unexplained(scenes)
    impaired = rest > 1.0 + tolerances.SIGMAS / math.sqrt(28)
    assert abs(float(impaired.double().mean()) - 0.3) < tolerances.SIGMAS * math.sqrt(0.21 / N)
    assert float(rest[impaired].median()) > 1e3
    # codes of fewer bits are found in impaired scenes alone
    assert bool(impaired[bits_of(scenes) < 3].all())
    assert scenes.observation.noise_power is not None
    ratio = signal_of(scenes).abs().square().mean((1, 2)) / scenes.observation.noise_power
    expected = torch.full_like(ratio, 1e6)
    torch.testing.assert_close(ratio[~impaired], expected[~impaired], rtol=tolerances.SINGLE, atol=0.0)


@pytest.mark.parametrize("split", TRAINING)
def test_departures_leave_places_channel_and_noise_alone(tmp_path: Path, split: Split) -> None:
    """Scene i with every departure and without any: the same but for powers, codes and snapshots.

    Without sources the snapshots are the noise, and stay too.
    """
    plain = made(tmp_path, split, 40, {**strata(split, (0, 3), 40), f"simulate.{split}.augmented": False})
    departed = made(tmp_path, split, 40, {**strata(split, (0, 3), 40), **shares(1.0, 1.0)})
    assert same(plain, departed, "channel", "array.elements")
    empty = plain.n_sources == 0
    assert 0 < int(empty.sum()) < 40
    assert torch.equal(plain.observation.snapshots[empty], departed.observation.snapshots[empty])
    assert departed.observation.noise_power is not None
    assert bool((departed.observation.noise_power[empty] == 1.0).all())
    others = (plain.observation.snapshots - departed.observation.snapshots)[~empty]
    assert bool((others.abs().amax((1, 2)) > 1e-3).all())


@pytest.mark.parametrize("split", SPLITS)
def test_without_departures_an_augmented_split_is_what_it_is_without(tmp_path: Path, split: Split) -> None:
    """Shares of 0 and `augmented: false` give the same bits, and what is not augmented reads no share."""
    n = 8
    changes = strata(split, (0, 3), n)
    plain = made(tmp_path, split, n, {**changes, f"simulate.{split}.augmented": False, **shares(1.0, 1.0)})
    none = made(tmp_path, split, n, {**changes, f"simulate.{split}.augmented": True, **shares(0.0, 0.0)})
    assert same(plain, none, "channel", "codes", "snapshots", "noise_power")
    assert torch.equal(plain.power.nan_to_num(), none.power.nan_to_num())


def test_one_kind_of_departure_leaves_the_other_alone(tmp_path: Path) -> None:
    plain, spread, impaired, both = (
        made(tmp_path, "train", 10, shares(*own)) for own in ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0))
    )
    assert torch.equal(spread.observation.codes, plain.observation.codes)
    assert torch.equal(impaired.observation.codes, both.observation.codes)
    assert torch.equal(impaired.power.nan_to_num(), plain.power.nan_to_num())
    assert torch.equal(spread.power.nan_to_num(), both.power.nan_to_num())
    assert not torch.equal(spread.power.nan_to_num(), plain.power.nan_to_num())
    assert not torch.equal(impaired.observation.codes, plain.observation.codes)


def test_the_levels_of_all_scenes_hold_where_none_are_drawn(tmp_path: Path) -> None:
    """A share .5 x .7 is to the bit as without augmentation, with the global spread, bits and levels."""
    own = {"sources.power_spread_db": 4.0, "impairments.phase_error_deg": 30.0, "codebook.phase_bits": 2}
    own = {**own, **strata("train", (1, 3), 400)}
    plain = made(tmp_path, "train", 400, {**own, "simulate.train.augmented": False})
    some = made(tmp_path, "train", 400, own)
    equal = (some.observation.snapshots == plain.observation.snapshots).all(-1).all(-1)
    assert abs(float(equal.double().mean()) - 0.35) < tolerances.SIGMAS * math.sqrt(0.35 * 0.65 / 400)


def test_a_fixed_installation_keeps_its_hardware(tmp_path: Path) -> None:
    """Codes, channel and impairments are those of the installation in every scene; powers vary."""
    fixed = {"channel.per_scene": False, "impairments.phase_error_deg": 10.0, **strata("train", (1, 1), 20)}
    plain = made(tmp_path, "train", 20, {**fixed, **shares(0.0, 0.0)})
    departed = made(tmp_path, "train", 20, {**fixed, **shares(1.0, 1.0)})
    assert same(plain, departed, "channel", "codes")
    assert bool((departed.power[:, 0] != 1.0).all())
    # one source: its power moves signal and noise alike
    ratio = departed.observation.snapshots / plain.observation.snapshots
    expected = departed.power[:, 0].sqrt()[:, None, None].expand(ratio.shape)
    torch.testing.assert_close(ratio.abs().double(), expected, rtol=1e-3, atol=0.0)


def test_shards_of_any_size_hold_the_same_scenes(tmp_path: Path) -> None:
    """Truth and codes bit by bit; channel and snapshots to single precision."""
    found = []
    for size in (3, 10):
        write_params(tmp_path, {"simulate.scenes_per_shard": size})
        call_verb(tmp_path, main, "--split", "train")
        found.append(read_scenes(tmp_path / "data/scenes/train", False))
    first, second = found
    assert same(first, second, "codes", "array.elements")
    assert torch.equal(first.power.nan_to_num(), second.power.nan_to_num())
    torch.testing.assert_close(
        first.observation.snapshots, second.observation.snapshots, rtol=tolerances.SINGLE, atol=1e-6
    )
