"""The pipeline flow: reproduce the graph of dvc.yaml in this working copy, one task per stage.

Usage: ``python -m flows.pipeline [TARGET]``. Where no server is configured, a temporary one runs.
"""

import argparse
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect import flow, get_run_logger, task
from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.futures import PrefectFuture, as_completed
from prefect.settings import PREFECT_API_URL
from prefect.states import Completed
from prefect.tasks import Task
from pydantic import Field

from flows.dvc import (
    Checkout,
    GraphError,
    Stage,
    StageError,
    StageKilledError,
    find_root,
    read_metrics,
    read_stages,
)
from flows.server import ServerError, free_port, interrupt_on_signals, server

_TARGET = "report"


async def _retry(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    """A stage killed with its flow, or refused, must not start again; any other failure resumes."""
    error = await state.aresult(raise_on_failure=False)
    return not (isinstance(error, StageKilledError) or (isinstance(error, StageError) and error.refused))


@task(cache_policy=NO_CACHE, retries=1, retry_condition_fn=_retry)
def reproduce(checkout: Checkout, stage: str) -> State[Any] | None:
    """Bring one DVC stage up to date and stream what it writes to the log of the run."""
    if checkout.reproduce(stage, get_run_logger().info) == "up to date":
        return Completed(name="UpToDate", message="nothing that this stage depends on has changed")
    return None


@flow
def pipeline(
    target: str = Field(
        default=_TARGET,
        description="A stage of dvc.yaml, or the name of a group of stages. What it depends on is brought up "
        "to date first; what has not changed is not run again. Stages run in the working copy from which the "
        "flows are served, with its params.yaml as it is on disk.",
        # Prefect gives every field the name of its parameter as title; this one prevails.
        json_schema_extra={"title": "Stage to reproduce"},
    ),
) -> dict[str, str]:
    """Reproduce a stage of dvc.yaml and all it depends on, in the working copy around the current folder.

    Returns:
        The state in which each stage ended, in the order of the graph: ``Completed`` or ``UpToDate``.

    Raises:
        GraphError: if dvc.yaml cannot be read, or ``target`` is not in it.
        StageError: if a stage fails twice; stages that do not depend on it are finished first.
    """
    root = find_root(Path.cwd())
    stages = read_stages(root, target)
    futures: dict[str, PrefectFuture[Any]] = {}
    with Checkout(root) as checkout:
        # In the order of the graph: a stage must not hold a worker while what it waits for is still queued.
        for stage in stages:
            named = reproduce.with_options(name=stage.name, task_run_name=stage.name)
            futures[stage.name] = named.submit(
                checkout, stage.name, wait_for=[futures[name] for name in stage.after], return_state=False
            )
        _follow(futures)
    for future in futures.values():
        if future.state.is_failed() or future.state.is_crashed():
            future.result()
    _publish(root, stages, target)
    return {name: str(future.state.name) for name, future in futures.items()}


def _follow(futures: dict[str, PrefectFuture[Any]]) -> None:
    progress = create_progress_artifact(0.0, key="stages", description=f"Stages done, of {len(futures)}")
    assert isinstance(progress, UUID)  # a coroutine only where an event loop runs
    for done, future in enumerate(as_completed(list(futures.values())), start=1):
        future.wait()  # keeps the state that the run ended in; the server hears of it later
        update_progress_artifact(progress, 100.0 * done / len(futures))


def _publish(root: Path, stages: Sequence[Stage], target: str) -> None:
    """Show the metrics of the run and say where its result lies."""
    rows = [
        {"file": file, "metric": name, "value": value}
        for file, metrics in read_metrics(root, stages).items()
        for name, value in metrics.items()
    ]
    if rows:
        create_table_artifact(rows, key="metrics", description="Metrics of dvc.yaml, as DVC reads them")
    before = {name for stage in stages for name in stage.after}
    results = [path for stage in stages if stage.name not in before for path in stage.outputs]
    create_markdown_artifact(
        "\n".join([f"# Results of `{target}`", "", *(f"- [`{path}`]({path.as_uri()})" for path in results)]),
        key="results",
        description="Open these paths on the machine that ran the flow",
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the flow from the command line and say how each stage ended."""
    parser = argparse.ArgumentParser(prog="python -m flows.pipeline", description=pipeline.description)
    parser.add_argument("target", nargs="?", default=_TARGET, help="stage (default: %(default)s)")
    target = parser.parse_args(arguments).target
    interrupt_on_signals()
    try:
        read_stages(find_root(Path.cwd()), target)  # a wrong target is refused before a server starts
        # Prefect's own temporary server shares the process group: Ctrl-C stops it before the flow can report.
        with nullcontext() if PREFECT_API_URL.value() else server(free_port()):
            outcome = pipeline(target=target)
    except (GraphError, StageError, ServerError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; run again to resume", file=sys.stderr)
        return 130
    for stage, state in outcome.items():
        print(f"{state:>10}  {stage}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
