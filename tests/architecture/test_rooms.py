"""Rooms and files hold one idea each: none is a large share of the house, no file is long, a verb is thin."""

import ast
from collections import Counter
from pathlib import Path

from tests.architecture.source import ROOT, modules

HOUSE = ("risolve", "stages", "flows")
LARGEST_ROOM = 0.16
"""Share of the lines of the house."""
LONGEST_FILE, LONGEST_VERB = 350, 200
"""Lines; a verb is a module of `stages` itself."""


def lines_of_files() -> dict[Path, int]:
    """Lines of every module of the house."""
    files = (file for name in HOUSE for file in (ROOT / name).rglob("*.py"))
    return {file.relative_to(ROOT): len(file.read_text("utf-8").splitlines()) for file in files}


def test_no_room_is_a_large_share_of_the_house() -> None:
    rooms = Counter[str]()
    for file, n_lines in lines_of_files().items():
        rooms["/".join(file.parts[:2]) if len(file.parts) > 2 else file.parts[0]] += n_lines
    most = LARGEST_ROOM * rooms.total()
    assert {room: n_lines for room, n_lines in rooms.items() if n_lines > most} == {}


def test_no_file_is_long_and_no_verb_holds_more_than_its_function() -> None:
    verb = Path("stages")
    found = {
        str(file): n_lines
        for file, n_lines in lines_of_files().items()
        if n_lines > (LONGEST_VERB if file.parent == verb else LONGEST_FILE)
    }
    assert found == {}


def test_the_array_owns_its_manifold() -> None:
    """Whoever took a wavelength, or the amplitude law, would make steering vectors of its own."""
    found = [
        f"{path}: {node.name}"
        for path, tree in modules("risolve", "stages", "benchmarks").items()
        if not path.startswith(("risolve/physics/", "risolve/files/", "stages/params/"))
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
        for argument in (*node.args.args, *node.args.kwonlyargs)
        if argument.arg in {"wavelength", "spherical_amplitude"}
    ]
    assert found == []


def test_a_public_class_has_a_name_of_its_own() -> None:
    places: dict[str, list[str]] = {}
    for path, tree in modules(*HOUSE).items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places.setdefault(node.name, []).append(path)
    assert {name: paths for name, paths in places.items() if len(paths) > 1} == {}
