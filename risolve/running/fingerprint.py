"""Fingerprints of code: what a verb runs, without the words about it.

A line for every module that a verb imports, wherever in a module and however far away, whole packages among
them whose modules are loaded by name; and for every template (`DATA`) beside them. A
module has a digest of its syntax without docstrings, comments and layout, which is the same under every
Python that can read it.
"""

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PLUG_INS = {
    "risolve.estimators.registry": "risolve.estimators",
    "risolve.files.registry": "risolve.formats",
}
"""Module -> package of which it loads every module without naming one."""

DATA = {".j2"}
"""Endings of files that modules read from their own package."""

_LIBRARY = __name__.partition(".")[0]
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def fingerprint(module: str) -> str:
    """Digests and files of all that `python -m module` runs of its package and the library, in order."""
    files = {_file(name) for name in closure(module)}
    for file in list(files):
        if file.name == "__init__.py":
            files |= {beside for beside in file.parent.iterdir() if _is_data(beside)}
    named = sorted((file.relative_to(ROOT).as_posix(), file) for file in files)
    return "".join(f"{_digest(file)}  {name}\n" for name, file in named)


@cache
def closure(module: str) -> frozenset[str]:
    """Names of the modules of its package and of the library that a module runs: itself, its imports, theirs,
    their packages.

    Raises:
        ValueError: no such module.
    """
    known = _modules(_LIBRARY) | _modules(module.partition(".")[0])
    if module not in known:
        raise ValueError(f"{module}: there is no module of this name under {ROOT}")
    reached: set[str] = set()
    ahead = {module}
    while ahead:
        name = ahead.pop()
        if name in reached or name not in known:
            continue
        reached.add(name)
        ahead |= _imports(name) | {name.rpartition(".")[0]}
        if plug_ins := PLUG_INS.get(name):
            ahead |= {other for other in known if other.startswith(f"{plug_ins}.")}
    return frozenset(reached)


def meaning(tree: ast.AST) -> str:
    """Digest of the syntax of a program without comments, layout and strings that stand alone."""
    digest = hashlib.blake2b(digest_size=16)
    for part in _parts(tree):
        digest.update(part.encode())
    return digest.hexdigest()


def _parts(node: Any) -> Iterator[str]:
    """A syntax tree in one unambiguous line; fields that are empty, of which Pythons know different ones, are
    left out.
    """
    if isinstance(node, ast.AST):
        yield f"{type(node).__name__}("
        for name, value in ast.iter_fields(node):
            if name == "body" and isinstance(node, _DOCUMENTED):
                value = [line for line in value if not _is_said(line)]
            elif isinstance(node, ast.JoinedStr):
                value = _joined(value)
            if value is not None and value != []:
                yield f"{name}="
                yield from _parts(value)
        yield ")"
    elif isinstance(node, list):
        yield "["
        for part in node:
            yield from _parts(part)
            yield ","
        yield "]"
    else:
        yield f"{node!r};"


def _joined(values: list[ast.expr]) -> list[ast.expr]:
    """Parts of an f-string; Python 3.12 has constants among them that are empty, or in pieces."""
    parts: list[ast.expr] = []
    for value in values:
        if not isinstance(value, ast.Constant):
            parts.append(value)
        elif parts and isinstance(parts[-1], ast.Constant):
            parts[-1] = ast.Constant("".join(map(str, (parts[-1].value, value.value))))
        elif value.value:
            parts.append(ast.Constant(value.value))
    return parts


def _is_said(line: ast.stmt) -> bool:
    return (
        isinstance(line, ast.Expr)
        and isinstance(line.value, ast.Constant)
        and isinstance(line.value.value, str)
    )


@cache
def _modules(package: str) -> frozenset[str]:
    """Names of all modules and packages of a package."""
    names = set()
    for path in (ROOT / package).rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if not all(map(str.isidentifier, parts)):
            continue  # what editors leave beside modules
        names.add(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return frozenset(names)


def _file(module: str) -> Path:
    path = ROOT.joinpath(*module.split("."))
    package = path / "__init__.py"
    return package if package.is_file() else path.with_suffix(".py")


def _imports(module: str) -> set[str]:
    """Names that a module imports, some of which are no modules."""
    names: set[str] = set()
    for node in ast.walk(_tree(_file(module))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def _is_data(path: Path) -> bool:
    """True for a file that a module reads from its own package, such as a template."""
    return path.is_file() and path.suffix in DATA and not path.name.startswith(".")


@cache
def _tree(file: Path) -> ast.Module:
    return ast.parse(file.read_bytes())


@cache
def _digest(file: Path) -> str:
    if file.suffix == ".py":
        return meaning(_tree(file))
    return hashlib.blake2b(file.read_bytes(), digest_size=16).hexdigest()
