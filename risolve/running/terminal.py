"""What a person reads: lines on standard output and standard error.

No name of a file reaches a terminal as anything but text, a terminal of any encoding takes every line, and a
standard error that is full or gone stops nobody.
"""

import contextlib
import io
import os
import sys
from collections.abc import Iterable
from typing import TextIO

from risolve.errors import StateError
from risolve.shown import shown


def prepare() -> None:
    """Give the process its standard streams: one that is closed goes nowhere, and what an encoding lacks is
    written as an escape.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # the lowest free number is this one, which must not go to the next file that is opened
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def tell(line: str) -> None:
    """A line on standard error, if it takes one."""
    draw(f"{shown(line)}\n")


def draw(text: str) -> None:
    """Text on standard error as it is, if it takes it."""
    with contextlib.suppress(OSError):
        sys.stderr.write(text)
        sys.stderr.flush()


def is_drawn_on() -> bool:
    """Whether standard error is a terminal."""
    return sys.stderr.isatty()


def print_lines(lines: Iterable[str]) -> None:
    """Lines on standard output; a reader that has enough of them ends it without a word.

    Raises:
        StateError: they cannot be written.
    """
    try:
        sys.stdout.write("".join(f"{shown(line)}\n" for line in lines))
        sys.stdout.flush()
    except BrokenPipeError:
        _silence(sys.stdout)
    except OSError as error:
        _silence(sys.stdout)
        raise StateError(f"standard output: cannot be written ({error.strerror})") from error


def settle() -> None:
    """Forget what standard error does not take: the interpreter would end with a status of its own."""
    try:
        sys.stderr.flush()
    except OSError:
        _silence(sys.stderr)


def _silence(stream: TextIO) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
