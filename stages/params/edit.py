"""Other values in the text of params.yaml: what is named changes, every other byte stays."""

import copy
import difflib
import itertools
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from ruamel.yaml.nodes import CollectionNode, MappingNode, Node, SequenceNode

from stages.params.text import ParamsText, ParamsTextError, parse

_SEPARATOR = re.compile(r"\n|[,;](?=\s*[A-Za-z_][\w.]*\s*=)")
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")


class ParamsEditError(ValueError):
    """A change that params.yaml cannot take: its key, and what is wrong."""


def changes_of(text: str, held: ParamsText) -> dict[str, Any]:
    """SECTION.KEY -> value of changes as a person writes them: train.epochs=4, on lines or between commas.

    Raises:
        ParamsEditError: no KEY=VALUE, a key that is not in the file or stands twice, or no value of YAML.
    """
    changes: dict[str, Any] = {}
    for part in filter(None, map(str.strip, _SEPARATOR.split(text))):
        key, separator, value = (word.strip() for word in part.partition("="))
        if not (separator and key):
            raise ParamsEditError(f"a change is KEY=VALUE, as train.epochs=4; got {part!r}")
        if key in changes:
            raise ParamsEditError(f"{key}: two values, {json.dumps(changes[key])} and {value}")
        _pair(held, key)
        try:
            changes[key] = parse(f"value: {value}").values["value"]
        except ParamsTextError as error:
            raise ParamsEditError(f"{key}={value}: {error}") from None
    return changes


def differences(old: Any, new: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """(SECTION.KEY, value) of what differs in new values; a section of other keys as a whole."""
    for key, value in new.items():
        own, place = old.get(key), (*path, key)
        if isinstance(value, Mapping) and isinstance(own, Mapping) and set(value) == set(own):
            yield from differences(own, value, place)
        elif own != value:
            yield ".".join(place), value


def changed(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Values of a file with others (by SECTION.KEY, of keys that are there)."""
    result = copy.deepcopy(dict(values))
    for key, value in changes.items():
        *sections, last = key.split(".")
        section = result
        for name in sections:
            section = section[name]
        section[last] = value
    return result


def edited(held: ParamsText, changes: Mapping[str, Any]) -> ParamsText:
    """A file with other values (by SECTION.KEY); comments, layout and line ends stay.

    Raises:
        ParamsEditError: a key that is not in the file, or that lies within another one.
    """
    line_end = "\r\n" if "\r\n" in held.text else "\n"
    places: list[tuple[int, int, str, str]] = []
    for key, value in changes.items():
        name, node = _pair(held, key)
        start, end = node.start_mark.index, _end(node)
        text = _text(node, value, line_end)
        if start == end:  # no value: it stands behind the colon
            start = end = held.text.index(":", name.end_mark.index) + 1
            text = f" {text}"
        elif held.text[:end].endswith("\n"):  # a scalar of lines ends with its last one
            text += line_end
        places.append((start, end, text, key))
    places.sort()
    for (_, end, _, outer), (start, _, _, inner) in itertools.pairwise(places):
        if start < end:
            raise ParamsEditError(f"{inner}: a part of {outer}; give one of them")
    after = held.text
    for start, end, text, _ in reversed(places):
        after = after[:start] + text + after[end:]
    try:
        result = parse(after)
    except ParamsTextError as error:
        raise ParamsEditError(f"{', '.join(changes)}: params.yaml cannot hold them: {error}") from None
    if result.values != changed(held.values, changes):
        raise ParamsEditError(f"{', '.join(changes)}: params.yaml cannot hold {json.dumps(dict(changes))}")
    return result


def _pair(held: ParamsText, key: str) -> tuple[Node, Node]:
    """Where a key stands, and its value."""
    name = node = held.tree
    for part in key.split("."):
        pairs = {str(k.value): (k, v) for k, v in node.value} if isinstance(node, MappingNode) else {}
        if part not in pairs:
            raise ParamsEditError(f"{key}: no such key{_suggestion(held.values, key)}")
        name, node = pairs[part]
    return name, node


def _suggestion(values: Mapping[str, Any], key: str) -> str:
    """The keys that have the same last part, or else the nearest one."""
    known = list(_keys(values, ()))
    last = key.rpartition(".")[2]
    near = [own for own in known if own.rpartition(".")[2] == last]
    near = near[:3] or difflib.get_close_matches(key, known, n=1)
    return f"; did you mean {' or '.join(near)}?" if near else f"; its sections are {', '.join(values)}"


def _keys(values: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[str]:
    for key, value in values.items():
        yield ".".join((*path, key))
        if isinstance(value, Mapping):
            yield from _keys(value, (*path, key))


def _end(node: Node) -> int:
    """Where a value ends; what follows a list or section of lines up to the next one is not a part of it."""
    if not _stands_on_lines(node):
        return int(node.end_mark.index)
    last = node.value[-1]
    return _end(last[1] if isinstance(node, MappingNode) else last)


def _stands_on_lines(node: Node) -> bool:
    return isinstance(node, CollectionNode) and not node.flow_style


def _text(node: Node, value: Any, line_end: str) -> str:
    """A value in the place of a node: a list of lines stays one, all else stands on one line."""
    if not _stands_on_lines(node):
        return _on_one_line(value)
    if isinstance(node, SequenceNode) and isinstance(value, list | tuple) and value:
        return f"{line_end}{' ' * node.start_mark.column}".join(f"- {_on_one_line(item)}" for item in value)
    return f"  {_on_one_line(value)}"  # deeper than its key, which may stand above it in the same column


def _on_one_line(value: Any) -> str:
    if isinstance(value, Mapping):
        return (
            "{" + ", ".join(f"{_on_one_line(key)}: {_on_one_line(own)}" for key, own in value.items()) + "}"
        )
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_on_one_line, value)) + "]"
    if (
        isinstance(value, str)
        and _WORD.fullmatch(value)
        and parse(f"value: {value}").values["value"] == value
    ):
        return value
    return json.dumps(value, ensure_ascii=False)
