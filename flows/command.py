"""A flow from the command line: on the server that is configured, or on one that lasts as long as the run."""

import sys
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path

from prefect.settings import PREFECT_API_URL

from flows.dvc import GraphError, StageError, StageOvertimeError, find_root, read_stages
from flows.lockfile import LockFileError, mend_lock
from flows.processes import CommandError
from flows.server import ServerError, free_port, interrupt_on_signals, server
from flows.worktree import WorktreeError

_EXPECTED = (
    CommandError,
    GraphError,
    LockFileError,
    ServerError,
    StageError,
    StageOvertimeError,
    WorktreeError,
)


def run_command(target: str, run: Callable[[], Mapping[str, str]]) -> int:
    """Exit status of a command that runs a flow and says how each stage ended.

    Args:
        target: stage that the flow reproduces; a wrong one is refused before a server starts.
        run: runs the flow; the state in which each stage ended.
    """
    interrupt_on_signals()
    try:
        root = find_root(Path.cwd())
        if mended := mend_lock(root):
            print(mended, file=sys.stderr)
        read_stages(root, target)
        # Prefect's own temporary server shares the process group: Ctrl-C stops it before the flow can report.
        with nullcontext() if PREFECT_API_URL.value() else server(free_port()):
            outcome = run()
    except _EXPECTED as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; run again to resume", file=sys.stderr)
        return 130
    for stage, state in outcome.items():
        print(f"{state:>10}  {stage}")
    return 0
