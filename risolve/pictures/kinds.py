"""What a picture is written as, and what an earlier one is known by; matplotlib is not loaded for it."""

from collections.abc import Callable, Mapping
from pathlib import Path

CREATOR = "risolve plot"
"""What a picture says that it is of, in its first bytes."""

_HEAD = 2000


def _is_picture(path: Path) -> bool:
    with path.open("rb") as file:
        return CREATOR.encode() in file.read(_HEAD)


KINDS: Mapping[str, Callable[[Path], bool]] = dict.fromkeys((".png", ".svg", ".html"), _is_picture)
"""Ending of a picture -> whether an existing file is an earlier one."""

FLAT: Mapping[str, Callable[[Path], bool]] = dict.fromkeys((".png", ".svg"), _is_picture)
"""Those of what does not turn."""
