"""Settings of every test run: shapes checked on every call, one torch thread, fixed Hypothesis examples."""

import os
import pkgutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import settings

from tests import shape_checks

imported_early = sorted(name for name in sys.modules if name.partition(".")[0] in {"risolve", "stages"})
if imported_early:
    raise RuntimeError(f"imported before the shape checks are installed: {', '.join(imported_early)}")
# Every module but the parameters, which pydantic checks, and records of any shape: beartype refuses `Self`.
divided = {"stages.params", "risolve.files"}
without = {*(f"stages.params.{name}" for name in ("model", "scenes", "search")), "risolve.files.model_params"}
without.add("risolve.batched")
root = Path(__file__).parents[1]
packages = {"risolve", "stages", *divided}
found = {
    module.name
    for package in packages
    for module in pkgutil.iter_modules([str(root / package.replace(".", "/"))], f"{package}.")
}
if missing := (divided | without) - found:
    raise RuntimeError(f"no modules any more: {', '.join(sorted(missing))}")
shape_checks.install(sorted(found - divided - without))

torch.set_num_threads(1)

# The same examples on every machine; `pytest --hypothesis-profile explore` looks for new ones.
settings.register_profile("fixed", deadline=None, derandomize=True, max_examples=25)
settings.register_profile("explore", deadline=None, max_examples=500)
settings.load_profile("fixed")

# Commits in the temporary repositories of tests carry this identity, whatever the machine has configured.
for role in ("AUTHOR", "COMMITTER"):
    os.environ[f"GIT_{role}_NAME"] = "risolve tests"
    os.environ[f"GIT_{role}_EMAIL"] = "tests@risolve.invalid"


@pytest.fixture(autouse=True)
def _own_determinism() -> Iterator[None]:
    """Verbs that train ask torch for deterministic algorithms, for the whole process."""
    asked = torch.are_deterministic_algorithms_enabled()
    yield
    torch.use_deterministic_algorithms(asked)
