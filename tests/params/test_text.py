"""What params.yaml may be written like: read as DVC reads it, or refused with its line, in bounded time."""

import os
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from stages.params.text import ParamsTextError, read
from tests.architecture.source import ROOT
from tests.messages import shows


def text_of(directory: Path, text: str | bytes) -> Path:
    path = directory / "params.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text)
    return path


def as_dvc(text: str) -> Any:
    """Values as DVC reads them, None where it refuses the text."""
    try:
        return YAML(typ="safe").load(text)
    except (YAMLError, ValueError):
        return None


def test_the_committed_file_is_read_as_dvc_reads_it() -> None:
    path = ROOT / "params.yaml"
    assert read(path).values == as_dvc(path.read_text("utf-8"))
    assert read(path).text == path.read_text("utf-8")


SPELLINGS = re.split(
    " ",
    "0777 0o17 0x1F 0b11 1_000 08 00.5 01.5 1e-3 1E5 1.e3 +.5 -0 1.0 12 .inf -.INF .nan 1:30 190:20:30 yes "
    "no on off y N True FALSE null ~ 2020-01-01 '1' \"a\" word infinity 1e 0o8 << = [1,2] {a} [] {}",
)


@pytest.mark.parametrize("value", SPELLINGS)
def test_a_value_is_what_dvc_reads_or_refused(tmp_path: Path, value: str) -> None:
    text = f"k: {value}\n"
    path = text_of(tmp_path, text)
    try:
        found = read(path).values["k"]
    except ParamsTextError as error:
        assert str(error).startswith(f"{path}:1: ")
        assert "\n" not in str(error)
        return
    expected = as_dvc(text)["k"]
    assert type(found) is type(expected)
    assert repr(found) == repr(expected)


@pytest.mark.parametrize("value", ["0777", "0o17", "0x1F", "1_000", "00.5", "2020-01-01", "<<", "1" * 41])
def test_what_readers_of_yaml_differ_in_is_refused(tmp_path: Path, value: str) -> None:
    with pytest.raises(ParamsTextError, match=r"params\.yaml:2: "):
        read(text_of(tmp_path, f"a: 1\nk: {value}\n"))


@given(st.text("01279.eExXobaF_+-:yYnNoftrue~ ", max_size=8))
def test_no_spelling_is_read_in_another_way_than_by_dvc(
    tmp_path_factory: pytest.TempPathFactory, value: str
) -> None:
    text = f"k: {value}\n"
    path = text_of(tmp_path_factory.getbasetemp(), text)
    try:
        found = read(path).values
    except ParamsTextError:
        return
    assert repr(found) == repr(as_dvc(text))


REFUSED = [
    ("a: &a [*a]\n", 1, "anchors"),
    ("a: 1\nb: *a\n", 2, "anchors"),
    ("a: 1\nb: {<<: {c: 1}}\n", 2, "merge"),
    ("a: 1\nb: !!int '3'\n", 2, "tags"),
    ("a: 1\nb: !!python/object:os.system x\n", 2, "tags"),
    ("%YAML 1.1\n---\na: 0777\n", 2, "directives"),
    ("%TAG !e! x:\n---\na: 1\n", 2, "directives"),
    ("a: 1\n---\nb: 1\n", 2, "document"),
    ("a: 1\nb: 2\na: 3\n", 3, "key a"),
    ("a: {b: 1,\n b: 2}\n", 2, "key b"),
    ("a: 1\n1: 2\n", 2, "key"),
    ("a: 1\n? [b]\n: 2\n", 2, "key"),
    ("a: 1\nb: " + "[" * 3000 + "]" * 3000, 2, "16 levels"),
    ("a: [" + "1, " * 60_000 + "]", 1, "50000"),
    ("a: 1\nb: \x1b[31m\n", 2, "U+001B"),
    ("a: 1\nb: \x00\n", 2, "U+0000"),
    ("a: 1\nb: x\u2028c: 1\n", 2, "U+2028"),
    ('a: 1\nb: "\\x1b"\n', 2, "U+001B"),
    ('a: 1\nb: "\\ud800"\n', 2, "U+D800"),
    ('a: "\\U7fffffff"\n', 1, "not YAML"),
    ("%YAML 1" + "1" * 5000 + ".1\n---\na: 1\n", 1, "not YAML"),
    ("a: 1\nb: [1, 2\nc: 3\n", 3, "not YAML"),
    (b"a: 1\nb: \xff\n", 2, "not UTF-8: byte 0xff"),
    ("a: 1\n".encode("utf-16"), 1, "not UTF-8"),
]


@pytest.mark.parametrize(("text", "line", "law"), REFUSED, ids=[str(n) for n in range(len(REFUSED))])
def test_what_is_refused_has_its_line(tmp_path: Path, text: str | bytes, line: int, law: str) -> None:
    with pytest.raises(ParamsTextError, match=shows(f"params.yaml:{line}: ... {law}")) as caught:
        read(text_of(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_aliases_are_refused_before_they_are_followed(tmp_path: Path) -> None:
    rows = ["a0: &a0 [x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    with pytest.raises(ParamsTextError, match=r":1: .*aliases"):
        read(text_of(tmp_path, "\n".join(rows)))


def test_the_size_is_looked_at_first(tmp_path: Path) -> None:
    with pytest.raises(ParamsTextError, match=r"params\.yaml: 1 MB .* got 1\.2 MB"):
        read(text_of(tmp_path, "# comment\n" * 120_000))


def test_what_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")
    for name, law in (("folder", "directory"), ("fifo", "FIFO"), ("nothing", "root")):
        with pytest.raises(ParamsTextError, match=shows(f"{name}: ... {law}")):
            read(tmp_path / name)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_ends_of_lines_and_a_byte_order_mark_change_no_value(tmp_path: Path, end: str) -> None:
    text = "\ufeff" + end.join(("a: 1", "b: [x, 2.5]", ""))
    found = read(text_of(tmp_path, text))
    assert found.values == {"a": 1, "b": ["x", 2.5]}
    assert found.text == text
