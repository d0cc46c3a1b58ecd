"""Every format that is read: what the modules of this package call `FORMAT`.

A new format is one module of the package; files of it are then known by their first bytes, and written under
names with its endings.
"""

import pkgutil
import sys
from pathlib import Path

import risolve.files.formats
from risolve.files.contents import Format, Refused
from risolve.files.regular import IrregularFileError, opened


def _formats() -> tuple[Format, ...]:
    """In the order of the modules' names."""
    names = (m.name for m in pkgutil.iter_modules(risolve.files.formats.__path__, "risolve.files.formats."))
    return tuple(pkgutil.resolve_name(name).FORMAT for name in names if name != __name__)


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
