"""params.yaml as text and plain values: the one reader of it, for stages and flows.

Of YAML it takes what all its readers read alike, in bounded time: mappings with words as keys, lists, words,
decimal numbers, true, false, null. DVC reads YAML 1.2 (1e-3 is a number, yes a word), and so does this.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    CollectionEndEvent,
    CollectionStartEvent,
    DocumentStartEvent,
    NodeEvent,
    ScalarEvent,
)
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from risolve.files.regular import IrregularFileError, content

MOST_BYTES = 1_000_000
_MOST_EVENTS = 50_000
"""Of values, and of beginnings and ends of sections and lists: 2 s of parsing."""

_DEEPEST = 16
_LONGEST_NUMBER = 40

_DECIMAL = re.compile(
    r"[-+]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
)
_CONTROL = re.compile("[^\t\n\r -~\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
"""Control characters, lone surrogates, and ends of lines that only some readers take for such."""

_CONSTANTS = {"true": True, "false": False, "null": None, "~": None, "": None}


class ParamsTextError(ValueError):
    """params.yaml cannot be read: "FILE:LINE: law, what stands there"."""


@dataclass(frozen=True)
class ParamsText:
    """The text of a file, its nodes with their places in it, and its values."""

    text: str
    tree: Node
    values: dict[str, Any]


class _Fault(Exception):
    """A law that is broken, and the line of it (from 0)."""

    def __init__(self, line: int, law: str) -> None:
        super().__init__(law)
        self.line = line


def read(path: Path) -> ParamsText:
    """A file of parameters.

    Raises:
        ParamsTextError: no regular file, larger than `MOST_BYTES`, not UTF-8, or not the YAML of above.
    """
    try:
        held = content(path, MOST_BYTES)
    except FileNotFoundError:
        raise ParamsTextError(f"{path}: there is no such file; run from the root of the repository") from None
    except IrregularFileError as error:
        raise ParamsTextError(f"{path}: {error}") from None
    except OSError as error:
        raise ParamsTextError(f"{path}: cannot be read: {error.strerror}") from None
    try:
        text = held.decode("utf-8")
    except UnicodeDecodeError as error:
        line = held[: error.start].count(b"\n") + 1
        raise ParamsTextError(
            f"{path}:{line}: not UTF-8: byte {held[error.start]:#04x} ({error.reason})"
        ) from None
    try:
        return _parsed(text)
    except _Fault as fault:
        raise ParamsTextError(f"{path}:{fault.line + 1}: {fault}") from None


def parse(text: str) -> ParamsText:
    """A text that is not in a file.

    Raises:
        ParamsTextError: not the YAML of above.
    """
    try:
        return _parsed(text)
    except _Fault as fault:
        raise ParamsTextError(str(fault)) from None


def _parsed(text: str) -> ParamsText:
    if control := _CONTROL.search(text.removeprefix("\ufeff")):
        before = text.removeprefix("\ufeff")[: control.start()]
        raise _Fault(before.count("\n"), f"not YAML: control character U+{ord(control[0]):04X}")
    yaml = YAML(typ="safe", pure=True)
    try:
        _require_plain(yaml.parse(text))
        tree = yaml.compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise _Fault(
            0 if mark is None else mark.line, f"not YAML: {error.problem or error.context}"
        ) from None
    except YAMLError as error:
        raise _Fault(0, f"not YAML: {error}") from None
    except ValueError as error:  # an escape beyond Unicode, digits of a version
        raise _Fault(0, f"not YAML: {error}") from None
    values = None if tree is None else _value(tree)
    if not isinstance(values, dict):
        raise _Fault(0, f"a file of sections (array, receiver, ...), got {type(values).__name__}")
    return ParamsText(text, tree, values)


def _require_plain(events: Iterable[Any]) -> None:
    """Refuse what readers of YAML differ in, and what makes a short text a large document.

    Raises:
        _Fault: a directive, an anchor, an alias, a tag; too many values, or too deep.
    """
    depth = 0
    for number, event in enumerate(events):
        line = event.start_mark.line
        if number >= _MOST_EVENTS:
            raise _Fault(line, f"{_MOST_EVENTS} values, sections and lists at most")
        match event:
            case DocumentStartEvent() if event.version or event.tags:
                raise _Fault(line, "no directives (%YAML, %TAG): DVC and the stages would read two things")
            case NodeEvent() if event.anchor is not None:
                raise _Fault(line, "no anchors (&), aliases (*) or merge keys (<<): write the values out")
            case ScalarEvent() | CollectionStartEvent() if event.tag is not None:
                raise _Fault(line, f"no tags: a value says what it is; got {event.tag}")
        depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
        if depth > _DEEPEST:
            raise _Fault(line, f"{_DEEPEST} levels of sections and lists at most")


def _value(node: Node) -> Any:
    """Plain value of a node.

    Raises:
        _Fault: a key that is no word or stands twice, or a number that readers of YAML read differently.
    """
    if isinstance(node, SequenceNode):
        return [_value(item) for item in node.value]
    if isinstance(node, ScalarNode):
        return _scalar(node)
    assert isinstance(node, MappingNode)
    values: dict[str, Any] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line
        key = _value(key_node) if isinstance(key_node, ScalarNode) else None
        if not isinstance(key, str):
            raise _Fault(line, "a key is a word" + (f", got {key_node.value}" if key is not None else ""))
        if key in values:
            raise _Fault(line, f"not YAML: duplicate key {key}")
        values[key] = _value(value_node)
    return values


def _scalar(node: ScalarNode) -> str | bool | int | float | None:
    """Value of a scalar, by YAML 1.2 as DVC reads it."""
    line, kind, text = node.start_mark.line, str(node.tag).rpartition(":")[2], str(node.value)
    if kind in ("int", "float"):
        if len(text) > _LONGEST_NUMBER:
            raise _Fault(line, f"a number has {_LONGEST_NUMBER} characters at most, got {len(text)}")
        if not _DECIMAL.fullmatch(text):
            raise _Fault(line, f"a number is decimal without leading zeros or _ (12, 0.5, 1e-3), got {text}")
        return int(text) if kind == "int" else float(re.sub(r"\.(?=[iInN])", "", text))
    if kind in ("bool", "null"):
        return _CONSTANTS[text.lower()]
    if kind != "str":
        raise _Fault(line, f"a word, a number, true, false or null; got the {kind} {text}")
    if control := _CONTROL.search(text):
        raise _Fault(line, f"not YAML: control character U+{ord(control[0]):04X}")
    return text
