"""Training scenes from their shards: each once, mixed, the same at any pace; faults reach whoever trains."""

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from risolve.covariance import sample_factor
from risolve.errors import MeasurementError
from risolve.files.covariances import Covariances, Maps, write_covariances
from risolve.files.measurements import write_scenes
from risolve.networks.examples import Batch, Examples, Feed, joined_examples
from risolve.networks.shuffle import Shuffle
from stages.params.file import read_params
from stages.params.model import Params, Split
from stages.simulate import simulate
from stages.training import feed as module
from stages.training.feed import ShardFeed, blocks_of
from stages.training.split_files import Columns, Shard, SplitFiles, open_split
from tests.messages import shows
from tests.tiny_run import write_params

CPU = torch.device("cpu")
SHARDS: dict[Split, tuple[int, ...]] = {"train": (7, 7, 7, 3), "test_constant": (5, 6)}
"""Scenes of every file; those of the second data set have one row of the factor instead of seven."""


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("scenes")
    strata = {"only": {"n_sources": [1, 3], "snr_db": [10.0, 10.0], "n_scenes": 24}}
    constant = {"only": {"n_sources": [2, 2], "snr_db": [10.0, 10.0], "n_scenes": 11}}
    params = read_params(
        write_params(root, {"simulate.train.strata": strata, "simulate.test_constant.strata": constant})
    )
    random = torch.Generator().manual_seed(1)
    for split, sizes in SHARDS.items():
        for kind in ("scenes", "covariances"):
            (root / "data" / kind / split).mkdir(parents=True)
        for number, size in enumerate(sizes):
            first = sum(sizes[:number])
            scenes = simulate(params, split, range(first, first + size))
            name = f"{split}/shard-{number:04d}.h5"
            write_scenes(root / "data/scenes" / name, scenes)
            values = torch.rand((size, 1, 105), generator=random)
            maps = Maps(values, values[:, 0, 0].clone(), (0,), (3, 5, 7))
            factor = sample_factor(scenes.observation, 1e-3)
            covariances = Covariances(factor, scenes.observation.source_model, maps)
            write_covariances(root / "data/covariances" / name, covariances)
    return root


@pytest.fixture
def folder(written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The files, in the current directory; no thread is left behind in it."""
    for path in written.rglob("*"):
        if path.is_file():
            copy = tmp_path / path.relative_to(written)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    assert threads() == []


def threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("training-feed")]


def opened(params: Params, with_snapshots: bool = True) -> list[SplitFiles]:
    return [open_split(params, split, with_snapshots) for split in SHARDS]


def feed_of(
    folder: Path,
    *,
    with_snapshots: bool = True,
    fraction: float = 1.0,
    rank: int = 0,
    world: int = 1,
    buffer_scenes: int = 16,
) -> ShardFeed:
    """Batches of at most 5 scenes from blocks of at most 4: eleven of them, of 4, 3, 2 and 1 scenes."""
    splits = opened(read_params(folder / "params.yaml"), with_snapshots)
    blocks = blocks_of(splits, 4, fraction)
    return ShardFeed(splits, blocks, Shuffle(tuple(map(len, blocks)), 5, buffer_scenes, 1, rank, world), CPU)


def whole(folder: Path) -> Examples:
    splits = opened(read_params(folder / "params.yaml"))
    return joined_examples([split.examples() for split in splits])


def values_of(examples: Examples) -> dict[str, torch.Tensor]:
    own = vars(examples) | ({} if examples.observation is None else vars(examples.observation))
    return {name: values for name, values in own.items() if isinstance(values, torch.Tensor)}


def assert_same(first: Examples, second: Examples) -> None:
    for (name, one), other in zip(values_of(first).items(), values_of(second).values(), strict=True):
        assert one.dtype == other.dtype and torch.equal(one.nan_to_num(), other.nan_to_num()), name


def scenes_of(batches: list[Batch]) -> list[list[int]]:
    return [batch.scenes.tolist() for batch in batches]


def test_an_epoch_holds_every_scene_once_as_it_lies_in_the_files(folder: Path) -> None:
    feed = feed_of(folder)
    assert isinstance(feed, Feed)
    batches = list(feed.batches(1))
    assert len(batches) == feed.n_batches == 7
    assert sorted(scene for batch in scenes_of(batches) for scene in batch) == list(range(35))
    examples = whole(folder)
    for batch in batches:
        assert_same(batch.examples, examples.select(batch.scenes))


def test_scenes_of_both_models_meet_in_a_batch_with_factors_of_one_rank(folder: Path) -> None:
    batches = list(feed_of(folder).batches(1))
    shared = torch.cat([batch.examples.shared for batch in batches])
    scenes = torch.cat([batch.scenes for batch in batches])
    assert torch.equal(shared, scenes >= 24)
    mixed = [batch for batch in batches if 0 < int(batch.examples.shared.sum()) < len(batch.scenes)]
    assert len(mixed) >= 3
    for batch in mixed:
        assert batch.examples.factor.shape[1] == 7
        padded = batch.examples.factor[batch.examples.shared]
        assert bool(padded[:, 0].any()) and not bool(padded[:, 1:].any())


def test_without_a_likelihood_no_snapshot_is_read(folder: Path) -> None:
    for path in (folder / "data/scenes").rglob("*.h5"):
        with h5py.File(path, "r+") as file:
            for name in ("snapshots", "channel", "codes", "noise_power"):
                del file[name]
    batches = list(feed_of(folder, with_snapshots=False).batches(1))
    assert all(batch.examples.observation is None for batch in batches)
    with pytest.raises(MeasurementError, match=r"scenes/train/shard-0000\.h5: snapshots: missing"):
        feed_of(folder)


def test_an_epoch_comes_again_and_every_epoch_is_another(folder: Path) -> None:
    feed = feed_of(folder)
    epochs = {epoch: scenes_of(list(feed.batches(epoch))) for epoch in (1, 2, 3)}
    assert len({str(scenes) for scenes in epochs.values()}) == 3
    assert scenes_of(list(feed_of(folder).batches(2))) == epochs[2]
    assert scenes_of(list(feed.batches(1))) == epochs[1]


def test_the_pace_of_reading_and_training_changes_no_bit(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = list(feed_of(folder).batches(1))
    calm = []
    for batch in feed_of(folder).batches(1):
        time.sleep(0.02)
        calm.append(batch)
    read = Shard.read

    def slow(shard: Shard, first: int, last: int) -> Columns:
        time.sleep(0.01 * (first % 3))
        return read(shard, first, last)

    monkeypatch.setattr(Shard, "read", slow)
    for one in (calm, list(feed_of(folder).batches(1))):
        for batch, other in zip(one, expected, strict=True):
            assert torch.equal(batch.scenes, other.scenes)
            assert_same(batch.examples, other.examples)


def test_a_batch_that_was_given_out_does_not_change(folder: Path) -> None:
    """The slots of its scenes are filled again while it is trained on."""
    examples = whole(folder)
    batches = list(feed_of(folder, buffer_scenes=9).batches(1))
    assert all(torch.equal(b.examples.maps, examples.maps[b.scenes]) for b in batches)


@pytest.mark.parametrize("epoch", [1, 2])
def test_processes_part_the_scenes_into_as_many_batches(folder: Path, epoch: int) -> None:
    feeds = [feed_of(folder, rank=rank, world=3) for rank in range(3)]
    shares = [scenes_of(list(feed.batches(epoch))) for feed in feeds]
    assert {len(share) for share in shares} == {feed.n_batches for feed in feeds} == {4}
    assert sorted(scene for share in shares for batch in share for scene in batch) == list(range(35))


@pytest.mark.parametrize(("fraction", "n_blocks"), [(0.3, 3), (0.01, 1), (1.0, 11)])
def test_a_fraction_of_the_scenes_is_evenly_spaced_blocks(
    folder: Path, fraction: float, n_blocks: int
) -> None:
    blocks = blocks_of(opened(read_params(folder / "params.yaml")), 4, fraction)
    every = blocks_of(opened(read_params(folder / "params.yaml")), 4, 1.0)
    firsts = [block.scene for block in every]
    assert len(blocks) == n_blocks
    places = [firsts.index(block.scene) for block in blocks]
    assert places == np.linspace(0, len(every) - 1, n_blocks).round().astype(int).tolist()
    own = scenes_of(list(feed_of(folder, fraction=fraction).batches(1)))
    assert sorted(scene for batch in own for scene in batch) == [
        s for b in blocks for s in range(b.scene, b.scene + len(b))
    ]


def test_blocks_are_runs_of_one_shard(folder: Path) -> None:
    blocks = blocks_of(opened(read_params(folder / "params.yaml")), 4, 1.0)
    runs = [(block.scene, block.first, len(block)) for block in blocks]
    assert runs[:7] == [(0, 0, 4), (4, 4, 3), (7, 0, 4), (11, 4, 3), (14, 0, 4), (18, 4, 3), (21, 0, 3)]
    assert runs[7:] == [(24, 0, 4), (28, 4, 1), (29, 0, 4), (33, 4, 2)]


def spoil(path: Path, field: str, scene: int) -> None:
    with h5py.File(path, "r+") as file:
        file[field][scene] = np.nan


@pytest.mark.parametrize(
    ("kind", "field", "split", "shard"),
    [
        ("covariances", "maps", "train", 2),
        ("covariances", "factor", "test_constant", 1),
        ("scenes", "channel", "train", 1),
    ],
)
def test_numbers_that_are_not_finite_reach_whoever_trains(
    folder: Path, kind: str, field: str, split: Split, shard: int
) -> None:
    path = folder / "data" / kind / split / f"shard-{shard:04d}.h5"
    spoil(path, field, 5)
    law = f"data/{kind}/{split}/shard-000{shard}.h5: {field}: ... finite; ... (5, 0"
    with pytest.raises(MeasurementError, match=shows(law)):
        list(feed_of(folder).batches(1))
    assert threads() == []


def test_a_factor_of_another_trace_reaches_whoever_trains(folder: Path) -> None:
    with h5py.File(folder / "data/covariances/train/shard-0001.h5", "r+") as file:
        file["factor"][6] = 2.0 * file["factor"][6]
    with pytest.raises(MeasurementError, match=r"factor: tr R_samp = N = 15 .* got 60 in scene 6"):
        list(feed_of(folder).batches(1))


@pytest.mark.parametrize("fault", ["changed", "cut", "gone"])
def test_a_file_that_is_not_what_it_was_reaches_whoever_trains(folder: Path, fault: str) -> None:
    feed = feed_of(folder)
    assert len(list(feed.batches(1))) == 7
    path = folder / "data/covariances/train/shard-0002.h5"
    if fault == "changed":
        os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))
    elif fault == "cut":
        path.write_bytes(path.read_bytes()[:3000])
    else:
        path.unlink()
    law = "No such file" if fault == "gone" else "changed"
    with pytest.raises(MeasurementError, match=shows(f"train/shard-0002.h5: maps: ... {law}")):
        list(feed.batches(2))
    assert threads() == []


def test_a_training_that_stops_early_leaves_no_thread(folder: Path) -> None:
    feed = feed_of(folder)
    batches = feed.batches(1)
    next(batches)
    assert threads() != []
    batches.close()
    assert threads() == []
    assert scenes_of(list(feed.batches(1))) == scenes_of(list(feed_of(folder).batches(1)))


def test_a_training_that_fails_leaves_no_thread(folder: Path) -> None:
    with pytest.raises(ZeroDivisionError), contextlib.closing(feed_of(folder).batches(1)) as batches:
        for _ in batches:
            raise ZeroDivisionError
    assert threads() == []


def test_no_more_is_read_ahead_than_said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One batch asked for: beside it as many as are read ahead, and what the buffer takes meanwhile."""
    monkeypatch.setattr(module, "AHEAD", 2)
    read, counted = Shard.read, []

    def counting(shard: Shard, first: int, last: int) -> Columns:
        counted.append(last - first)
        return read(shard, first, last)

    monkeypatch.setattr(Shard, "read", counting)
    batches = feed_of(folder, buffer_scenes=9).batches(1)
    next(batches)
    deadline = time.monotonic() + 10.0
    while sum(counted) < 19 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.1)
    assert 15 <= sum(counted) <= 9 + 2 * 5
    batches.close()


def test_waiting_is_counted_and_training_is_not(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    busy = feed_of(folder)
    for _ in busy.batches(1):
        time.sleep(0.05)
    assert busy.waited_s < 0.2 <= busy.spent_s
    read = Shard.read

    def slow(shard: Shard, first: int, last: int) -> Columns:
        time.sleep(0.05)
        return read(shard, first, last)

    monkeypatch.setattr(Shard, "read", slow)
    starved = feed_of(folder)
    list(starved.batches(1))
    assert 0.4 < starved.waited_s <= starved.spent_s
    assert starved.waited_s / starved.spent_s > 0.8
