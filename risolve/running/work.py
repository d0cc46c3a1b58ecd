"""Work that goes on where a killed process left it: what names it, and who holds it."""

import contextlib
import fcntl
import hashlib
import json
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from risolve.errors import StateError, unwritable
from risolve.running.fingerprint import fingerprint


def work_key(module: str, parameters: Mapping[str, Any], inputs: Sequence[Path] = ()) -> str:
    """Name of a piece of work: digest of the code of the module that does it (`fingerprint`), the parameters
    it depends on, its input files.

    Budgets (workers, time limits) are left out by the caller, so that a run with other budgets goes on with
    the same work.
    """
    digest = hashlib.blake2b(digest_size=12)
    digest.update(f"{fingerprint(module)}{json.dumps(parameters, sort_keys=True)}".encode())
    for path in inputs:
        digest.update(b"\n%b " % os.fsencode(path.name) + _file_digest(path).encode())
    return digest.hexdigest()


@contextlib.contextmanager
def held(lock: Path, subject: Path) -> Iterator[None]:
    """A lock file, made where it is missing, that this process alone holds until the block ends. It stands
    for the subject; its holder may remove it.

    Raises:
        StateError: another process holds it (the line says which), or it cannot be written.
    """
    with contextlib.ExitStack() as stack:
        try:
            number = _opened(lock, stack)
            while not _is_at(number, lock):
                # its holder removed it between the two steps
                number = _opened(lock, stack)
            os.ftruncate(number, 0)
            os.pwrite(number, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
        except BlockingIOError:
            raise StateError(
                f"{subject}: {_holder(lock)} works here; wait until it ends, or end it"
            ) from None
        except OSError as error:
            raise unwritable(lock, error) from error
        yield


def _opened(lock: Path, stack: contextlib.ExitStack) -> int:
    """Descriptor of a lock file that no other process holds."""
    number = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    stack.callback(os.close, number)
    fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return number


def _is_at(number: int, path: Path) -> bool:
    """Whether an open file still stands under its name."""
    try:
        return os.path.samestat(os.fstat(number), path.stat())
    except FileNotFoundError:
        return False


def _holder(lock: Path) -> str:
    """Who wrote into a lock file."""
    with contextlib.suppress(OSError):
        return lock.read_text("utf-8", "replace").strip() or "another process"
    return "another process"


def _file_digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "blake2b").hexdigest()
    except OSError as error:
        raise StateError(f"{path}: cannot be read ({error.strerror})") from error
