"""HDF5 with nothing hidden: contiguous, uncompressed, no times of creation, every field checked when read."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import DTypeLike, NDArray

from stages.artifacts.atomic import write_bytes
from stages.artifacts.errors import MeasurementError
from stages.artifacts.extents import Extent, broken_finiteness, stamp_of

# One fixed range of format versions, so that a newer library writes the same bytes.
_LIBRARY_VERSIONS = ("v108", "v110")


def write(
    path: Path,
    attributes: Mapping[str, str | int | float | Sequence[int]],
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


class Reader:
    """Checked access to one open file; sizes named in a shape agree between its data sets."""

    def __init__(self, path: Path, file: h5py.File) -> None:
        self.path = path
        self.sizes: dict[str, int] = {}
        self._file = file

    def fault(self, field: str, law: str) -> MeasurementError:
        """The error that names this file, a field of it and the law that the field breaks."""
        return MeasurementError(f"{self.path}: {field}: {law}")

    def has(self, name: str) -> bool:
        """True where the file has a data set of this name."""
        return name in self._file

    def has_attribute(self, name: str) -> bool:
        """True where the file has an attribute of this name."""
        return name in self._file.attrs

    def attribute(self, name: str) -> Any:
        """Attribute of the file.

        Raises:
            MeasurementError: it is missing.
        """
        if name not in self._file.attrs:
            raise self.fault(f"attribute {name}", "missing")
        value = self._file.attrs[name]
        if isinstance(value, np.generic | np.ndarray) and value.size == 1:
            value = value.item()
        return value.decode("utf-8", "replace") if isinstance(value, bytes) else value

    def positive(self, name: str) -> float:
        """Attribute that is a positive, finite number."""
        value = self.attribute(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 < value < np.inf:
            raise self.fault(f"attribute {name}", f"a positive, finite number, got {value!r}")
        return float(value)

    def integers(self, name: str) -> tuple[int, ...]:
        """Attribute that is a row of whole numbers."""
        value = np.atleast_1d(self.attribute(name))
        if value.ndim != 1 or not np.issubdtype(value.dtype, np.integer):
            raise self.fault(f"attribute {name}", f"a row of whole numbers, got {value.tolist()}")
        return tuple(int(n) for n in value)

    def choice(self, name: str, allowed: Sequence[str | int]) -> Any:
        """Attribute that is one of the allowed values."""
        value = self.attribute(name)
        if isinstance(value, np.ndarray) or value not in allowed:
            raise self.fault(f"attribute {name}", f"{' or '.join(map(repr, allowed))} here, got {value!r}")
        return value

    def array(self, name: str, dtype: DTypeLike, shape: str, *, finite: bool = True) -> NDArray[Any]:
        """Data set of a given type and a shape such as "#scene antenna element" or "element 3".

        A name stands for one size in the whole file, "#" allows 1 instead, a number is itself.

        Raises:
            MeasurementError: missing, of another type or shape, unreadable, or (`finite`) not finite.
        """
        values = self.rows(name, self._of_shape(name, dtype, shape), ())
        if finite:
            self.require_finite(name, values)
        return values

    def extent(self, name: str, dtype: DTypeLike, shape: str) -> Extent:
        """Where a contiguous data set lies in the file, its type and shape checked as by `array`.

        Raises:
            MeasurementError: as `array`, but for the numbers, which are not read; or not contiguous.
        """
        dataset = self._of_shape(name, dtype, shape)
        offset = dataset.id.get_offset()
        if dataset.chunks is not None or offset is None:
            raise self.fault(name, "contiguous and not compressed, as `simulate` and `normalize` write it")
        stamp = stamp_of(self.path.stat())
        return Extent(self.path, name, int(offset), np.dtype(dtype), tuple(map(int, dataset.shape)), stamp)

    def _of_shape(self, name: str, dtype: DTypeLike, shape: str) -> h5py.Dataset:
        law = f"{np.dtype(dtype).name} [{', '.join(shape.split())}]"
        dataset = self.dataset(name, law)
        if dataset.dtype != np.dtype(dtype) or dataset.ndim != len(shape.split()):
            order = "" if dataset.dtype.isnative else " of the other byte order"
            raise self.fault(name, f"{law}, got {dataset.dtype.name}{order} {dataset.shape}")
        for axis, (word, size) in enumerate(zip(shape.split(), dataset.shape, strict=True)):
            self._agree(name, law, axis, word, int(size))
        return dataset

    def dataset(self, name: str, law: str) -> h5py.Dataset:
        """Data set of any type and shape; `law` says what is expected.

        Raises:
            MeasurementError: it is missing, or another thing.
        """
        if name not in self._file:
            raise self.fault(
                name, f"missing; the file holds {', '.join(_names(self._file)) or 'no data set'}"
            )
        try:
            dataset = self._file[name]
        except (KeyError, OSError) as error:
            raise self.fault(name, "a link to what is not there; copy the data into the file") from error
        if not isinstance(dataset, h5py.Dataset):
            raise self.fault(name, f"a data set {law}, got a group")
        return dataset

    def rows(self, name: str, dataset: h5py.Dataset, rows: slice | tuple[()]) -> NDArray[Any]:
        """Some rows of a data set, () for all of it.

        Raises:
            MeasurementError: the file is damaged.
        """
        try:
            values: NDArray[Any] = dataset[rows]
        except (OSError, RuntimeError) as error:
            raise self.fault(
                name, f"cannot be read, the file is damaged ({error}); make or copy it again"
            ) from error
        return values

    def datasets(self) -> dict[str, h5py.Dataset]:
        """Every data set of the file by its path."""
        return {name: self._file[name] for name in _names(self._file)}

    def attributes(self) -> dict[str, Any]:
        """Every attribute of the file."""
        return {name: self.attribute(name) for name in self._file.attrs}

    def _agree(self, name: str, law: str, axis: int, word: str, size: int) -> None:
        key = word.removeprefix("#")
        expected = int(key) if key.isdigit() else self.sizes.setdefault(key, size)
        if size != expected and not (word.startswith("#") and size == 1):
            choice = f"1 or {expected}" if word.startswith("#") else str(expected)
            raise self.fault(name, f"{law} with {key} = {choice} here, got {size} along axis {axis}")

    def require_finite(self, name: str, values: NDArray[Any]) -> None:
        """Refuse numbers that are not finite.

        Raises:
            MeasurementError: how many, and the first of them.
        """
        law = broken_finiteness(values, 0)
        if law is not None:
            raise self.fault(name, law)


@contextmanager
def reading(path: Path, form: str, version: int, made_by: str) -> Iterator[Reader]:
    """Open a file of one format and version.

    Raises:
        MeasurementError: missing, not HDF5, truncated, of another format or of another version.
    """
    with opened(path, made_by) as reader:
        if not reader.has_attribute("format"):
            raise reader.fault(
                "attribute format", f'a {form} file says format = "{form}", this one says nothing'
            )
        reader.choice("format", (form,))
        reader.choice("version", (version,))
        yield reader


@contextmanager
def opened(path: Path, made_by: str) -> Iterator[Reader]:
    """Open a file of any format.

    Raises:
        MeasurementError: missing, not HDF5, or truncated.
    """
    if not path.is_file():
        raise MeasurementError(f"{path}: there is no such file; {made_by}")
    try:
        # Published files never change, and a lock file system is not everywhere.
        file = h5py.File(path, "r", locking=False)
    except OSError as error:
        raise MeasurementError(f"{path}: {_opening_fault(str(error))}; {made_by}") from error
    with file:
        yield Reader(path, file)


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


def _names(file: h5py.File) -> list[str]:
    names: list[str] = []
    file.visititems(lambda name, node: names.append(name) if isinstance(node, h5py.Dataset) else None)
    return names


def _opening_fault(message: str) -> str:
    if "truncated" in message:
        return "truncated: the file is shorter than its header says"
    if "signature" in message:
        return "not an HDF5 file"
    return f"cannot be opened ({message})"
