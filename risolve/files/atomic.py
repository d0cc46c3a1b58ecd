"""Files that are whole or absent: made in memory, written under a random name in the same folder, renamed."""

import contextlib
import os
import re
import secrets
from pathlib import Path

from risolve.errors import unwritable

_PARTIAL = re.compile(r"\.risolve-[0-9a-f]{32}\.part")


def write_bytes(path: Path, content: bytes | memoryview, mode: int | None = None) -> None:
    """Write a file, whole or not at all; its folder is made where it is missing. mode: its permissions, None
    for those of a new file.

    The folder is opened once, the temporary name is new and no link is followed: whatever happens to names
    meanwhile, no other file is written to. The content is on the disk before the name: no power cut leaves a
    short file.

    Raises:
        StateError: the file cannot be written.
    """
    name = f".risolve-{secrets.token_hex(16)}.part"
    try:
        with contextlib.ExitStack() as stack:
            path.parent.mkdir(parents=True, exist_ok=True)
            folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            stack.callback(os.close, folder)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            number = os.open(name, flags, 0o666, dir_fd=folder)
            stack.callback(_forget, name, folder)
            with os.fdopen(number, "wb") as file:
                if mode is not None:
                    os.fchmod(number, mode)
                file.write(content)
                file.flush()
                os.fsync(number)
            os.replace(name, path.name, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError as error:
        raise unwritable(path, error) from error


def write_text(path: Path, text: str, mode: int | None = None) -> None:
    """Write a text file in UTF-8, as `write_bytes`."""
    write_bytes(path, text.encode(), mode)


def remove_partial(directory: Path) -> None:
    """Remove what an interrupted process left unfinished in a directory that nobody else writes to."""
    for path in directory.iterdir():
        if _PARTIAL.fullmatch(path.name):
            path.unlink(missing_ok=True)


def _forget(name: str, folder: int) -> None:
    """Remove a temporary file, which is gone where it took its place."""
    with contextlib.suppress(OSError):
        os.unlink(name, dir_fd=folder)
