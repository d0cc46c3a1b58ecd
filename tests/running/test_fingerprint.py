"""Another fingerprint for other code, and none for other words."""

import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from risolve.running.fingerprint import fingerprint, meaning
from stages.check import VERBS
from tests.architecture.source import ROOT
from tests.tiny_run import environment

PROGRAM = """
import json, sys
from risolve.running.fingerprint import fingerprint
print(json.dumps({verb: fingerprint(f"stages.{verb}") for verb in sys.argv[1:]}))
"""


def test_words_about_a_program_have_no_meaning() -> None:
    said = (
        '"""Doc."""\nX = 1\n"""Of X."""\n\n\nclass Kind():\n    """Doc."""\n\n    x = 1\n\n\n'
        'async def f(a: int) -> int:\n    """Doc."""\n    return a  # twice\n'
    )
    bare = "X=1\nclass Kind():\n x=1\nasync def f(a: int) -> int:\n  return a\n"
    assert meaning(ast.parse(said)) == meaning(ast.parse(bare))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("return a", "return -a"),
        ("x = 'a'", "x = 'b'"),
        ("x = 1", "x = 1.0"),
        ("x = 1", "x = True"),
        ("x = [1, 2]", "x = [[1], 2]"),
        ("x = a[1:]", "x = a[:1]"),
        ("f(a, b=c)", "f(a, **c)"),
        ("def f(a, /, b): pass", "def f(a, b, /): pass"),
        ("x = y or (z and w)", "x = (y or z) and w"),
        ("if a:\n  b\nc", "if a:\n  b\n  c"),
        ("x: int = 1", "x: float = 1"),
        ("'a'.join(b)", "'b'.join(b)"),
    ],
)
def test_other_programs_have_other_meanings(one: str, other: str) -> None:
    assert meaning(ast.parse(one)) != meaning(ast.parse(other))


def test_python_3_12_reads_f_strings_in_pieces() -> None:
    """It has constants that are empty in the specification of a format, or split."""
    tree = ast.parse('x = f"a{y:{z}}b"')
    before = meaning(tree)
    joined = next(node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr))
    own = next(value for value in joined.values if isinstance(value, ast.FormattedValue))
    assert isinstance(own.format_spec, ast.JoinedStr)
    own.format_spec.values.append(ast.Constant(""))
    joined.values[-1:] = [ast.Constant("b"), ast.Constant("")]
    assert meaning(tree) == before
    joined.values[-1:] = [ast.Constant("c")]
    assert meaning(tree) == meaning(ast.parse('x = f"a{y:{z}}bc"')) != before


def fingerprints(root: Path) -> dict[str, str]:
    """Those of the package in a folder, by verb."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", PROGRAM, *VERBS],
        cwd=root,
        env={**environment(), "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, str] = json.loads(done.stdout)
    return found


@pytest.mark.slow
def test_an_edit_shows_in_the_verbs_that_run_it(tmp_path: Path) -> None:
    for package in ("risolve", "stages"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    before = fingerprints(tmp_path)
    assert before == {verb: fingerprint(f"stages.{verb}") for verb in VERBS}

    def edited(name: str, old: str, new: str) -> set[str]:
        """The verbs with another fingerprint after an edit, which is undone."""
        path = tmp_path / name
        text = path.read_text("utf-8")
        assert old in text
        path.write_text(text.replace(old, new, 1), "utf-8")
        found = fingerprints(tmp_path)
        path.write_text(text, "utf-8")
        return {verb for verb in VERBS if found[verb] != before[verb]}

    for name in (
        "risolve/estimators/.#nomp.py",
        "stages/.evaluate.py.swp",
        "risolve/estimators/.ipynb_checkpoints/nomp-checkpoint.py",
    ):
        stray = tmp_path / name
        stray.parent.mkdir(exist_ok=True)
        stray.symlink_to("gone") if "#" in name else stray.write_text("1 +", "utf-8")
    (tmp_path / "stages/evaluate/__pycache__").mkdir(parents=True)
    assert fingerprints(tmp_path) == before
    assert edited("risolve/physics/steering.py", '"""', '"""Said otherwise. ') == set()
    assert edited("risolve/physics/steering.py", "import torch", "import torch  # tensors") == set()
    everywhere = edited("risolve/seeds.py", "import ", "import antigravity\nimport ")
    assert everywhere >= {"simulate", "train", "evaluate"}
    # loaded by name, and imported by none
    assert edited("risolve/estimators/nomp.py", "ESTIMATORS", "ZERO = 0\nESTIMATORS") == {
        *("calibrate", "evaluate", "search", "sweep")
    }
    # a template belongs to all that imports its package
    assert edited("stages/page/style.css.j2", "{", "{ ") == {"report", "search", "sweep"}


def test_a_verb_that_is_not_there_has_none() -> None:
    with pytest.raises(ValueError, match=r"stages\.nothing"):
        fingerprint("stages.nothing")
