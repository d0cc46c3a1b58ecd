"""The import contracts of .importlinter hold here, and each of them refuses what it is there to refuse."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.source import ROOT, contract

LINT = "import sys, importlinter.cli as cli; sys.exit(cli.lint_imports(no_cache=True, no_logo=True))"


def lint(directory: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", LINT]
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)


def test_contracts_hold() -> None:
    result = lint(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr


def layers(name: str) -> list[set[str]]:
    """Modules of every layer of a contract, highest layer first."""
    return [{module.strip() for module in layer.split("|")} for layer in contract(name, "layers")]


def test_the_core_is_all_below_the_files_but_the_errors() -> None:
    ordered = layers("library")
    below = set().union(*ordered[ordered.index({"files"}) + 1 :]) - {"errors"}
    assert {f"risolve.{name}" for name in below} == set(contract("core", "source_modules"))


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A tree in which every module of a layer is an empty package, under the contracts of this repository."""
    named = [f"risolve/{name}" for name in set().union(*layers("library"))]
    named += [f"stages/{name}" for name in set().union(*layers("pipeline"))]
    for name in ("risolve", "stages", "flows", *named):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
    (tmp_path / "stages/params/model.py").touch()
    (tmp_path / "flows/__init__.py").write_text("import stages.params.model\n")
    (tmp_path / ".importlinter").write_text((ROOT / ".importlinter").read_text("utf-8"))
    return tmp_path


def test_contracts_accept_the_empty_tree(package: Path) -> None:
    result = lint(package)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("path", "text"),
    [
        pytest.param(
            "risolve/physics/__init__.py", "import risolve.covariance", id="a lower layer imports a higher"
        ),
        pytest.param(
            "risolve/bounds/__init__.py", "import risolve.metrics", id="neighbours import each other"
        ),
        pytest.param("stages/train/__init__.py", "import stages.normalize", id="a verb imports a verb"),
        pytest.param("stages/leftovers.py", "", id="a module of the stages without a layer"),
        pytest.param("risolve/leftovers.py", "", id="a module of the library without a layer"),
        pytest.param("risolve/files/__init__.py", "import stages.params.model", id="a reader of parameters"),
        pytest.param("risolve/cli.py", "import ruamel.yaml", id="the library reads YAML"),
        pytest.param("risolve/locating.py", "import pydantic", id="what is stated is not in files"),
        pytest.param(
            "flows/pipeline.py", "import risolve.covariance", id="a flow imports more than parameters"
        ),
        pytest.param("stages/simulate/__init__.py", "import flows", id="a stage imports a flow"),
        pytest.param("stages/simulate/__init__.py", "import prefect", id="a stage imports the orchestrator"),
        pytest.param("risolve/bounds/__init__.py", "import h5py", id="the core reads a file"),
        pytest.param(
            "risolve/networks/__init__.py",
            "import stages.params.model",
            id="the core reads the configuration",
        ),
        pytest.param("risolve/physics/__init__.py", "import pydantic", id="the core states parameters"),
    ],
)
def test_contracts_refuse(package: Path, path: str, text: str) -> None:
    (package / path).write_text(text + "\n")
    result = lint(package)
    assert result.returncode == 1, result.stdout + result.stderr
    assert "BROKEN" in result.stdout or "layer" in result.stdout + result.stderr, result.stdout


def test_the_core_imports_no_module_of_files_or_output(package: Path) -> None:
    names = ("csv", "importlib", "io", "json", "logging", "os", "pathlib", "pickle", "subprocess", "sys")
    (package / "risolve/metrics/__init__.py").write_text("".join(f"import {name}\n" for name in names))
    result = lint(package)
    assert result.returncode == 1, result.stdout + result.stderr
    assert [name for name in names if f"risolve.metrics -> {name} " not in result.stdout] == []
