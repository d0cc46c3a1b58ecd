"""What users call things reaches programs as it is: no shell, no option, no second argument."""

import subprocess
import sys
from pathlib import Path

import pytest

from flows.arguments import DVC, GIT, command_line, option, python
from flows.processes import Ended, Processes

NAMES = [
    "-x",
    "--help",
    "-",
    "--",
    "two words",
    "a'b\"c",
    "$(touch ran)",
    "`touch ran`",
    "a;touch ran",
    "a\nb",
    "é*?",
]
ECHO = (sys.executable, "-I", "-c", "import sys; print(ascii(sys.argv[1:]))")


@pytest.mark.parametrize("name", NAMES)
def test_a_name_arrives_whole_and_as_no_option(name: str, tmp_path: Path) -> None:
    said: list[str] = []
    with Processes() as processes:
        command = command_line(ECHO, "verb", option("out", name), names=[name, "last"])
        processes.run(command, tmp_path, {}, said.append)
    assert said == [ascii(["verb", f"--out={name}", "--", name, "last"])]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["", "a\0b"])
def test_what_no_argument_can_hold_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="0"):
        command_line(ECHO, names=[name])
    with pytest.raises(ValueError, match="0"):
        option("out", name)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("program", "words", "also"),
    [
        (DVC, ("repro", "--single-item"), ()),
        (GIT, ("worktree", "add", "--detach"), ("HEAD",)),
        (python("risolve.cli"), ("localize",), ()),
    ],
)
def test_every_program_takes_a_name_for_no_option(
    repository: Path, program: tuple[str, ...], words: tuple[str, ...], also: tuple[str, ...]
) -> None:
    """`--help` as an option would end well; there is no stage, commit or file of that name."""
    before = set(repository.iterdir())
    done = subprocess.run(
        command_line(program, *words, names=["--help", *also]), capture_output=True, check=False
    )
    assert done.returncode != 0
    assert b"usage" not in done.stdout.lower()
    assert set(repository.iterdir()) == before


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (("one", "error: two", "three"), "two (exit status 2)"),
        (("error: one", "error: two"), "two (exit status 2)"),
        (("Traceback", "KeyError: 3"), "KeyError: 3 (exit status 2)"),
        ((), "no output (exit status 2)"),
    ],
)
def test_the_reason_of_a_failure_is_the_last_line_that_says_it(lines: tuple[str, ...], reason: str) -> None:
    assert Ended(2, lines).reason == reason
