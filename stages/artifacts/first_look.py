"""A first look at files of strangers by a child process under limits, before this process opens them.

Of some damage the HDF5 library never comes to an end, or takes all memory. The child does all that a reader
will do with the structure of a file, and unpacks what is packed; what failed there is not touched here.
"""

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from stages.artifacts.extents import stamp_of_path
from stages.artifacts.hdf5_objects import Field, Look, Refused, Unread, open_file, survey

Say: TypeAlias = Callable[[str | None, str | None], None]
"""Is told (name, None) before an object is looked at, and (name, law) of one that is refused."""

_ROOT = Path(__file__).parents[2]
_CHILD = "import sys; sys.path.append(sys.argv[1]); from stages.artifacts.first_look import main; main()"

_CPU_S = 0.5
"""CPU time for one object, of which a sound one takes a thousandth."""

_INDEXED, _UNPACKED = 1e8, 2e7
"""Bytes a second of CPU time: of a file whose chunks are listed, of data that are unpacked."""

_MOST_BYTES = 3 * 2**29
"""Memory beside the program."""

_MOST_S = 900
"""Wall time (s) for what computes nothing, a network disk that is gone."""


def looked_at(paths: Sequence[Path]) -> Mapping[Path, Look]:
    """What a first look says of files, each of them once."""
    stamps = {path: stamp_of_path(path) for path in paths}
    looks: dict[Path, Look] = {}
    waiting = list(stamps)
    while waiting:
        unread: dict[str, str] = {}
        at = "the file"
        for name, law in _lines_of_child(waiting):
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
            law = (
                f"the HDF5 library comes to no end with {at}, or takes more than {_MOST_BYTES >> 20} MB; the "
                "file is damaged, make or copy it again"
            )
            looks[path] = Look(stamps[path], {"": law})
    return looks


def _lines_of_child(paths: Sequence[Path]) -> list[tuple[str | None, str | None]]:
    """What the child says, with (None, None) after each file."""
    # -B: on a full disk Python leaves bytecode cut short, which no later start can read
    command = [sys.executable, "-I", "-B", "-c", _CHILD, str(_ROOT)]
    names = "\0".join(str(path.absolute()) for path in paths)
    try:
        child = subprocess.run(
            command,
            input=os.fsencode(names),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_MOST_S,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
            check=False,
        )
        said = child.stdout
    except subprocess.TimeoutExpired as expired:
        said = expired.stdout or b""
    complete = said[: said.rfind(b"\n") + 1]
    return [tuple(json.loads(line)) for line in complete.splitlines()]


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
        _allow(_CPU_S + n_bytes / _INDEXED)

    n_bytes = path.stat().st_size if path.is_file() else 0
    _allow(_CPU_S)
    try:
        file = open_file(path)
    except Refused as refused:
        say("", str(refused))
        return
    with file:
        held = survey(file, {}, before)
        for name, field in held.objects.items():
            if isinstance(field, Field):
                say(name, None)
                _rehearse(name, field, say)
            elif isinstance(field, Unread):
                say(name, field.law)
        for name, value in held.attributes.items():
            if isinstance(value, Unread):
                say(f"attribute {name}", value.law)


def _rehearse(name: str, field: Field, say: Say) -> None:
    """Find and unpack every chunk. One that is damaged costs its rows alone, when they are read; one that may
    have failed for want of memory costs the data set.
    """
    _allow(_CPU_S + field.dataset.size * field.dtype.itemsize / _UNPACKED)
    try:
        chunks = field.chunks()
    except Refused as refused:
        say(name, str(refused))
        return
    for chunk in chunks:
        try:
            field.rehearse(chunk)
        except Refused as refused:
            if _peak_bytes() > _MOST_BYTES // 4:
                say(name, str(refused))
                return


def _peak_bytes() -> int:
    """Most memory that this process has asked for."""
    lines = Path("/proc/self/status").read_text("ascii").splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmPeak")).split()[1])


def _allow(seconds: float) -> None:
    """Let SIGPROF end this process after so much more CPU time."""
    signal.setitimer(signal.ITIMER_PROF, seconds)


def _say(name: str | None, law: str | None) -> None:
    os.write(1, json.dumps([name, law]).encode() + b"\n")
