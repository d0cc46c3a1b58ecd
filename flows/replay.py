"""The replay flow: the best trials of the last search at full size, each kept as a DVC experiment.

Usage: ``python -m flows.replay [TOP] [--target STAGE]``. Where no server is configured, a temporary one runs.
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact
from pydantic import Field

from flows.command import run_command
from flows.dvc import Checkout, find_root, read_stages
from flows.processes import Processes
from flows.publication import publish
from flows.reproduction import StageLimit, log_mended, reproduce_all
from flows.trials import TRIALS, adopt, best_trials
from flows.worktree import (
    PARAMS,
    differing,
    experiment_names,
    head,
    read_parameters,
    require_committed,
    save,
    worktree,
    write_parameters,
)

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

    Each is adopted in a worktree of the committed HEAD with the params.yaml of the working copy, and kept as
    the experiment ``trial-NUMBER-HEAD``, or ``trial-NUMBER-HEAD-STAGE`` for another stage than the report; a
    digest follows HEAD where params.yaml or the trials differ from it. One that is there is not run again.

    Returns:
        Experiment -> the state in which its last stage ended, or ``Kept`` where it was there.

    Raises:
        WorktreeError: files that are not committed, or git or DVC refuses.
        GraphError: if dvc.yaml cannot be read, or ``target`` is not in it.
        ParamsTextError: params.yaml cannot be read.
        CommandError: if there is no complete trial.
        StageFailed: if a stage fails twice; run again to resume.
        StageOvertimeError: if a stage reaches the limit; likewise.
    """
    root = find_root(Path.cwd())
    log_mended(root)
    read_stages(root, target)
    require_committed(root)
    commit, known, values = head(root), experiment_names(root), read_parameters(root)
    is_committed = differing(root).isdisjoint((PARAMS, TRIALS))
    suffix = "" if target == _TARGET else f"-{target.replace('@', '-')}"
    outcome: dict[str, str] = {}
    with Processes() as processes:
        for number, row in best_trials(processes, root, top):
            digest = "" if is_committed else f"-{_digest(values, row)}"
            name = f"trial-{number}-{commit}{digest}{suffix}"
            if name in known:
                get_run_logger().info("%s is there already", name)
                outcome[name] = "Kept"
                continue
            with worktree(root, name) as directory:
                write_parameters(directory, values)
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


def _digest(values: Mapping[str, Any], row: str) -> str:
    """Of the parameters that a trial is reproduced with, and of the trial."""
    others = {section: own for section, own in values.items() if section != "search"}
    return hashlib.blake2b(json.dumps([others, row]).encode(), digest_size=3).hexdigest()


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
