"""One reader of files of every format: every field is checked when it is read, and every error names file,
field, law and numbers.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from risolve.errors import ChangedFileError, MeasurementError
from risolve.files.contents import Contents, Look, Refused, StoredField, StoredGroup, Unread
from risolve.files.extents import Extent, Stamp, broken_finiteness, stamp_of_path
from risolve.files.registry import format_of

_MOST_LISTED = 24
"""Data sets that a line names."""


class Reader:
    """Checked access to one open file; sizes named in a shape agree between its data sets."""

    def __init__(
        self,
        path: Path,
        kind: str,
        held: Contents,
        stamp: Stamp,
        stored: Contents | None = None,
        within: str = "",
    ) -> None:
        self.path = path
        self.kind = kind
        self.stamp = stamp
        self.sizes: dict[str, int] = {}
        self._held, self._stored = held, stored or held
        self._within = within

    def fault(self, field: str, law: str) -> MeasurementError:
        """The error that names this file, a field of it and the law that the field breaks."""
        return MeasurementError(f"{self.path}: {self._within}{field}: {law}")

    @property
    def is_foreign(self) -> bool:
        """Whether names alone say what the file is."""
        return self._held.is_foreign

    def with_contents(self, held: Contents, within: str = "") -> "Reader":
        """The same file, holding something else; within: a part of it, by which errors name it."""
        return Reader(self.path, self.kind, held, self.stamp, self._stored, within or self._within)

    def require(self, form: str, version: int) -> None:
        """Refuse another format or version.

        Raises:
            MeasurementError: which are stated.
        """
        if not self.has_attribute("format"):
            law = f'a {form} file says format = "{form}", this one says nothing'
            raise self.fault("attribute format", law)
        self.choice("format", (form,))
        self.choice("version", (version,))

    def has(self, name: str) -> bool:
        """True where the file has a data set or a group of this name.

        Raises:
            MeasurementError: the group that would hold it is not read.
        """
        self._require_read(name.rpartition("/")[0])
        return name in self._held.objects

    def has_attribute(self, name: str) -> bool:
        """True where the file has an attribute of this name."""
        return name in self._held.attributes

    def attribute(self, name: str) -> Any:
        """Attribute of the file.

        Raises:
            MeasurementError: it is missing, damaged, or neither text nor numbers.
        """
        if name not in self._held.attributes:
            field = self._held.objects.get(name)
            beside = f"; {name} is an array {field.shape} here" if isinstance(field, StoredField) else ""
            raise self.fault(f"attribute {name}", f"missing{beside}")
        value = self._held.attributes[name]
        if isinstance(value, Unread):
            raise self.fault(f"attribute {name}", value.law)
        return value

    def positive(self, name: str) -> float:
        """Attribute that is a positive, finite number."""
        value = self.attribute(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 < value < np.inf:
            raise self.fault(f"attribute {name}", f"a positive, finite number, got {_short(value)}")
        return float(value)

    def integers(self, name: str) -> tuple[int, ...]:
        """Attribute that is a row of whole numbers."""
        value = np.atleast_1d(self.attribute(name))
        if value.ndim != 1 or not np.issubdtype(value.dtype, np.integer):
            raise self.fault(f"attribute {name}", f"a row of whole numbers, got {_short(value.tolist())}")
        return tuple(int(n) for n in value)

    def choice(self, name: str, allowed: Sequence[str | int]) -> Any:
        """Attribute that is one of the allowed values."""
        value = self.attribute(name)
        if isinstance(value, np.ndarray) or value not in allowed:
            law = f"{' or '.join(map(repr, allowed))} here, got {_short(value)}"
            raise self.fault(f"attribute {name}", law)
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
        field = self._of_shape(name, dtype, shape)
        if field.offset is None:
            raise self.fault(name, "contiguous and not compressed, as `simulate` and `normalize` write it")
        return Extent(self.path, name, field.offset, np.dtype(dtype), field.shape, self.stamp)

    def _of_shape(self, name: str, dtype: DTypeLike, shape: str) -> StoredField:
        law = f"{np.dtype(dtype).name} [{', '.join(shape.split())}]"
        field = self.dataset(name, law)
        if field.dtype != np.dtype(dtype) or len(field.shape) != len(shape.split()):
            order = "" if field.dtype.isnative else " of the other byte order"
            raise self.fault(name, f"{law}, got {field.dtype.name}{order} {field.shape}")
        for axis, (word, size) in enumerate(zip(shape.split(), field.shape, strict=True)):
            self._agree(name, law, axis, word, size)
        return field

    def dataset(self, name: str, law: str) -> StoredField:
        """Data set of any type and shape; `law` says what is expected.

        Raises:
            MeasurementError: it is missing, another thing, damaged, or does not stand in the file itself.
        """
        if not self.has(name):
            law = f"missing; the file holds {self.listed()}"
            raise self.fault(name, f"{law}; `--map {name}=THEIRS` says what it is called")
        self._require_read(name)
        field = self._held.objects[name]
        if not isinstance(field, StoredField):
            raise self.fault(name, f"a data set {law}, got a group")
        return field

    def _require_read(self, name: str) -> None:
        """Refuse an object that is not read, or that is in a group which is not read."""
        parts = name.split("/")
        for above in ("", *("/".join(parts[: n + 1]) for n in range(len(parts)))):
            held = self._held.objects.get(above)
            if isinstance(held, Unread):
                raise self.fault(above or "/", held.law)

    def rows(self, name: str, field: StoredField, rows: slice | tuple[()]) -> NDArray[Any]:
        """Some rows of a data set, () for all of it.

        Raises:
            MeasurementError: the file is damaged.
            ChangedFileError: it was changed after it was opened.
        """
        try:
            values = field.read(rows)
        except Refused as refused:
            self.require_unchanged()
            raise self.fault(name, str(refused)) from refused
        self.require_unchanged()
        return values

    def require_unchanged(self) -> None:
        """Refuse to go on with a file that is no longer the one that was opened.

        Raises:
            ChangedFileError: it was written, replaced or removed.
        """
        if stamp_of_path(self.path) != self.stamp:
            raise ChangedFileError(f"{self.path}: the file was changed while it was read; run again")

    def fields(self) -> list[tuple[str, StoredField]]:
        """Every data set that can be read, with its path; a number that is an attribute is none."""
        return _fields(self._held)

    def listed(self) -> str:
        """What the file holds, in a line."""
        held = [f"{name} {field.shape}" for name, field in _fields(self._stored)]
        more = f" and {len(held) - _MOST_LISTED} more" if len(held) > _MOST_LISTED else ""
        return f"{', '.join(held[:_MOST_LISTED])}{more}" if held else "no data set"

    def contents(self) -> tuple[dict[str, Any], dict[str, StoredField | StoredGroup | Unread]]:
        """All attributes and objects by name, also those that are not read."""
        return self._held.attributes, self._held.objects

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


def _fields(held: Contents) -> list[tuple[str, StoredField]]:
    return [
        (name, field)
        for name, field in held.objects.items()
        if isinstance(field, StoredField) and (field.shape or name not in held.attributes)
    ]


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]} ..."


@contextmanager
def reading(path: Path, form: str, version: int, made_by: str, look: Look | None = None) -> Iterator[Reader]:
    """Open a file of one format and version; `look`: what a first look said of it.

    Raises:
        MeasurementError: missing, of a kind that is not read, truncated, or of another format or version.
    """
    with opened(path, made_by, look) as reader:
        reader.require(form, version)
        yield reader


@contextmanager
def opened(path: Path, made_by: str, look: Look | None = None) -> Iterator[Reader]:
    """Open a file of any format; `look`: what a first look said of it.

    Raises:
        MeasurementError: missing, of a kind that is not read, or truncated.
        ChangedFileError: it was changed between the first look and the end of the block.
    """
    stamp = stamp_of_path(path)
    if look is not None and stamp != look.stamp:
        raise ChangedFileError(f"{path}: the file was changed while it was read; run again")
    unread = {} if look is None else look.unread
    with ExitStack() as stack:
        try:
            if "" in unread:
                raise Refused(unread[""])
            form = format_of(path)
            held = stack.enter_context(form.opened(path, unread, lambda name: None))
        except Refused as refused:
            raise MeasurementError(f"{path}: {refused}; {made_by}") from refused
        reader = Reader(path, form.name, held, stamp)
        reader.require_unchanged()
        yield reader
        reader.require_unchanged()
