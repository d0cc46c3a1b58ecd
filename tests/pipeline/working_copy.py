"""The repository once more, in a temporary folder, with parameters small enough to run the whole pipeline."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from dvc.repo import Repo

from tests.tiny_run import ROOT, write_params

# 16 shards of the training split: the least that `simulate` and `normalize` share among two processes.
SMALL: Mapping[str, Any] = {
    "array.n_horizontal": 5,
    "array.n_vertical": 4,
    "simulate.scenes_per_shard": 2,
    "simulate.train.strata": {"only": {"n_sources": [0, 3], "snr_db": [0.0, 20.0], "n_scenes": 32}},
    "simulate.train_constant.strata": {"only": {"n_sources": [0, 3], "snr_db": [0.0, 20.0], "n_scenes": 4}},
    "simulate.validation_constant.strata": {
        "only": {"n_sources": [0, 3], "snr_db": [0.0, 20.0], "n_scenes": 2}
    },
    "simulate.validation.strata": {"only": {"n_sources": [1, 3], "snr_db": [0.0, 20.0], "n_scenes": 8}},
    "simulate.test_independent.strata": {
        "a": {"n_sources": [0, 0], "snr_db": [0.0, 0.0], "n_scenes": 3},
        "b": {"n_sources": [1, 1], "snr_db": [0.0, 0.0], "n_scenes": 3},
        "c": {"n_sources": [1, 1], "snr_db": [20.0, 20.0], "n_scenes": 3},
        "d": {"n_sources": [2, 2], "snr_db": [5.0, 5.0], "n_scenes": 3},
    },
    "network.channels": 8,
    "network.blocks": 1,
    "network.groups": 2,
    "train.device": "cpu",
    "train.epochs": 2,
    "train.batch_size": 4,
    "search.n_trials": 2,
    "search.workers": 1,
    "search.scene_fraction": 1.0,
    "search.epochs": 1,
    "search.space.network": {"blocks": {"choices": [1, 2]}},
    "evaluate.batch_size": 3,
    "evaluate.workers": 1,
    "evaluate.genie_starts": 3,
    "evaluate.bootstrap_samples": 20,
    "report.example_scenes": 2,
}

_SECONDS = 900.0
_RAN = re.compile(r"^Running stage '([^']+)'", re.MULTILINE)


@dataclass(frozen=True)
class WorkingCopy:
    """A git and DVC repository of its own."""

    root: Path

    def environment(self) -> dict[str, str]:
        """`python` is the interpreter of the tests; no variable ties git, DVC or Python to another folder.

        PYTHONSAFEPATH, which pools of this process have set, would: stages would run this repository's code.
        """
        kept = {
            name: value
            for name, value in os.environ.items()
            if name not in {"DVC_ROOT", "PYTHONPATH", "PYTHONSAFEPATH"}
            and not re.match("GIT_(?!AUTHOR|COMMITTER)", name)
        }
        return {
            **kept,
            "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath))),
            "DVC_NO_ANALYTICS": "1",
            "DVC_SITE_CACHE_DIR": str(self.root.parent / "dvc-site"),
            "OMP_NUM_THREADS": "1",
            "PYTHONUNBUFFERED": "1",
        }

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the root, to its end."""
        return subprocess.run(
            command,
            cwd=self.root,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )

    def succeed(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command that must end well."""
        result = self.run(*command)
        assert result.returncode == 0, f"{' '.join(command)}\n{result.stdout}{result.stderr}"
        return result

    def reproduce(self, target: str = "report") -> list[str]:
        """`dvc repro`; the stages that it ran. What it says is shown where a test fails."""
        said = self.succeed("dvc", "repro", target)
        print(said.stdout, said.stderr, sep="\n")
        return _RAN.findall(said.stdout)

    def commit(self) -> None:
        """Commit the results of its run."""
        self.succeed("git", "add", "--all")
        self.succeed("git", "commit", "--quiet", "--message", "Results", "--allow-empty")

    def commit_results_of_another_processor(self) -> None:
        """Commit other results than those of this run, whose content is in no cache here; these stay.

        So does every clone begin on a machine whose processor rounds otherwise, once `make run` has run.
        """
        names = ("dvc.lock", "data/models/metrics.json", "data/evaluation/metrics.json")
        own = {name: (self.root / name).read_text("utf-8") for name in names}
        for name, text in own.items():
            # of dvc.lock the digests of data, in the other files a digit of a number
            pattern = (
                r"(path: data/(?!check/).*\n +hash: md5\n +md5: \w{6})\w"
                if name == "dvc.lock"
                else r"(\.\d)\d"
            )
            (self.root / name).write_text(re.sub(pattern, r"\g<1>0", text), "utf-8")
        self.commit()
        for name, text in own.items():
            (self.root / name).write_text(text, "utf-8")

    def experiments(self) -> list[str]:
        """Names of the experiments of HEAD."""
        return self.succeed("dvc", "exp", "list", "--name-only").stdout.split()

    def stale(self) -> set[str]:
        """Stages up to the report that read something else than in their last run: `dvc status`."""
        # dvc names the stages of the dvc.yaml in the current folder without its path.
        with (
            mock.patch.dict(os.environ, self.environment(), clear=True),
            contextlib.chdir(self.root),
            Repo() as repo,
        ):
            return set(repo.status(targets=["report"], with_deps=True))

    def kill_when(self, target: str, ready: Callable[[], bool]) -> None:
        """`dvc repro`, killed with all that it started as soon as a condition holds.

        Killing dvc alone leaves its stage at work.
        """
        process = subprocess.Popen(
            ["dvc", "repro", target],
            cwd=self.root,
            env=self.environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            deadline = time.monotonic() + _SECONDS
            while not ready():
                assert process.poll() is None, f"{target} ended before it was killed"
                assert time.monotonic() < deadline
                time.sleep(0.002)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            status = process.wait()
        assert status == -signal.SIGKILL

    def write_params(self, changes: Mapping[str, Any] | None = None) -> None:
        """The small parameters, with changes by dotted keys."""
        write_params(self.root, {**SMALL, **(changes or {})})

    def contents(self, *folders: str) -> dict[str, bytes]:
        """Path -> content of the files in some folders, which are the same in every run."""
        paths = [path for folder in folders for path in (self.root / folder).rglob("*")]
        return {
            str(path.relative_to(self.root)): path.read_bytes()
            for path in sorted(paths)
            if path.is_file() and path.name != ".gitignore"
        }

    def copy(self, folder: Path) -> "WorkingCopy":
        """The same repository with its data and cache in another folder, which does not exist yet."""
        shutil.copytree(self.root, folder, symlinks=True)
        return WorkingCopy(folder)


def clone(folder: Path, changes: Mapping[str, Any] | None = None) -> WorkingCopy:
    """What git keeps of this repository, as it lies here, committed with the small parameters."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    working_copy = WorkingCopy(folder)
    working_copy.write_params(changes)
    for arguments in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "-m", "A run of the tests"]):
        working_copy.succeed("git", *arguments)
    return working_copy
