"""How a command ends: an expected error, or Ctrl-C, becomes one line on standard error and an exit status."""

import argparse
import sys
from collections.abc import Callable
from typing import NoReturn

from risolve.errors import StageError, of_system
from risolve.running.terminal import draw, is_drawn_on, prepare, print_lines, settle, tell


def run(main: Callable[[], None], *expected: type[Exception], stopped: str = "run again to resume") -> None:
    """Run the main function of a command; a `StageError`, an error of an `expected` type, or what the system
    says of a file or a disk, ends it with 2; Ctrl-C with 130, and what it says itself or `stopped`.

    Any other exception is a fault of the code and keeps its traceback.
    """
    prepare()
    ends: tuple[type[Exception], ...] = (StageError, *expected)
    try:
        try:
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
