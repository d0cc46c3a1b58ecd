"""Rooms hold one idea each: none is a large share of the house."""

from collections import Counter
from pathlib import Path

from tests.architecture.source import ROOT

HOUSE = ("risolve", "stages", "flows")
LARGEST_ROOM = 0.16
"""Share of the lines of the house."""


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
