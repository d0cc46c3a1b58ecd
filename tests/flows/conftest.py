"""A small DVC repository: prepare -> left, right -> join, and the metrics that join declares."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.settings import PREFECT_HOME, temporary_settings
from prefect.testing.utilities import prefect_test_harness

# flows sets the environment of Prefect, which reads it when it is imported.
import flows

DVC = Path(sys.executable).with_name("dvc")

PIPELINE = """
stages:
  prepare:
    cmd: python -c "open('prepared.txt', 'w').write('${amount}')"
    params: [amount]
    outs: [prepared.txt]
  side:
    foreach: [left, right]
    do:
      cmd: python -c "print('side ${item}'); open('${item}.txt', 'w').write(open('prepared.txt').read())"
      deps: [prepared.txt]
      outs: ['${item}.txt']
  join:
    cmd: python join.py
    deps: [left.txt, right.txt, join.py]
    outs: [joined.txt]
    metrics:
      - scores.json:
          cache: false
  unrelated:
    cmd: python -c "raise SystemExit('must not run')"
    outs: [unrelated.txt]
"""

JOIN = """
import json
total = sum(float(open(f"{side}.txt").read()) for side in ("left", "right"))
open("joined.txt", "w").write(str(total))
json.dump({"total": total, "by": {"side": 2}}, open("scores.json", "w"))
"""


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    assert flows
    root = tmp_path_factory.mktemp("template")
    subprocess.run(["git", "init", "--quiet", root], check=True)
    subprocess.run([DVC, "init", "--quiet"], cwd=root, check=True)
    (root / ".dvc" / "config").write_text("[core]\n    analytics = false\n    check_update = false\n")
    (root / "params.yaml").write_text("amount: 1.5\n")
    (root / "join.py").write_text(JOIN)
    (root / "dvc.yaml").write_text(PIPELINE)
    return root


@pytest.fixture
def repository(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh copy of the repository, as current folder; nothing in it has run."""
    root = tmp_path / "repository"
    shutil.copytree(template, root)
    monkeypatch.chdir(root)
    # `python` in a stage is the interpreter of the tests.
    monkeypatch.setenv("PATH", str(DVC.parent), prepend=":")
    return root


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with (
        temporary_settings({PREFECT_HOME: tmp_path_factory.mktemp("prefect")}),
        prefect_test_harness(server_startup_timeout=180),
    ):
        yield
