"""Training scenes streamed from the shards of `simulate` and `normalize`: one feed for train and search."""

import time
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from risolve.networks.examples import Batch
from risolve.networks.shuffle import Shuffle
from stages.training.split_files import Columns, Shard, SmallColumns, SplitFiles

AHEAD = 4
"""Batches that are read ahead of the one that is trained on."""


@dataclass(frozen=True)
class Block:
    """Rows first to last - 1 of a shard; `scene` is the number of the first in the training set."""

    shard: Shard
    first: int
    last: int
    scene: int

    def __len__(self) -> int:
        return self.last - self.first


def blocks_of(splits: Sequence[SplitFiles], block_scenes: int, fraction: float) -> tuple[Block, ...]:
    """Runs of at most `block_scenes` scenes of one shard, in the order of the scenes; evenly spaced ones of
    them where a fraction of the scenes is asked for.
    """
    blocks, scene = [], 0
    for shard in (shard for split in splits for shard in split.shards):
        for first in range(0, shard.n_scenes, block_scenes):
            last = min(first + block_scenes, shard.n_scenes)
            blocks.append(Block(shard, first, last, scene + first))
        scene += shard.n_scenes
    n_kept = max(1, round(fraction * len(blocks)))
    return tuple(blocks[i] for i in np.linspace(0, len(blocks) - 1, n_kept).round().astype(int))


class ShardFeed:
    """Batches of the scenes of some data sets, read ahead by a thread while others are trained on.

    Scenes are numbered through the data sets, one after the other. Factors of a lower rank get rows of zeros,
    which add nothing to X^T X*. Blocks are read as `Shuffle` orders them, at whatever pace; the batches come
    on `device`.

    waited_s: time (s) that whoever asked for a batch has waited for it; spent_s: time (s) from the beginning
    of an epoch to its end, waiting included, over all epochs.
    """

    def __init__(
        self,
        splits: Sequence[SplitFiles],
        blocks: tuple[Block, ...],
        shuffle: Shuffle,
        device: torch.device,
    ) -> None:
        self.waited_s = 0.0
        self.spent_s = 0.0
        self._small = SmallColumns.joined([split.small for split in splits])
        self._blocks = blocks
        self._shuffle = shuffle
        self._device = device
        self._rows = _row_shapes(blocks)

    @property
    def n_batches(self) -> int:
        """Batches of an epoch."""
        return self._shuffle.n_batches

    def batches(self, epoch: int) -> Generator[Batch, None, None]:
        """The batches of an epoch (from 1), every scene once.

        The thread ends with the generator: closed early, it reads no further.

        Raises:
            MeasurementError: what cannot be read, with the batch that needs it.
        """
        started = time.monotonic()
        source = self._read(epoch)
        reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="training-feed")
        try:
            coming: deque[Future[Batch | None]] = deque(
                reader.submit(next, source, None) for _ in range(AHEAD)
            )
            for _ in range(self.n_batches):
                asked = time.monotonic()
                batch = coming.popleft().result()
                self.waited_s += time.monotonic() - asked
                assert batch is not None
                coming.append(reader.submit(next, source, None))
                yield batch
        finally:
            reader.shutdown(cancel_futures=True)
            self.spent_s += time.monotonic() - started

    def _read(self, epoch: int) -> Iterator[Batch]:
        """The batches of an epoch, through the buffer."""
        n_slots = min(self._shuffle.buffer_scenes, sum(map(len, self._blocks)))
        buffer = {name: np.empty((n_slots, *shape), dtype) for name, (shape, dtype) in self._rows.items()}
        numbers = np.empty(n_slots, dtype=np.int64)
        for step in self._shuffle.steps(epoch):
            for fill in step.fills:
                block = self._blocks[fill.block]
                _put(buffer, fill.slots, block.shard.read(block.first, block.last))
                numbers[fill.slots] = np.arange(block.scene, block.scene + len(block))
            scenes = torch.from_numpy(numbers[step.batch])
            columns = {name: np.take(values, step.batch, axis=0) for name, values in buffer.items()}
            yield Batch(scenes, self._small.beside(columns, scenes).to(device=self._device))


def _row_shapes(blocks: tuple[Block, ...]) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
    """Shape and type of one scene in the buffer, by column: the largest of all shards."""
    shapes: dict[str, tuple[tuple[int, ...], np.dtype[Any]]] = {}
    for extents in {id(block.shard): block.shard.extents for block in blocks}.values():
        for name, extent in extents.items():
            known, _ = shapes.setdefault(name, (extent.shape[1:], extent.dtype))
            largest = tuple(max(sizes) for sizes in zip(known, extent.shape[1:], strict=True))
            shapes[name] = (largest, extent.dtype)
    return shapes


def _put(buffer: dict[str, NDArray[Any]], slots: NDArray[np.int64], columns: Columns) -> None:
    """Rows into their slots of the buffer, zeros beyond the rows of a smaller factor."""
    for name, values in columns.items():
        if values.shape[1:] == buffer[name].shape[1:]:
            buffer[name][slots] = values
        else:
            buffer[name][slots] = 0.0
            buffer[name][slots, : values.shape[1]] = values
