"""The whole of params.yaml as a form: its fields by the models of the stages, explained by its comments."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeAlias

from pydantic import Field, GetJsonSchemaHandler, ValidatorFunctionWrapHandler, WrapValidator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema
from ruamel.yaml.nodes import MappingNode, Node

from stages.params import text
from stages.params.model import Params
from stages.params.text import ParamsText, ParamsTextError

Place: TypeAlias = tuple[str, ...]
"""A key, outermost section first."""

_COMMITTED = Path(__file__).parents[1] / "params.yaml"
"""That of the code: it explains the fields, whichever file fills them."""


def comments(held: ParamsText) -> dict[Place, str]:
    """What is noted behind the keys of a file, on their lines."""
    lines = held.text.splitlines()
    return {
        place: note[1].strip()
        for place, line in _lines_of_keys(held.tree, ())
        if (note := re.search(r"""\s#([^'"]*)$""", lines[line]))
    }


def _lines_of_keys(tree: Node, place: Place) -> Iterator[tuple[Place, int]]:
    """Keys and their lines, from 0; a note behind a section on one line is that of the section."""
    if isinstance(tree, MappingNode) and not tree.flow_style:
        for key, value in tree.value:
            own = (*place, str(key.value))
            yield own, int(key.start_mark.line)
            yield from _lines_of_keys(value, own)


class _Explained:
    """The schema of the parameters with comments as the descriptions of its fields."""

    def __get_pydantic_json_schema__(
        self, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        schema = handler(core)
        try:
            notes = comments(text.read(_COMMITTED))
        except ParamsTextError:
            return schema  # whoever fills the form says what is wrong
        _explain(handler.resolve_ref_schema(schema), (), notes, handler)
        return schema


def _explain(
    schema: JsonSchemaValue, place: Place, notes: Mapping[Place, str], handler: GetJsonSchemaHandler
) -> None:
    for name, field in schema.get("properties", {}).items():
        own = (*place, name)
        if own in notes:
            field["description"] = notes[own]
        if "$ref" in field:
            _explain(handler.resolve_ref_schema(field), own, notes, handler)


def _from_form(values: Any, handler: ValidatorFunctionWrapHandler) -> Any:
    """Parameters as a form sends them: lists for pairs, numbers without a point for whole ones; or none."""
    if values is None:
        return None
    return handler(Params.model_validate_json(json.dumps(values)) if isinstance(values, Mapping) else values)


Parameters = Annotated[
    Params,
    WrapValidator(_from_form),
    _Explained(),
    Field(json_schema_extra={"title": "Parameters of params.yaml"}),
]
"""The whole of params.yaml, by the models that the stages read it with."""
