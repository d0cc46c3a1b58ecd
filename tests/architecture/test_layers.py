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


def layers() -> list[set[str]]:
    """Mandatory modules of every layer of `stages`, highest layer first."""
    names = [{name.strip() for name in layer.split("|")} for layer in contract("layers", "layers")]
    return [{name for name in layer if not name.startswith("(")} for layer in names]


def test_the_core_is_all_below_the_files_but_the_parameters() -> None:
    ordered = layers()
    below = set().union(*ordered[ordered.index({"artifacts"}) + 1 :]) - {
        "params",
        "scene_params",
        "search_params",
        "params_edit",
        "params_text",
        "regular_file",
    }
    assert {f"stages.{name}" for name in below} == set(contract("core", "source_modules"))


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A tree in which every mandatory layer is an empty module, under the contracts of this repository."""
    for name in set().union(*layers()):
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
        pytest.param(
            "stages/physics/__init__.py", "import stages.scene_params", id="the core reads a part of it"
        ),
    ],
)
def test_contracts_refuse(package: Path, path: str, text: str) -> None:
    (package / path).write_text(text + "\n")
    result = lint(package)
    assert result.returncode == 1, result.stdout + result.stderr
    assert "BROKEN" in result.stdout or "has no layer" in result.stdout + result.stderr, result.stdout


def test_the_core_imports_no_module_of_files_or_output(package: Path) -> None:
    names = ("csv", "importlib", "io", "json", "logging", "os", "pathlib", "pickle", "subprocess", "sys")
    (package / "stages/metrics/__init__.py").write_text("".join(f"import {name}\n" for name in names))
    result = lint(package)
    assert result.returncode == 1, result.stdout + result.stderr
    assert [name for name in names if f"stages.metrics -> {name} " not in result.stdout] == []
