"""What a run leaves to look at in Prefect: metrics, pictures, the report."""

import base64
import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from prefect.artifacts import create_image_artifact, create_link_artifact, create_table_artifact

from flows.dvc import Stage, read_metrics
from flows.pages import KINDS

PAGES_URL = "RISOLVE_PAGES_URL"
"""Environment variable: where `pages_directory` is served, if it is."""


def pages_directory(root: Path) -> Path:
    """Pages and pictures of runs made in worktrees, or that a later run replaced: `state/pages/RUN`."""
    return root / "state" / "pages"


def publish(root: Path, directory: Path, stages: Sequence[Stage], run: str) -> None:
    """Show the metrics, pictures and pages that stages of a working copy declare, of a run of a name.

    Args:
        root: the repository in whose `state` the pages are kept.
        directory: the working copy in which the stages have run.
    """
    _publish_metrics(directory, stages)
    for path in (path for stage in stages for path in stage.outputs):
        key, where = path.stem.lower().replace("_", "-"), f"`{path.relative_to(directory)}`"
        kind = KINDS.get(path.suffix, "")
        if kind.startswith("image/"):
            create_image_artifact(_served(root, path, run) or _inlined(path), key=key, description=where)
        elif kind:
            link = _served(root, path, run) or _keep(root, path, run).as_uri()
            create_link_artifact(link, link_text=path.name, key=key, description=where)


def _keep(root: Path, path: Path, run: str) -> Path:
    kept = pages_directory(root) / _folder(run) / path.name
    kept.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, kept)
    return kept


def _folder(run: str) -> str:
    """A run may have any name."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", run)


def _served(root: Path, path: Path, run: str) -> str | None:
    """Address of a file that is kept, where pages are served."""
    served = os.environ.get(PAGES_URL)
    return None if served is None else f"{served}/{_folder(run)}/{_keep(root, path, run).name}"


def _inlined(picture: Path) -> str:
    content = base64.b64encode(picture.read_bytes()).decode()
    return f"data:{KINDS[picture.suffix]};base64,{content}"


def _publish_metrics(directory: Path, stages: Sequence[Stage]) -> None:
    rows = [
        {"file": file, "metric": name, "value": value}
        for file, metrics in read_metrics(directory, stages).items()
        for name, value in metrics.items()
    ]
    if rows:
        create_table_artifact(rows, key="metrics", description="Metrics of dvc.yaml, as DVC reads them")
