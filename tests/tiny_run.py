"""A run small enough for a test: the committed params.yaml with a 3 x 5 surface and a handful of scenes."""

import contextlib
import copy
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[1]

TINY: Mapping[str, Any] = {
    "array.n_horizontal": 5,
    "array.n_vertical": 3,
    "receiver.n_antennas": 4,
    "receiver.n_snapshots": 7,
    "sources.max_sources": 3,
    "simulate.scenes_per_shard": 4,
    "simulate.workers": 1,
    "simulate.train.strata": {"only": {"n_sources": [0, 3], "snr_db": [-5.0, 20.0], "n_scenes": 10}},
    "simulate.train_constant.strata": {
        "a": {"n_sources": [0, 0], "snr_db": [0.0, 0.0], "n_scenes": 1},
        "b": {"n_sources": [1, 3], "snr_db": [-5.0, 20.0], "n_scenes": 5},
    },
    "simulate.validation.strata": {"only": {"n_sources": [0, 3], "snr_db": [-5.0, 20.0], "n_scenes": 5}},
    "simulate.validation_constant.strata": {
        "only": {"n_sources": [0, 3], "snr_db": [-5.0, 20.0], "n_scenes": 3}
    },
    "simulate.test_independent.strata": {
        "a": {"n_sources": [0, 0], "snr_db": [0.0, 0.0], "n_scenes": 3},
        "b": {"n_sources": [1, 1], "snr_db": [10.0, 10.0], "n_scenes": 3},
        "c": {"n_sources": [2, 2], "snr_db": [0.0, 0.0], "n_scenes": 3},
    },
    "simulate.test_constant.strata": {
        "a": {"n_sources": [0, 0], "snr_db": [0.0, 0.0], "n_scenes": 2},
        "b": {"n_sources": [2, 2], "snr_db": [10.0, 10.0], "n_scenes": 4},
    },
    "evaluate.blind": ["learned", "ml"],
    "grid.n_u": 7,
    "grid.n_v": 5,
    "grid.n_w": 3,
    "search.n_trials": 3,
    "search.workers": 1,
    "search.scene_fraction": 1.0,
    "search.epochs": 2,
    "search.space.network": {"channels": {"choices": [8, 16]}},
}


def write_params(directory: Path, changes: Mapping[str, Any] | None = None) -> Path:
    """The committed params.yaml with tiny sizes, then with changes by dotted keys; None deletes a key."""
    tree = pickle.loads(_committed())
    for key, value in {**TINY, **(changes or {})}.items():
        *sections, last = key.split(".")
        node = tree
        for section in sections:
            node = node[section]
        if value is None:
            del node[last]
        else:
            node[last] = copy.deepcopy(value)  # of its own: YAML would write the same list twice as an alias
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "params.yaml"
    yaml = YAML(typ="rt")
    yaml.representer.ignore_aliases = lambda data: True
    with path.open("w", encoding="utf-8") as file:
        yaml.dump(tree, file)
    return path


@cache
def _committed() -> bytes:
    """The tree of the committed params.yaml; a copy from bytes takes a twentieth of the time of the file."""
    return pickle.dumps(YAML(typ="rt").load((ROOT / "params.yaml").read_text("utf-8")))


def environment() -> dict[str, str]:
    """Environment of a verb in a process of its own: code of this repository, one thread, its own state."""
    kept = {name: value for name, value in os.environ.items() if name != "DVC_ROOT"}
    return {**kept, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def run_verb(directory: Path, verb: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`python -m stages.VERB` in a directory that holds a params.yaml."""
    command = [sys.executable, "-m", f"stages.{verb}", *arguments]
    return subprocess.run(
        command, cwd=directory, env=environment(), capture_output=True, text=True, timeout=120, check=False
    )


def call_verb(directory: Path, main: Callable[[], None], *arguments: str) -> None:
    """The main function of a verb, in this process, as if it were started in the directory."""
    kept = {name: value for name, value in os.environ.items() if name != "DVC_ROOT"}
    with (
        contextlib.chdir(directory),
        mock.patch.object(sys, "argv", ["verb", *arguments]),
        mock.patch.dict(os.environ, kept, clear=True),
    ):
        main()
