"""Serve the flows: a Prefect server on this machine, its user interface, and the process that runs the flows.

Usage: ``python -m flows.serve [--port PORT]``; Ctrl-C or SIGTERM stops everything.
"""

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx

# `Runner.start` imports this too; interrupted amid an import, Python exits as if SIGINT had killed it.
import prefect.runner.server  # noqa: F401
from prefect import Flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import DeploymentUpdate
from prefect.deployments.runner import RunnerDeployment
from prefect.exceptions import PrefectException
from prefect.runner import Runner
from prefect.settings import PREFECT_HOME
from prefect.types.entrypoint import EntrypointType

from flows.deployments import FILLED, SERVED, description
from flows.dvc import GraphError, find_root
from flows.experiment import ParametersError, form_values
from flows.interrupted import end_interrupted, sole_runner
from flows.key import kept
from flows.localize import MEASUREMENTS
from flows.pages import pages
from flows.processes import RUNNER
from flows.publication import PAGES_URL, pages_directory
from flows.server import HOST, ServerError, interrupt_on_signals, listening, server
from flows.worktree import PARAMS
from risolve.shown import shown

SECRET = "secret"
"""File of PREFECT_HOME: PREFECT_API_AUTH_STRING, as long as the flows are served."""

_SECONDS_BETWEEN_LOOKS = 2.0


class _Runner(Runner):
    """Runs what is asked of the deployments, until SIGTERM or Ctrl-C."""

    def handle_sigterm(self, *args: Any, **kwargs: Any) -> None:
        """Stop as Ctrl-C does, at any moment; Prefect's own handler fails before the first poll."""
        signal.raise_signal(signal.SIGINT)


def serve(port: int, folders: Sequence[Path]) -> None:
    """Serve every flow from the current working copy until Ctrl-C or SIGTERM.

    One run at a time: two in one working copy would write the same files.

    Args:
        folders: those under which the form of `localize` reads and writes; none: `measurements` of the clone.

    Raises:
        GraphError: if the current folder is not inside a DVC repository.
        ServerError: if the server cannot be started, or the flows are served already.
    """
    root = find_root(Path.cwd())
    os.chdir(root)  # runs start where this process is
    listening(port).close()  # refused before anything is written
    with (
        sole_runner(root),
        server(port) as address,
        kept(address.key, PREFECT_HOME.value() / SECRET),
        pages(pages_directory(root), port + 1, address.key) as shown_at,
    ):
        os.environ.update({PAGES_URL: shown_at, RUNNER: str(os.getpid())})
        if folders:
            os.environ[MEASUREMENTS] = os.pathsep.join(map(str, folders))
        print(f"Prefect is at {address.entrance} - Ctrl-C stops it", flush=True)
        runner = _Runner(limit=1)
        noticed, values = _changed_ns(root), _form_values(root)
        deployments: dict[UUID, Flow[..., Any]] = {}
        for own in SERVED:
            deployment = own.to_deployment(
                name=own.name,
                description=description(own),
                parameters={FILLED[own]: values} if own in FILLED and values else {},
                entrypoint_type=EntrypointType.MODULE_PATH,
            )
            assert isinstance(deployment, RunnerDeployment)  # a coroutine only where an event loop runs
            added = runner.add_deployment(deployment)
            assert isinstance(added, UUID)
            deployments[added] = own
        for run in end_interrupted(list(deployments)):
            print(f"run '{run.name}' was interrupted: Retry on its page goes on with it")
        filled = {added: FILLED[own] for added, own in deployments.items() if own in FILLED}
        asyncio.run(_run(runner, root, filled, noticed))


async def _run(runner: _Runner, root: Path, filled: Mapping[UUID, str], noticed: int | None) -> None:
    """Run the flows, and keep the values in their forms those of params.yaml."""
    following = asyncio.create_task(_follow_parameters(root, filled, noticed))
    try:
        await runner.start()
    finally:
        following.cancel()


async def _follow_parameters(root: Path, filled: Mapping[UUID, str], noticed: int | None) -> None:
    """Show a params.yaml that is written after the one that was noticed.

    Args:
        filled: deployment -> its parameter that params.yaml fills.
        noticed: when the one that the forms show was written.
    """
    while True:
        await asyncio.sleep(_SECONDS_BETWEEN_LOOKS)
        if (now := _changed_ns(root)) == noticed:
            continue
        if values := _form_values(root):
            try:
                async with get_client() as client:
                    for deployment, name in filled.items():
                        update = DeploymentUpdate(parameters={name: values})
                        await client.update_deployment(deployment, update)
            except httpx.TransportError:
                continue  # the server is being started again
            except (httpx.HTTPStatusError, PrefectException) as error:
                print(f"the form of experiments keeps its values: {shown(str(error))}", file=sys.stderr)
        noticed = now


def _changed_ns(root: Path) -> int | None:
    """When params.yaml was written last; an editor may have it replaced at this moment."""
    try:
        return (root / PARAMS).stat().st_mtime_ns
    except FileNotFoundError:
        return None


def _form_values(root: Path) -> dict[str, Any] | None:
    """None, and a line, for parameters that are wrong."""
    try:
        return form_values(root)
    except ParametersError as error:
        print(
            f"error: {shown(str(error))}; the form of experiments does not show these values", file=sys.stderr
        )
        return None


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve the flows from the command line."""
    parser = argparse.ArgumentParser(prog="python -m flows.serve", description="Serve the flows to Prefect.")
    parser.add_argument("--port", type=int, default=4200, help=f"port of {HOST} (default: %(default)s)")
    parser.add_argument(
        "--measurements",
        type=Path,
        action="append",
        default=[],
        metavar="FOLDER",
        help="folder under which the form of localize reads and writes; may be given several times "
        "(default: measurements, in the clone)",
    )
    asked = parser.parse_args(arguments)
    port, folders = asked.port, [folder.resolve() for folder in asked.measurements]
    if not 1 <= port < 65535:
        parser.error(f"--port: a number from 1 to 65534, the next one is for the pages; got {port}")
    for folder in folders:
        if not folder.is_dir() or os.pathsep in str(folder):
            parser.error(f"--measurements: a folder, without {os.pathsep!r} in its path; got {str(folder)!r}")
    interrupt_on_signals()
    try:
        serve(port, folders)
    except (GraphError, ServerError) as error:
        print(f"error: {shown(str(error))}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
