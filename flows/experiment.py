"""The experiment flow: stages with other parameters, in a worktree of its own, kept as a DVC experiment."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.runtime import flow_run
from pydantic import Field, ValidationError

from flows.dvc import Checkout, find_root, read_stages
from flows.form import Parameters
from flows.processes import Processes
from flows.publication import publish
from flows.reproduction import StageLimit, log_mended, reproduce_all
from flows.worktree import PARAMS, ExperimentName, read_parameters, save, worktree, write_parameters
from stages.params import text
from stages.params.edit import changed, changes_of
from stages.params.model import Params
from stages.params.text import ParamsTextError

_TARGET = "report"


class ParametersError(ValueError):
    """params.yaml cannot be read, or breaks a law; the first fault."""


def form_values(root: Path) -> dict[str, Any]:
    """What the form starts with: params.yaml of a working copy, as it is on disk.

    Raises:
        ParametersError: the first fault of params.yaml.
    """
    try:
        values = read_parameters(root)
    except ParamsTextError as error:
        raise ParametersError(str(error)) from error
    _require_lawful(values)
    return values


def _require_lawful(values: Mapping[str, Any]) -> None:
    try:
        Params.model_validate_json(json.dumps(values))
    except ValidationError as error:
        first = error.errors()[0]
        raise ParametersError(f"{PARAMS}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error


@flow
def experiment(
    target: str = Field(
        default=_TARGET,
        description="A stage of dvc.yaml, or the name of a group of stages, with all that it depends on.",
        json_schema_extra={"title": "Stage to reproduce"},
    ),
    changes: str = Field(
        default="",
        description="KEY=VALUE on lines or between commas, as train.epochs=4, sources.range_m=[1, 20]: they "
        "prevail over the parameters below.",
        json_schema_extra={"title": "Changes"},
    ),
    name: ExperimentName = "",
    stage_limit_min: StageLimit = 0.0,
    # A union with None would put a choice of types before the form.
    parameters: Parameters = None,  # type: ignore[assignment]
) -> dict[str, str]:
    """Reproduce a stage of the committed HEAD with these parameters, or its own, in a worktree of its own.

    The working copy from which the flows are served is not touched; what is not committed there does not run.
    The result is kept as a DVC experiment.

    Returns:
        The state in which each stage ended, in the order of the graph: ``Completed`` or ``UpToDate``.

    Raises:
        ParametersError: changes that break a law.
        ParamsEditError: changes of a key that is not there, or that are no KEY=VALUE.
        WorktreeError: files that are not committed, a name that is taken, or git or DVC refuses.
        GraphError: if dvc.yaml cannot be read, or ``target`` is not in it.
        StageFailed: if a stage fails twice; run again with the same parameters to resume.
        StageOvertimeError: if a stage reaches the limit; likewise.
    """
    root = find_root(Path.cwd())
    chosen = name or str(flow_run.get_name() or "run")
    log_mended(root)
    read_stages(root, target)
    own = parameters.model_dump(mode="json") if parameters else {}
    wanted = changes_of(changes, text.read(root / PARAMS))
    _require_lawful(changed(own or read_parameters(root), wanted))
    with Processes() as processes, worktree(root, chosen) as directory:
        values = changed(own or read_parameters(directory), wanted)
        written = write_parameters(directory, values)
        get_run_logger().info("parameters that differ from HEAD: %s", ", ".join(written) or "none")
        stages = read_stages(directory, target)
        outcome = reproduce_all(Checkout(directory, processes, stage_limit_min, state=root), stages)
        publish(root, directory, stages, chosen)
        save(root, directory, chosen, [target])
    create_markdown_artifact(
        f"# Experiment `{chosen}`\n\nChanged: {', '.join(f'`{key}`' for key in written) or 'nothing'}\n\n"
        f"    dvc exp show\n    dvc exp diff {chosen}\n    dvc exp apply {chosen}\n",
        key="experiment",
        description="How to see it and to bring it into the working copy",
    )
    return outcome
