"""The graph of dvc.yaml as tasks of a flow: one a stage, with the same edges, and followed."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

from prefect import get_run_logger, task
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.futures import PrefectFuture, as_completed
from prefect.states import Completed
from prefect.tasks import Task
from pydantic import Field

from flows.dvc import Checkout, Stage, StageFailed, StageKilledError, StageOvertimeError
from flows.lockfile import mend_lock

StageLimit = Annotated[
    float,
    Field(
        ge=0.0,
        description="Minutes after which a stage is stopped, 0: never. The next run resumes it.",
        json_schema_extra={"title": "Time limit of a stage (min)"},
    ),
]


def log_mended(root: Path) -> None:
    """Mend dvc.lock before a run, and say so.

    Raises:
        LockFileError: as `mend_lock`.
    """
    if mended := mend_lock(root):
        get_run_logger().warning(mended)


async def _retry(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    """A stage killed with its flow, at its limit, or refused, must not start again; other failures resume."""
    error = await state.aresult(raise_on_failure=False)
    is_refused = isinstance(error, StageFailed) and error.refused
    return not (is_refused or isinstance(error, StageKilledError | StageOvertimeError))


@task(cache_policy=NO_CACHE, retries=1, retry_condition_fn=_retry)
def reproduce(checkout: Checkout, stage: str) -> State[Any] | None:
    """Bring one DVC stage up to date and stream what it writes to the log of the run."""
    if checkout.reproduce(stage, get_run_logger().info) == "up to date":
        return Completed(name="UpToDate", message="nothing that this stage depends on has changed")
    return None


def reproduce_all(checkout: Checkout, stages: Sequence[Stage]) -> dict[str, str]:
    """Bring stages up to date, each after those it depends on; the state in which each ended, in order.

    Raises:
        StageFailed: if a stage fails twice; stages that do not depend on it are finished first.
        StageOvertimeError: if a stage reaches the limit of the checkout; likewise.
    """
    futures: dict[str, PrefectFuture[Any]] = {}
    # In the order of the graph: a stage must not hold a worker while what it waits for is still queued.
    for stage in stages:
        named = reproduce.with_options(name=stage.name, task_run_name=stage.name)
        futures[stage.name] = named.submit(
            checkout, stage.name, wait_for=[futures[name] for name in stage.after], return_state=False
        )
    follow(futures)
    for future in futures.values():
        if future.state.is_failed() or future.state.is_crashed():
            future.result()
    return {name: str(future.state.name) for name, future in futures.items()}


def follow(futures: dict[str, PrefectFuture[Any]]) -> None:
    """Wait for all, and show how many have ended."""
    progress = create_progress_artifact(0.0, key="stages", description=f"Stages done, of {len(futures)}")
    assert isinstance(progress, UUID)  # a coroutine only where an event loop runs
    for done, future in enumerate(as_completed(list(futures.values())), start=1):
        future.wait()  # keeps the state that the run ended in; the server hears of it later
        update_progress_artifact(progress, 100.0 * done / len(futures))
