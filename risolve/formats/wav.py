"""Sound of several microphones in a WAV file: `samples` [sample, channel], real, and `sample_rate_hz`.

PCM of 8 to 32 bits and IEEE floats are read where they lie, little-endian (RIFF) or big-endian (RIFX); what
the chunks declare is compared with the bytes that are there.

References:
    IBM and Microsoft, "Multimedia Programming Interface and Data Specifications 1.0", 1991, WAVE form.
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from risolve.files.contents import Contents, Format, Refused, StoredField, rows_of
from risolve.files.extents import Extent, stamp_of_path
from risolve.files.regular import opened

_ORDERS: Mapping[bytes, Literal["little", "big"]] = {b"RIFF": "little", b"RIFX": "big"}
_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_TYPES = {
    (_PCM, 8): "u1",
    (_PCM, 16): "i2",
    (_PCM, 24): "u1",
    (_PCM, 32): "i4",
    (_FLOAT, 32): "f4",
    (_FLOAT, 64): "f8",
}
_MOST_CHUNKS = 1000
_DAMAGED = "the file is damaged, make or copy it again"


@dataclass(frozen=True)
class SoundField(StoredField):
    """Samples of all channels. n_bits: of one; stored: its bytes where these are 24, else its numbers."""

    n_bits: int
    stored: Extent

    def read(self, rows: slice | tuple[()]) -> NDArray[Any]:
        """Some rows, () for all.

        Raises:
            Refused: the file is gone, cut or changed.
        """
        first, last, _ = (rows if isinstance(rows, slice) else slice(None)).indices(self.shape[0])
        numbers = rows_of(self.stored, first, max(first, last))
        if self.n_bits == 24:
            # the three bytes as the upper ones of four
            wide = np.zeros((*numbers.shape[:2], 4), np.uint8)
            wide[..., 1:] = numbers if self.stored.dtype.byteorder != ">" else numbers[..., ::-1]
            return (wide.view("<i4")[..., 0] >> 8).astype(self.dtype)
        with np.errstate(invalid="ignore"):
            return numbers.astype(self.dtype) - (128.0 if self.n_bits == 8 else 0.0)

    def pieces(self) -> list[tuple[slice, ...]]:
        """None, nothing is packed."""
        return []

    def rehearse(self, piece: tuple[slice, ...]) -> None:
        """Nothing is packed."""


def _begins(file: BinaryIO) -> bool:
    file.seek(0)
    head = file.read(12)
    return head[:4] in _ORDERS and head[8:] == b"WAVE"


@contextmanager
def _opened(path: Path, unread: Mapping[str, str], before: Callable[[str], None]) -> Iterator[Contents]:
    """The samples of a file.

    Raises:
        Refused: damaged, or packed.
    """
    before("samples")
    with opened(path, sys.maxsize) as file:
        order = _ORDERS[file.read(4)]
        places = _chunks(file, order)
        if not {b"fmt ", b"data"} <= places.keys():
            raise Refused(f"no chunks of format and data, got {len(places)} others; {_DAMAGED}")
        first, size = places[b"fmt "]
        file.seek(first)
        held = file.read(min(size, 40)).ljust(40, b"\0")
    kind, n_channels, rate = (int.from_bytes(held[i:j], order) for i, j in ((0, 2), (2, 4), (4, 8)))
    frame, n_bits = (int.from_bytes(held[i : i + 2], order) for i in (12, 14))
    if kind == _EXTENSIBLE:
        kind = int.from_bytes(held[24:26], order)
    code = _TYPES.get((kind, n_bits))
    if code is None or not n_channels or frame != n_channels * n_bits // 8:
        raise Refused(
            f"PCM of 8, 16, 24 or 32 bits or floats of 32 or 64, not packed; got format {kind} of {n_bits} "
            f"bits, {n_channels} channels in {frame} bytes"
        )
    first, size = places[b"data"]
    n_samples = size // frame
    dtype = np.dtype(code).newbyteorder("<" if order == "little" else ">")
    shape = (n_samples, n_channels, 3) if n_bits == 24 else (n_samples, n_channels)
    stored = Extent(path, "samples", first, dtype, shape, stamp_of_path(path))
    own = np.dtype(np.float64 if n_bits > 24 and (kind, n_bits) != (_FLOAT, 32) else np.float32)
    field = SoundField(own, (n_samples, n_channels), None, n_bits, stored)
    yield Contents({"sample_rate_hz": float(rate)}, {"samples": field}, is_foreign=True)


def _chunks(file: BinaryIO, order: Literal["little", "big"]) -> dict[bytes, tuple[int, int]]:
    """Where the chunks begin, and their bytes.

    Raises:
        Refused: one that ends beyond the file.
    """
    n_bytes, at = file.seek(0, 2), 12
    places: dict[bytes, tuple[int, int]] = {}
    while at + 8 <= n_bytes and len(places) < _MOST_CHUNKS:
        file.seek(at)
        head = file.read(8)
        size = int.from_bytes(head[4:], order)
        if at + 8 + size > n_bytes:
            law = f"a chunk {head[:4]!r} of {size} bytes at byte {at} of {n_bytes}"
            raise Refused(f"{law}; {_DAMAGED}")
        if head[:4] in places:
            raise Refused(f"one chunk {head[:4]!r} is read, got another at byte {at}; {_DAMAGED}")
        places[head[:4]] = (at + 8, size)
        at += 8 + size + size % 2
    return places


FORMAT = Format("a WAV file", (".wav",), _begins, _opened, None)
