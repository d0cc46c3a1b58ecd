"""The pipeline flow: reproduce the graph of dvc.yaml in this working copy, one task per stage.

Usage: ``python -m flows.pipeline [TARGET]``. Where no server is configured, a temporary one runs.
"""

import argparse
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from prefect import flow
from prefect.artifacts import create_markdown_artifact
from prefect.settings import PREFECT_API_URL
from pydantic import Field

from flows.dvc import Checkout, GraphError, StageError, find_root, read_stages
from flows.processes import Processes
from flows.reproduction import publish_metrics, reproduce_all
from flows.server import ServerError, free_port, interrupt_on_signals, server

_TARGET = "report"


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
    with Processes() as processes:
        outcome = reproduce_all(Checkout(root, processes), stages)
    publish_metrics(root, stages)
    before = {name for stage in stages for name in stage.after}
    results = [path for stage in stages if stage.name not in before for path in stage.outputs]
    create_markdown_artifact(
        "\n".join([f"# Results of `{target}`", "", *(f"- [`{path}`]({path.as_uri()})" for path in results)]),
        key="results",
        description="Open these paths on the machine that ran the flow",
    )
    return outcome


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
