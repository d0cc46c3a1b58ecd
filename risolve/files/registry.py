"""Every format that is read: what the modules of `risolve.formats` call `FORMAT`.

A new format is one module of that package, which is loaded by name; files of it are then known by their first
bytes, and written under names with its endings.
"""

import pkgutil
import sys
from pathlib import Path

from risolve.files.contents import Format, Refused
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
    raise Refused(f"{described()} is read, got a file of another kind")


def format_for(path: Path) -> Format:
    """The format that a file of this name is written in.

    Raises:
        ValueError: an ending of no format.
    """
    for form in FORMATS:
        if path.suffix in form.suffixes:
            return form
    raise ValueError(f"{described()} is written, got {path}")


def described() -> str:
    """The formats, with the endings of their files."""
    return " or ".join(f"{form.name} ({', '.join(form.suffixes)})" for form in FORMATS)
