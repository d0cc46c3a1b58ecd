"""The pipeline flow: reproduce the graph of dvc.yaml in this working copy, one task per stage.

Usage: ``python -m flows.pipeline [TARGET]``. Where no server is configured, a temporary one runs.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from prefect import flow
from prefect.artifacts import create_markdown_artifact
from prefect.runtime import flow_run
from pydantic import Field

from flows.command import run_command
from flows.dvc import Checkout, find_root, read_stages
from flows.processes import Processes
from flows.publication import publish
from flows.reproduction import StageLimit, log_mended, reproduce_all

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
    stage_limit_min: StageLimit = 0.0,
) -> dict[str, str]:
    """Reproduce a stage of dvc.yaml and all it depends on, in the working copy around the current folder.

    Returns:
        The state in which each stage ended, in the order of the graph: ``Completed`` or ``UpToDate``.

    Raises:
        GraphError: if dvc.yaml cannot be read, or ``target`` is not in it.
        StageFailed: if a stage fails twice; stages that do not depend on it are finished first.
        StageOvertimeError: if a stage reaches the limit; likewise.
    """
    root = find_root(Path.cwd())
    log_mended(root)
    stages = read_stages(root, target)
    with Processes() as processes:
        outcome = reproduce_all(Checkout(root, processes, stage_limit_min), stages)
    publish(root, root, stages, str(flow_run.get_name()))
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
    return run_command(target, lambda: pipeline(target=target))


if __name__ == "__main__":
    sys.exit(main())
