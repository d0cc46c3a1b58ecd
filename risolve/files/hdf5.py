"""HDF5 with nothing hidden: contiguous, uncompressed, no times of creation; and shards of a directory."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from risolve.errors import MeasurementError
from risolve.files.atomic import write_bytes
from risolve.files.contents import Attributes

# One fixed range of format versions, so that a newer library writes the same bytes.
_LIBRARY_VERSIONS = ("v108", "v110")


def write(
    path: Path,
    attributes: Attributes,
    datasets: Mapping[str, NDArray[Any] | Sequence[NDArray[Any]]],
) -> None:
    """Write a file, whole or not at all; equal content makes equal bytes.

    The library makes the bytes in memory: on a full disk it ends the process where it writes a file itself.

    Raises:
        StateError: the file cannot be written.
    """
    with h5py.File(path, "w", libver=_LIBRARY_VERSIONS, driver="core", backing_store=False) as file:
        for name, value in attributes.items():
            file.attrs[name] = value
        for name, content in datasets.items():
            blocks = [content] if isinstance(content, np.ndarray) else list(content)
            shape = (sum(block.shape[0] for block in blocks), *blocks[0].shape[1:])
            dataset = file.create_dataset(name, shape, blocks[0].dtype, track_times=False)
            first = 0
            for block in blocks:
                dataset.write_direct(
                    np.ascontiguousarray(block), dest_sel=np.s_[first : first + block.shape[0]]
                )
                first += block.shape[0]
        file.flush()
        image = file.id.get_file_image()
    write_bytes(path, image)


def source_paths(source: Path | Sequence[Path], made_by: str) -> Sequence[Path]:
    """Files of a source: one file, the shards of a directory, or files named one by one.

    Raises:
        MeasurementError: a directory without shards or with a gap in their numbers.
    """
    if not isinstance(source, Path):
        return source
    return shard_paths(source, made_by) if source.is_dir() else [source]


def shard_paths(directory: Path, made_by: str) -> list[Path]:
    """shard-0000.h5, shard-0001.h5, ... of a directory, none missing in between.

    Raises:
        MeasurementError: no shard, or a gap in their numbers.
    """
    paths = sorted(directory.glob("shard-*.h5"), key=lambda path: (len(path.name), path.name))
    if not paths:
        raise MeasurementError(f"{directory}: holds no shard-*.h5; {made_by}")
    for number, path in enumerate(paths):
        if path.name != shard_name(number):
            raise MeasurementError(
                f"{directory}: shards are numbered without gaps, {shard_name(number)} is missing; {made_by}"
            )
    return paths


def shard_name(number: int) -> str:
    """shard-0000.h5"""
    return f"shard-{number:04d}.h5"
