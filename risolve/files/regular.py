"""Opening a file that others wrote: a regular file of a bounded size, or an error, and never a wait."""

import os
import stat
from pathlib import Path
from typing import BinaryIO

_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


class IrregularFileError(ValueError):
    """No regular file, or a larger one than is read; without its name."""


def opened(path: Path, most_bytes: int) -> BinaryIO:
    """A regular file, open for reading; its size is that of what is open, whatever its name means by then.

    Raises:
        IrregularFileError: a directory, FIFO or device, or more bytes than `most_bytes`.
        OSError: as `open`.
    """
    # an open that blocks would wait for the writer of a FIFO
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        kind = stat.S_IFMT(status.st_mode)
        if kind != stat.S_IFREG:
            raise IrregularFileError(f"a regular file is read here, got {_KINDS[kind]}")
        if status.st_size > most_bytes:
            raise IrregularFileError(
                f"{most_bytes / 1e6:g} MB are read here at most, got {status.st_size / 1e6:.1f} MB"
            )
    except IrregularFileError:
        os.close(descriptor)
        raise
    return open(descriptor, "rb")


def content(path: Path, most_bytes: int) -> bytes:
    """The bytes of a regular file.

    Raises:
        IrregularFileError, OSError: as `opened`.
    """
    with opened(path, most_bytes) as file:
        held = file.read(most_bytes + 1)
    if len(held) > most_bytes:
        raise IrregularFileError(f"{most_bytes / 1e6:g} MB are read here at most, and it grows")
    return held
