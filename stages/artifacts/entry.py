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

import psutil

from stages.artifacts.errors import StageError
from stages.params import Split


def run(
    main: Callable[[], None], *expected: type[Exception], stopped: str = "stopped; run again to resume"
) -> None:
    """Run the main function of a verb; a `StageError`, or an error of an `expected` type, ends it with 2,
    Ctrl-C with 130 and the line `stopped`.

    Any other exception is a fault of the code and keeps its traceback.
    """
    if "DVC_STAGE" in os.environ or "TORCHELASTIC_RUN_ID" in os.environ:
        threading.Thread(target=_end_with_starter, daemon=True).start()
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
        sys.stderr.write(f"{start}{stopped}\n")
        sys.exit(130)


def _end_with_starter() -> None:
    """End this process when dvc is gone, which would neither record its result nor let the next run go on; or
    torchrun, which would not end it with the other processes.
    """
    starter = _starter()
    with suppress(psutil.NoSuchProcess):
        while starter is not None and starter.is_running() and starter.status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.3)
    # where it went may be gone with the starter
    with suppress(OSError):
        sys.stderr.write("stopped with what started it; run again to resume\n")
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
    parser = argparse.ArgumentParser(prog=f"python -m stages.{verb}", description=description)
    parser.add_argument(
        "--split", required=True, choices=splits, help="data set of params.yaml, simulate.SPLIT"
    )
    split: Split = parser.parse_args().split
    return split
