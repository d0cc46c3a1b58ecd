"""The localize flow: a folder of measurement files, the sources of each as a table, and a summary."""

import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.futures import PrefectFuture
from prefect.states import Completed, Failed
from prefect.tasks import Task
from pydantic import Field

from flows.arguments import command_line, option, python
from flows.dvc import find_root
from flows.processes import Processes
from risolve.shown import shown

MEASUREMENTS = "RISOLVE_MEASUREMENTS"
"""Environment variable: the folders under which forms read and write, separated as those of PATH."""

_DEFAULT = "measurements"

_READ = (".h5", ".npz", ".mat")
"""Endings of the files of measurements in a folder."""

_LEFT_OUT = 3
"""Exit status of `risolve localize` where some scenes were located and others left out."""

_SUMMARY = re.compile(r"\d+ sources in \d+ scenes[^:]*")
"""The line of `risolve localize` that says what is in a result."""


class LocalizeError(RuntimeError):
    """No folder, no files, or files that cannot be located."""

    def __init__(self, line: str) -> None:
        super().__init__(shown(line))


def _folders(root: Path) -> list[Path]:
    """Those that serving was given, or `measurements` of the repository; links are followed."""
    given = os.environ.get(MEASUREMENTS) or str(root / _DEFAULT)
    return [Path(os.path.realpath(folder)) for folder in given.split(os.pathsep)]


def _inside(path: Path, folders: Sequence[Path]) -> Path:
    """Where a path leads, links followed.

    Raises:
        LocalizeError: out of the folders.
    """
    if "\0" in str(path):
        raise LocalizeError(f"{str(path)!r}: no path holds the character 0")
    leads = Path(os.path.realpath(path))
    if not any(leads.is_relative_to(folder) for folder in folders):
        raise LocalizeError(
            f"{path} lies outside of {', '.join(map(str, folders))}, where a form reads and writes: "
            f"serve its folder as well (make serve MEASUREMENTS=FOLDER, or {MEASUREMENTS})"
        )
    return leads


def _limits(name: str, text: str) -> tuple[str, ...]:
    """An option with the numbers of a text; nothing of an empty one.

    Raises:
        LocalizeError: what is no number.
    """
    try:
        numbers = [float(word) for word in text.split()]
    except ValueError as error:
        raise LocalizeError(f"{name}: LOW HIGH or one number, got {text!r}") from error
    return (f"--{name}", *(f"{number:.9f}" for number in numbers)) if numbers else ()


async def _retry(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    """A file that cannot be located says the same again; what breaks off a command is tried again."""
    return isinstance(await state.aresult(raise_on_failure=False), BaseException)


@task(cache_policy=NO_CACHE, retries=1, retry_condition_fn=_retry)
def locate(processes: Processes, file: Path, result: Path, options: tuple[str, ...]) -> State[Any]:
    """Sources of one file; a row of the summary. A file that cannot be located is a failed task."""
    words = ("localize", option("out", result), *options)
    command = command_line(python("risolve.cli"), *words, names=[file])
    logger, found = get_run_logger(), list[str]()

    def hear(line: str) -> None:
        logger.info(line)
        if said := _SUMMARY.match(line):
            found.append(said.group())

    ended = processes.run(command, find_root(Path.cwd()), {}, hear)
    is_located = ended.exit_code in (0, _LEFT_OUT)
    row = {
        "file": shown(file.name),
        "located": found[0] if is_located and found else "",
        "left out": "some scenes" if ended.exit_code == _LEFT_OUT else "",
        "error": "" if is_located else ended.reason,
        "result": shown(str(result)) if is_located else "",
    }
    return Completed(data=row) if is_located else Failed(message=shown(ended.reason), data=row)


def _row(future: PrefectFuture[Any]) -> dict[str, Any]:
    """What a task says of its file, failed or not; an error of its own is raised."""
    said = future.result(raise_on_failure=False)
    if isinstance(said, BaseException):
        raise said
    assert isinstance(said, dict)
    return said


def _tables(files: Iterable[str], target: Path) -> dict[str, Path]:
    """Where the table of each file goes: under its name, with its ending where two have the same name."""
    stems = Counter(Path(name).stem for name in files)
    return {
        name: target / (f"{name}.csv" if stems[Path(name).stem] > 1 else f"{Path(name).stem}.csv")
        for name in files
    }


@flow
def localize(
    folder: str = Field(
        default="",
        description="With measurement files (*.h5, *.npz, *.mat, docs/formats.md): absolute, or inside the "
        "first folder that `make serve` was given (MEASUREMENTS=..., else `measurements` of the clone); "
        "empty: that one.",
        json_schema_extra={"title": "Folder of measurements"},
    ),
    results: str = Field(
        default="",
        description="For a table a file, also under a folder that `make serve` was given; empty: `sources` "
        "in the folder of measurements.",
        json_schema_extra={"title": "Folder of results"},
    ),
    estimator: str = Field(
        default="ml",
        description="`risolve estimators` lists them; NAME+ml refines what NAME finds.",
        json_schema_extra={"title": "Estimator"},
    ),
    n_sources: int = Field(
        default=0,
        ge=0,
        description="Of every scene; 0: counted.",
        json_schema_extra={"title": "Number of sources"},
    ),
    azimuth: str = Field(
        default="",
        description="Degrees: LOW HIGH are limits, one number is known; empty: nothing is stated.",
        json_schema_extra={"title": "Azimuth"},
    ),
    elevation: str = Field(
        default="",
        description="Degrees, as the azimuth.",
        json_schema_extra={"title": "Elevation"},
    ),
    range: str = Field(
        default="",
        description="m, as the azimuth; inf: plane waves.",
        json_schema_extra={"title": "Range"},
    ),
    array: str = Field(
        default="",
        description="What `risolve calibrate-array` found: a file under a folder that `make serve` was "
        "given, absolute or inside the folder of measurements; empty: the array is as the files say.",
        json_schema_extra={"title": "Calibrated array"},
    ),
) -> list[dict[str, Any]]:
    """Locate the sources of every measurement file of a folder, one task a file.

    A file that cannot be located is named in the summary, its task has failed, and the others are located all
    the same. A run that is stopped and started again goes on with what it located.

    Returns:
        One row a file: what was located, what was not, and where the result lies.

    Raises:
        LocalizeError: if a folder, a file or a result lies outside of what is served, if limits are no
            numbers, if the folder has no measurement file, or none of them can be located.
    """
    folders = _folders(find_root(Path.cwd()))
    source = _inside(folders[0] / os.path.expanduser(folder), folders)
    target = _inside(source / (os.path.expanduser(results) or "sources"), folders)
    calibrated = _inside(source / os.path.expanduser(array), folders) if array else None
    found = {file.name: _inside(file, folders) for ending in _READ for file in source.glob(f"*{ending}")}
    files = {name: file for name, file in sorted(found.items()) if file != calibrated}
    if not files:
        endings = ", ".join(f"*{ending}" for ending in _READ)
        raise LocalizeError(
            f"{source}: a folder with measurement files ({endings}) is needed; there is none in it"
        )
    target.mkdir(parents=True, exist_ok=True)
    tables = {name: _inside(table, folders) for name, table in _tables(files, target).items()}
    counted = (option("sources", str(n_sources)),) if n_sources else ()
    stated = {"azimuth": azimuth, "elevation": elevation, "range": range}
    limits = (word for name, text in stated.items() for word in _limits(name, text))
    seen_through = (option("array", str(calibrated)),) if calibrated else ()
    options = (option("estimator", estimator), *counted, *limits, *seen_through)
    with Processes() as processes:
        named = [
            locate.with_options(task_run_name=shown(name)).submit(processes, file, tables[name], options)
            for name, file in files.items()
        ]
        rows = [_row(future) for future in named]
    create_table_artifact(rows, key="sources", description=shown(f"Sources of the files of {source}"))
    if not any(row["result"] for row in rows):
        raise LocalizeError(
            f"{source}: no file can be located; the first: {rows[0]['file']}: {rows[0]['error']}"
        )
    return rows
