"""Benchmarks keep the estimates that they score, as long as nothing that makes estimates has changed."""

from functools import partial
from pathlib import Path

import grimp
import pytest

from benchmarks._kept import COMPUTING, ROOT, kept, key_of
from risolve.files.hdf5 import shard_name
from tests.architecture.source import is_core


def makes(content: str, calls: list[int], number: int, path: Path) -> None:
    calls.append(number)
    path.write_text(f"{content} {number}", "utf-8")


def makes_otherwise(content: str, calls: list[int], number: int, path: Path) -> None:
    makes(content.upper(), calls, number, path)


def test_what_is_kept_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parameters, files read and the function that makes it name it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    model, calls = tmp_path / "model", list[int]()
    model.write_text("weights", "utf-8")

    def contents(of: int, make: object) -> list[str]:
        assert callable(make)
        key = key_of({"seed": of}, (make,), [model])
        with kept("bench", key, partial(make, f"seed {of}", calls), 2, 1) as work:
            return [(work / shard_name(number)).read_text("utf-8") for number in range(2)]

    assert contents(1, makes) == contents(1, makes) == ["seed 1 0", "seed 1 1"]
    assert calls == [0, 1]
    assert contents(2, makes) == ["seed 2 0", "seed 2 1"]
    assert contents(1, makes_otherwise) == ["SEED 1 0", "SEED 1 1"]
    assert len(calls) == 6
    model.write_text("other weights", "utf-8")
    assert contents(1, makes) == ["seed 1 0", "seed 1 1"]
    assert len(calls) == 8


def test_estimates_are_named_by_all_the_code_that_makes_them_and_by_none_that_scores() -> None:
    """What `COMPUTING` imports of the core beside itself only refuses parameters."""
    graph = grimp.build_graph("risolve", "stages", cache_dir=None)
    own = {name.removesuffix(".py").replace("/", ".") for name in COMPUTING}
    assert all((ROOT / name).exists() for name in COMPUTING)
    own |= {module for name in own for module in graph.find_descendants(name)}
    reached = {module for name in own for module in graph.find_upstream_modules(name)} - own
    core = {name for name in reached if is_core(f"{name.replace('.', '/')}.py")}
    assert core <= {"risolve.identifiability"}
    assert not any(name.startswith(("risolve.metrics", "stages.evaluation")) for name in own | reached)
