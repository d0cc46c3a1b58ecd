"""How a verb starts: by code that `check` has seen, and with an eye on the dvc, or the torchrun, above it."""

import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from risolve.errors import StateError
from risolve.running.entry import Parser, run
from risolve.running.fingerprint import fingerprint
from risolve.running.terminal import tell
from stages.params.model import Split


def run_verb(main: Callable[[], None], *expected: type[Exception]) -> None:
    """Run the main function of a verb, as `run` does; it does not outlive what started it."""

    def guarded() -> None:
        if "DVC_STAGE" in os.environ or "TORCHELASTIC_RUN_ID" in os.environ:
            threading.Thread(target=end_with_starter, daemon=True).start()
        _require_checked_code()
        main()

    run(guarded, *expected)


def _require_checked_code() -> None:
    """Refuse to run code of another folder, or code that was edited since `check` wrote its fingerprint; DVC
    would record it as that of this folder, and as it was.

    Raises:
        StateError: as said.
    """
    own = Path("stages/running/verb.py")
    if own.is_file() and not own.samefile(__file__):
        raise StateError(
            f"the stages of {Path.cwd()} would run the code of {Path(__file__).parents[2]}; unset "
            "PYTHONSAFEPATH, which hides the code of the current folder from Python"
        )
    verb = os.environ.get("DVC_STAGE", "").rpartition(":")[2].partition("@")[0]
    checked = Path("data/check/code") / f"{verb}.txt"
    if verb and checked.is_file() and checked.read_text("utf-8") != fingerprint(f"stages.{verb}"):
        raise StateError(f"the code of {verb} was edited since `check` looked at it; run `dvc repro` again")


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
