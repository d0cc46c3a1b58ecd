"""One finished run of the whole pipeline for all tests that take it, also where processes share it."""

import fcntl
import os
from pathlib import Path

import pytest

from tests.pipeline.working_copy import WorkingCopy, clone


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> WorkingCopy:
    """A working copy in which `dvc repro report` has run; tests that change something take `own`."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    folder = shared / "pipeline"
    with (shared / "pipeline.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "done").exists():
            clone(folder / "repository").reproduce()
            (folder / "done").touch()
    return WorkingCopy(folder / "repository")


@pytest.fixture
def own(finished: WorkingCopy, tmp_path: Path) -> WorkingCopy:
    """The finished working copy, in a folder of the test's own."""
    return finished.copy(tmp_path / "repository")
