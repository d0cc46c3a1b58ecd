"""Damage that any kind of content takes: bytes, and values somewhere in a tree of plain ones."""

from collections.abc import Sequence
from typing import Any

import numpy as np


def damaged(content: bytes, generator: np.random.Generator) -> bytes:
    """Some bytes changed, put in, taken out, or everything from one on."""
    held = bytearray(content)
    for _ in range(int(generator.integers(1, 9))):
        at = int(generator.integers(0, len(held) + 1))
        match int(generator.integers(0, 6)):
            case 0 | 1:
                held[at : at + 1] = bytes([int(generator.integers(0, 256))])
            case 2:
                held[at:at] = generator.bytes(int(generator.integers(1, 9)))
            case 3:
                del held[at : at + int(generator.integers(1, 9))]
            case 4:
                length = int(generator.integers(1, 65))
                held[at:at] = held[at : at + length]
            case 5 if generator.random() < 0.2:
                del held[at:]
    return bytes(held)


def replaced(tree: Any, values: Sequence[Any], generator: np.random.Generator) -> Any:
    """The same tree, one part of it replaced by one of some values, taken out or put in twice."""
    if not isinstance(tree, dict | list) or not tree or generator.random() < 0.15:
        return values[int(generator.integers(0, len(values)))]
    copy = tree.copy()
    keys = list(copy) if isinstance(copy, dict) else list(range(len(copy)))
    key = keys[int(generator.integers(0, len(keys)))]
    if generator.random() < 0.1:
        del copy[key]
    elif generator.random() < 0.1 and isinstance(copy, dict):
        copy[str(key) + "_"] = copy[key]
    else:
        copy[key] = replaced(copy[key], values, generator)
    return copy
