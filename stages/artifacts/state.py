"""Resumable work: a directory named by what determines its content, held by one process, then published.

It lies in `$DVC_ROOT/state` (DVC names the repository there, also in its temporary copies) or in `./state`,
outside DVC and git. Removing `state/` is always safe: it costs the unfinished work.
"""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from stages.artifacts.atomic import remove_partial
from stages.artifacts.errors import StateError


def state_root() -> Path:
    """`$DVC_ROOT/state`, or `state` in the current directory."""
    return Path(os.environ.get("DVC_ROOT", ".")) / "state"


def work_key(parameters: Mapping[str, Any], inputs: Sequence[Path] = ()) -> str:
    """Name of a piece of work: digest of the parameters it depends on, the loaded code, its input files.

    Budgets (workers, time limits) are left out by the caller, so that a run with other budgets goes on with
    the same work.
    """
    digest = hashlib.blake2b(digest_size=12)
    digest.update(json.dumps(parameters, sort_keys=True).encode())
    for name, path in sorted(_loaded_code().items()):
        digest.update(f"\n{name} {_file_digest(path)}".encode())
    for path in inputs:
        digest.update(f"\n{path.name} {_file_digest(path)}".encode())
    return digest.hexdigest()


@contextlib.contextmanager
def work_directory(verb: str, key: str) -> Iterator[Path]:
    """The directory of a piece of work, `state/VERB/KEY`, held by this process alone until the block ends.

    What an interrupted process finished there is still there; what it left unfinished is removed. The kernel
    frees the hold of a process that dies in any way.

    Raises:
        StateError: another process holds it, or it cannot be written.
    """
    with held(state_root() / verb / key) as directory:
        yield directory


@contextlib.contextmanager
def held(directory: Path) -> Iterator[Path]:
    """A directory of work, made where it is missing, held as by `work_directory`.

    Raises:
        StateError: as `work_directory`.
    """
    lock_path = directory.with_suffix(".lock")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = lock_path.open("a+", encoding="utf-8")
    except OSError as error:
        raise StateError(f"{directory}: cannot be written ({error.strerror}); allow writing there") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise StateError(f"{lock_path}: cannot be locked ({error.strerror})") from error
            lock.seek(0)
            holder = lock.read().strip() or "another process"
            raise StateError(f"{directory}: {holder} works here; wait until it ends, or end it") from None
        lock.truncate(0)
        lock.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        lock.flush()
        remove_partial(directory)
        yield directory


def publish(directory: Path, destination: Path) -> None:
    """Make a finished directory the result: it takes the place of an earlier one, which stands until then.

    Killed at any moment, either the finished directory or the whole result is there.

    Raises:
        StateError: the destination cannot be written.
    """
    retired = destination.with_name(f"{destination.name}.retired")
    copy = destination.with_name(f"{destination.name}.copy")
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        for leftover in (retired, copy):
            if leftover.exists():
                shutil.rmtree(leftover)
        arriving = directory
        if directory.stat().st_dev != destination.parent.stat().st_dev:
            # a rename does not cross file systems
            arriving = shutil.copytree(directory, copy)
        ignored = destination / ".gitignore"
        if ignored.exists():
            # DVC writes this one, and git tracks it
            shutil.copy2(ignored, arriving)
        if destination.exists():
            os.rename(destination, retired)
        os.rename(arriving, destination)
        for leftover in (retired, directory):
            if leftover.exists():
                shutil.rmtree(leftover)
    except OSError as error:
        raise StateError(
            f"{destination}: cannot be written ({error.strerror}); make room or allow it and run again; "
            f"finished work waits in {directory}"
        ) from error


def discard(directory: Path) -> None:
    """Remove work whose result is written elsewhere."""
    shutil.rmtree(directory)


def _loaded_code() -> dict[str, Path]:
    """Name -> file of every loaded module of the package, the running verb included."""
    files: dict[str, Path] = {}
    for name, module in list(sys.modules.items()):
        spec = module.__spec__ if name == "__main__" else None
        name = spec.name if spec is not None else name
        if name.partition(".")[0] == "stages" and module.__file__ is not None:
            files[name] = Path(module.__file__)
    return files


def _file_digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "blake2b").hexdigest()
    except OSError as error:
        raise StateError(f"{path}: cannot be read ({error.strerror})") from error
