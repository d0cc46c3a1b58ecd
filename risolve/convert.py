"""Reads files of measurements of any format and writes one in the format of the project."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from risolve.errors import MeasurementError
from risolve.files.banded_stream import BandedStream, any_stream, recorded_stream
from risolve.files.contents import Attributes
from risolve.files.measurement_laws import AXES
from risolve.files.measurement_stream import MeasurementStream, first_looks
from risolve.files.naming import STATED, Naming
from risolve.files.registry import FORMATS, writer_for
from risolve.files.source import BANDED, FORMAT, VERSION

KINDS = {ending: lambda path: False for form in FORMATS if form.write is not None for ending in form.suffixes}
"""Endings of what is written; no file that is there is replaced."""

_MOST_BYTES = 2**30
"""Of all that is written, which is in memory at once."""

_OPTIONAL = (
    *("noise_power", "noise_covariance"),
    *("truth/n_sources", "truth/azimuth_deg", "truth/elevation_deg", "truth/range_m"),
)


def convert_files(sources: Sequence[Path], out: Path, naming: Naming, remark: Callable[[str], None]) -> str:
    """Write the measurements of a file, or of recordings that were made together, as `risolve localize` reads
    them; returns what was written, in words.

    Raises:
        MeasurementError: a file that cannot be read, breaks the format, or is larger than what is converted.
        StateError: the result cannot be written.
    """
    looks = first_looks(sources, naming)
    alone = len(sources) == 1
    with any_stream(sources[0], looks) if alone else recorded_stream(sources, looks) as stream:
        stream.truth()
        for warning in stream.warnings:
            remark(warning)
        S, L, M, N = stream.sizes
        if isinstance(stream, BandedStream):
            writer_for(out)(out, *_of_bands(stream.bands))
            return f"{S} scenes in {len(stream.bands)} bands, {N} elements"
        writer_for(out)(out, *_of_one(stream))
    return f"{S} scenes of {L} snapshots at {M} antennas, {N} elements"


def _of_one(stream: MeasurementStream) -> tuple[Attributes, dict[str, NDArray[Any]]]:
    attributes: Attributes = {
        "format": FORMAT,
        "version": VERSION,
        "wavelength_m": stream.array.wavelength,
        "source_model": stream.source_model,
    }
    reader = stream.reader
    stated = {name: reader.attribute(name) for name in STATED if reader.has_attribute(name)}
    return {**attributes, **stated}, _datasets(stream)


def _of_bands(bands: Sequence[MeasurementStream]) -> tuple[Attributes, dict[str, NDArray[Any]]]:
    parts = [_of_one(band) for band in bands]
    stated = {name: value for name, value in parts[0][0].items() if name != "wavelength_m"}
    wavelengths = np.array([band.array.wavelength for band in bands])
    shared = {
        name: values
        for name, values in parts[0][1].items()
        if name == "element_positions_m" or name.startswith("truth/")
    }
    own = {
        f"bands/{number}/{name}": values
        for number, (_, datasets) in enumerate(parts)
        for name, values in datasets.items()
        if name not in shared
    }
    return {**stated, "version": BANDED}, {**shared, **own, "wavelengths_m": wavelengths}


def _datasets(stream: MeasurementStream) -> dict[str, NDArray[Any]]:
    reader = stream.reader
    names = [*AXES, *(name for name in _OPTIONAL if reader.has(name))]
    fields = {name: reader.dataset(name, "") for name in names}
    n_bytes = sum(math.prod(field.shape) * field.dtype.itemsize for field in fields.values())
    if n_bytes > _MOST_BYTES:
        law = f"at most {_MOST_BYTES} bytes are converted at once, got {n_bytes}"
        raise MeasurementError(f"{stream.path}: {law}; take fewer scenes or snapshots")
    values = {name: reader.rows(name, field, ()) for name, field in fields.items()}
    return {name: one.astype(one.dtype.newbyteorder("=")) for name, one in values.items()}
