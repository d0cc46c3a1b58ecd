"""How a verb starts: an expected error, or Ctrl-C, becomes one line on standard error and an exit status."""

import argparse
import sys
from collections.abc import Callable, Sequence

from stages.artifacts.errors import StageError
from stages.params import Split


def run(main: Callable[[], None], *expected: type[Exception]) -> None:
    """Run the main function of a verb; a `StageError`, or an error of an `expected` type, ends it with 2,
    Ctrl-C with 130.

    Any other exception is a fault of the code and keeps its traceback.
    """
    ends: tuple[type[Exception], ...] = (StageError, *expected)
    try:
        main()
    except ends as error:
        line = " ".join(str(error).split())
        sys.stderr.write(f"error: {line}\n")
        sys.exit(2)
    except KeyboardInterrupt:
        # on a terminal the line of the progress is not ended yet
        start = "\n" if sys.stderr.isatty() else ""
        sys.stderr.write(f"{start}stopped; run again to resume\n")
        sys.exit(130)


def split_argument(verb: str, description: str | None, splits: Sequence[Split]) -> Split:
    """The split that the command line names, `python -m stages.VERB --split SPLIT`."""
    parser = argparse.ArgumentParser(prog=f"python -m stages.{verb}", description=description)
    parser.add_argument(
        "--split", required=True, choices=splits, help="data set of params.yaml, simulate.SPLIT"
    )
    split: Split = parser.parse_args().split
    return split
