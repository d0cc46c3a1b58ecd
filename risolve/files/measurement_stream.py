"""Measurements of any array, scene by scene in bounded memory: what `risolve localize` reads.

Takes what the format allows (docs/formats.md), also in double precision, and tells scenes that cannot be
located from files that cannot be read: a scene of zeros or of numbers that are not finite is left out with a
reason, and the others are read.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from risolve.errors import ChangedFileError, MeasurementError
from risolve.files import hdf5
from risolve.files.as_calibrated import as_calibrated
from risolve.files.calibrated_array import CalibratedArray
from risolve.files.contents import Look
from risolve.files.first_look import looked_at
from risolve.files.foreign import as_measurements
from risolve.files.measurement_laws import (
    AXES,
    COMPLEX,
    Sizes,
    broken_codes,
    check_sizes,
    check_type,
    check_units,
    lossy_codes,
    unusable,
)
from risolve.files.naming import PLAIN, Naming
from risolve.files.noise import is_by_antenna, noise_covariance
from risolve.files.precision import Single, as_single
from risolve.files.reader import Reader, opened
from risolve.files.source import BANDED, FORMAT, VERSION, Chunk, TruePlaces, Unit
from risolve.files.truth import column, doubles, true_places
from risolve.physics.array import Array
from risolve.physics.bands import Delay
from risolve.physics.observation import Background, Gains, GivenModel, Noise, Observation, SourceModel

MADE_BY = "docs/formats.md describes the format of measurements"
SIMULATED = "`simulate` writes such files, docs/formats.md describes them"
CHUNK_VALUES = 2_000_000
"""Complex numbers read at once: bounds the memory, 16 MB."""

MOST_SCENES = 64
"""Scenes of one chunk."""


class Origin(NamedTuple):
    """Where measurements come from.

    is_simulated: from `simulate`, of whatever parameters: types are those that the format names, and any
    spacing of the elements is meant. spherical_amplitude: of the array.
    """

    is_simulated: bool
    spherical_amplitude: bool

    @property
    def made_by(self) -> str:
        """What an error about a whole file says of such files."""
        return SIMULATED if self.is_simulated else MADE_BY


ANY_RECEIVER = Origin(is_simulated=False, spherical_amplitude=False)


class MeasurementStream:
    """An open file of measurements whose layout has been checked.

    warnings: what is odd and allowed, one line each.
    """

    def __init__(self, reader: Reader, origin: Origin = ANY_RECEIVER) -> None:
        self.reader = reader
        self.path, self.origin = reader.path, origin
        laws = {name: f"[{', '.join(axes)}]" for name, axes in AXES.items()}
        self._fields = {name: reader.dataset(name, law) for name, law in laws.items()}
        for name, field in self._fields.items():
            check_type(reader, name, field, origin.is_simulated)
        self.sizes: Sizes = check_sizes(reader, {name: field.shape for name, field in self._fields.items()})
        if not reader.has_attribute("wavelength_m"):
            law = "missing; name it, --map wavelength_m=NAME, or state --frequency-hz; the file holds"
            held = ", ".join([reader.listed(), *reader.contents()[0]])
            raise reader.fault("attribute wavelength_m", f"{law} {held}")
        wavelength = reader.positive("wavelength_m")
        self._given: GivenModel = "independent"
        if reader.has_attribute("source_model"):
            self._given = reader.choice("source_model", get_args(GivenModel))
        positions = doubles(reader, "element_positions_m", self._read("element_positions_m", slice(None)))
        reader.require_finite("element_positions_m", positions)
        self.background: Background = "none"
        if reader.has_attribute("background"):
            self.background = reader.choice("background", get_args(Background))
        self.noise: Noise = "equal"
        if reader.has_attribute("noise"):
            self.noise = reader.choice("noise", get_args(Noise))
        self.gains: Gains = "free"
        if reader.has_attribute("gains"):
            self.gains = reader.choice("gains", get_args(Gains))
        if self.gains == "equal" and self._given == "independent":
            law = "is of sources that send the same: source_model = constant or coherent (--source-model)"
            raise reader.fault("gains = equal", f"{law}; got independent")
        is_spherical = origin.spherical_amplitude
        if reader.has_attribute("amplitude"):
            is_spherical = reader.choice("amplitude", ("plane", "spherical")) == "spherical"
        self.array = Array(torch.from_numpy(positions), wavelength, is_spherical)
        self.warnings = [] if origin.is_simulated else check_units(reader, self.array)
        self._noise_power = self._noise_covariance = None
        if is_by_antenna(reader):
            self._noise_covariance = noise_covariance(reader, self.sizes)
        elif reader.has("noise_power"):
            self._noise_power = self._power_of_noise()
        self._shared = {name: self._read_shared(name) for name in ("channel", "codes")}
        if not origin.is_simulated:
            self._warn_of_lossy_codes()

    def _power_of_noise(self) -> NDArray[np.float64] | None:
        """sigma^2 of every scene; None where all are 0, which a simulation without noise may state."""
        power = column(self.reader, "noise_power", ("scene",), self.sizes.scenes)
        if power.any() or self.origin.is_simulated:
            return power
        self.warnings.append(f"{self.path}: noise_power: 0 in all scenes, taken as not stated")
        return None

    @property
    def n_snapshots(self) -> int:
        if self.is_coherent:
            return 1
        return self.sizes.snapshots - (self.background == "static")

    @property
    def source_model(self) -> SourceModel:
        """That of the snapshots as they are read: `coherent` sources leave one of `constant` ones."""
        return "independent" if self._given == "independent" else "constant"

    @property
    def is_coherent(self) -> bool:
        """Whether one snapshot is left of many of one waveform."""
        return self._given == "coherent"

    @property
    def n_antennas(self) -> int:
        return self.sizes.antennas

    @property
    def shared(self) -> dict[str, bool]:
        """Whether one channel, and one set of codes, is that of all scenes."""
        return {name: values is not None for name, values in self._shared.items()}

    @property
    def knows_noise_power(self) -> bool:
        """Whether the file states the noise power of every scene."""
        return self._noise_power is not None or self._noise_covariance is not None

    def chunk_scenes(self) -> list[range]:
        """The scenes of every chunk."""
        n_scenes, size = self.sizes.scenes, self.chunk_size
        return [range(first, min(first + size, n_scenes)) for first in range(0, n_scenes, size)]

    @property
    def chunk_size(self) -> int:
        """Scenes of a chunk."""
        _, L, M, N = self.sizes
        values = L * M + (0 if self.shared["channel"] else M * N) + (0 if self.shared["codes"] else L * N)
        return max(1, min(MOST_SCENES, CHUNK_VALUES // values))

    def read(self, scenes: range) -> Chunk:
        """Scenes that follow one another, read apart where the file is damaged."""
        try:
            return self.chunk(scenes.start, scenes.stop)
        except ChangedFileError:
            raise
        except MeasurementError as error:
            if len(scenes) == 1:
                return Chunk((), (), None, {scenes.start: str(error).removeprefix(f"{self.path}: ")})
            middle = len(scenes) // 2
            return self.read(scenes[:middle]).beside(self.read(scenes[middle:]))

    def chunk(self, first: int, last: int) -> Chunk:
        """Scenes first to last - 1."""
        scenes = slice(first, last)
        held = {name: self._single(name, scenes) for name in COMPLEX}
        noise_power = None if self._noise_power is None else self._noise_power[scenes]
        per_scene = {name: held[name] for name in COMPLEX if self._shared.get(name) is None}
        reasons = unusable(per_scene, noise_power)
        exponents = held["snapshots"].exponents
        if noise_power is not None and exponents.any():
            with np.errstate(over="ignore", under="ignore"):
                noise_power = np.ldexp(noise_power, -2 * exponents.astype(np.int32))
            beyond = np.flatnonzero(~(np.isfinite(noise_power) & (noise_power > 0.0))).tolist()
            reasons = dict.fromkeys(beyond, "noise_power: nothing beside |snapshots|^2, or all") | reasons
        noise: NDArray[Any] | None = noise_power
        if self._noise_covariance is not None:
            every = (self.sizes.scenes, self.n_antennas, self.n_antennas)
            own = np.broadcast_to(self._noise_covariance, every)[scenes]
            noise = own * np.ldexp(1.0, -2 * exponents.astype(np.int32))[:, None, None]
        of_channel = np.broadcast_to(held["channel"].exponents, exponents.shape)
        if self._noise_covariance is not None:
            # snapshots behind the noise have no unit, and the channel has that of the snapshots
            exponents, of_channel = np.zeros_like(exponents), of_channel - exponents
        units = (Unit(*pair) for pair in zip(exponents.tolist(), of_channel.tolist(), strict=True))
        try:
            observation = Observation(
                snapshots=torch.from_numpy(held["snapshots"].values),
                channel=torch.from_numpy(held["channel"].values),
                codes=torch.from_numpy(held["codes"].values),
                array=self.array,
                source_model=self._given,
                noise_power=None if noise is None else torch.from_numpy(noise),
                background=self.background,
                noise=self.noise,
                gains=self.gains,
            )
        except ValueError as error:
            raise self.reader.fault("snapshots", str(error)) from error
        whole = Chunk(tuple(range(first, last)), tuple(units), observation, {})
        return whole.without({first + scene: reason for scene, reason in reasons.items()})

    def truth(self) -> TruePlaces | None:
        """The true sources, or None where the file holds no truth.

        Raises:
            MeasurementError: a truth that is not complete, or breaks the format.
        """
        return true_places(self.reader, self.sizes.scenes)

    def _single(self, name: str, scenes: slice) -> Single:
        shared = self._shared.get(name)
        return as_single(self._read(name, scenes)) if shared is None else shared

    def _read_shared(self, name: str) -> Single | None:
        """Channel or codes of all scenes, None where each scene has its own."""
        if self._fields[name].shape[0] != 1 or self.sizes.scenes == 1:
            return None
        exact = self._read(name, slice(0, 1))
        self.reader.require_finite(name, exact)
        held = as_single(exact)
        if not held.values.any():
            raise self.reader.fault(name, "not all zero; nothing reaches the antennas")
        law = broken_codes(held) if name == "codes" else {}
        if law:
            raise self.reader.fault(name, law[0].removeprefix("codes: "))
        return held

    def _warn_of_lossy_codes(self) -> None:
        try:
            codes = self._single("codes", slice(0, self.chunk_size)).values
        except ChangedFileError:
            raise
        except MeasurementError:
            return  # scenes that are damaged are left out when they are read
        if lossy := lossy_codes(codes):
            self.warnings.append(f"{self.path}: {lossy}")

    def _read(self, name: str, rows: slice) -> NDArray[Any]:
        return self.reader.rows(name, self._fields[name], rows)


@contextmanager
def measurement_stream(
    path: Path, looks: Mapping[Path, Look] | None, origin: Origin = ANY_RECEIVER
) -> Iterator[MeasurementStream]:
    """Open a file of measurements of any array; looks: what `first_looks` said, None for a file of one's own.

    Raises:
        MeasurementError: a missing, foreign or damaged file, or one that breaks the format.
        ChangedFileError: a file that is no longer the one that was looked at.
    """
    look = None if looks is None else look_at(path, looks)
    with opened(path, origin.made_by, look) as reader:
        yield stream_of(reader, look, origin)


def is_banded(reader: Reader) -> bool:
    """Whether an open file says that it holds measurements of several wavelengths."""
    stated = [reader.attribute(name) for name in ("format", "version") if reader.has_attribute(name)]
    return stated == [FORMAT, BANDED]


def stream_of(reader: Reader, look: Look | None, origin: Origin = ANY_RECEIVER) -> MeasurementStream:
    """Measurements of one wavelength in an open file.

    Raises:
        MeasurementError: another format or version, or a file that breaks the format.
    """
    if is_banded(reader) or (look is not None and look.naming.bands_hz):
        field = "attribute version" if is_banded(reader) else "--frequency-hz"
        got = BANDED if is_banded(reader) else "several"
        law = f"{VERSION} here, got {got}: this needs measurements of one wavelength"
        raise reader.fault(field, law)
    held = reader if origin.is_simulated else as_measurements(reader, look.naming if look else PLAIN)
    held.require(FORMAT, VERSION)
    if held.has_attribute("delay") and held.choice("delay", get_args(Delay)) == "common":
        raise held.fault("delay = common", f"is of several wavelengths, version {BANDED}; got one")
    if look is not None and look.array is not None:
        held = as_calibrated(held, look.array)
    return MeasurementStream(held, origin)


def look_at(path: Path, looks: Mapping[Path, Look]) -> Look:
    """What was said of a file when all were looked at.

    Raises:
        ChangedFileError: it was not there then.
    """
    if path not in looks:
        raise ChangedFileError(f"{path}: was not there when the files were checked; run again")
    return looks[path]


def first_looks(
    files: Sequence[Path], naming: Naming = PLAIN, array: CalibratedArray | None = None
) -> Mapping[Path, Look]:
    """First looks at files of measurements, or at the shards of directories; naming: what their user says of
    them, array: what a calibration found of theirs.

    Raises:
        MeasurementError: a directory without shards or with a gap in their numbers.
    """
    looks = looked_at([path for file in files for path in hdf5.source_paths(file, MADE_BY)])
    return {path: look._replace(naming=naming, array=array) for path, look in looks.items()}
