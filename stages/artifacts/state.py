"""Resumable work: a directory named by what determines its content, held by one process, then published.

It lies in `$DVC_ROOT/state` (DVC names the repository there, also in its temporary copies) or in `./state`,
outside DVC and git. Removing `state/` is always safe: it costs the unfinished work, and what results took.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import re
import secrets
import shutil
import socket
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from stages.artifacts.atomic import remove_partial
from stages.artifacts.errors import StateError, unwritable
from stages.artifacts.fingerprint import fingerprint


def state_root() -> Path:
    """`$DVC_ROOT/state`, or `state` in the current directory."""
    return Path(os.environ.get("DVC_ROOT", ".")) / "state"


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
def work_directory(verb: str, key: str) -> Iterator[Path]:
    """The directory of a piece of work, `state/VERB/KEY`, held by this process alone until the block ends.

    What an interrupted process finished there is still there; what it left unfinished is removed. The kernel
    frees the hold of a process that dies in any way.

    Raises:
        StateError: another process holds it, or it cannot be written.
    """
    directory = state_root() / verb / key
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(directory, error) from error
    with held(directory.with_suffix(".lock"), directory):
        remove_partial(directory)
        yield directory


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


def publish(directory: Path, destination: Path) -> None:
    """Make a finished directory the result: it takes the place of an earlier one, which stands until then.

    Killed at any moment, either the finished directory or the whole result is there. What a killed process
    left beside the destination has a name of its own, and goes.

    Raises:
        StateError: the destination cannot be written, or another process publishes there.
    """
    place, lock = destination.parent, state_root() / "publish" / f"{_name_digest(destination)}.lock"
    names = re.compile(rf"\.{re.escape(destination.name)}\.[0-9a-f]{{32}}\.(retired|copy)")
    retired, copy = (
        place / f".{destination.name}.{secrets.token_hex(16)}.{kind}" for kind in ("retired", "copy")
    )
    try:
        for folder in (place, lock.parent):
            folder.mkdir(parents=True, exist_ok=True)
        with held(lock, destination):
            for path in place.iterdir():
                if names.fullmatch(path.name):
                    _remove(path)
            arriving = directory
            if directory.stat().st_dev != place.stat().st_dev:
                # a rename does not cross file systems
                arriving = shutil.copytree(directory, copy, copy_function=_copied)
            ignored = destination / ".gitignore"
            if ignored.exists():
                # DVC writes this one, and git tracks it
                shutil.copy2(ignored, arriving)
            if os.path.lexists(destination):
                os.rename(destination, retired)
            os.rename(arriving, destination)
    except OSError as error:
        raise StateError(f"{unwritable(destination, error)} in {directory}") from error
    for path in (retired, directory):
        discard(path)


def discard(directory: Path) -> None:
    """Remove work whose result is in its place; what cannot be removed costs room and no result."""
    with contextlib.suppress(OSError):
        _remove(directory)


def _remove(path: Path) -> None:
    """Remove a directory with all that is in it, if it is there; of a link, the link."""
    if path.is_symlink():
        path.unlink(missing_ok=True)
    elif path.exists():
        shutil.rmtree(path)


def _copied(source: str, target: str) -> None:
    """`shutil.copytree` would put the errors of all files into one that says of none what it is."""
    try:
        shutil.copy2(source, target)
    except OSError as error:
        raise unwritable(target, error) from error


def _name_digest(path: Path) -> str:
    return hashlib.blake2b(os.fsencode(path.absolute()), digest_size=12).hexdigest()


def _file_digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "blake2b").hexdigest()
    except OSError as error:
        raise StateError(f"{path}: cannot be read ({error.strerror})") from error
