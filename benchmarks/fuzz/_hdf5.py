"""Damaged and odd files of measurements and results, and their readers."""

import signal
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.fuzz import _foreign, _npz
from benchmarks.fuzz._frame import Subject
from benchmarks.fuzz._hdf5_bytes import damaged
from benchmarks.fuzz._hdf5_structure import odd_file
from benchmarks.fuzz._hdf5_valid import array_files, banded_files, measurement_files, other_files
from risolve.errors import MeasurementError
from risolve.field import FieldOfView
from risolve.files.banded_stream import any_stream
from risolve.files.contents import Look
from risolve.files.extents import stamp_of_path
from risolve.files.first_look import look
from risolve.files.gaps import pieces
from risolve.files.naming import PLAIN, Naming
from risolve.files.reader import opened
from risolve.files.source import computed
from risolve.locating import Options, localize, localizer_for
from risolve.words.inspection import explained

SEED = 16
OPTIONS = Options(
    estimator="music", n_sources=1, field_of_view=FieldOfView(), false_alarm=0.01, model=Path("none.pt")
)

_EVERY = 40
"""Measurements that are located: one in so many, it takes ten times as long as reading them."""


SAID = Naming(
    frequency_hz=1e3, speed=343.0, positions=((0.0, 0.0, 0.0), (0.05, 0.0, 0.0), (0.0, 0.05, 0.0)), window=256
)
"""What a recording does not hold."""


def first_look_here(path: Path, naming: Naming = PLAIN) -> Mapping[Path, Look]:
    """What a child would say of a file; a limit that it runs into ends this process as it would the child."""
    unread: dict[str, str] = {}

    def say(name: str | None, law: str | None) -> None:
        if name is not None and law is not None:
            unread[name] = law

    stamp = stamp_of_path(path)
    look(path, say)
    signal.setitimer(signal.ITIMER_PROF, 0.0)
    return {path: Look(stamp, unread, naming)}


def read_measurements(path: Path, naming: Naming = PLAIN) -> None:
    """As `risolve localize` reads them, or in their turn `risolve inspect`."""
    turn = zlib.crc32(path.read_bytes())
    if turn % 2:
        read_any(path, naming)
        return
    with any_stream(path, first_look_here(path, naming)) as stream:
        try:
            options = OPTIONS if stream.array.n_bands == 1 else replace(OPTIONS, estimator="nomp")
            localizer = localizer_for(stream, options, str(stream.path))
        except ValueError as error:
            # as `risolve localize` has it
            raise MeasurementError(str(error)) from error
        stream.truth()
        for scenes in stream.chunk_scenes():
            for piece in pieces(stream, scenes):
                if turn % _EVERY == 0 and not piece.gaps:
                    computed(path, piece.chunk, lambda observation: localize(observation, localizer, 1))


def read_any(path: Path, naming: Naming = PLAIN) -> None:
    """As `risolve inspect` reads any file."""
    with opened(path, "", first_look_here(path)[path]) as reader:
        _, fault = explained(reader, naming)
    if fault is not None:
        raise MeasurementError(fault)


@cache
def subjects() -> Sequence[Subject]:
    """The readers."""
    with TemporaryDirectory() as directory:
        measurements, others = measurement_files(Path(directory)), other_files(Path(directory))
        arrays = array_files(Path(directory))
        banded = banded_files(Path(directory))
        matlab_hdf5 = _foreign.matlab_hdf5(Path(directory))
    return [
        Subject(name, make, read, ending)
        for name, make, read, ending in (
            ("measurements, archive", _npz.make, read_measurements, ".npz"),
            ("MATLAB 5 to 7", _foreign.matlab, read_measurements, ".mat"),
            ("MATLAB 7.3", matlab_hdf5, read_measurements, ".mat"),
            ("SigMF", _foreign.sigmf, read_measurements, ".sigmf-meta"),
            ("SigMF archive", _foreign.sigmf_archive, read_measurements, ".sigmf"),
            ("sound", _foreign.sound, lambda path: read_measurements(path, SAID), ".wav"),
            ("measurements, bytes", _bytes(measurements), read_measurements, ".h5"),
            ("bands, bytes", _bytes(banded), read_measurements, ".h5"),
            ("measurements, structure", lambda n, path: odd_file(path, n, SEED), read_measurements, ".h5"),
            ("results and parts, bytes", _bytes(others), read_any, ".h5"),
            ("arrays, bytes", _bytes(arrays), read_any, ".h5"),
        )
    ]


def _bytes(files: list[bytes]) -> Callable[[int, Path], None]:
    return lambda number, path: _ignore(path.write_bytes(damaged(files, number, SEED)))


def _ignore(written: int) -> None:
    pass
