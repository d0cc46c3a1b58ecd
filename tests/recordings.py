"""Recordings of arrays as receivers and recorders write them, and the wave of one source."""

import json
import tarfile
import wave
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np


def elements(n: int, spacing: float) -> np.ndarray:
    """A plane of n x n elements about the origin."""
    places = (np.arange(n) - 0.5 * (n - 1)) * spacing
    x, y = np.meshgrid(places, places)
    return np.stack((x.ravel(), y.ravel(), np.zeros(n * n)), axis=-1)


def paths(positions: np.ndarray, azimuth_deg: float, elevation_deg: float, range_m: float) -> np.ndarray:
    """How much longer the way from a source to each element is than to the origin (m)."""
    azimuth, elevation = np.radians((azimuth_deg, elevation_deg))
    towards = [np.sin(azimuth) * np.cos(elevation), np.sin(elevation), np.cos(azimuth) * np.cos(elevation)]
    found: np.ndarray = np.linalg.norm(range_m * np.array(towards) - positions, axis=1) - range_m
    return found


def write_sigmf(path: Path, samples: np.ndarray, datatype: str, **meta: Any) -> Path:
    """A recording: samples [sample, channel], complex, in the numbers of a datatype; captures and further
    names of the global object.
    """
    letter, n_bits = datatype[1], int("".join(filter(str.isdigit, datatype)))
    dtype = np.dtype(f"{letter}{n_bits // 8}").newbyteorder(">" if datatype.endswith("be") else "<")
    parts = np.ascontiguousarray(samples).view(samples.real.dtype)
    zero = 2.0 ** (n_bits - 1) - 0.5 if letter == "u" else 0.0
    numbers = parts if letter == "f" else np.round(parts + zero)
    path.with_suffix(".sigmf-data").write_bytes(numbers.astype(dtype).tobytes())
    captures = meta.pop("captures", [{"core:sample_start": 0, "core:frequency": 1e9}])
    whole = {
        "core:datatype": datatype,
        "core:sample_rate": 1e6,
        "core:num_channels": samples.shape[1],
        "core:version": "1.2.0",
    }
    stated = {"global": whole | meta, "captures": captures, "annotations": []}
    path.write_text(json.dumps(stated), "utf-8")
    return path


def write_sigmf_archive(path: Path, *recordings: Path, folder: str = "rec/") -> Path:
    """An archive of recordings, of the two files of each, in a folder."""
    with tarfile.open(path, "w") as archive:
        for metadata in recordings:
            for file in (metadata, metadata.with_suffix(".sigmf-data")):
                archive.add(file, folder + file.name)
    return path


def geometry(positions: np.ndarray) -> Sequence[Mapping[str, Any]]:
    """Positions as the spatial extension has them: x to the front, y to the left, z upwards."""
    return [{"point": [z, -x, y]} for x, y, z in positions.tolist()]


def write_wav(path: Path, sound: np.ndarray, rate: int, n_bytes: int = 2) -> Path:
    """Sound [sample, channel] between -1 and 1 as PCM."""
    numbers = np.round(sound * (2 ** (8 * n_bytes - 1) - 1)).astype("<i4")
    held = numbers.astype("<i4")[..., None].view(np.uint8)[..., :n_bytes]
    with wave.open(str(path), "wb") as file:
        file.setnchannels(sound.shape[1])
        file.setsampwidth(n_bytes)
        file.setframerate(rate)
        file.writeframes(((numbers + 128).astype(np.uint8) if n_bytes == 1 else held).tobytes())
    return path
