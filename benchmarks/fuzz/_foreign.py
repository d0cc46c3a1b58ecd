"""Damaged files of other programs: MATLAB (packed and not, version 7.3), SigMF and archives of it, sound."""

import io
import json
import struct
import tarfile
import zlib
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io
import scipy.io.wavfile

from benchmarks.fuzz._hdf5_bytes import damaged as damaged_words
from benchmarks.fuzz._hdf5_valid import measurements, write_matlab_hdf5
from benchmarks.fuzz._mutations import damaged, replaced

SEED = 20261201
_HEADER_BYTES = 128
_VALUES = (None, True, -1, 0, 1e308, 2**63, "", "cf32_le", "cu8", "rf64_be", [], {}, [[]], "../other", 4097)
"""What may stand where something else is meant in metadata."""


def _variables() -> dict[str, Any]:
    content = measurements()
    truth = {name.partition("/")[2]: content.pop(name) for name in list(content) if name.startswith("truth/")}
    # a row of three might be of scenes or of antennas
    column = content["noise_power"][:, None]
    return content.pop("@") | content | {"noise_power": column, "truth": truth}


@cache
def _matlab() -> Sequence[bytes]:
    """Files of versions 5 to 7, not packed: what packs them puts the damage behind a right checksum."""
    held = io.BytesIO()
    scipy.io.savemat(held, _variables())
    other = io.BytesIO()
    cell = np.array([1.0, "two"], object)
    scipy.io.savemat(other, _variables() | {"cell": cell, "letters": np.array(["two", "row"])})
    return held.getvalue(), other.getvalue()


def matlab(number: int, path: Path) -> None:
    """Damaged MATLAB file `number`; every second one is packed after the damage."""
    random = np.random.default_rng((SEED, number))
    whole = _matlab()[int(random.integers(2))]
    match number % 3:
        case 0:
            content = damaged_words(_matlab(), number, SEED)
        case 1:
            content = whole[:_HEADER_BYTES] + damaged(whole[_HEADER_BYTES:], random)
        case _:
            held = bytearray(whole)
            for at in random.integers(_HEADER_BYTES, len(whole), 3):
                held[at] ^= 1 << int(random.integers(8))
            content = bytes(held)
    path.write_bytes(_packed(content) if number % 2 else content)


def _packed(content: bytes) -> bytes:
    """Every variable packed, as far as the tags lead."""
    held, at = [content[:_HEADER_BYTES]], _HEADER_BYTES
    while at + 8 <= len(content):
        (size,) = struct.unpack_from("<I", content, at + 4)
        variable = zlib.compress(content[at : at + 8 + size])
        held.append(struct.pack("<II", 15, len(variable)) + variable)
        at += 8 + size
    return b"".join(held)


@cache
def _matlab_hdf5(directory: Path) -> Sequence[bytes]:
    files = []
    for options in ({}, {"compression": "gzip", "chunks": True}):
        content = write_matlab_hdf5(directory / "valid.mat", _variables(), **options).read_bytes()
        files.append(content)
    return files


def matlab_hdf5(directory: Path) -> Callable[[int, Path], None]:
    """Makes damaged MATLAB files of version 7.3."""
    files = _matlab_hdf5(directory)

    def make(number: int, path: Path) -> None:
        path.write_bytes(damaged_words(files, number, SEED))

    return make


def _recording() -> tuple[dict[str, Any], bytes]:
    snapshots = measurements()["snapshots"].reshape(-1, 3)
    point = {"type": "Point", "coordinates": [11.0, 48.0, 500.0]}
    whole = {
        "core:datatype": "cf32_le",
        "core:sample_rate": 1e6,
        "core:num_channels": 3,
        "core:geolocation": point,
        "spatial:channel_index": 0,
    }
    capture = {
        "core:sample_start": 0,
        "core:frequency": 3e9,
        "spatial:phase_offset": 10.0,
        "spatial:element_geometry": [{"point": [0.0, 0.05 * n, 0.02 * n * n]} for n in range(3)],
    }
    return {"global": whole, "captures": [capture], "annotations": []}, snapshots.tobytes()


def sigmf(number: int, path: Path) -> None:
    """Damaged recording `number`: its metadata as text or as values, its samples cut."""
    random = np.random.default_rng((SEED, number))
    stated, samples = _recording()
    if number % 2:
        stated = replaced(stated, _VALUES, random)
    text = json.dumps(stated).encode()
    path.write_bytes(damaged(text, random) if number % 3 == 0 else text)
    kept = samples[: int(random.integers(len(samples)))] if number % 5 == 0 else samples
    path.with_suffix(".sigmf-data").write_bytes(kept)


@cache
def _archive() -> bytes:
    stated, samples = _recording()
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for ending, content in ((".sigmf-data", samples), (".sigmf-meta", json.dumps(stated).encode())):
            member = tarfile.TarInfo(f"rec/räc{ending}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return held.getvalue()


def sigmf_archive(number: int, path: Path) -> None:
    """Damaged archive `number` of a recording: anywhere, or in its headers with the checksums made again."""
    random, whole = np.random.default_rng((SEED, number)), bytearray(_archive())
    if number % 2:
        path.write_bytes(damaged(bytes(whole), random))
        return
    heads = [at for at in range(0, len(whole), 512) if whole[at + 257 : at + 262] == b"ustar"]
    at = int(random.choice(heads))
    for _ in range(int(random.integers(1, 4))):
        # a number in the place of one: mode, size, type
        whole[at + int(random.choice([100, *range(124, 136), 156]))] = int(
            random.choice([*b"0127xLKSg", 255])
        )
    whole[at + 148 : at + 156] = b" " * 8
    whole[at + 148 : at + 156] = b"%06o\0 " % sum(whole[at : at + 512])
    path.write_bytes(whole)


@cache
def _sounds() -> Sequence[bytes]:
    random, files = np.random.default_rng(SEED), []
    for dtype in (np.uint8, np.int16, np.int32, np.float32):
        held = io.BytesIO()
        numbers = (100 * random.random((4096, 3))).astype(dtype)
        scipy.io.wavfile.write(held, 16_000, numbers[:64] if dtype is np.uint8 else numbers)
        files.append(held.getvalue())
    return files


def sound(number: int, path: Path) -> None:
    """Damaged sound `number`."""
    random = np.random.default_rng((SEED, number))
    whole = _sounds()[number % 4]
    head = damaged(whole[:64], random)
    path.write_bytes(head + whole[64:] if number % 2 else damaged(whole, random))
