"""The wheel is the library alone, and works where there is no clone."""

import re
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from tests.architecture.source import ROOT
from tests.measurement_files import spread_scenes, write_user_file
from tests.pipeline.working_copy import clone

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this repository as it lies here."""
    folder = tmp_path_factory.mktemp("wheel")
    source = clone(folder / "clone").root
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
    ]
    subprocess.run([*command, "--wheel-dir", str(folder), str(source)], check=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`bin` of an environment with the wheel and, of this one, what others have published."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=True, symlinks=True)
    (site_packages,) = folder.glob("lib/python*/site-packages")
    # a path in a .pth file is a path and no more: what this repository has put beside it is not followed
    (site_packages / "others.pth").write_text(sysconfig.get_path("purelib") + "\n", "utf-8")
    command = [str(folder / "bin/python"), "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*command, str(wheel)], check=True)
    return folder / "bin"


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_wheel_holds_the_library_alone(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.partition("/")[0] for name in names} == {"risolve", "risolve-0.1.0.dist-info"}
    tracked = subprocess.run(
        ["git", "ls-files", "risolve"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    assert {name for name in names if name.startswith("risolve/")} == set(tracked)


def test_the_library_runs_without_a_clone(environment: Path, tmp_path: Path) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs/python.md").read_text("utf-8"), re.M | re.S)
    program = (
        "\n".join(blocks)
        + "\nprint(risolve.__file__)\ntry:\n    import stages\nexcept ImportError:\n    print('alone')\n"
    )
    (tmp_path / "script.py").write_text(program, "utf-8")
    done = run(environment / "python", "script.py", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    *_, place, alone = done.stdout.splitlines()
    assert Path(place).is_relative_to(environment.parent) and alone == "alone"


def test_the_command_line_runs_without_a_clone(environment: Path, tmp_path: Path) -> None:
    path = write_user_file(tmp_path / "user.h5", spread_scenes(2))
    done = run(environment / "risolve", "localize", path, "--out", "found.csv", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len((tmp_path / "found.csv").read_text("utf-8").splitlines()) > 2
    trials = run(environment / "risolve", "trials", cwd=tmp_path)
    assert trials.returncode == 2
    assert trials.stderr.startswith("error: risolve trials: ")
