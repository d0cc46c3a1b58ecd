"""Prefect flows: they order, retry and observe the stages of dvc.yaml, and compute nothing.

What they know of the stages is the graph that DVC reads, and the name of its last one, the default target.

Prefect reads its settings from the environment once, when it is imported. They are therefore set here, before
any module of this package can import it; a value that the user exported stays.
"""

import os
from pathlib import Path

import stages  # noqa: F401  what it asks of OpenMP and of bytecode holds for a flow too


def _default_settings(directory: Path) -> dict[str, str]:
    settings = {
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
        # Stages at once. One starts worker processes of its own, so two fill a laptop.
        "PREFECT_TASKS_RUNNER_THREAD_POOL_MAX_WORKERS": "2",
    }
    for folder in (directory, *directory.parents):
        if (folder / ".dvc").is_dir():
            settings["PREFECT_HOME"] = str(folder / "state" / "prefect")
            break
    return settings


for _name, _value in _default_settings(Path.cwd()).items():
    os.environ.setdefault(_name, _value)
# What is meant for a server of this machine, its secret too, goes to no proxy.
for _name in ("NO_PROXY", "no_proxy"):
    os.environ[_name] = ",".join(filter(None, ("127.0.0.1", os.environ.get(_name))))
if "PREFECT_HOME" in os.environ:
    # Prefect does not make the parents, and its database then fails to open.
    Path(os.environ["PREFECT_HOME"]).mkdir(parents=True, exist_ok=True)
