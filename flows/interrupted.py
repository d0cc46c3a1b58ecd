"""Runs that a kill of everything left behind: Prefect shows them as running for ever, and nothing runs."""

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.states import Cancelled, Crashed

from flows.server import ServerError

_UNDER_WAY = (StateType.PENDING, StateType.RUNNING, StateType.CANCELLING)


@contextmanager
def sole_runner(root: Path) -> Iterator[None]:
    """Be the one process that runs the served flows of a repository, until the block ends.

    Raises:
        ServerError: if another one is.
    """
    path = root / "state" / "serve.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.seek(0)
            holder = lock.read().strip() or "?"
            raise ServerError(
                f"{root}: process {holder} serves the flows of this working copy already; stop it first"
            ) from error
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield


def end_interrupted(deployments: Sequence[UUID]) -> list[FlowRun]:
    """End the runs of deployments that the server holds for under way, for the sole runner that has none.

    Those that were being cancelled are cancelled; the others crashed, and are given: they can be tried again.
    """
    with get_client(sync_client=True) as client:
        left = client.read_flow_runs(
            flow_run_filter=FlowRunFilter(
                state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(_UNDER_WAY)))
            ),
            deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=list(deployments))),
        )
        crashed = []
        for run in left:
            message = "what ran it was killed"
            if run.state_type == StateType.CANCELLING:
                client.set_flow_run_state(run.id, Cancelled(message=message), force=True)
            else:
                client.set_flow_run_state(
                    run.id, Crashed(message=f"{message}; Retry goes on with it"), force=True
                )
                crashed.append(run)
    return crashed
