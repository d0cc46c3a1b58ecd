"""The form of params.yaml: its fields carry the comments of the file."""

from collections.abc import Iterator
from typing import Any

from flows.experiment import experiment
from flows.form import Place, comments
from stages.params.text import parse, read
from tests.architecture.source import ROOT


def test_comments_belong_to_the_key_of_their_line() -> None:
    text = "a:  # one\n  b: 'x # y'  # two\n  c:  # of lines\n  - 1\n  d: {e: 1}  # four\n  f: 2\n"
    assert comments(parse(text)) == {
        ("a",): "one",
        ("a", "b"): "two",
        ("a", "c"): "of lines",
        ("a", "d"): "four",
    }


def fields(schema: dict[str, Any], place: Place, definitions: dict[str, Any]) -> Iterator[tuple[Place, Any]]:
    for name, field in schema.get("properties", {}).items():
        own = (*place, name)
        yield own, field.get("description")
        if "$ref" in field:
            yield from fields(definitions[field["$ref"].rpartition("/")[2]], own, definitions)


def test_every_comment_of_params_yaml_explains_its_field() -> None:
    schema = experiment.parameters.model_dump()
    definitions = schema["definitions"]
    found = dict(fields(definitions["Params"], (), definitions))
    notes = comments(read(ROOT / "params.yaml"))
    # strata, points of a sweep and the space of a search have keys of their own
    named = {place: note for place, note in notes.items() if place in found}
    assert len(named) > 40
    assert {place: found[place] for place in named} == named


def test_no_parameters_are_those_of_the_file() -> None:
    form = {"target": "train", "changes": "train.epochs=4", "parameters": None}
    assert experiment.validate_parameters(form)["parameters"] is None
