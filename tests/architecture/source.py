"""Reading source: dotted names with imports resolved, the Python files of a package, and which are core.

Relative imports are refused by ruff (TID252), so that a name says where it comes from.
"""

import ast
from collections.abc import Callable, Iterator, Mapping
from configparser import ConfigParser
from functools import cache
from pathlib import Path
from types import MappingProxyType

ROOT = Path(__file__).resolve().parents[2]

Finding = tuple[int, str]
"""Line, and what is wrong there."""

Rule = Callable[[str, ast.Module], Iterator[Finding]]
"""Path of a file in the repository and its tree -> findings."""


@cache
def modules(*packages: str) -> Mapping[str, ast.Module]:
    """Path in the repository -> tree of every module of some packages."""
    files = [file for package in packages for file in sorted((ROOT / package).rglob("*.py"))]
    return MappingProxyType(
        {file.relative_to(ROOT).as_posix(): ast.parse(file.read_text("utf-8")) for file in files}
    )


def contract(name: str, key: str) -> list[str]:
    """Lines of one key of an import contract."""
    contracts = ConfigParser()
    contracts.read(ROOT / ".importlinter")
    return contracts[f"importlinter:contract:{name}"][key].split("\n")[1:]


CORE = tuple(name.replace(".", "/") for name in contract("core", "source_modules"))
"""Paths of the modules and packages of the numerical core, without suffix."""


def is_core(path: str) -> bool:
    """True for a file of the numerical core."""
    return any(path == f"{name}.py" or path.startswith(f"{name}/") for name in CORE)


def violations(rule: Rule, trees: Mapping[str, ast.Module]) -> list[str]:
    """Findings of a rule as "path:line: what"."""
    return [f"{path}:{line}: {what}" for path, tree in trees.items() for line, what in rule(path, tree)]


def imports(tree: ast.AST) -> dict[str, str]:
    """Local name -> dotted name of what it stands for."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.partition(".")[0]
                names[alias.asname or top] = alias.name if alias.asname else top
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return names


def dotted(node: ast.AST | None, names: dict[str, str]) -> str:
    """Dotted name of a Name or Attribute chain, imports resolved; ".x" for x of anything else."""
    if isinstance(node, ast.Name):
        return names.get(node.id, node.id)
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value, names)}.{node.attr}"
    return ""


def word(node: ast.AST | None) -> str:
    """Last part of a dotted name: `sum` for `x.diagonal().sum`."""
    return dotted(node, {}).rpartition(".")[2]


def references(tree: ast.AST, module: str) -> Iterator[tuple[int, str]]:
    """(line, name) of all that a file takes from `module`, imported by name or read as an attribute."""
    names = imports(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == module:
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.Attribute) and dotted(node.value, names) == module:
            yield node.lineno, node.attr
