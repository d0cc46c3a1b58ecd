"""The replay flow: the best trials of the committed search at full size, each kept as a DVC experiment.

Usage: ``python -m flows.replay [TOP] [--target STAGE]``. Where no server is configured, a temporary one runs.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact
from pydantic import Field

from flows.command import run_command
from flows.dvc import Checkout, find_root, read_stages
from flows.processes import Processes
from flows.publication import publish
from flows.reproduction import StageLimit, log_mended, reproduce_all
from flows.trials import adopt, best_trials
from flows.worktree import experiment_names, head, require_committed, save, worktree

_TARGET, _TOP = "report", 3


@flow
def replay(
    top: int = Field(
        default=_TOP,
        ge=1,
        description="As many of the complete trials of data/search/trials.csv, best first.",
        json_schema_extra={"title": "Trials"},
    ),
    target: str = Field(
        default=_TARGET,
        description="A stage of dvc.yaml, with all that it depends on.",
        json_schema_extra={"title": "Stage to reproduce"},
    ),
    stage_limit_min: StageLimit = 0.0,
) -> dict[str, str]:
    """Reproduce a stage with the hyperparameters of the best trials, one after the other, at full size.

    Each is adopted in a worktree of the committed HEAD, and kept as the experiment ``trial-NUMBER-HEAD``, or
    ``trial-NUMBER-HEAD-STAGE`` for another stage than the report. One that is there is not run again.

    Returns:
        Experiment -> the state in which its last stage ended, or ``Kept`` where it was there.

    Raises:
        WorktreeError: files that are not committed, or git or DVC refuses.
        GraphError: if dvc.yaml cannot be read, or ``target`` is not in it.
        CommandError: if there is no complete trial.
        StageError: if a stage fails twice; run again to resume.
        StageOvertimeError: if a stage reaches the limit; likewise.
    """
    root = find_root(Path.cwd())
    log_mended(root)
    read_stages(root, target)
    require_committed(root)
    commit, known = head(root), experiment_names(root)
    suffix = "" if target == _TARGET else f"-{target.replace('@', '-')}"
    outcome: dict[str, str] = {}
    with Processes() as processes:
        for number in best_trials(processes, root, top):
            name = f"trial-{number}-{commit}{suffix}"
            if name in known:
                get_run_logger().info("%s is there already", name)
                outcome[name] = "Kept"
                continue
            with worktree(root, name) as directory:
                adopt(processes, directory, number)
                stages = read_stages(directory, target)
                states = reproduce_all(Checkout(directory, processes, stage_limit_min, state=root), stages)
                publish(root, directory, stages, name)
                save(root, directory, name, [target])
            outcome[name] = states[stages[-1].name]
    names = " ".join(outcome)
    create_markdown_artifact(
        f"# Replayed\n\n    dvc exp show\n    dvc metrics diff {names}\n    dvc plots diff {names}\n",
        key="replay",
        description="How to compare them",
    )
    return outcome


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the flow from the command line and say how each trial ended."""
    parser = argparse.ArgumentParser(prog="python -m flows.replay", description=replay.description)
    parser.add_argument("top", nargs="?", type=int, default=_TOP, help="trials (default: %(default)s)")
    parser.add_argument("--target", default=_TARGET, help="stage (default: %(default)s)")
    asked = parser.parse_args(arguments)
    if asked.top < 1:
        parser.error(f"1 or more trials; got {asked.top}")
    return run_command(asked.target, lambda: replay(top=asked.top, target=asked.target))


if __name__ == "__main__":
    sys.exit(main())
