"""Resumable work: a directory named by what determines its content, held by one process, then published.

It lies in `$DVC_ROOT/state` (DVC names the repository there, also in its temporary copies) or in `./state`,
outside DVC and git. Removing `state/` is always safe: it costs the unfinished work, and what results took.
"""

import contextlib
import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from risolve.errors import StateError, unwritable
from risolve.files.atomic import remove_partial
from risolve.running.work import held


def state_root() -> Path:
    """`$DVC_ROOT/state`, or `state` in the current directory."""
    return Path(os.environ.get("DVC_ROOT", ".")) / "state"


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
def publishing(work: Path, destination: Path) -> Iterator[Path]:
    """A directory in that of a piece of work, which becomes the result when the block ends.

    Raises:
        StateError: as `publish`.
    """
    results = work / "results"
    results.mkdir(exist_ok=True)
    yield results
    publish(results, destination)


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
