"""Every stage of dvc.yaml depends on all the code that it runs: its import closure is contained in its deps.

DVC runs a stage again when a listed dependency changes; an edit of unlisted code would keep old results.
"""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import PurePosixPath
from typing import Any

import grimp
import pytest
from ruamel.yaml import YAML

from tests.architecture.source import ROOT

Pipeline = dict[str, Any]
PLUG_INS = {"stages.estimators.registry": "stages.estimators"}
"""Module -> package of which it imports every module without naming one."""


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    loaded: Pipeline = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text("utf-8"))
    return loaded


@cache
def import_graph() -> grimp.ImportGraph:
    return grimp.build_graph("stages", cache_dir=None)


@cache
def closure(module: str) -> frozenset[str]:
    """Files that `python -m module` runs: its imports, their packages, and data files of those packages."""
    graph = import_graph()
    reached = {module, *graph.find_upstream_modules(module)}
    for package in [PLUG_INS[name] for name in PLUG_INS.keys() & reached]:
        found = graph.find_descendants(package)
        reached |= found.union(*map(graph.find_upstream_modules, found))
    reached |= {name.rpartition(".")[0] for name in reached} - {""}
    files: set[str] = set()
    for name in reached:
        folder = PurePosixPath(*name.split("."))
        if (ROOT / folder).is_dir():
            files |= {(folder / "__init__.py").as_posix()}
            files |= {f.relative_to(ROOT).as_posix() for f in (ROOT / folder).iterdir() if is_data(f.suffix)}
        else:
            files.add(folder.with_suffix(".py").as_posix())
    return frozenset(files)


def is_data(suffix: str) -> bool:
    """True for a file that a module reads from its own package, such as a template."""
    return suffix not in {"", ".py", ".pyc"}


def runs(stage: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Modules that a stage runs and its deps; `foreach` and `matrix` vary neither."""
    body = stage.get("do", stage)
    commands = body["cmd"] if isinstance(body["cmd"], list) else [body["cmd"]]
    modules = [m for command in commands for m in re.findall(r"-m (stages(?:\.\w+)+)", command)]
    deps = [dep if isinstance(dep, str) else next(iter(dep)) for dep in body["deps"]]
    return modules, deps


def is_covered(file: str, deps: list[str]) -> bool:
    return any(PurePosixPath(file).is_relative_to(dep) for dep in deps)


def unlisted(pipeline: Pipeline) -> Iterator[str]:
    """Every file that a stage runs without depending on it."""
    for name, stage in pipeline["stages"].items():
        modules, deps = runs(stage)
        if not modules:
            yield f"{name}: runs no `python -m stages.<verb>`"
        for module in modules:
            yield from (f"{name}: {file}" for file in sorted(closure(module)) if not is_covered(file, deps))


def superfluous(pipeline: Pipeline) -> Iterator[str]:
    """Every dep on code that the stage does not run: a change there would run it for nothing."""
    for name, stage in pipeline["stages"].items():
        modules, deps = runs(stage)
        files = [file for module in modules for file in closure(module)]
        code = [dep for dep in deps if PurePosixPath(dep).parts[0] in {"stages", "flows", "tests"}]
        yield from (f"{name}: {dep}" for dep in code if not any(is_covered(file, [dep]) for file in files))


def test_every_stage_depends_on_the_code_it_runs(pipeline: Pipeline) -> None:
    assert list(unlisted(pipeline)) == []


def test_no_stage_depends_on_code_it_does_not_run(pipeline: Pipeline) -> None:
    assert list(superfluous(pipeline)) == []


def test_a_missing_dependency_is_found(pipeline: Pipeline) -> None:
    """Dropping any code dep of any stage leaves some file unlisted, unless another dep covers it as well."""
    dropped = 0
    for name, stage in pipeline["stages"].items():
        _, deps = runs(stage)
        for dep in [d for d in deps if PurePosixPath(d).parts[0] == "stages"]:
            others = [d for d in deps if d != dep]
            if is_covered(dep, others):
                continue
            body = {**stage.get("do", stage), "deps": others}
            doctored = {"stages": {name: {**stage, "do": body} if "do" in stage else body}}
            assert list(unlisted(doctored)), f"{name} without {dep}"
            dropped += 1
    assert dropped >= len(pipeline["stages"])


def stage_of(form: str, deps: list[Any]) -> Pipeline:
    """A pipeline of one stage that runs the verb simulate, in each form that DVC knows."""
    body = {"cmd": "python -m stages.simulate", "deps": deps}
    forms: dict[str, dict[str, Any]] = {
        "plain": body,
        "foreach": {"foreach": ["train", "test"], "do": body},
        "matrix": {"matrix": {"split": ["train", "test"]}, **body},
    }
    return {"stages": {"simulate": forms[form]}}


@pytest.mark.parametrize("form", ["plain", "foreach", "matrix"])
def test_forms_of_a_stage(form: str) -> None:
    files = sorted(closure("stages.simulate"))
    lacking = stage_of(form, [*files[:-1], {"data/x.h5": {"cache": False}}])
    assert list(unlisted(lacking)) == [f"simulate: {files[-1]}"]
    assert list(unlisted(stage_of(form, ["stages"]))) == []
    assert list(superfluous(stage_of(form, ["stages", "flows"]))) == ["simulate: flows"]


def test_a_stage_that_imports_the_registry_depends_on_every_plug_in() -> None:
    loading = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in (ROOT / "stages").rglob("*.py")
        if re.search(
            r"^\s*(?:import|from) (?:importlib|pkgutil)\b(?!\.metadata)", path.read_text("utf-8"), re.M
        )
    }
    assert loading == PLUG_INS.keys()
    plug_in = "stages/estimators/nomp.py"
    assert "stages.estimators.nomp" not in import_graph().find_upstream_modules("stages.calibrate")
    deps = sorted(closure("stages.calibrate") - {plug_in})
    pipeline = {"stages": {"calibrate": {"cmd": "python -m stages.calibrate", "deps": deps}}}
    assert list(unlisted(pipeline)) == [f"calibrate: {plug_in}"]


def test_a_stage_without_a_verb_is_found() -> None:
    stage = {"cmd": "python script.py", "deps": ["stages"]}
    assert list(unlisted({"stages": {"odd": stage}})) == ["odd: runs no `python -m stages.<verb>`"]
