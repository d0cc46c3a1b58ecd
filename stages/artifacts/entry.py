"""How a verb starts, and how it ends: an expected error, or Ctrl-C, becomes one line on standard error and an
exit status, and a verb does not outlive the dvc, or the torchrun, that started it.
"""

import argparse
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import psutil

from stages.artifacts.errors import StageError, StateError, of_system
from stages.artifacts.fingerprint import fingerprint
from stages.artifacts.terminal import draw, is_drawn_on, prepare, print_lines, settle, tell
from stages.params import Split


def run(main: Callable[[], None], *expected: type[Exception], stopped: str = "run again to resume") -> None:
    """Run the main function of a verb; a `StageError`, an error of an `expected` type, or what the system
    says of a file or a disk, ends it with 2; Ctrl-C with 130, and what it says itself or `stopped`.

    Any other exception is a fault of the code and keeps its traceback.
    """
    prepare()
    if "DVC_STAGE" in os.environ or "TORCHELASTIC_RUN_ID" in os.environ:
        threading.Thread(target=end_with_starter, daemon=True).start()
    ends: tuple[type[Exception], ...] = (StageError, *expected)
    try:
        try:
            _require_checked_code()
            main()
        finally:
            print_lines(())  # what was printed may wait for room
    except ends as error:
        _end_with(error)
    except OSError as error:
        said = of_system(error)
        if said is None:
            raise
        _end_with(said)
    except KeyboardInterrupt as stop:
        # on a terminal the line of the progress is not ended yet
        draw("\n" if is_drawn_on() else "")
        tell(f"stopped; {str(stop) or stopped}")
        sys.exit(130)
    finally:
        settle()


def _require_checked_code() -> None:
    """Refuse to run code that was edited since `check` wrote its fingerprint, which DVC would record.

    Raises:
        StateError: as said.
    """
    verb = os.environ.get("DVC_STAGE", "").rpartition(":")[2].partition("@")[0]
    checked = Path("data/check/code") / f"{verb}.txt"
    if verb and checked.is_file() and checked.read_text("utf-8") != fingerprint(f"stages.{verb}"):
        raise StateError(f"the code of {verb} was edited since `check` looked at it; run `dvc repro` again")


def _end_with(error: Exception) -> NoReturn:
    """One line, and the status of an error."""
    tell(f"error: {' '.join(str(error).split())}")
    sys.exit(2)


class Parser(argparse.ArgumentParser):
    """A parser whose errors, which quote what was given, reach the terminal as text."""

    def error(self, message: str) -> NoReturn:
        """The usage and one line, and the status of an error."""
        draw(self.format_usage())
        tell(f"{self.prog}: error: {message}")
        sys.exit(2)


def end_with_starter() -> None:
    """End this process when dvc is gone, which would neither record its result nor let the next run go on; or
    torchrun, which would not end it with the other processes.
    """
    starter = _starter()
    with suppress(psutil.NoSuchProcess):
        while starter is not None and starter.is_running() and starter.status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.3)
    tell("stopped with what started it; run again to resume")
    os._exit(130)


def _starter() -> psutil.Process | None:
    """The nearest Python process above, a shell may stand between; None where it is gone already."""
    for process in psutil.Process().parents():
        with suppress(psutil.NoSuchProcess):
            program = Path((process.cmdline() or [""])[0]).name
            if program.startswith(("python", "dvc")):
                return process
    return None


def split_argument(verb: str, description: str | None, splits: Sequence[Split]) -> Split:
    """The split that the command line names, `python -m stages.VERB --split SPLIT`."""
    parser = Parser(prog=f"python -m stages.{verb}", description=description)
    parser.add_argument(
        "--split", required=True, choices=splits, help="data set of params.yaml, simulate.SPLIT"
    )
    split: Split = parser.parse_args().split
    return split
