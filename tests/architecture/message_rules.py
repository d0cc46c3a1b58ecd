"""The words of errors are free: a test tells one by its type and by the keys, numbers and places it shows."""

import ast
from collections.abc import Iterator

from tests.architecture.source import Finding, word
from tests.messages import sentences

_ERRORS = frozenset({"err", "stderr", "value"})
"""Attributes that hold an error or its text: of captured streams, of a process, of `pytest.raises`."""


def free_words(path: str, tree: ast.Module) -> Iterator[Finding]:
    """What is looked for in an error is no prose; `match` is a literal, or `shows`, which refuses prose."""
    for node in ast.walk(tree):
        sought: list[ast.expr] = []
        if isinstance(node, ast.keyword) and node.arg == "match":
            if isinstance(node.value, ast.Constant):
                sought = [node.value]
            elif _called(node.value) != "shows":
                yield node.value.lineno, f"match is a literal or shows(...): {ast.unparse(node.value)}"
        elif _called(node) == "shows":
            sought = node.args
        elif isinstance(node, ast.Compare) and any(map(_is_error, node.comparators)):
            sought = [node.left]
        elif _called(node) in {"startswith", "endswith"} and _is_error(node.func):
            sought = node.args
        for part in (part for one in sought for part in ast.walk(one)):
            if isinstance(part, ast.Constant) and isinstance(part.value, str) and sentences(part.value):
                yield part.lineno, f"holds an error to its words: {part.value!r}"


def _called(node: ast.AST) -> str:
    """Name of the function or method of a call."""
    return word(node.func) if isinstance(node, ast.Call) else ""


def _is_error(node: ast.AST) -> bool:
    return any(isinstance(part, ast.Attribute) and part.attr in _ERRORS for part in ast.walk(node))
