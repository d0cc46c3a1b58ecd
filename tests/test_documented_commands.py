"""Commands of README and documentation: the keys that they name exist, and none rewrites the working copy."""

import re
from pathlib import Path

import pytest

from stages.params.edit import changes_of
from stages.params.text import parse
from tests.architecture.source import ROOT

PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))


def commands(path: Path) -> list[str]:
    """Lines of code, those that go on with a backslash as one."""
    text = re.sub(r"\\\n\s*", "", path.read_text("utf-8"))
    blocks = [line.strip().removeprefix("$ ") for line in text.splitlines() if line.startswith("    ")]
    return blocks + re.findall(r"`([^`]+)`", text)


def test_commands_are_found() -> None:
    assert any(command.startswith("dvc exp run") for page in PAGES for command in commands(page))


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_parameters_of_commands_are_keys(page: Path) -> None:
    held = parse((ROOT / "params.yaml").read_text("utf-8"))
    for command in commands(page):
        for key in re.findall(r"(?:-S|risolve set|changes:) '?([\w.]+)=", command):
            assert list(changes_of(f"{key}=1", held)) == [key]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_experiments_with_other_parameters_run_in_copies(page: Path) -> None:
    """DVC writes the parameters of any other experiment into params.yaml of the working copy."""
    for command in commands(page):
        if command.startswith("dvc exp run") and "-S " in command:
            assert "--temp" in command or "--queue" in command
