"""Examples that are in memory as a feed."""

from collections.abc import Generator

import torch

from risolve.networks.examples import Batch, Examples
from risolve.networks.shuffle import Shuffle


class MemoryFeed:
    """Batches of examples that are all in memory, in an order that is a function of (seed, epoch)."""

    def __init__(self, examples: Examples, batch_size: int, seed: int) -> None:
        self._examples = examples
        n_scenes = len(examples)
        # one block, which is read whole: a slot of the buffer is the number of its scene
        self._shuffle = Shuffle((n_scenes,), batch_size, n_scenes + batch_size, seed, 0, 1)

    @property
    def n_batches(self) -> int:
        """Batches of an epoch."""
        return self._shuffle.n_batches

    def batches(self, epoch: int) -> Generator[Batch, None, None]:
        """The batches of an epoch (from 1), every scene once."""
        for step in self._shuffle.steps(epoch):
            scenes = torch.from_numpy(step.batch)
            yield Batch(scenes, self._examples.select(scenes))
