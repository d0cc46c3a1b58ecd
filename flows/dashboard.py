"""The dashboard of Optuna over the study of the last search, behind the gate of `make serve`: it shows, and
changes nothing.

Usage: ``python -m flows.dashboard [--port PORT]``; Ctrl-C stops it.
"""

import argparse
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import cast

import optuna_dashboard
import uvicorn
from a2wsgi import WSGIMiddleware
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from starlette.types import ASGIApp

from flows.dvc import GraphError, find_root
from flows.gate import Gate
from flows.key import Key
from flows.server import HOST, Address, ServerError, listening

_POLICY = "default-src 'self' data: 'unsafe-inline' 'unsafe-eval'"


class DashboardError(RuntimeError):
    """There is nothing to show."""


def last_journal(root: Path) -> Path:
    """The journal that a search wrote last.

    Raises:
        DashboardError: there is none.
    """
    journals = list((root / "state" / "search").glob("*/journal.log"))
    if not journals:
        raise DashboardError(
            f"{root / 'state' / 'search'}: no search has kept its trials here; run `make search` first"
        )
    return max(journals, key=lambda path: path.stat().st_mtime_ns)


def dashboard(journal: Path, port: int) -> None:
    """Show a journal, as it grows, until Ctrl-C.

    Raises:
        ServerError: the port is taken.
    """
    study = JournalStorage(JournalFileBackend(str(journal)))
    address = Address(Key(port))
    with listening(port) as listener:
        shown = cast(ASGIApp, WSGIMiddleware(optuna_dashboard.wsgi(study)))
        app = Gate(shown, address.key, port, _POLICY)
        print(f"The trials of {journal} are at {address.entrance} - Ctrl-C stops it", flush=True)
        config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", ws="none")
        uvicorn.Server(config).run(sockets=[listener])


def main(arguments: Sequence[str] | None = None) -> int:
    """Show the trials from the command line."""
    parser = argparse.ArgumentParser(prog="python -m flows.dashboard", description="Show the last search.")
    parser.add_argument("--port", type=int, default=8080, help=f"port of {HOST} (default: %(default)s)")
    port = parser.parse_args(arguments).port
    if not 1 <= port <= 65535:
        parser.error(f"--port: a number from 1 to 65535; got {port}")
    try:
        with suppress(KeyboardInterrupt):
            dashboard(last_journal(find_root(Path.cwd())), port)
    except (DashboardError, GraphError, ServerError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
