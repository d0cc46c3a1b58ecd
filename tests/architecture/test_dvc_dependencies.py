"""Every stage of dvc.yaml depends on the fingerprint of all the code that it runs, and on no other code.

The oracle of what a verb runs is the import graph of `grimp`.
"""

import re
import subprocess
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import grimp
import pytest
from ruamel.yaml import YAML

import risolve
from risolve.running.fingerprint import DATA, PLUG_INS, closure, fingerprint
from stages.check import CODE, VERBS
from stages.params.file import SYSTEM
from tests.architecture.source import ROOT, modules, references

CHECK = "check"


def stages() -> dict[str, dict[str, Any]]:
    """The stages of dvc.yaml, without what `foreach` repeats them for."""
    loaded = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text("utf-8"))["stages"]
    return {name: stage.get("do", stage) for name, stage in loaded.items()}


def test_every_stage_depends_on_the_fingerprint_of_its_verb() -> None:
    found = {}
    for name, stage in stages().items():
        (verb,) = re.findall(r"^python -m stages\.(\w+)(?: --split \$\{item\})?$", stage["cmd"])
        assert name == verb
        found[verb] = [dep for dep in stage["deps"] if not dep.startswith("data/") or "/code/" in dep]
    asked = {verb: [f"{CODE}/{verb}.txt"] for verb in VERBS}
    # the page shows the parameters as they are written
    asked["report"].append("params.yaml")
    # what makes the fingerprints looks at all the code, and reads the array wherever it stands
    assert found == {CHECK: ["risolve", "stages", "params.yaml", "${array.file}"], **asked}
    assert stages()[CHECK]["outs"] == [str(CODE), str(SYSTEM)]
    drawing = {name for name, stage in stages().items() if str(SYSTEM) in stage["deps"]}
    assert drawing == {"simulate", "sweep"}


def test_dvc_and_a_verb_name_the_same_parameters() -> None:
    """The report shows all of params.yaml, which is a file of its own to it."""
    written = {name: list(stage.get("params", [])) for name, stage in stages().items()}
    read = {verb: list(getattr(import_module(f"stages.{verb}"), "READS", ())) for verb in (CHECK, *VERBS)}
    read["simulate"].append("simulate.${item}")
    assert {name: sorted(names) for name, names in written.items()} == {
        name: sorted(names) for name, names in read.items()
    }
    assert [verb for verb, names in read.items() if not names] == [CHECK, "report"]


@cache
def import_graph() -> grimp.ImportGraph:
    return grimp.build_graph("risolve", "stages", cache_dir=None)


def run_by(module: str, graph: grimp.ImportGraph) -> set[str]:
    """What `python -m module` imports, with the packages above and those that are loaded by name."""
    reached = {module, *graph.find_upstream_modules(module)}
    for package in [PLUG_INS[name] for name in PLUG_INS.keys() & reached]:
        found = graph.find_descendants(package)
        reached |= found.union(*map(graph.find_upstream_modules, found))
    for name in list(reached):
        parts = name.split(".")
        reached |= {".".join(parts[:length]) for length in range(1, len(parts))}
    return reached


MODULES = [f"stages.{verb}" for verb in (*VERBS, CHECK, "clone")]
MODULES += [f"risolve.{name}" for name in ("localize", "finetune", "cli")]


@pytest.mark.parametrize("module", MODULES)
def test_a_fingerprint_has_all_the_code_that_its_verb_runs(module: str) -> None:
    found = {line.partition("  ")[2] for line in fingerprint(module).splitlines()}
    modules = set()
    for name in run_by(module, import_graph()):
        path = ROOT.joinpath(*name.split("."))
        modules.add(path / "__init__.py" if path.is_dir() else path.with_suffix(".py"))
    beside = {
        file
        for module in modules
        if module.name == "__init__.py"
        for file in module.parent.iterdir()
        if file.suffix == ".j2"
    }
    assert found == {file.relative_to(ROOT).as_posix() for file in modules | beside}


def test_packages_that_are_loaded_by_name_are_known() -> None:
    loading = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for package in ("risolve", "stages")
        for path in (ROOT / package).rglob("*.py")
        if re.search(
            r"^\s*(?:import|from) (?:importlib|pkgutil)\b(?!\.metadata)", path.read_text("utf-8"), re.M
        )
    }
    # the door loads its names for whoever takes them there; `test_no_stage_goes_through_the_door`
    assert loading == {"risolve.__init__", *PLUG_INS}
    plug_in = "risolve.estimators.nomp"
    assert plug_in not in import_graph().find_upstream_modules("stages.calibrate")
    assert plug_in in closure("stages.calibrate")


def test_no_stage_goes_through_the_door() -> None:
    """A fingerprint does not know what `risolve` alone would load."""
    found = [
        f"{path}:{line}: {name}"
        for path, tree in modules("risolve", "stages", "flows").items()
        for line, name in references(tree, "risolve")
        if name in risolve.PUBLIC
    ]
    assert found == []


def test_every_file_of_the_package_is_a_module_or_a_template_beside_one() -> None:
    """What else would lie there, a fingerprint would not know."""
    tracked = subprocess.run(
        ["git", "ls-files", "risolve", "stages"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    shipped = {f"risolve/files/shipped/{name}" for name in ("example.h5", "network.pt")}
    of_no_verb = {"risolve/__init__.pyi", "risolve/py.typed", "risolve/pictures/turn.js", *shipped}
    assert of_no_verb <= set(tracked)
    assert {Path(name).suffix for name in set(tracked) - of_no_verb} == {".py", *DATA}
    assert [name for name in tracked if not (ROOT / name).with_name("__init__.py").is_file()] == []


def test_templates_belong_to_what_shows_them() -> None:
    templates = {path.relative_to(ROOT).as_posix() for path in Path(ROOT / "stages").rglob("*.j2")}
    lines = fingerprint("stages.report").splitlines()
    assert templates and templates <= {line.partition("  ")[2] for line in lines}
