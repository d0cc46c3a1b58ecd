"""Damaged NumPy archives of measurements: their bytes, or one of their arrays under a right checksum."""

import io
import zipfile
from functools import cache
from pathlib import Path

import numpy as np

from benchmarks.fuzz._hdf5_valid import measurements
from benchmarks.fuzz._mutations import damaged

SEED = 20261130
_HEADER_BYTES = 128
"""Of an array: what says its type and shape."""


@cache
def _archive() -> bytes:
    content = measurements()
    held = io.BytesIO()
    np.savez(held, **content.pop("@"), **content)
    return held.getvalue()


def make(number: int, path: Path) -> None:
    """Damaged archive `number`."""
    random = np.random.default_rng((SEED, number))
    if number % 3 == 0:
        path.write_bytes(damaged(_archive(), random))
        return
    with zipfile.ZipFile(io.BytesIO(_archive())) as held:
        files = {name: held.read(name) for name in held.namelist()}
    name = list(files)[random.integers(len(files))]
    head, numbers = files[name][:_HEADER_BYTES], files[name][_HEADER_BYTES:]
    if number % 3 == 1:
        files[name] = damaged(head, random) + numbers
    else:
        files[name] = head + damaged(numbers, random)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            # an entry with a time of its own, the same in every run
            archive.writestr(zipfile.ZipInfo(name), content)
