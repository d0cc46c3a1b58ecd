"""The trials of a search, through the command line of the stages."""

from pathlib import Path

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from flows.arguments import command_line, option, python
from flows.processes import CommandError, Processes

TRIALS = "data/search/trials.csv"


@task(cache_policy=NO_CACHE)
def adopt(processes: Processes, directory: Path, number: int | None = None) -> str:
    """Write a trial, the best if none is named, into params.yaml of a working copy; what changed.

    Raises:
        CommandError: if there is no such trial.
    """
    lines = _risolve(
        processes, directory, "adopt", *([] if number is None else [option("trial", str(number))])
    )
    for line in lines:
        get_run_logger().info(line)
    return "\n".join(lines)


def best_trials(processes: Processes, directory: Path, top: int) -> list[tuple[int, str]]:
    """(number, row) of the complete trials of highest found rate, best first; all, where there are fewer.

    Raises:
        CommandError: if there are none.
    """
    rows = [row.split() for row in _risolve(processes, directory, "trials", option("top", str(top)))]
    first = next((n for n, row in enumerate(rows, 1) if row[:1] == ["trial"]), len(rows))
    return [(int(row[0]), " ".join(row)) for row in rows[first:]]


def _risolve(processes: Processes, directory: Path, verb: str, *options: str) -> list[str]:
    lines: list[str] = []
    ended = processes.run(command_line(python("stages.clone"), verb, *options), directory, {}, lines.append)
    if ended.exit_code:
        raise CommandError(f"risolve {verb}: {ended.reason}")
    return lines
