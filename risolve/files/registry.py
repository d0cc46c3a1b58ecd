"""Every format that is read: what the modules of `risolve.formats` call `FORMAT`.

A new format is one module of that package, which is loaded by name; files of it are then known by their first
bytes, and written under names with its endings.
"""

import pkgutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from risolve.files.contents import Attributes, Format, Refused
from risolve.files.regular import IrregularFileError, opened

_PACKAGE = "risolve.formats"


def _formats() -> tuple[Format, ...]:
    """In the order of the modules' names."""
    package = pkgutil.resolve_name(_PACKAGE)
    names = (module.name for module in pkgutil.iter_modules(package.__path__, f"{_PACKAGE}."))
    return tuple(pkgutil.resolve_name(name).FORMAT for name in names)


FORMATS = _formats()


def format_of(path: Path) -> Format:
    """The format of a file, by its first bytes, whatever its name.

    Raises:
        Refused: not a regular file, or of no format that is read.
    """
    try:
        with opened(path, sys.maxsize) as file:
            for form in FORMATS:
                if form.begins(file):
                    return form
    except IrregularFileError as error:
        raise Refused(str(error)) from error
    except OSError as error:
        gone = isinstance(error, FileNotFoundError | NotADirectoryError)
        raise Refused("there is no such file" if gone else f"cannot be read ({error.strerror})") from error
    for form in FORMATS:
        if path.suffix in form.suffixes:
            raise Refused(f"not {form.name}")
    raise Refused(f"{described(FORMATS)} is read, got a file of another kind")


def with_beside(paths: Sequence[Path]) -> list[Path]:
    """Files, and those that hold their numbers, by the endings of their names."""
    endings = {suffix: form.beside for form in FORMATS for suffix in form.suffixes}
    beside = [(path, endings.get(path.suffix)) for path in paths]
    return [*paths, *(path.with_suffix(ending) for path, ending in beside if ending is not None)]


def writer_for(path: Path) -> Callable[[Path, Attributes, Mapping[str, NDArray[Any]]], None]:
    """What writes a file in the format of its name.

    Raises:
        ValueError: an ending of no format that is written.
    """
    for form in FORMATS:
        if path.suffix in form.suffixes and form.write is not None:
            return form.write
    written = [form for form in FORMATS if form.write is not None]
    raise ValueError(f"{described(written)} is written, got {path}")


def described(formats: Sequence[Format]) -> str:
    """Formats, with the endings of their files."""
    names = {form.name: ", ".join(form.suffixes) for form in formats}
    return " or ".join(f"{name} ({endings})" for name, endings in names.items())
