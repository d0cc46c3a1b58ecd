"""Argument lists of the programs that flows start: no shell reads them, and no name becomes an option."""

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NewType

CommandLine = NewType("CommandLine", tuple[str, ...])
"""A program with its arguments, made by `command_line` alone."""

DVC = (str(Path(sys.executable).with_name("dvc")),)
GIT = ("git",)


def python(module: str) -> tuple[str, ...]:
    """A module of this environment. With -P no file of the folder that it runs in is imported."""
    return (sys.executable, "-P", "-m", module)


def command_line(
    program: tuple[str, ...], *words: str, names: Iterable[str | os.PathLike[str]] = ()
) -> CommandLine:
    """PROGRAM WORDS -- NAMES: a name is no option, whatever it begins with.

    Args:
        words: subcommands and options that the code writes out, and what `option` makes.
        names: whatever a user calls an experiment, a stage, a file, a branch.

    Raises:
        ValueError: a name is empty, or holds the character 0, which no argument can.
    """
    named = [_given(name) for name in names]
    return CommandLine((*program, *words, *(("--", *named) if named else ())))


def option(word: str, value: str | os.PathLike[str]) -> str:
    """--WORD=VALUE, whatever the value begins with.

    Raises:
        ValueError: it is empty, or holds the character 0.
    """
    return f"--{word}={_given(value)}"


def _given(name: str | os.PathLike[str]) -> str:
    text = os.fspath(name)
    if not text or "\0" in text:
        raise ValueError(f"a name is a text that is not empty, without the character 0; got {text!r}")
    return text
