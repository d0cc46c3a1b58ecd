"""Other values in params.yaml on the disk, if they obey its laws."""

import difflib
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from risolve.errors import ParameterError
from risolve.files.atomic import write_text
from stages.params.edit import ParamsEditError, changes_of, edited
from stages.params.file import checked, read_text


def replace_values(path: Path, values: Mapping[str, Any]) -> str:
    """Write other values (SECTION.KEY) into a file of parameters, and nothing else: comments and layout stay.

    Returns:
        The lines that differ, as a unified diff; empty where nothing does.

    Raises:
        ParameterError: a key that is not there; or parameters that break a law together, and the file stays.
    """
    held = read_text(path)
    try:
        after = edited(held, values)
    except ParamsEditError as error:
        raise ParameterError(f"{path}: {error}") from None
    checked(path, after)
    if after.text != held.text:
        write_text(path.resolve(), after.text, mode=stat.S_IMODE(path.stat().st_mode))
    before, now = held.text.splitlines(), after.text.splitlines()
    return "\n".join(difflib.unified_diff(before, now, str(path), str(path), lineterm=""))


def set_values(path: Path, changes: str) -> str:
    """The same for changes as a person writes them, KEY=VALUE.

    Raises:
        ParameterError: as `replace_values`, or no KEY=VALUE.
    """
    try:
        values = changes_of(changes, read_text(path))
    except ParamsEditError as error:
        raise ParameterError(f"{path}: {error}") from None
    return replace_values(path, values)
