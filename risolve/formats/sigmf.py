"""SigMF recordings: NAME.sigmf-meta, with the samples of all its channels in NAME.sigmf-data beside it.

`samples` [sample, channel] are complex or real, in counts of the converter. `sample_rate_hz`, `frequency_hz`
and `geolocation_deg_m` (longitude, latitude, altitude) are attributes; positions of the elements are those
of the spatial extension, whose x points to the front, y to the left and z upwards. No file but the two is
read: `core:dataset` and collections name others. Archives of a recording are `sigmf_archive`.

References:
    SigMF specification 1.2, "Dataset Format" and "Captures"; spatial extension 1.1, sections 1 and 2.
"""

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from risolve.errors import MeasurementError
from risolve.files.contents import Contents, Format, Refused, StoredField, Unread, made
from risolve.files.extents import Extent, stamp_of_path
from risolve.files.regular import IrregularFileError, content, opened

MOST_META_BYTES, _MOST_CHANNELS = 10**7, 4096
_TYPE = re.compile(r"(?P<kind>[cr])(?P<letter>[fiu])(?P<bits>8|16|32|64)(?:_(?P<order>le|be))?")
_BITS = {"f": (32, 64), "i": (8, 16, 32), "u": (8, 16, 32)}
_DATA = ".sigmf-data"
_ELSEWHERE = ("core:dataset", "core:metadata_only", "core:trailing_bytes")


class Dataset(NamedTuple):
    """Where samples are: a name, and bytes of a file from the first on."""

    name: str
    path: Path
    first: int
    n_bytes: int


@dataclass(frozen=True)
class SampleField(StoredField):
    """Samples in a file of their own. stored: real and imaginary parts side by side; zero: the number that
    stands for 0; factor: what aligns the phase.
    """

    stored: Extent
    zero: float
    factor: complex

    def read(self, rows: slice | tuple[()]) -> NDArray[Any]:
        """Some rows, () for all.

        Raises:
            Refused: the file is gone, cut or changed.
        """
        first, last, _ = (rows if isinstance(rows, slice) else slice(None)).indices(self.shape[0])
        try:
            numbers = self.stored.read(first, max(first, last))
        except MeasurementError as error:
            raise Refused(str(error)) from error
        with np.errstate(invalid="ignore"):
            real = numbers.astype(self.dtype.type(0).real.dtype) - self.dtype.type(self.zero).real
            paired: NDArray[Any] = real.view(self.dtype)
            return paired if self.factor == 1.0 else (paired * self.factor).astype(self.dtype)

    def pieces(self) -> list[tuple[slice, ...]]:
        """None, nothing is packed."""
        return []

    def rehearse(self, piece: tuple[slice, ...]) -> None:
        """Nothing is packed."""


def _begins(file: BinaryIO) -> bool:
    file.seek(0)
    return file.read(1024).lstrip().startswith(b"{")


@contextmanager
def _opened(path: Path, unread: Mapping[str, str], before: Callable[[str], None]) -> Iterator[Contents]:
    """The samples of a recording.

    Raises:
        Refused: no SigMF, damaged, or samples that are not in the file beside it.
    """
    yield recording(lambda: content(path, MOST_META_BYTES), lambda: _beside(path.with_suffix(_DATA)), before)


def recording(
    metadata: Callable[[], bytes], dataset: Callable[[], Dataset], before: Callable[[str], None]
) -> Contents:
    """What a recording holds, of its metadata; the samples are looked for where these say that they are.

    Raises:
        Refused: no SigMF, or damaged.
    """
    try:
        stated = json.loads(metadata())
    except (ValueError, RecursionError, IrregularFileError, OSError) as error:
        said = " ".join(str(error).split())[:160].encode("utf-8", "backslashreplace").decode()
        raise Refused(f"no SigMF metadata that is read ({said})") from error
    whole, captures = (_part(stated, key, kind) for key, kind in (("global", dict), ("captures", list)))
    captures = [one for one in captures if isinstance(one, dict)]
    before("samples")
    held = Contents({}, {}, is_foreign=True)
    try:
        field = _samples(dataset, whole, captures)
        held.objects["samples"] = field
        positions = _positions(whole, captures, field.shape[1])
        if positions is not None:
            held.objects["element_positions_m"] = made(positions)
        places = [one["core:geolocation"] for one in (whole, *captures) if "core:geolocation" in one]
        if places and all(one == places[0] for one in places):
            held.attributes["geolocation_deg_m"] = _place(places[0])
    except Refused as refused:
        held.objects["samples"] = Unread(str(refused))
    rates, frequencies = [whole.get("core:sample_rate")], [one.get("core:frequency") for one in captures]
    for name, own in (("sample_rate_hz", rates), ("frequency_hz", frequencies)):
        values = sorted({float(value) for value in own if _is_number(value)})
        if len(values) == 1:
            held.attributes[name] = values[0]
        elif values:
            held.attributes[name] = Unread(f"one for all captures, got {values[0]:g} to {values[-1]:g}")
    return held


def _beside(path: Path) -> Dataset:
    """The samples in the file of this name.

    Raises:
        Refused: it cannot be read.
    """
    try:
        with opened(path, 2**62) as file:
            return Dataset(path.name, path, 0, file.seek(0, 2))
    except (IrregularFileError, OSError) as error:
        said = error.strerror if isinstance(error, OSError) else str(error)
        raise Refused(f"the samples are in {path.name}, which cannot be read ({said})") from error


def _part(stated: Any, key: str, kind: type) -> Any:
    part = stated.get(key) if isinstance(stated, dict) else None
    if not isinstance(part, kind):
        raise Refused(f"no SigMF metadata, a JSON object of `global` and `captures`; {key} is {part!s:.80}")
    return part


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def _samples(
    dataset: Callable[[], Dataset], whole: Mapping[str, Any], captures: Sequence[dict[str, Any]]
) -> SampleField:
    """Where the samples are.

    Raises:
        Refused: another type, no whole number of samples, or samples elsewhere.
    """
    elsewhere = [key for key in _ELSEWHERE if whole.get(key)]
    elsewhere += ["core:header_bytes" for capture in captures if capture.get("core:header_bytes")][:1]
    if elsewhere:
        raise Refused(f"samples alone beside the metadata, {elsewhere[0]} says otherwise; write them plainly")
    kind, named = whole.get("core:datatype"), "core:num_channels" in whole
    n_channels = whole["core:num_channels"] if named else 1
    found = _TYPE.fullmatch(kind) if isinstance(kind, str) else None
    if found is None or int(found["bits"]) not in _BITS[found["letter"]]:
        raise Refused(f"core:datatype as cf32_le, ci16_be or cu8, got {str(kind)[:80]!r}")
    if not isinstance(n_channels, int) or not 1 <= n_channels <= _MOST_CHANNELS:
        raise Refused(f"core:num_channels is 1 to {_MOST_CHANNELS}, got {str(n_channels)[:80]}")
    letter, n_bits, parts = found["letter"], int(found["bits"]), 2 if found["kind"] == "c" else 1
    dtype = np.dtype(f"{letter}{n_bits // 8}").newbyteorder(">" if found["order"] == "be" else "<")
    name, path, first, n_bytes = dataset()
    n_samples, rest = divmod(n_bytes, parts * n_channels * dtype.itemsize)
    if rest or not n_samples:
        raise Refused(f"{name}: whole samples of {n_channels} {kind}, got {n_bytes} bytes")
    own = np.dtype(np.complex64 if parts == 2 else np.float32)
    if n_bits > (32 if letter == "f" else 16):
        own = np.result_type(own, np.float64)
    stored = Extent(path, "samples", first, dtype, (n_samples, parts * n_channels), stamp_of_path(path))
    zero = 2.0 ** (n_bits - 1) - 0.5 if letter == "u" else 0.0
    return SampleField(
        own, (n_samples, n_channels), None, stored, zero, _factor(captures) if parts == 2 else 1.0
    )


def _factor(captures: Sequence[dict[str, Any]]) -> complex:
    """exp(-j offset), which aligns the channels of a recording with those of others.

    Raises:
        Refused: several offsets in one recording.
    """
    offsets = [capture["spatial:phase_offset"] for capture in captures if "spatial:phase_offset" in capture]
    if any(not _is_number(one) or one != offsets[0] for one in offsets):
        raise Refused(f"one spatial:phase_offset in degrees for all captures, got {str(offsets)[:80]}")
    turn = math.radians(offsets[0]) if offsets else 0.0
    return complex(math.cos(turn), -math.sin(turn))


def _positions(
    whole: Mapping[str, Any], captures: Sequence[dict[str, Any]], n_channels: int
) -> NDArray[np.float64] | None:
    """Elements in metres, None where they are not stated, or stated in more than one way."""
    stated = [
        capture["spatial:element_geometry"] for capture in captures if "spatial:element_geometry" in capture
    ]
    if not stated or any(one != stated[0] for one in stated) or not isinstance(stated[0], list):
        return None
    points = [one.get("point") if isinstance(one, dict) else None for one in stated[0]]
    first = whole.get("spatial:channel_index")
    if len(points) != n_channels and isinstance(first, int) and first >= 0:
        points = points[first : first + n_channels]
    if len(points) != n_channels or not all(map(_is_point, points)):
        return None
    front, left, up = np.array(points, np.float64).T
    return np.stack((-left, up, front), axis=-1)


def _place(stated: Any) -> NDArray[np.float64]:
    """Longitude and latitude (deg) and altitude (m) of a GeoJSON point.

    Raises:
        Refused: none.
    """
    place = stated.get("coordinates") if isinstance(stated, dict) else None
    point = [*place, 0.0][:3] if isinstance(place, list) else []
    if not _is_point(point) or not abs(point[1]) < 90.0:
        raise Refused(f"core:geolocation is a GeoJSON point, got {str(stated)[:80]}")
    return np.array(point, np.float64)


def _is_point(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(map(_is_number, value))


FORMAT = Format("a SigMF recording", (".sigmf-meta",), _begins, _opened, None, _DATA)
