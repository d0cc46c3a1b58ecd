"""Independent, counter-based random streams.

Every stream is named by (seed, stream, index): `numpy.random.SeedSequence(seed, spawn_key=(stream, index))`
feeds a Philox generator. Streams of different names are independent for any seeds, so neighbouring scenes,
splits and purposes never share numbers, and a scene does not depend on which process draws it.
"""

from typing import Literal, TypeAlias

import numpy as np

Stream: TypeAlias = Literal[
    "train",
    "validation",
    "test_independent",
    "test_constant",
    "installation",
    "initialization",
    "shuffle",
    "bootstrap",
    "genie",
    "ziv_zakai",
    "sweep",
    "search",
    "train_constant",
    "validation_constant",
    "blocks",
    "buffer",
    "goodness",
    "promising",
]

_STREAM_NUMBERS: dict[Stream, int] = {
    "train": 1,
    "validation": 2,
    "test_independent": 3,
    "test_constant": 4,
    "installation": 5,
    "initialization": 6,
    "shuffle": 7,
    "bootstrap": 8,
    "genie": 9,
    "ziv_zakai": 10,
    "sweep": 11,
    "search": 12,
    "train_constant": 13,
    "validation_constant": 14,
    "blocks": 15,
    "buffer": 16,
    "goodness": 17,
    "promising": 18,
}


def generator(seed: int, stream: Stream, index: int = 0) -> np.random.Generator:
    """Random generator of one named stream (Philox, Salmon et al., SC 2011)."""
    sequence = np.random.SeedSequence(seed, spawn_key=(_STREAM_NUMBERS[stream], index))
    return np.random.Generator(np.random.Philox(sequence))


def integer_seed(seed: int, stream: Stream, index: int = 0) -> int:
    """63-bit integer of one named stream, for `torch.Generator.manual_seed`."""
    return int(generator(seed, stream, index).integers(0, 2**63 - 1))
