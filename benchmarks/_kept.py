"""Estimates that benchmarks keep, in `state/NAME/KEY`: what they score, and can score again.

KEY names what estimates depend on: parameters, the files that are read, the functions of the benchmark that
make them and the code of `COMPUTING`, docstrings and comments left out. Code that scores is not among it:
with other scores the benchmark runs in the time that these take. Removing `state/` is safe, and costs the
estimates.
"""

import ast
import hashlib
import inspect
import json
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from risolve.running.fingerprint import meaning

ROOT = Path(__file__).parents[1]
COMPUTING = (
    *("risolve/physics", "risolve/inference", "risolve/networks", "risolve/estimators", "risolve/bounds"),
    *("risolve/amplitudes.py", "risolve/batched.py", "risolve/covariance.py", "risolve/modulus.py"),
    *("risolve/seeds.py", "risolve/shapes.py", "risolve/files/model_grid.py"),
    "risolve/calibration/array_calibration.py",
    *("stages/params/objects.py", "stages/params/estimators.py"),
)
"""Packages and modules that make scenes and estimates of parameters."""


def key_of(
    parameters: Mapping[str, Any], functions: Sequence[Callable[..., Any]], inputs: Sequence[Path]
) -> str:
    """Name of the estimates that functions make of parameters and files."""
    digest = hashlib.blake2b(digest_size=12)
    digest.update(json.dumps(parameters, sort_keys=True).encode())
    for function in functions:
        digest.update(meaning(ast.parse(textwrap.dedent(inspect.getsource(function)))).encode())
    for name in COMPUTING:
        place = ROOT / name
        for path in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            digest.update(f"\n{path.relative_to(ROOT)} {meaning(ast.parse(path.read_bytes()))}".encode())
    for path in inputs:
        digest.update(path.read_bytes())
    return digest.hexdigest()
