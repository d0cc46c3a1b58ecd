"""What a person reads is text, and no stream that is closed, full or of another encoding stops a verb."""

import os
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from risolve.running.progress import Progress, say
from risolve.running.terminal import print_lines, tell
from risolve.shown import shown
from tests.tiny_run import environment


@given(st.text(st.characters(codec=None)))
def test_shown_text_is_text_to_every_terminal(text: str) -> None:
    """Of no control, format or surrogate character, encodable, and itself where there is none of them."""
    result = shown(text)
    assert result.isprintable()
    assert not any(unicodedata.category(letter) in {"Cc", "Cf", "Cs", "Zl", "Zp"} for letter in result)
    result.encode("utf-8")
    assert shown(result) == result
    assert (result == text) == text.isprintable()


def test_every_line_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    name = "a\x1b[2J\x07\r\n\udcff.h5"
    tell(name)
    print_lines([name, name])
    say(name, name)
    Progress(name, 1, name, done=1).advance(note=name)
    out, err = capsys.readouterr()
    assert out == f"{shown(name)}\n" * 2
    assert err.splitlines()[0] == shown(name)
    assert shown(err.replace("\n", "")) == err.replace("\n", "")


VERB = """
import os, sys
from contextlib import suppress
from risolve.running.entry import Parser, run
from risolve.errors import StateError
from risolve.running.progress import Progress
from risolve.running.terminal import print_lines, tell
def main():
    Parser(prog="verb").parse_args()
    progress = Progress("verb", 2, "steps", done=1)
    open("opened", "w").close()
    with open("work", "w") as file:
        assert file.fileno() > 2, file.fileno()
        tell("a line")
        progress.advance(note="±")
        with suppress(OSError):
            os.write(2, b"a library says so\\n")
        file.write("1")
    print_lines(["found ±", "\\x1b[2J"])
    if os.environ.get("FAIL"):
        raise StateError("law, numbers")
run(main)
"""


def call(folder: Path, redirection: str, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """The verb above under a shell that redirects its streams."""
    command = ["bash", "-c", f'exec "$0" -c "$1" "${{@:2}}" {redirection}', sys.executable, VERB, *arguments]
    return subprocess.run(
        command,
        cwd=folder,
        env={**environment(), **more},
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )


@pytest.mark.parametrize(
    ("redirection", "status", "last"),
    [
        ("2>/dev/full", 0, ""),
        ("2>&-", 0, ""),
        (">&-", 0, "a library says so"),
        ("<&- >&- 2>&-", 0, ""),
        (">/dev/full", 2, "error: standard output: cannot be written (No space left on device)"),
        ("> >(exit)", 0, "a library says so"),
        ("2> >(exit)", 0, ""),
    ],
)
def test_the_work_is_done_whatever_the_streams_are(
    tmp_path: Path, redirection: str, status: int, last: str
) -> None:
    done = call(tmp_path, redirection)
    assert (tmp_path / "work").read_text("utf-8") == "1"
    assert "Traceback" not in done.stderr
    assert done.returncode == status
    assert done.stderr.splitlines()[-1:] == ([last] if last else [])


def test_a_failure_keeps_its_status_on_a_full_disk(tmp_path: Path) -> None:
    assert call(tmp_path, "2>/dev/full >/dev/full", FAIL="1").returncode == 2
    assert call(tmp_path, ">/dev/full", "--help").returncode == 2


@pytest.mark.parametrize("encoding", ["ascii", "ascii:strict", "latin-1:strict", "utf-8:strict"])
def test_a_terminal_of_any_encoding_takes_every_line(tmp_path: Path, encoding: str) -> None:
    done = call(tmp_path, "", PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "\\x1b[2J")


def test_what_was_given_reaches_the_terminal_as_text(tmp_path: Path) -> None:
    done = call(tmp_path, "", "--\x1b[2J", os.fsdecode(b"\xff"))
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith("--\\x1b[2J \\udcff")


@pytest.mark.parametrize(
    ("name", "reason"),
    [("a" * 300, "File name too long"), ("file/a", "Not a directory"), ("locked/a", "Permission denied")],
)
def test_what_the_system_says_of_a_name_is_one_line(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "locked").mkdir()
    (tmp_path / "locked").chmod(0o700 if os.geteuid() == 0 else 0o000)
    program = (
        "import os, sys\nfrom pathlib import Path\nfrom risolve.running.entry import run\n"
        "if os.geteuid() == 0 and 'locked' in sys.argv[1]: os.setuid(65534)\n"
        "run(lambda: Path(sys.argv[1]).stat())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, name],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (2, f"error: {name}: {reason}\n")
