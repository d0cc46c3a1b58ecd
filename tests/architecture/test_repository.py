"""What the repository keeps: small files, no path of one machine, pins inside the declared ranges, parameters
in the layout that DVC writes.
"""

import re
import subprocess
import tomllib
from itertools import chain
from pathlib import Path

import pytest
from dvc.utils.hydra import apply_overrides
from packaging.requirements import Requirement

from tests.architecture.source import ROOT

LARGEST_BYTES = 1_000_000
MACHINE_PATH = re.compile(r"(?<![\w.$}~-])/(?:home|root|Users|tmp|work|opt|mnt|media)/[\w.]|\b[A-Z]:\\\\?\w")


def kept_files() -> list[str]:
    """Files that git tracks or would add."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return sorted({name for name in listed.split("\0") if name and (ROOT / name).is_file()})


def test_no_large_file() -> None:
    sizes = {name: (ROOT / name).stat().st_size for name in kept_files()}
    assert sizes
    assert {name: size for name, size in sizes.items() if size > LARGEST_BYTES} == {}


def test_no_machine_path() -> None:
    found: list[str] = []
    for name in kept_files():
        content = (ROOT / name).read_bytes()
        if b"\0" in content or name == "tests/architecture/test_repository.py":
            continue
        for number, line in enumerate(content.decode("utf-8").splitlines(), 1):
            found += [f"{name}:{number}: {line.strip()[:120]}"] if MACHINE_PATH.search(line) else []
    assert found == []


@pytest.mark.parametrize(
    "line", ["see /home/ada/data.h5", "'/tmp/x'", "path=/root/.cache/pip", "C:\\Users\\ada"]
)
def test_machine_path_is_recognized(line: str) -> None:
    assert MACHINE_PATH.search(line)


@pytest.mark.parametrize(
    "line", ["https://example.org/home/page", "$(CURDIR)/state/prefect", "truth/range_m"]
)
def test_other_paths_are_not(line: str) -> None:
    assert not MACHINE_PATH.search(line)


def test_pins_satisfy_the_declared_ranges() -> None:
    """constraints.txt pins every declared package, inside its range, and from no local build or path."""
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    declared = [*project["dependencies"], *chain.from_iterable(project["optional-dependencies"].values())]
    versions = {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in pins.items()}
    assert [version for version in versions.values() if "+" in version] == []
    extras = {"risolve"}  # an extra that takes another extra in
    for requirement in (one for one in map(Requirement, declared) if one.name not in extras):
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        assert name in versions, f"{requirement} has no pin"
        assert requirement.specifier.contains(versions[name]), f"{requirement} is pinned to {versions[name]}"


def test_parameters_stand_in_the_layout_that_dvc_writes(tmp_path: Path) -> None:
    """`dvc exp run -S` writes the whole file anew: only the line that is named may differ."""
    path = tmp_path / "params.yaml"
    own = (ROOT / path.name).read_text("utf-8")
    path.write_text(own, "utf-8")
    apply_overrides(path, ["search.n_trials=20", "train.lr=1e-6", "simulate.train.strata.mixed.n_scenes=9"])
    written = path.read_text("utf-8").splitlines()
    changed = [new.strip() for old, new in zip(own.splitlines(), written, strict=True) if old != new]
    assert [line.partition(" #")[0].rstrip() for line in changed] == [
        "mixed: {n_sources: [0, 5], snr_db: [-5.0, 20.0], n_scenes: 9}",
        "lr: 1e-06",
        "n_trials: 20",
    ]
