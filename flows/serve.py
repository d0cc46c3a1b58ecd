"""Serve the flows: a Prefect server on this machine, its user interface, and the process that runs the flows.

Usage: ``python -m flows.serve [--port PORT]``; Ctrl-C or SIGTERM stops everything.
"""

import argparse
import asyncio
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# `Runner.start` imports this too; interrupted amid an import, Python exits as if SIGINT had killed it.
import prefect.runner.server  # noqa: F401
from prefect import Flow
from prefect.deployments.runner import RunnerDeployment
from prefect.runner import Runner
from prefect.types.entrypoint import EntrypointType

from flows.dvc import GraphError, find_root
from flows.experiment import experiment
from flows.localize import localize
from flows.pipeline import pipeline
from flows.search import search
from flows.server import HOST, ServerError, interrupt_on_signals, server
from flows.worktree import read_parameters

_FLOWS: dict[Flow[..., Any], tuple[str, tuple[str, ...]]] = {
    pipeline: ("here", ()),
    experiment: ("worktree", ("parameters",)),
    search: ("worktree", ()),
    localize: ("folder", ()),
}
"""Flow -> where it runs, the name of its deployment, and those of its parameters that params.yaml fills."""


class _Runner(Runner):
    """Runs what is asked of the deployments, until SIGTERM or Ctrl-C."""

    def handle_sigterm(self, *args: Any, **kwargs: Any) -> None:
        """Stop as Ctrl-C does, at any moment; Prefect's own handler fails before the first poll."""
        signal.raise_signal(signal.SIGINT)


def serve(port: int) -> None:
    """Serve every flow from the current working copy until Ctrl-C or SIGTERM.

    One run at a time: two in one working copy would write the same files.

    Raises:
        GraphError: if the current folder is not inside a DVC repository.
        ServerError: if the server cannot be started.
    """
    root = find_root(Path.cwd())
    with server(port) as api:
        print(f"Prefect is at {api.removesuffix('/api')} - Ctrl-C stops it")
        runner = _Runner(limit=1)
        for own, (place, filled) in _FLOWS.items():
            deployment = own.to_deployment(
                name=place,
                description=(own.description or "").partition("\n\n")[0],
                parameters={name: read_parameters(root) for name in filled},
                entrypoint_type=EntrypointType.MODULE_PATH,
            )
            assert isinstance(deployment, RunnerDeployment)  # a coroutine only where an event loop runs
            runner.add_deployment(deployment)
        asyncio.run(runner.start())


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve the flows from the command line."""
    parser = argparse.ArgumentParser(prog="python -m flows.serve", description="Serve the flows to Prefect.")
    parser.add_argument("--port", type=int, default=4200, help=f"port of {HOST} (default: %(default)s)")
    port = parser.parse_args(arguments).port
    interrupt_on_signals()
    try:
        serve(port)
    except (GraphError, ServerError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
