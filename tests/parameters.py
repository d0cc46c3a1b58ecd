"""Parameters as trees of values: their places, changes of them, what a change is refused with."""

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import ValidationError

from tests.worlds import default_parameters, parsed

Path = tuple[str | int, ...]


def leaves(values: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every scalar of a tree of mappings and lists, with its path."""
    children = (
        values.items()
        if isinstance(values, dict)
        else enumerate(values)
        if isinstance(values, list)
        else None
    )
    if children is None:
        yield path, values
        return
    for key, child in children:
        yield from leaves(child, (*path, key))


def mappings(values: Any, path: Path = ()) -> Iterator[Path]:
    """Paths of every mapping of a tree."""
    if isinstance(values, dict):
        yield path
    if isinstance(values, dict | list):
        children = values.items() if isinstance(values, dict) else enumerate(values)
        for key, child in children:
            yield from mappings(child, (*path, key))


def at(values: Any, path: Path) -> Any:
    for key in path:
        values = values[key]
    return values


def changed(*edits: tuple[str, Any]) -> dict[str, Any]:
    """params.yaml with some values replaced; a path is dotted, list positions are numbers."""
    values = default_parameters()
    for dotted, value in edits:
        *parents, last = [int(key) if key.isdigit() else key for key in dotted.split(".")]
        at(values, tuple(parents))[last] = value
    return values


def refusal(values: dict[str, Any]) -> str:
    with pytest.raises(ValidationError) as caught:
        parsed(values)
    return str(caught.value)


DEFAULTS = default_parameters()
SPACE = ("search", "space")
"""What is searched is free to choose; see tests/test_search.py."""

LEAVES = [(path, value) for path, value in leaves(DEFAULTS) if path[:2] != SPACE]
NUMBERS = [
    (path, value) for path, value in LEAVES if isinstance(value, int | float) and not isinstance(value, bool)
]
MAPPINGS = [
    path for path in mappings(DEFAULTS) if (path[:2] != SPACE or len(path) == 2) and path[-1:] != ("strata",)
]
"""Of keys that are known; strata have names of their own."""
KEYS = [(*path, key) for path in MAPPINGS for key in at(DEFAULTS, path)]


def name_of(path: Path) -> str:
    return ".".join(map(str, path))
