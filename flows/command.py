"""A flow from the command line: on the server that is configured, or on one that lasts as long as the run."""

import re
import sys
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path

import httpx
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from flows.dvc import GraphError, StageFailed, StageOvertimeError, find_root, read_stages
from flows.lockfile import LockFileError, mend_lock
from flows.processes import CommandError
from flows.server import ServerError, free_port, interrupt_on_signals, server
from flows.worktree import WorktreeError
from risolve.shown import shown
from stages.params.edit import ParamsEditError
from stages.params.text import ParamsTextError

_PATIENCE_S = 20.0

_EXPECTED = (
    CommandError,
    GraphError,
    LockFileError,
    ParamsEditError,
    ParamsTextError,
    ServerError,
    StageFailed,
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
            print(shown(mended), file=sys.stderr)
        read_stages(root, target)
        if configured := PREFECT_API_URL.value():
            _require_reached(configured)
        # Prefect's own temporary server shares the process group: Ctrl-C stops it before the flow can report.
        with nullcontext() if configured else server(free_port()):
            outcome = run()
    except httpx.TransportError as error:
        print(f"error: the Prefect server is gone ({error}); run again to resume", file=sys.stderr)
        return 1
    except _EXPECTED as error:
        print(f"error: {shown(str(error))}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; run again to resume", file=sys.stderr)
        return 130
    for stage, state in outcome.items():
        print(f"{state:>10}  {stage}")
    return 0


def _require_reached(url: str) -> None:
    """Refuse a server that is configured and does not answer as one, before anything runs.

    Raises:
        ServerError: the variable, its address, and why.
    """
    try:
        with (
            temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}),
            get_client(httpx_settings={"timeout": _PATIENCE_S}, sync_client=True) as client,
        ):
            client.api_version()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        address = re.sub(r"//[^/@]*@", "//", url)  # without a password
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ServerError(
            f"PREFECT_API_URL={address}: no Prefect server answers there ({reason}); start it, or unset the "
            "variable (prefect config unset PREFECT_API_URL) for a server that lasts as long as the run"
        ) from error
