"""Changes in the text of params.yaml: what is named, and no other byte."""

import random
from pathlib import Path
from typing import Any

import pytest

from risolve.errors import ParameterError
from stages.params.change import set_values
from stages.params.edit import ParamsEditError, changed, changes_of, differences, edited
from stages.params.text import ParamsText, parse
from tests.architecture.source import ROOT
from tests.messages import shows

TEXT = """\
a: {b: 1, c: [1, 2]}   # a note
d:
  e:                # of lines
  - 0.5
  - 10.0

  f: word           # the word
  g:
    h: 1e-3
    i: [x, y]
j: true
"""


@pytest.fixture(scope="module")
def held() -> ParamsText:
    return parse(TEXT)


@pytest.fixture(scope="module")
def committed() -> ParamsText:
    return parse((ROOT / "params.yaml").read_text("utf-8"))


@pytest.mark.parametrize(
    "key, value, old, new",
    [
        ("a.b", 20, "b: 1,", "b: 20,"),
        ("a.c", [3], "[1, 2]", "[3]"),
        ("a", {"b": 1}, "{b: 1, c: [1, 2]}", "{b: 1}"),
        ("d.e", [1, 2, 3], "  - 0.5\n  - 10.0\n", "  - 1\n  - 2\n  - 3\n"),
        ("d.e", [], "  - 0.5\n  - 10.0\n", "    []\n"),
        ("d.f", "other", "f: word ", "f: other "),
        ("d.f", "true", "f: word ", 'f: "true" '),
        ("d.f", "a: b # c", "f: word ", 'f: "a: b # c" '),
        ("d.f", "1e-3", "f: word ", 'f: "1e-3" '),
        ("d.g.h", 1e-6, "1e-3", "1e-06"),
        ("d.g", {"h": 1}, "    h: 1e-3\n    i: [x, y]\n", "      {h: 1}\n"),
        ("j", False, "j: true", "j: false"),
    ],
)
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_one_value_is_replaced(key: str, value: Any, old: str, new: str, line_end: str) -> None:
    before = parse("\ufeff" + TEXT.replace("\n", line_end))
    after = edited(before, {key: value})
    assert after.text == "\ufeff" + TEXT.replace(old, new).replace("\n", line_end)


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("a:\n  b:\n  c: 1\n", "a:\n  b: 4\n  c: 1\n"),
        ("a:\n  b: >-\n    one\n    two\n  c: 1\n", "a:\n  b: 4\n  c: 1\n"),
        ("a:\n  b: |\n    one\n", "a:\n  b: 4\n"),
        ("a:\n  b:  # of: two\n  c: 1\n", "a:\n  b: 4  # of: two\n  c: 1\n"),
        ("a: {b: , c: 1}\n", "a: {b: 4 , c: 1}\n"),
    ],
)
def test_a_value_that_is_missing_or_stands_on_lines_is_replaced(text: str, after: str) -> None:
    assert edited(parse(text), {"a.b": 4}).text == after


def test_several_values_do_not_disturb_each_other(committed: ParamsText) -> None:
    """Every number of the file changed at once is every number changed alone, in any order."""
    leaves = {
        key: value
        for key, value in _leaves(committed.values, ())
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
    assert len(leaves) > 100
    keys = list(leaves)
    random.Random(1).shuffle(keys)
    after = edited(committed, {key: leaves[key] + 1 for key in keys})
    assert dict(differences(committed.values, after.values)) == {key: leaves[key] + 1 for key in keys}
    assert len(after.text.splitlines()) == len(committed.text.splitlines())
    assert edited(after, leaves).values == committed.values


def _leaves(values: Any, path: tuple[str, ...]) -> Any:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _leaves(value, (*path, key))
        else:
            yield ".".join((*path, key)), value


def test_values_with_others_are_a_copy(held: ParamsText) -> None:
    before = repr(held.values)
    assert changed(held.values, {"d.g.h": 2, "j": False})["d"]["g"] == {"h": 2, "i": ["x", "y"]}
    assert repr(held.values) == before


def test_a_part_of_another_change_is_refused(held: ParamsText) -> None:
    with pytest.raises(ParamsEditError, match=shows("d.g.h: ... d.g")):
        edited(held, {"d.g.h": 1, "d.g": {"h": 2}})


def test_differences_are_leaves_where_the_keys_are_the_same(held: ParamsText) -> None:
    assert list(differences(held.values, held.values)) == []
    new = {"a": {"b": 2, "c": [1, 2]}, "d": {"g": {"h": 1e-3}}, "j": True}
    assert list(differences(held.values, new)) == [("a.b", 2), ("d", {"g": {"h": 1e-3}})]


@pytest.mark.parametrize(
    "text, changes",
    [
        ("a.b=4", {"a.b": 4}),
        (" a.b = 4 \n\n d.f=x\n", {"a.b": 4, "d.f": "x"}),
        ("a.b=4, d.f=x; j=false", {"a.b": 4, "d.f": "x", "j": False}),
        ("d.e=[1, 2.5], a.c=[7]", {"d.e": [1, 2.5], "a.c": [7]}),
        ("d.g.h=1e-3", {"d.g.h": 1e-3}),
        ("", {}),
        (" \n", {}),
    ],
)
def test_changes_as_a_person_writes_them(held: ParamsText, text: str, changes: dict[str, Any]) -> None:
    assert changes_of(text, held) == changes


@pytest.mark.parametrize(
    "text, words",
    [
        ("a.b", "KEY=VALUE"),
        ("=4", "KEY=VALUE"),
        ("a.b: 4", "KEY=VALUE"),
        ("a.b=4\na.b=5", "a.b: two values"),
        ("a.bb=4", "a.bb ... a.b"),
        ("h=4", "h ... d.g.h"),
        ("quite.another=4", "quite ... a, d, j"),
        ("a.b.x=4", "a.b.x: "),
        ("a.b=[1", "a.b="),
        ("a.b=&x 1", "anchors"),
        ("a.b=!!python/name:os.system", "no tags"),
        ("a.b=x: y", "a.b="),
    ],
)
def test_what_is_no_change_is_told(held: ParamsText, text: str, words: str) -> None:
    with pytest.raises(ParamsEditError, match=shows(words)) as caught:
        changes_of(text, held)
    assert "\n" not in str(caught.value)


def test_a_value_that_breaks_a_law_leaves_the_file(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    before = (ROOT / "params.yaml").read_bytes()
    path.write_bytes(before)
    with pytest.raises(ParameterError, match=r"params\.yaml:\d+: train\.epochs: .* got 0"):
        set_values(path, "train.epochs=0")
    assert path.read_bytes() == before
    difference = set_values(path, "search.n_trials=20\ntrain.epochs=4")
    assert [line for line in difference.splitlines() if line[0] == "+"][1:] == [
        "+  epochs: 4",
        "+  n_trials: 20                  # a budget: more of them go on with the same study",
    ]
    assert set_values(path, "search.n_trials=20") == ""


def test_a_link_and_the_permissions_of_the_file_stay(tmp_path: Path) -> None:
    own, link = tmp_path / "own.yaml", tmp_path / "params.yaml"
    own.write_bytes((ROOT / "params.yaml").read_bytes())
    own.chmod(0o640)
    link.symlink_to(own.name)
    assert set_values(link, "train.epochs=4")
    assert link.is_symlink() and "epochs: 4" in own.read_text("utf-8")
    assert own.stat().st_mode & 0o777 == 0o640
