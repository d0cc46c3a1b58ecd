"""The search flow: hyperparameters by the stage `search` in a worktree, adopted and reproduced if asked."""

from pathlib import Path

from prefect import flow
from prefect.artifacts import create_markdown_artifact
from prefect.runtime import flow_run
from pydantic import Field

from flows.dvc import Checkout, find_root, read_stages
from flows.processes import Processes
from flows.publication import publish
from flows.reproduction import StageLimit, log_mended, reproduce_all
from flows.trials import adopt
from flows.worktree import ExperimentName, read_parameters, save, worktree, write_parameters

_SEARCH, _REPORT = "search", "report"
_BEST = Path("data/search/best.yaml")


@flow
def search(
    n_trials: int = Field(
        default=12,
        ge=1,
        description="Trials of the study in all: finished ones count, and are not run again.",
        json_schema_extra={"title": "Trials"},
    ),
    workers: int = Field(
        default=2, ge=1, description="Processes that share them.", json_schema_extra={"title": "Workers"}
    ),
    adopt_best: bool = Field(
        default=False,
        description="Write the best trial into params.yaml of the experiment and train it at full size.",
        json_schema_extra={"title": "Adopt the best trial and reproduce the report"},
    ),
    name: ExperimentName = "",
    stage_limit_min: StageLimit = 0.0,
) -> dict[str, str]:
    """Search the hyperparameters of the committed HEAD (params.yaml: search), in a worktree of its own.

    The result is kept as a DVC experiment; the working copy is not touched. The study is that of `dvc repro
    search` in the working copy: both go on with the same trials.

    Returns:
        The state in which each stage ended, in the order of the graph.

    Raises:
        WorktreeError: files that are not committed, a name that is taken, or git or DVC refuses.
        StageFailed: if a stage fails twice; run again to resume.
        StageOvertimeError: if a stage reaches the limit; likewise.
        CommandError: if no trial can be adopted.
    """
    root = find_root(Path.cwd())
    chosen = name or str(flow_run.get_name() or "search")
    log_mended(root)
    with Processes() as processes, worktree(root, chosen) as directory:
        budget = {"n_trials": n_trials, "workers": workers}
        write_parameters(directory, {"search": {**read_parameters(directory)["search"], **budget}})
        checkout = Checkout(directory, processes, stage_limit_min, state=root)
        stages = read_stages(directory, _SEARCH)
        outcome = reproduce_all(checkout, stages)
        publish(root, directory, stages, chosen)
        best = (directory / _BEST).read_text("utf-8")
        difference = ""
        if adopt_best:
            difference = adopt(processes, directory)
            stages = read_stages(directory, _REPORT)
            outcome |= reproduce_all(checkout, stages)
            publish(root, directory, stages, chosen)
        save(root, directory, chosen, [_SEARCH, *([_REPORT] if adopt_best else [])])
    parts = [f"# Best trial of `{chosen}`", f"```yaml\n{best}```"]
    parts += [f"```diff\n{difference}\n```"] if difference else []
    parts += [f"    dvc exp show\n    dvc exp apply {chosen}\n    risolve adopt\n"]
    create_markdown_artifact(
        "\n\n".join(parts), key="search", description="The best trial, and how to get it"
    )
    return outcome
