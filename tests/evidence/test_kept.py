"""Benchmarks keep the estimates that they score, as long as nothing that makes estimates has changed."""

from functools import partial
from pathlib import Path

import grimp
import pytest

from benchmarks._kept import COMPUTING, ROOT, key_of
from stages.evaluation.cells import SceneBatch, made, plan
from tests.architecture.source import is_core


def makes(content: str, calls: list[int], batch: SceneBatch[str], path: Path) -> None:
    calls.append(batch.number)
    path.write_text(f"{content} {batch.cell}", "utf-8")


def makes_otherwise(content: str, calls: list[int], batch: SceneBatch[str], path: Path) -> None:
    makes(content.upper(), calls, batch, path)


def test_what_is_kept_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parameters, files read and the function that makes it name it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    model, calls = tmp_path / "model", list[int]()
    model.write_text("weights", "utf-8")

    def contents(of: int, make: object) -> list[str]:
        assert callable(make)
        key = key_of({"seed": of}, (make,), [model])
        batches = plan([("A", range(3)), ("B", range(3))], 3)
        with made("bench", key, partial(make, f"seed {of}", calls), batches, 1) as (_, done):
            return [path.read_text("utf-8") for _, path in done]

    assert contents(1, makes) == contents(1, makes) == ["seed 1 A", "seed 1 B"]
    assert calls == [0, 1]
    assert contents(2, makes) == ["seed 2 A", "seed 2 B"]
    assert contents(1, makes_otherwise) == ["SEED 1 A", "SEED 1 B"]
    assert len(calls) == 6
    model.write_text("other weights", "utf-8")
    assert contents(1, makes) == ["seed 1 A", "seed 1 B"]
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
