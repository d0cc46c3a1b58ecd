"""A first look at files of strangers by a child process under limits, before this process opens them.

Of some damage the HDF5 library never comes to an end, or takes all memory. The child does all that a reader
will do with the structure of a file, unpacks what is packed, and compares checksums; what failed there is not
touched here.
"""

import json
import os
import resource
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, NamedTuple, TypeAlias

from risolve.errors import StateError
from risolve.files.contents import Look, Refused, StoredField, Unread
from risolve.files.extents import stamp_of_path
from risolve.files.registry import format_of

Say: TypeAlias = Callable[[str | None, str | None], None]
"""Is told (name, None) before an object is looked at, and (name, law) of one that is refused."""

_ROOT = Path(__file__).parents[2]
CHILD = "import sys; sys.path.extend(sys.argv[1:]); from risolve.files.first_look import main; main()"
"""Its program: what it imports of this process stands behind the library of Python."""

_ENDED_BY_A_FILE = (
    signal.SIGPROF,
    signal.SIGSEGV,
    signal.SIGBUS,
    signal.SIGABRT,
    signal.SIGFPE,
    signal.SIGILL,
)

_CPU_S = 0.5
"""CPU time for one object, of which a sound one takes a thousandth."""

_BYTES_A_SECOND = 2e7
"""Of CPU time: of a file whose chunks are listed, of data that are unpacked."""

_PIECE_S = 3e-4
"""CPU time to find a piece, three times what it takes and more."""

_MOST_BYTES = 3 * 2**29
"""Memory beside the program."""

MOST_S = 900
"""Wall time (s) without a word of the child, which waits for a network disk that is gone."""

_SECONDS_BETWEEN_WORDS = 1.0


class Said(NamedTuple):
    """What a child said, (None, None) after each file; and why it ended where no file is the reason."""

    lines: list[tuple[str | None, str | None]]
    failure: str


def looked_at(paths: Sequence[Path]) -> Mapping[Path, Look]:
    """What a first look says of files, each of them once.

    Raises:
        StateError: the child fails, and no file is the reason.
    """
    stamps = {path: stamp_of_path(path) for path in paths}
    looks: dict[Path, Look] = {}
    waiting = list(stamps)
    while waiting:
        unread: dict[str, str] = {}
        at = "the file"
        said = heard(waiting)
        for name, law in said.lines:
            if name is None:
                path = waiting.pop(0)
                looks[path] = Look(stamps[path], unread)
                unread, at = {}, "the file"
            elif law is None:
                at = name
            else:
                unread[name] = law
        if waiting:
            # the child ended in the midst of this one
            path = waiting.pop(0)
            if said.failure:
                raise StateError(
                    f"{path}: the process that looks at files first has failed ({said.failure}); run again"
                )
            law = (
                f"reading comes to no end with {at}, or takes more than {_MOST_BYTES >> 20} MB; the "
                "file is damaged, make or copy it again"
            )
            looks[path] = Look(stamps[path], {"": law})
    return looks


def heard(paths: Sequence[Path]) -> Said:
    """What a child says of files until it ends, or falls silent."""
    # -B: on a full disk Python leaves bytecode cut short, which no later start can read
    places = [place for place in sys.path if os.path.isabs(place)]
    command = [sys.executable, "-I", "-B", "-c", CHILD, str(_ROOT), *places]
    with _in_memory("names") as names, _in_memory("errors") as errors:
        names.write(os.fsencode("\0".join(str(path.absolute()) for path in paths)))
        names.seek(0)
        with subprocess.Popen(
            command,
            stdin=names,
            stdout=subprocess.PIPE,
            stderr=errors,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        ) as child:
            assert child.stdout is not None
            said, has_ended = b"", False
            words = select.poll()
            words.register(child.stdout, select.POLLIN | select.POLLHUP)
            try:
                while not has_ended and words.poll(1000.0 * MOST_S):
                    read = os.read(child.stdout.fileno(), 1 << 16)
                    said += read
                    has_ended = not read
            finally:
                if not has_ended:
                    child.kill()
        errors.seek(0)
        last = errors.read().decode("utf-8", "backslashreplace").strip().rpartition("\n")[2]
    complete = said[: said.rfind(b"\n") + 1]
    is_of_a_file = not has_ended or -child.returncode in _ENDED_BY_A_FILE
    failure = "" if is_of_a_file else f"exit status {child.returncode}{last and f', {last}'}"
    # what else a start of Python prints is no list
    words_said = [json.loads(line) for line in complete.splitlines() if line.startswith(b"[")]
    return Said([(name, law) for name, law in words_said], failure)


def _in_memory(name: str) -> BinaryIO:
    """A file that takes no disk."""
    return os.fdopen(os.memfd_create(name), "w+b")


def main() -> None:
    """The child: names of files on standard input."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    limit = _peak_bytes() + _MOST_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    for name in sys.stdin.buffer.read().split(b"\0"):
        look(Path(os.fsdecode(name)), _say)
        _say(None, None)


def look(path: Path, say: Say) -> None:
    """Survey a file and unpack what is packed; say each name before, and each law that is broken."""

    def before(name: str) -> None:
        say(name, None)
        _allow(_CPU_S + n_bytes / _BYTES_A_SECOND)

    _allow(_CPU_S)
    with ExitStack() as stack:
        try:
            form = format_of(path)
            n_bytes = path.stat().st_size
            held = stack.enter_context(form.opened(path, {}, before))
        except Refused as refused:
            say("", str(refused))
            return
        except OSError as error:
            say("", f"cannot be read ({error.strerror})")
            return
        for name, field in held.objects.items():
            if isinstance(field, Unread):
                say(name, field.law)
            elif isinstance(field, StoredField):
                say(name, None)
                _rehearse(name, field, n_bytes, say)
        for name, value in held.attributes.items():
            if isinstance(value, Unread):
                say(f"attribute {name}", value.law)


def _rehearse(name: str, field: StoredField, n_bytes: int, say: Say) -> None:
    """Read every piece. One that is damaged costs its rows alone, when they are read; one that may
    have failed for want of memory costs the data set.
    """
    _allow(_CPU_S + (n_bytes + field.whole_bytes) / _BYTES_A_SECOND)
    try:
        pieces = field.pieces()
    except Refused as refused:
        say(name, str(refused))
        return
    unpacked = len(pieces) * field.piece_bytes
    _allow(_CPU_S + unpacked / _BYTES_A_SECOND + len(pieces) * _PIECE_S)
    spoken = time.monotonic()
    for piece in pieces:
        try:
            field.rehearse(piece)
        except Refused as refused:
            if _peak_bytes() > _MOST_BYTES // 4:
                say(name, str(refused))
                return
        if time.monotonic() - spoken > _SECONDS_BETWEEN_WORDS:
            spoken = time.monotonic()
            say(name, None)


def _peak_bytes() -> int:
    """Most memory that this process has asked for."""
    lines = Path("/proc/self/status").read_text("ascii").splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmPeak")).split()[1])


def _allow(seconds: float) -> None:
    """Let SIGPROF end this process after so much more CPU time."""
    signal.setitimer(signal.ITIMER_PROF, seconds)


def _say(name: str | None, law: str | None) -> None:
    os.write(1, json.dumps([name, law]).encode() + b"\n")
