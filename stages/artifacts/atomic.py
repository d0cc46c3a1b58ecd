"""Files that are whole or absent: a temporary name in the same directory, then `os.replace`."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from stages.artifacts.errors import StateError

_SUFFIX = ".part"


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, which takes its place when the block ends without an error.

    Raises:
        StateError: the directory cannot be written.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}{_SUFFIX}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        _flush(temporary)
        os.replace(temporary, path)
    except OSError as error:
        raise StateError(
            f"{path}: cannot be written ({error.strerror or error}); make room or allow writing there"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, "utf-8")


def remove_partial(directory: Path) -> None:
    """Remove what an interrupted process left unfinished in a directory that nobody else writes to."""
    for path in directory.glob(f"*{_SUFFIX}"):
        path.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    """Put the content on the disk before the name: no power cut leaves a short file under the final name."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
