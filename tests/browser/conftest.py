"""The flows, served from a finished working copy, and the browser that their forms are filled in with."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from flows.serve import SECRET
from flows.server import HOST, free_port
from tests.pipeline.finished import finished, own
from tests.pipeline.working_copy import WorkingCopy

__all__ = ["finished", "own"]

_PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
_SECONDS = 900.0


@pytest.fixture(scope="session")
def browser() -> str:
    """The browser of this machine; without one a test is skipped, or fails where CI is set."""
    found = next(filter(None, map(shutil.which, _PROGRAMS)), None)
    if found is None:
        end = pytest.fail if os.environ.get("CI") else pytest.skip
        end(
            "NO BROWSER HERE: apt install chromium (.ci/run does), or no form of the user interface is tested"
        )
    return found


@pytest.fixture
def served(browser: str, own: WorkingCopy, tmp_path: Path) -> Iterator[str]:
    """The address that serving prints, while the flows are served from `own` after its run, without a commit:
    its results are not those of HEAD.
    """
    own.commit_results_of_another_processor()
    port = free_port()
    # Prefect takes its home from the folder that it is started in.
    environment = {key: value for key, value in own.environment().items() if not key.startswith("PREFECT_")}
    log = tmp_path / "serve.log"
    with (
        log.open("wb") as sink,
        subprocess.Popen(
            [sys.executable, "-m", "flows.serve", "--port", str(port)],
            cwd=own.root,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
        ) as process,
    ):
        try:
            deadline = time.monotonic() + _SECONDS
            while not _is_deployed(port, own.root / "state" / "prefect" / SECRET):
                assert process.poll() is None, f"serving ended: {log.read_text('utf-8')}"
                assert time.monotonic() < deadline, f"nothing is deployed: {log.read_text('utf-8')}"
                time.sleep(0.2)
            yield log.read_text("utf-8").split()[3]
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=_SECONDS) == 0, log.read_text("utf-8")
        finally:
            process.kill()


def _is_deployed(port: int, secret: Path) -> bool:
    if not secret.exists():
        return False
    user, _, password = secret.read_text("utf-8").strip().partition(":")
    deployment = f"http://{HOST}:{port}/api/deployments/name/experiment/experiment"
    return httpx.get(deployment, auth=(user, password), timeout=_SECONDS).status_code == httpx.codes.OK
