"""A few hundred damaged and odd HDF5 files of the hundred thousand of `python -m benchmarks.fuzz`."""

import os
import signal
import warnings
from pathlib import Path

import pytest

from benchmarks.fuzz._frame import Subject, fuzz
from benchmarks.fuzz._hdf5 import subjects
from risolve.errors import MeasurementError


@pytest.mark.parametrize(
    ("name", "n_inputs"),
    [
        ("measurements, archive", 120),
        ("measurements, bytes", 120),
        ("measurements, structure", 80),
        ("results and parts, bytes", 100),
        ("arrays, bytes", 100),
        ("MATLAB 5 to 7", 120),
        ("MATLAB 7.3", 100),
        ("SigMF", 100),
        ("SigMF archive", 100),
        ("sound", 100),
    ],
)
def test_every_input_is_accepted_or_refused_in_one_line(name: str, n_inputs: int) -> None:
    (subject,) = (subject for subject in subjects() if subject.name == name)
    outcomes = fuzz(subject, range(n_inputs))
    assert outcomes.faults == {}
    assert outcomes.bad == 0
    # the sample reaches both ends
    assert outcomes.counts["accepted"] > n_inputs // 20
    assert outcomes.counts["refused"] > n_inputs // 20


def test_the_frame_tells_how_an_input_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each in its turn, and the next input is read whatever became of the one before."""
    monkeypatch.setattr("benchmarks.fuzz._frame.MOST_CPU_S", 1)
    monkeypatch.setattr("benchmarks.fuzz._frame.MOST_BYTES", 2**28)

    def make(number: int, path: Path) -> None:
        path.write_text(str(number), "utf-8")

    def read(path: Path) -> None:
        match int(path.read_text("utf-8")):
            case 1:
                raise MeasurementError("no")
            case 2:
                raise KeyError("x")
            case 3:
                warnings.warn("odd", RuntimeWarning, stacklevel=1)
            case 4:
                os.kill(os.getpid(), signal.SIGSEGV)
            case 5:
                os.kill(os.getpid(), signal.SIGPROF)
            case 6:
                bytearray(2**28 + 2**26)
            case 7:
                while True:
                    pass

    outcomes = fuzz(Subject("test", make, read, ".txt"), range(10))
    assert outcomes.counts == {
        "accepted": 3,
        "refused": 2,
        "uncaught": 2,
        "crash": 1,
        "memory": 1,
        "hang": 1,
    }
    assert sorted(number for found in outcomes.faults.values() for number in found) == [2, 3, 4, 6, 7]
