"""HDF5 files with damaged bytes."""

from collections.abc import Sequence

import numpy as np

_WORDS = (0, 1, 8, 255, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**64 - 1)
"""Sizes and addresses at the edge of something."""


def damaged(files: Sequence[bytes], number: int, seed: int) -> bytes:
    """One of the files after one to four changes of its bytes."""
    random = np.random.default_rng((seed, number))
    content = bytearray(files[random.integers(len(files))])
    for _ in range(random.integers(1, 5)):
        change = _CHANGES[random.integers(len(_CHANGES))]
        content = change(content, files, random)
    return bytes(content)


def _place(content: bytearray, random: np.random.Generator) -> int:
    """Half of them in the first 2 kB, where the structure is."""
    most = len(content) if random.random() < 0.5 else min(2048, len(content))
    return int(random.integers(max(1, most)))


def _flip(content: bytearray, files: Sequence[bytes], random: np.random.Generator) -> bytearray:
    for _ in range(random.integers(1, 9)):
        place = _place(content, random)
        if place < len(content):
            content[place] ^= 1 << int(random.integers(8))
    return content


def _overwrite(content: bytearray, files: Sequence[bytes], random: np.random.Generator) -> bytearray:
    place, length = _place(content, random), int(random.integers(1, 64))
    fill = random.bytes(length) if random.random() < 0.5 else bytes([255 * int(random.integers(2))]) * length
    content[place : place + length] = fill[: max(0, len(content) - place)]
    return content


def _word(content: bytearray, files: Sequence[bytes], random: np.random.Generator) -> bytearray:
    place, size = _place(content, random), int(random.choice([1, 2, 4, 8]))
    word = (_WORDS[random.integers(len(_WORDS))] % 256**size).to_bytes(size, "little")
    content[place : place + size] = word[: max(0, len(content) - place)]
    return content


def _cut(content: bytearray, files: Sequence[bytes], random: np.random.Generator) -> bytearray:
    # a shorter file is refused at its header, unless the header is damaged too
    return content[: int(random.integers(len(content) + 1))] if random.random() < 0.2 else content


def _splice(content: bytearray, files: Sequence[bytes], random: np.random.Generator) -> bytearray:
    other = files[random.integers(len(files))]
    start, length = int(random.integers(len(other))), int(random.integers(1, 512))
    place = _place(content, random)
    piece = other[start : start + length]
    if random.random() < 0.5:
        content[place : place + len(piece)] = piece
    else:
        content[place:place] = piece
    return content


def _remove(content: bytearray, files: Sequence[bytes], random: np.random.Generator) -> bytearray:
    place = _place(content, random)
    del content[place : place + int(random.integers(1, 64))]
    return content


_CHANGES = (_flip, _flip, _flip, _overwrite, _word, _word, _word, _cut, _splice, _remove)
