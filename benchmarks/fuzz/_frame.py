"""One frame for all fuzzers: numbered inputs, a process that is ended and replaced, a count of outcomes.

A `Subject` makes input number n, the same one in every run, and reads it. A child forked from this process,
which has imported everything once, goes through the numbers under limits; where an input hangs, crashes or
takes too much memory, that is its outcome, and another child goes on with the next number.
"""

import csv
import faulthandler
import os
import resource
import select
import signal
import struct
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType

from risolve.errors import StageError

RESULTS = Path(__file__).parents[1] / "results" / "fuzz.csv"

MOST_CPU_S = 10
"""CPU time (s) beyond which an input hangs; six times as much wall time, for what waits."""

MOST_BYTES = 2 * 2**30
"""Memory beyond which an input takes too much."""

OUTCOMES = ("accepted", "refused", "uncaught", "hang", "memory", "crash")

_ENDS = {signal.SIGXCPU: "hang", signal.SIGKILL: "hang", signal.SIGPROF: "refused"}
"""Signals that end an input; SIGPROF is the limit that a reader has set itself, in a child of its own."""

_CODES = {name: code for code, name in enumerate(OUTCOMES)}
_BEGUN = 255
_RECORD = struct.Struct("<BQI")
"""Outcome or `_BEGUN`, number of the input, bytes of text behind it."""


@dataclass(frozen=True)
class Subject:
    """A reader of files and inputs for it.

    make: writes input number n to a path. read: reads the path, and raises one of `refusals` for what it
    refuses.
    """

    name: str
    make: Callable[[int, Path], None]
    read: Callable[[Path], object]
    suffix: str
    refusals: tuple[type[Exception], ...] = (StageError,)


@dataclass
class Outcomes:
    """How many inputs ended how; of those that ended badly, numbers by what was seen; CPU time (s)."""

    counts: Counter[str] = field(default_factory=Counter)
    faults: dict[str, list[int]] = field(default_factory=dict)
    refused: Counter[str] = field(default_factory=Counter)
    cpu_s: float = 0.0

    @property
    def bad(self) -> int:
        """Inputs that were neither accepted nor refused in one line."""
        return sum(self.counts[name] for name in OUTCOMES[2:])


def fuzz(subject: Subject, numbers: range, seconds: float | None = None) -> Outcomes:
    """Make and read the inputs of these numbers, as many as begin within so many seconds of wall time."""
    outcomes, started = Outcomes(), time.monotonic()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with TemporaryDirectory(prefix="fuzz-") as directory:
        path, first = Path(directory) / f"input{subject.suffix}", numbers.start
        while first < numbers.stop and (seconds is None or time.monotonic() - started < seconds):
            left = None if seconds is None else seconds - (time.monotonic() - started)
            first = _with_one_child(subject, range(first, numbers.stop), path, outcomes, left)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    outcomes.cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return outcomes


def _with_one_child(
    subject: Subject, numbers: range, path: Path, outcomes: Outcomes, seconds: float | None
) -> int:
    """The number that the next child begins with."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _in_child(subject, numbers, path, writing, seconds)
    os.close(writing)
    begun: int | None = None
    following = numbers.start
    with os.fdopen(reading, "rb") as pipe:
        for code, number, text in _records(pipe.fileno(), child):
            if code == _BEGUN:
                begun = number
                continue
            begun, following = None, number + 1
            _count(outcomes, OUTCOMES[code], number, text)
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        raise RuntimeError(f"{subject.name}: input {following} could not be made")
    if begun is None:
        if os.WIFSIGNALED(status):
            # the library that makes an odd file may crash itself
            return following + 1
        return numbers.stop if following == numbers.start else following
    ended = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    outcome = _ENDS.get(ended) or "crash"
    _count(outcomes, outcome, begun, f"signal {ended}")
    return begun + 1


def _count(outcomes: Outcomes, outcome: str, number: int, text: str) -> None:
    outcomes.counts[outcome] += 1
    if outcome == "refused":
        outcomes.refused[text] += 1
    elif outcome != "accepted":
        outcomes.faults.setdefault(f"{outcome}: {text}", []).append(number)


def _records(pipe: int, child: int) -> Iterator[tuple[int, int, str]]:
    """What a child says, until it ends; one that says nothing for too long is killed."""
    held = b""
    while True:
        if not select.select([pipe], [], [], 6.0 * MOST_CPU_S)[0]:
            os.kill(child, signal.SIGKILL)
        read = os.read(pipe, 1 << 16)
        if not read:
            return
        held += read
        while len(held) >= _RECORD.size:
            code, number, length = _RECORD.unpack_from(held)
            if len(held) < _RECORD.size + length:
                break
            text = held[_RECORD.size : _RECORD.size + length].decode("utf-8", "replace")
            held = held[_RECORD.size + length :]
            yield code, number, text


def _in_child(subject: Subject, numbers: range, path: Path, pipe: int, seconds: float | None) -> None:
    status, told = 1, os.fdopen(os.dup(2), "w", encoding="utf-8")
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        limit = _address_space() + 2 * MOST_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        faulthandler.disable()  # a crash is counted, not told
        # a warning is a line on standard error that nobody asked for
        warnings.simplefilter("error")
        null = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(null, stream)
        deadline = None if seconds is None else time.monotonic() + seconds
        for number in numbers:
            if deadline is not None and time.monotonic() > deadline:
                break
            path.unlink(missing_ok=True)
            subject.make(number, path)
            _say(pipe, _BEGUN, number, "")
            limit_cpu(MOST_CPU_S)
            before = _peak_bytes()
            outcome, text = _outcome(subject, path)
            if _peak_bytes() - before > MOST_BYTES:
                _say(pipe, _CODES["memory"], number, f"{(_peak_bytes() - before) >> 20} MB")
                break
            _say(pipe, _CODES[outcome], number, text)
        status = 0
    finally:
        if status:
            traceback.print_exc(file=told)
            told.flush()
        os._exit(status)


def _outcome(subject: Subject, path: Path) -> tuple[str, str]:
    with _Watch() as watch:
        try:
            subject.read(path)
        except subject.refusals as error:
            return "refused", _kind(str(error).replace(str(path), "FILE"))
    return watch.seen


class _Watch:
    """Takes whatever exception leaves its block, which is what a fuzzer is there to find."""

    def __init__(self) -> None:
        self.seen = ("accepted", "")

    def __enter__(self) -> "_Watch":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if kind is not None:
            frames = list(traceback.extract_tb(trace))
            own = [frame for frame in frames if "/stages/" in frame.filename] or frames
            place = f"{Path(own[-1].filename).name}:{own[-1].lineno}"
            self.seen = "uncaught", f"{kind.__name__} at {place}: {' '.join(str(error).split())[:160]}"
        return True


def _kind(line: str) -> str:
    """A refusal without its numbers."""
    return "".join("#" if letter.isdigit() else letter for letter in line)[:90]


def limit_cpu(seconds: int) -> None:
    """Let this process be killed after so much more CPU time."""
    spent = resource.getrusage(resource.RUSAGE_SELF)
    limit = int(spent.ru_utime + spent.ru_stime) + seconds + 1
    resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))


def _say(pipe: int, code: int, number: int, text: str) -> None:
    content = text.encode("utf-8", "backslashreplace")
    os.write(pipe, _RECORD.pack(code, number, len(content)) + content)


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _address_space() -> int:
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
    return pages * resource.getpagesize()


def write_row(subject: Subject, outcomes: Outcomes) -> None:
    """Put the counts of a reader into the table, in place of its earlier row."""
    columns = ("reader", "inputs", *OUTCOMES, "cpu_s")
    rows: dict[str, dict[str, str]] = {}
    if RESULTS.exists():
        with RESULTS.open(encoding="utf-8", newline="") as file:
            rows = {row["reader"]: row for row in csv.DictReader(file)}
    counts = {name: str(outcomes.counts[name]) for name in OUTCOMES}
    total = str(sum(outcomes.counts.values()))
    rows[subject.name] = {
        "reader": subject.name,
        "inputs": total,
        **counts,
        "cpu_s": f"{outcomes.cpu_s:.0f}",
    }
    with RESULTS.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows[name] for name in sorted(rows))


def lines(subject: Subject, outcomes: Outcomes) -> list[str]:
    """The counts, and what ended badly with the numbers of the first inputs that show it."""
    counts = ", ".join(f"{outcomes.counts[name]} {name}" for name in OUTCOMES)
    total = sum(outcomes.counts.values())
    rate = total / max(outcomes.cpu_s, 1e-9)
    worst = sorted(outcomes.faults.items(), key=lambda item: -len(item[1]))
    return [
        f"{subject.name}: {total} inputs: {counts}; {outcomes.cpu_s:.0f} s, {rate:.0f} inputs/s",
        *(f"  {len(numbers)} {what}: inputs {numbers[:5]}" for what, numbers in worst),
    ]
