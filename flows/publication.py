"""What a run leaves to look at in Prefect: metrics, pictures, the report."""

import base64
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from prefect.artifacts import create_image_artifact, create_link_artifact, create_table_artifact

from flows.dvc import Stage, read_metrics

PAGES_URL = "RISOLVE_PAGES_URL"
"""Environment variable: where `pages_directory` is served, if it is."""

_PICTURES = {".svg": "image/svg+xml", ".png": "image/png"}


def pages_directory(root: Path) -> Path:
    """Pages of runs that were made in worktrees, or that a later run replaced: `state/pages/RUN`."""
    return root / "state" / "pages"


def publish(root: Path, directory: Path, stages: Sequence[Stage], run: str) -> None:
    """Show the metrics, pictures and pages that stages of a working copy declare, of a run of a name.

    Args:
        root: the repository in whose `state` the pages are kept.
        directory: the working copy in which the stages have run.
    """
    _publish_metrics(directory, stages)
    for path in (path for stage in stages for path in stage.outputs):
        key = path.stem.lower().replace("_", "-")
        if path.suffix in _PICTURES:
            content = base64.b64encode(path.read_bytes()).decode()
            url = f"data:{_PICTURES[path.suffix]};base64,{content}"
            create_image_artifact(url, key=key, description=f"`{path.relative_to(directory)}`")
        elif path.suffix == ".html":
            kept = pages_directory(root) / run / path.name
            kept.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, kept)
            served = os.environ.get(PAGES_URL)
            link = kept.as_uri() if served is None else f"{served}/{run}/{path.name}"
            create_link_artifact(link, link_text=path.name, key=key, description=f"`{kept}`")


def _publish_metrics(directory: Path, stages: Sequence[Stage]) -> None:
    rows = [
        {"file": file, "metric": name, "value": value}
        for file, metrics in read_metrics(directory, stages).items()
        for name, value in metrics.items()
    ]
    if rows:
        create_table_artifact(rows, key="metrics", description="Metrics of dvc.yaml, as DVC reads them")
