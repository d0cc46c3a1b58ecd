"""The localize flow: a folder of measurement files, the sources of each as a table, and a summary."""

import sys
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from pydantic import Field

from flows.processes import Processes

_LEFT_OUT = 3
"""Exit status of `risolve localize` where some scenes were located and others left out."""


class LocalizeError(RuntimeError):
    """No folder, no files, or files that cannot be located."""


@task(cache_policy=NO_CACHE, retries=1)
def locate(processes: Processes, file: Path, result: Path, options: tuple[str, ...]) -> dict[str, Any]:
    """Sources of one file; a row of the summary."""
    command = [sys.executable, "-m", "stages.cli", "localize", str(file), "--out", str(result), *options]
    ended = processes.run(command, file.parent, {}, get_run_logger().info)
    said = next((line for line in reversed(ended.last_lines) if line.startswith("error: ")), "")
    located = next((line for line in ended.last_lines if line.endswith(f": {result}")), "")
    return {
        "file": file.name,
        "located": located.removesuffix(f": {result}"),
        "left out": "some scenes" if ended.exit_code == _LEFT_OUT else "",
        "error": said.removeprefix("error: "),
        "result": str(result) if located else "",
    }


@flow
def localize(
    folder: str = Field(
        description="Folder of this machine with measurement files (*.h5, docs/formats.md).",
        json_schema_extra={"title": "Folder of measurements"},
    ),
    results: str = Field(
        default="",
        description="Folder for a table a file; empty: `sources` in the folder of measurements.",
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
) -> list[dict[str, Any]]:
    """Locate the sources of every measurement file of a folder, one task a file.

    A file that cannot be located is named in the summary, and the others are located all the same. A run that
    is stopped and started again goes on with what it located.

    Returns:
        One row a file: what was located, what was not, and where the result lies.

    Raises:
        LocalizeError: if the folder has no measurement file, or none of them can be located.
    """
    source = Path(folder).expanduser().resolve()
    files = sorted(source.glob("*.h5"))
    if not files:
        raise LocalizeError(
            f"{source}: a folder with measurement files (*.h5) is needed; there is none in it"
        )
    target = Path(results).expanduser().resolve() if results else source / "sources"
    target.mkdir(parents=True, exist_ok=True)
    options = ("--estimator", estimator, *(("--sources", str(n_sources)) if n_sources else ()))
    with Processes() as processes:
        named = [
            locate.with_options(task_run_name=file.name).submit(
                processes, file, target / f"{file.stem}.csv", options
            )
            for file in files
        ]
        rows = [future.result() for future in named]
    create_table_artifact(rows, key="sources", description=f"Sources of the files of {source}")
    if not any(row["result"] for row in rows):
        raise LocalizeError(
            f"{source}: no file can be located; the first: {rows[0]['file']}: {rows[0]['error']}"
        )
    return rows
