"""The order in which a training sees scenes that lie in blocks too many for the memory.

A block is a run of scenes that are read together. Blocks come in a random order and wait in a buffer, from
which the scenes of a batch are drawn: two scenes of one block meet in a batch only by chance, as long as the
buffer holds many blocks.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from risolve import seeds

Slots = Int[np.ndarray, " scene"]
"""Places in the buffer."""


class Fill(NamedTuple):
    """A block that comes into the buffer, and the slots of its scenes."""

    block: int
    slots: Slots


class Step(NamedTuple):
    """Blocks that come into the buffer before a batch is drawn, and the slots of the batch."""

    fills: tuple[Fill, ...]
    batch: Slots


@dataclass(frozen=True)
class Shuffle:
    """The share of one process, `rank` of `world`, in an epoch over blocks of given sizes.

    All processes permute the blocks alike, and process r takes the blocks r, r + world, ... of that order.
    Each has the same number of batches in every epoch,

        n = ceil(most / batch_size),   most = sum of the ceil(B / world) largest of the B blocks,

    and spreads its own scenes over them as evenly as can be: no scene is left out or seen twice, and the
    batches of a process differ by one scene at most. The order is a function of (seed, epoch, rank, world).

    Raises:
        ValueError: a buffer from which a batch cannot be drawn, or a process without a scene for each batch.
    """

    sizes: tuple[int, ...]
    batch_size: int
    buffer_scenes: int
    seed: int
    rank: int
    world: int

    def __post_init__(self) -> None:
        largest = max(self.sizes)
        if self.buffer_scenes < self.batch_size + largest:
            raise ValueError(
                f"a buffer holds a batch and a block more, {self.batch_size} + {largest} scenes; got room "
                f"for {self.buffer_scenes}"
            )
        blocks = len(self.sizes) // self.world
        least = sum(sorted(self.sizes)[:blocks])
        if least < self.n_batches:
            raise ValueError(
                f"each of {self.world} processes has a scene for each of {self.n_batches} batches; the "
                f"{blocks} smallest of {len(self.sizes)} blocks hold {least}"
            )

    @property
    def n_batches(self) -> int:
        """Batches of an epoch, the same for all processes."""
        blocks = -(-len(self.sizes) // self.world)
        return -(-sum(sorted(self.sizes)[-blocks:]) // self.batch_size)

    def steps(self, epoch: int) -> Iterator[Step]:
        """What is read and drawn, batch by batch."""
        order = seeds.generator(self.seed, "blocks", epoch).permutation(len(self.sizes))[
            self.rank :: self.world
        ]
        draws = seeds.generator(self.seed, "buffer", epoch * self.world + self.rank)
        n_scenes = sum(self.sizes[block] for block in order)
        free = np.arange(min(self.buffer_scenes, n_scenes))
        held = np.empty(0, dtype=np.int64)
        waiting = list(order)
        for number in range(self.n_batches):
            fills = []
            while waiting and self.sizes[waiting[0]] <= len(free):
                block = int(waiting.pop(0))
                slots, free = np.split(free, [self.sizes[block]])
                fills.append(Fill(block, slots))
            held = np.concatenate([held, *(fill.slots for fill in fills)])
            size = n_scenes // self.n_batches + (number < n_scenes % self.n_batches)
            drawn = draws.permutation(len(held))
            batch, held = np.split(held[drawn], [size])
            free = np.concatenate([free, batch])
            yield Step(tuple(fills), batch)
