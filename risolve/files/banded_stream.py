"""Measurements of several wavelengths, "risolve-measurements" version 2: bands that share their sources.

attributes          as of version 1 but for wavelength_m, of all bands; delay ("free" | "common")
wavelengths_m       float64 [band]
bands/0/snapshots, bands/1/snapshots ...    as of version 1, of every band; so may be its channel, its codes,
                    its noise_power, noise_covariance and element_positions_m
channel, codes, element_positions_m ...     beside the bands: of those that have none of their own
truth/...           as of version 1

Each band is read, and checked, as a file of version 1.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import torch

from risolve.files.contents import Contents, Look
from risolve.files.foreign import as_measurements
from risolve.files.measurement_laws import MOST_VALUES, Sizes
from risolve.files.measurement_stream import (
    CHUNK_VALUES,
    MADE_BY,
    MOST_SCENES,
    MeasurementStream,
    is_banded,
    look_at,
    stream_of,
)
from risolve.files.naming import PLAIN, Naming
from risolve.files.reader import Reader, opened
from risolve.files.recordings import joined
from risolve.files.source import BANDED, FORMAT, VERSION, Chunk, TruePlaces, Unit
from risolve.files.truth import column, true_places
from risolve.physics.array import Array
from risolve.physics.bands import MOST_SPREAD, Band, Delay, bands, noise_spread, together
from risolve.physics.observation import Gains, Noise, SourceModel

_GROUP = "bands"

_BINS_APART = 3.0
"""Bins f_s / W from which sin^2 windows at two frequencies are orthogonal."""


class BandedStream:
    """An open file of several wavelengths whose layout has been checked. bands: each by itself.

    warnings: what is odd and allowed, one line each.
    """

    def __init__(self, reader: Reader, naming: Naming = PLAIN) -> None:
        self.path, self._reader = reader.path, reader
        readers = _of_sound(reader, naming) if naming.bands_hz else _of_file(reader, naming)
        self.bands = [MeasurementStream(own) for own in readers]
        self.delay: Delay = "free"
        if readers[0].has_attribute("delay"):
            self.delay = readers[0].choice("delay", get_args(Delay))
        try:
            L, M, array = together([_described(band) for band in self.bands], self.delay)
        except ValueError as error:
            raise reader.fault(_GROUP, str(error)) from error
        self.array: Array = array
        self.sizes = Sizes(self.bands[0].sizes.scenes, L, M, self.array.n_places)
        self._per_scene = L * M + (M + L) * self.array.n_elements
        if self._per_scene > MOST_VALUES:
            law = f"L M + F N (M + L) at most {MOST_VALUES} complex numbers of F = {len(self.bands)} bands"
            raise reader.fault(_GROUP, f"{law}, got L = {L}, M = {M} and N = {self.array.n_places}")
        self.warnings = list(dict.fromkeys(line for band in self.bands for line in band.warnings))

    @property
    def source_model(self) -> SourceModel:
        """As the bands together have it: amplitudes are free in every band but with a common delay."""
        return self.bands[0].source_model if self.delay == "common" else "independent"

    @property
    def noise(self) -> Noise:
        return "equal"

    @property
    def gains(self) -> Gains:
        return "free"

    @property
    def n_snapshots(self) -> int:
        return self.sizes.snapshots

    @property
    def n_antennas(self) -> int:
        return self.sizes.antennas

    @property
    def shared(self) -> dict[str, bool]:
        """Whether one channel, and one set of codes, of every band is that of all scenes."""
        return {name: all(band.shared[name] for band in self.bands) for name in ("channel", "codes")}

    @property
    def knows_noise_power(self) -> bool:
        """Whether the file states the noise power of every scene."""
        return self.bands[0].knows_noise_power

    def chunk_scenes(self) -> list[range]:
        """The scenes of every chunk."""
        n_scenes, size = self.sizes.scenes, max(1, min(MOST_SCENES, CHUNK_VALUES // self._per_scene))
        return [range(first, min(first + size, n_scenes)) for first in range(0, n_scenes, size)]

    def read(self, scenes: range) -> Chunk:
        """Scenes that follow one another; those that lack a band are left out."""
        chunks = [band.read(scenes) for band in self.bands]
        reasons: dict[int, str] = {}
        for number, chunk in enumerate(chunks):
            named = {scene: why.removeprefix(_named(number)) for scene, why in chunk.left_out.items()}
            reasons = {scene: f"{_named(number)}{why}" for scene, why in named.items()} | reasons
            beyond = (
                scene for scene, unit in zip(chunk.scenes, chunk.units, strict=True) if unit != Unit(0, 0)
            )
            reasons = dict.fromkeys(beyond, f"{_named(number)}numbers from 2^-90 to 2^90") | reasons
        whole = [chunk.without(reasons) for chunk in chunks]
        held = [chunk.observation for chunk in whole if chunk.observation is not None]
        if held and bool((apart := noise_spread(held) > MOST_SPREAD).any()):
            law = f"noise_power of bands: no more than {MOST_SPREAD:g} apart"
            reasons |= {whole[0].scenes[row]: law for row in torch.nonzero(apart).flatten().tolist()}
            whole = [chunk.without(reasons) for chunk in chunks]
            held = [chunk.observation for chunk in whole if chunk.observation is not None]
        return Chunk(
            whole[0].scenes,
            whole[0].units,
            bands(held, self.delay) if held else None,
            dict(sorted(reasons.items())),
        )

    def truth(self) -> TruePlaces | None:
        """The true sources, or None where the file holds no truth.

        Raises:
            MeasurementError: a truth that is not complete, or breaks the format.
        """
        return true_places(self._reader, self.sizes.scenes)


def _named(number: int) -> str:
    return f"band {number}: "


def _described(stream: MeasurementStream) -> Band:
    sizes = (stream.sizes.scenes, stream.n_snapshots, stream.n_antennas)
    return Band(
        stream.array,
        *sizes,
        stream.source_model,
        stream.noise,
        stream.gains,
        stream.knows_noise_power,
        stream.is_coherent,
    )


def _of_file(reader: Reader, naming: Naming) -> list[Reader]:
    """The bands of a file of version 2.

    Raises:
        MeasurementError: another version, no wavelengths, or a band that is not there or has none.
    """
    reader.require(FORMAT, BANDED)
    if naming.frequency_hz is not None or "wavelength_m" in dict(naming.names):
        law = "of every band, in the file; got one for all (--frequency-hz, --map wavelength_m)"
        raise reader.fault("wavelengths_m", law)
    wavelengths = column(reader, "wavelengths_m", ("band",), None)
    wrong = ~(np.isfinite(wavelengths) & (wavelengths > 0.0))
    if len(wavelengths) < 2 or wrong.any():
        law = f"positive, finite lengths of 2 bands or more, got {wavelengths.tolist()[:8]}"
        raise reader.fault("wavelengths_m", law)
    if reader.has_attribute("wavelength_m"):
        raise reader.fault(
            "attribute wavelength_m", "that of each band stands in wavelengths_m; leave it out"
        )
    _, objects = reader.contents()
    numbers = {name.split("/")[1] for name in objects if name.startswith(f"{_GROUP}/")}
    if beyond := sorted(numbers - set(map(str, range(len(wavelengths))))):
        law = f"bands 0 to {len(wavelengths) - 1}, which wavelengths_m has"
        raise reader.fault(f"{_GROUP}/{beyond[0]}", f"{law}; got {', '.join(beyond[:8])}")
    return [
        as_measurements(_band(reader, number, wavelength), naming)
        for number, wavelength in enumerate(wavelengths.tolist())
    ]


def _of_sound(reader: Reader, naming: Naming) -> list[Reader]:
    """The frequencies of a recording of real samples.

    Raises:
        MeasurementError: no such recording, or frequencies of which a window does not tell one from the next.
    """
    law = f"{len(naming.bands_hz)} frequencies are those of recorded sound"
    if not reader.has("samples"):
        raise reader.fault("--frequency-hz", f"{law}; the file holds {reader.listed()}")
    kind = reader.dataset("samples", "[sample, channel]").dtype
    if kind.kind == "c":
        raise reader.fault("--frequency-hz", f"{law}, of real samples; got {kind}")
    least = _BINS_APART * reader.positive("sample_rate_hz") / naming.window
    apart = float(np.diff(np.sort(naming.bands_hz)).min())
    if apart < least:
        law = f"{least:g} Hz or more apart, so that the noise of a window is another one in each"
        raise reader.fault("--frequency-hz", f"{law}; got {apart:g} Hz; take a larger --window")
    attributes, objects = reader.contents()
    held = Contents(attributes, objects, reader.is_foreign)
    return [
        as_measurements(
            reader.with_contents(held, _named(number)), replace(naming, frequency_hz=frequency, bands_hz=())
        )
        for number, frequency in enumerate(naming.bands_hz)
    ]


def _band(reader: Reader, number: int, wavelength: float) -> Reader:
    """What a file holds of a band, as a file of one wavelength; what is beside the bands is of each.

    Raises:
        MeasurementError: a band that is not there, or not read.
    """
    group = f"{_GROUP}/{number}/"
    if not reader.has(f"{group}snapshots"):
        law = f"missing; wavelengths_m has a band {number}; the file holds {reader.listed()}"
        raise reader.fault(f"{group}snapshots", law)
    attributes, objects = reader.contents()
    shared = {name: held for name, held in objects.items() if not name.startswith(_GROUP)}
    own = {name.removeprefix(group): held for name, held in objects.items() if name.startswith(group)}
    stated = {**attributes, "version": VERSION, "wavelength_m": wavelength}
    return reader.with_contents(Contents(stated, shared | own, reader.is_foreign), _named(number))


@contextmanager
def any_stream(path: Path, looks: Mapping[Path, Look]) -> Iterator[MeasurementStream | BandedStream]:
    """Open a file of measurements of one wavelength or several; looks: what `first_looks` said.

    Raises:
        MeasurementError: a missing, foreign or damaged file, or one that breaks the format.
        ChangedFileError: a file that is no longer the one that was looked at.
    """
    look = look_at(path, looks)
    with opened(path, MADE_BY, look) as reader:
        yield _stream_in(reader, look)


@contextmanager
def recorded_stream(
    paths: Sequence[Path], looks: Mapping[Path, Look]
) -> Iterator[MeasurementStream | BandedStream]:
    """Open recordings that were made together as measurements, channel after channel; looks: what
    `first_looks` said.

    Raises:
        MeasurementError: as `any_stream`, or recordings that do not agree.
        ChangedFileError: as `any_stream`.
    """
    with ExitStack() as stack:
        readers = [stack.enter_context(opened(path, MADE_BY, looks[path])) for path in paths]
        yield _stream_in(joined(readers), looks[paths[0]])


def _stream_in(reader: Reader, look: Look) -> MeasurementStream | BandedStream:
    if not (is_banded(reader) or look.naming.bands_hz):
        return stream_of(reader, look)
    if look.array is not None:
        raise reader.fault(
            "--array", f"a calibrated array is of one wavelength, and {reader.path} of several"
        )
    return BandedStream(reader, look.naming)
