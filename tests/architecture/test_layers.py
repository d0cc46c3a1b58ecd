"""The import contracts of .importlinter hold here, and each of them refuses what it is there to refuse."""

import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import pytest

from tests.architecture.source import ROOT

LINT = "import sys, importlinter.cli as cli; sys.exit(cli.lint_imports(no_cache=True, no_logo=True))"


def lint(directory: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", LINT]
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)


def test_contracts_hold() -> None:
    result = lint(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A tree in which every mandatory layer is an empty module, under the contracts of this repository."""
    contracts = ConfigParser()
    contracts.read(ROOT / ".importlinter")
    layers = contracts["importlinter:contract:layers"]["layers"]
    names = [name.strip() for layer in layers.splitlines() for name in layer.split("|")]
    for name in names:
        if name and not name.startswith("("):
            module = tmp_path / "stages" / name / "__init__.py"
            module.parent.mkdir(parents=True)
            module.touch()
    (tmp_path / "stages" / "__init__.py").touch()
    (tmp_path / "flows").mkdir()
    (tmp_path / "flows" / "__init__.py").write_text("import stages.params\n")
    (tmp_path / ".importlinter").write_text((ROOT / ".importlinter").read_text("utf-8"))
    return tmp_path


def test_contracts_accept_the_empty_tree(package: Path) -> None:
    result = lint(package)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("path", "text"),
    [
        pytest.param(
            "stages/physics/__init__.py", "import stages.covariance", id="a lower layer imports a higher"
        ),
        pytest.param("stages/bounds/__init__.py", "import stages.metrics", id="neighbours import each other"),
        pytest.param("stages/train/__init__.py", "import stages.normalize", id="a verb imports a verb"),
        pytest.param("stages/leftovers.py", "", id="a module without a layer"),
        pytest.param(
            "flows/pipeline.py", "import stages.covariance", id="a flow imports more than parameters"
        ),
        pytest.param("stages/simulate/__init__.py", "import flows", id="a stage imports a flow"),
        pytest.param("stages/simulate/__init__.py", "import prefect", id="a stage imports the orchestrator"),
        pytest.param("stages/bounds/__init__.py", "import h5py", id="the core reads a file"),
        pytest.param(
            "stages/networks/__init__.py", "import stages.params", id="the core reads the configuration"
        ),
    ],
)
def test_contracts_refuse(package: Path, path: str, text: str) -> None:
    (package / path).write_text(text + "\n")
    result = lint(package)
    assert result.returncode == 1, result.stdout + result.stderr
    assert "BROKEN" in result.stdout or "has no layer" in result.stdout + result.stderr, result.stdout
