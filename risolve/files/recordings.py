"""Recordings as snapshots: samples of complex baseband, or one frequency of sound.

A recording holds `samples` [sample, channel], `sample_rate_hz`, and of baseband `frequency_hz`. Several that
were made together are one, channel after channel.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from risolve.files.contents import Contents, MadeField, StoredField, made
from risolve.files.naming import Naming
from risolve.files.reader import Reader

_EQUATOR, _FLATTENING = 6_378_137.0, 1.0 / 298.257223563
"""WGS 84: radius (m), and the part of it that the poles are nearer."""

_PASS_VALUES = 2**22
"""Samples that are read at once."""


def joined(readers: Sequence[Reader]) -> Reader:
    """Recordings that were made together as one, channel after channel.

    Raises:
        MeasurementError: other lengths, kinds of numbers, sample rates or frequencies.
    """
    first, fields = readers[0], [samples_of(reader) for reader in readers]
    for reader, field in zip(readers, fields, strict=True):
        agreed: dict[str, tuple[Any, Any]] = {
            "samples": (field.shape[0], fields[0].shape[0]),
            "numbers of samples": (field.dtype.name, fields[0].dtype.name),
        }
        for name in ("sample_rate_hz", "frequency_hz"):
            agreed[f"attribute {name}"] = (_stated(reader, name), _stated(first, name))
        for what, (own, other) in agreed.items():
            if own != other:
                law = f"recordings that were made together agree, got {own} here and {other} in {first.path}"
                raise reader.fault(what, f"{law}; cut or resample them alike")
    attributes, objects = (dict(held) for held in first.contents())
    shape = (fields[0].shape[0], sum(field.shape[1] for field in fields))

    def read(rows: slice | tuple[()]) -> NDArray[Any]:
        return np.concatenate([field.read(rows) for field in fields], axis=1)

    objects["samples"] = MadeField(fields[0].dtype, shape, None, read)
    name = "element_positions_m"
    if all(reader.has(name) for reader in readers):
        places = [reader.array(name, np.float64, "element 3") for reader in readers]
        objects[name] = made(np.concatenate(places))
    elif all(reader.has_attribute("geolocation_deg_m") for reader in readers):
        objects[name] = made(_local([reader.attribute("geolocation_deg_m") for reader in readers]))
    return first.with_contents(Contents(attributes, objects, is_foreign=True))


def samples_of(reader: Reader) -> StoredField:
    """The samples of a recording.

    Raises:
        MeasurementError: none, or no numbers [sample, channel].
    """
    field = reader.dataset("samples", "[sample, channel]")
    if len(field.shape) != 2 or field.dtype.kind not in "fiuc" or not math.prod(field.shape):
        raise reader.fault("samples", f"numbers [sample, channel], got {field.dtype} {field.shape}")
    return field


def snapshots_of(reader: Reader, naming: Naming) -> MadeField:
    """Snapshots [1, snapshot, antenna] of a recording.

    Of complex samples each one; of real ones x_t every window of W samples, at the frequency f:

        y = 2 / sum_t w_t  sum_t w_t x_t exp(-2 pi j f t / f_s),    w_t = sin^2(pi (t + 1/2) / W)

    so that the tone Re(a exp(2 pi j f t / f_s)) has the amplitude a.

    Raises:
        MeasurementError: more than there is, or a frequency that is not stated or not sampled.
    """
    field = samples_of(reader)
    is_sound = field.dtype.kind != "c"
    width = naming.window if is_sound else 1
    there = (field.shape[0] - naming.first) // width
    count = there if naming.n_snapshots is None else naming.n_snapshots
    if not 1 <= count <= there:
        law = f"--from {naming.first} --snapshots {count}: {width} samples each"
        raise reader.fault("samples", f"{law}, got {field.shape[0]} samples, enough for {max(there, 0)}")
    shape = (1, count, field.shape[1])
    if not is_sound:
        rows = slice(naming.first, naming.first + count)
        return MadeField(field.dtype, shape, None, lambda scenes: field.read(rows)[None][scenes])
    if not reader.has_attribute("frequency_hz"):
        law = "missing; real samples are taken at one frequency, `--frequency-hz F`"
        raise reader.fault("attribute frequency_hz", law)
    rate, frequency = reader.positive("sample_rate_hz"), reader.positive("frequency_hz")
    if not frequency < 0.5 * rate:
        law = f"below half of the sample rate, {0.5 * rate:g} Hz"
        raise reader.fault("attribute frequency_hz", f"{law}, got {frequency:g}")
    time = np.arange(width)
    window = np.sin(np.pi * (time + 0.5) / width) ** 2
    wave = 2.0 / window.sum() * window * np.exp(-2j * np.pi * frequency / rate * time)

    def read(scenes: slice | tuple[()]) -> NDArray[Any]:
        snapshots = np.empty(shape, np.complex128)
        step = max(1, _PASS_VALUES // (width * shape[2]))
        for start in range(0, count, step):
            last = min(start + step, count)
            rows = slice(naming.first + start * width, naming.first + last * width)
            frames = field.read(rows).reshape(last - start, width, shape[2])
            with np.errstate(over="ignore", invalid="ignore"):
                snapshots[0, start:last] = np.einsum("t,ltm->lm", wave, frames)
        return snapshots[scenes]

    return MadeField(np.dtype(np.complex128), shape, None, read)


def _stated(reader: Reader, name: str) -> float | None:
    return reader.positive(name) if reader.has_attribute(name) else None


def _local(places: Sequence[Any]) -> NDArray[np.float64]:
    """East, up and north (m) of longitudes, latitudes (deg) and altitudes (m), about their mean.

    References:
        B. Hofmann-Wellenhof et al., "GNSS", 2008, eqs. (8.5) and (8.42).
    """
    longitude, latitude, altitude = np.array(places).T
    phi, theta = np.radians(longitude), np.radians(latitude)
    squared = _FLATTENING * (2.0 - _FLATTENING)
    radius = _EQUATOR / np.sqrt(1.0 - squared * np.sin(theta) ** 2)
    across = (radius + altitude) * np.cos(theta)
    along = ((1.0 - squared) * radius + altitude) * np.sin(theta)
    fixed = np.stack((across * np.cos(phi), across * np.sin(phi), along), axis=-1)
    phi0, theta0 = phi.mean(), theta.mean()
    east = np.array([-np.sin(phi0), np.cos(phi0), 0.0])
    up = np.array([np.cos(theta0) * np.cos(phi0), np.cos(theta0) * np.sin(phi0), np.sin(theta0)])
    local: NDArray[np.float64] = (fixed - fixed.mean(0)) @ np.stack((east, up, np.cross(up, east)), axis=-1)
    return local
