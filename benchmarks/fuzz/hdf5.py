"""What readers of HDF5 make of damaged and of odd files.

`python -m benchmarks.fuzz.hdf5 --inputs 100000` reads that many of every kind and puts the counts into
benchmarks/results/fuzz.csv; `--first N --inputs 1 --only NAME --keep FILE` writes input N to look at it.
"""

import argparse
import signal
import zlib
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from benchmarks.fuzz._frame import Outcomes, Subject, fuzz, lines, write_row
from benchmarks.fuzz._hdf5_bytes import damaged
from benchmarks.fuzz._hdf5_structure import odd_file
from benchmarks.fuzz._hdf5_valid import measurement_files, other_files
from stages.artifacts.errors import MeasurementError
from stages.artifacts.extents import stamp_of_path
from stages.artifacts.first_look import look
from stages.artifacts.hdf5 import opened
from stages.artifacts.hdf5_objects import Look
from stages.artifacts.inspection import explained
from stages.artifacts.localization_setup import Options, method_for
from stages.artifacts.measurement_stream import computed, measurement_stream
from stages.localize import localize

SEED = 16
OPTIONS = Options(estimator="music", n_sources=1, field_of_view=None, false_alarm=0.01, model=Path("none.pt"))

_EVERY = 40
"""Measurements that are located: one in so many, it takes ten times as long as reading them."""


def first_look_here(path: Path) -> Mapping[Path, Look]:
    """What a child would say of a file; a limit that it runs into ends this process as it would the child."""
    unread: dict[str, str] = {}

    def say(name: str | None, law: str | None) -> None:
        if name is not None and law is not None:
            unread[name] = law

    stamp = stamp_of_path(path)
    look(path, say)
    signal.setitimer(signal.ITIMER_PROF, 0.0)
    return {path: Look(stamp, unread)}


def read_measurements(path: Path) -> None:
    """As `risolve localize` reads them, or in their turn `risolve inspect`."""
    turn = zlib.crc32(path.read_bytes())
    if turn % 2:
        read_any(path)
        return
    with measurement_stream(path, first_look_here(path)) as stream:
        method = method_for(stream, OPTIONS)
        stream.truth()
        for chunk in stream.chunks():
            if turn % _EVERY == 0:
                computed(path, chunk, lambda observation: localize(observation, method, 1))


def read_any(path: Path) -> None:
    """As `risolve inspect` reads any file."""
    with opened(path, "", first_look_here(path)[path]) as reader:
        _, fault = explained(reader)
    if fault is not None:
        raise MeasurementError(fault)


@cache
def subjects() -> Mapping[str, Subject]:
    """The readers by name."""
    with TemporaryDirectory() as directory:
        measurements, others = measurement_files(Path(directory)), other_files(Path(directory))
    return {
        name: Subject(name, make, read, ".h5")
        for name, make, read in (
            ("measurements, bytes", _bytes(measurements), read_measurements),
            ("measurements, structure", lambda n, path: odd_file(path, n, SEED), read_measurements),
            ("results and parts, bytes", _bytes(others), read_any),
        )
    }


def _bytes(files: list[bytes]) -> Callable[[int, Path], None]:
    return lambda number, path: _ignore(path.write_bytes(damaged(files, number, SEED)))


def _ignore(written: int) -> None:
    pass


def main() -> None:
    """Print and write the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--only", help="one of the readers")
    parser.add_argument("--keep", type=Path, help="write the first input here, and read nothing")
    parser.add_argument("--seconds", type=float, help="end after so much time for each reader")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for name, subject in subjects().items():
        if arguments.only not in (None, name):
            continue
        if arguments.keep is not None:
            subject.make(arguments.first, arguments.keep)
            continue
        numbers = range(arguments.first, arguments.first + arguments.inputs)
        outcomes: Outcomes = fuzz(subject, numbers, arguments.seconds)
        print("\n".join(lines(subject, outcomes)), flush=True)
        for text, count in outcomes.refused.most_common(12):
            print(f"    refused {count}: {text}")
        write_row(subject, outcomes)


if __name__ == "__main__":
    main()
