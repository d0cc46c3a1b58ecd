"""params.yaml, checked strictly, with the line of whatever is wrong in it."""

import difflib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeAlias, get_args, get_origin

from pydantic import BaseModel, ValidationError
from ruamel.yaml.nodes import MappingNode, Node, SequenceNode

from risolve.errors import ParameterError
from risolve.files.given_system import read_system
from risolve.physics.scenario import GivenSystem
from stages.params import text as params_text
from stages.params.edit import changed
from stages.params.model import FileParams, Params
from stages.params.search import Choices, Interval
from stages.params.text import ParamsText, ParamsTextError

PARAMS = Path("params.yaml")
SYSTEM = Path("data/check/array.h5")
"""The array, as `check` found it: all that a run takes from `array.file`."""

Location: TypeAlias = tuple[int | str, ...]

_ALTERNATIVES: Mapping[int | str, type[BaseModel]] = {"interval": Interval, "choices": Choices}
"""What a range of the search may be, by the name that errors have for it."""
_UNWRITTEN = {*_ALTERNATIVES, "[key]"}
"""Parts of the places of errors that stand in no file."""


def read_params(path: Path = PARAMS) -> Params:
    """Parameters of a file; where the array is that of another file, with what `check` read there.

    Raises:
        ParameterError: "FILE:LINE: key: law, numbers" for the first thing wrong with it.
        MeasurementError: `check` has not run.
    """
    held = read_text(path)
    stated = checked(path, held)
    if not stated.array.is_elsewhere:
        return stated
    return with_system(path, held, stated, read_system(path.parent / SYSTEM))


def with_system(path: Path, held: ParamsText, stated: Params, system: GivenSystem) -> FileParams:
    """Parameters of a text with the array, the antennas and the snapshots of a system in place of its own.

    One channel of all scenes is that of a fixed installation.

    Raises:
        ParameterError: as `read_params`; they break a law together.
    """
    array = system.array
    values = {
        "array.wavelength_m": array.wavelength,
        "array.element_positions_m": array.elements.tolist(),
        "array.spherical_amplitude": array.spherical_amplitude or stated.array.spherical_amplitude,
        "receiver.n_antennas": system.n_antennas,
        "receiver.n_snapshots": system.n_snapshots,
    }
    if system.channel is not None:
        values["channel.per_scene"] = False
    try:
        return FileParams.model_validate_json(json.dumps(changed(held.values, values)))
    except ValidationError as error:
        sizes = f"{array.n_elements} elements, {system.n_antennas} antennas, {system.n_snapshots} snapshots"
        own = f"array.file = {stated.array.file} has {sizes}, wavelength {array.wavelength:g} m"
        raise ParameterError(f"{path}{_first_error(error, held.tree)}; {own}") from None


def system_files(params: Params) -> list[Path]:
    """What scenes are drawn from beside the parameters."""
    return [SYSTEM] if isinstance(params, FileParams) else []


def sections(params: Params, names: Iterable[str]) -> dict[str, Any]:
    """Some sections of the parameters, or some values of sections, by dotted names."""
    include: dict[str, Any] = {}
    for name in names:
        section, _, key = name.partition(".")
        if key:
            include.setdefault(section, set()).add(key)
        else:
            include[section] = True
    return params.model_dump(mode="json", include=include)


def checked(path: Path, held: ParamsText) -> Params:
    """Parameters of a text that stands in a file, or shall.

    Raises:
        ParameterError: as `read_params`, for the first law that is broken.
    """
    try:
        return Params.model_validate_json(json.dumps(held.values))
    except ValidationError as error:
        raise ParameterError(f"{path}{_first_error(error, held.tree)}") from None


def read_text(path: Path) -> ParamsText:
    """What stands in a file, whether or not it obeys the laws.

    Raises:
        ParameterError: it cannot be read.
    """
    try:
        return params_text.read(path)
    except ParamsTextError as error:
        raise ParameterError(str(error)) from None


def fault(key: str, law: str, path: Path = PARAMS) -> ParameterError:
    """The error of a value (SECTION.KEY) that breaks a law which the parameters alone do not know."""
    return ParameterError(f"{path}:{_line(read_text(path).tree, key.split('.'))}: {key}: {law}")


def _first_error(error: ValidationError, tree: Node) -> str:
    """ ":LINE: key: law, numbers" of the first error, and how many follow."""
    # a misspelt key is unknown and its right spelling missing: the first says more
    errors = sorted(error.errors(include_url=False), key=lambda e: e["type"] != "extra_forbidden")
    first = errors[0]
    location = _written(tree, first["loc"])
    law = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        law = "unknown key" + _suggestion(first["loc"])
    elif first["type"] == "missing":
        law = "missing; the file is complete, nothing has a default in the code"
    elif first["type"] == "value_error":
        location = _field_named(law, location, tree)
    else:
        law = f"{law[0].lower()}{law[1:]}, got {_without_secrets(json.dumps(first['input'], default=str))}"
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return f":{_line(tree, location)}: {_dotted(location)}: {law}{more}"


def _without_secrets(text: str) -> str:
    """A value as errors repeat it: of an address with a user or a password, the beginning and the end."""
    return re.sub(r"//[^\s\"]*@|(?i:pass)[^\s\"]*", "...", text)


def _written(tree: Node, location: Location) -> Location:
    """A place by the keys of the file alone."""
    found: Location = ()
    for part in location:
        if part not in _UNWRITTEN or _node(tree, (*found, part)) is not None:
            found = (*found, part)
    return found


def _suggestion(location: Location) -> str:
    """The nearest known keys of the section that holds an unknown one."""
    model: Any = Params
    for part in location[:-1]:
        if get_origin(model) is dict:
            model = get_args(model)[1]
        elif part in _ALTERNATIVES:
            model = _ALTERNATIVES[part]
        elif isinstance(part, str):
            model = model.model_fields[part].annotation
        while get_origin(model) in (Annotated, tuple):
            model = get_args(model)[0]
    known = list(model.model_fields)
    near = difflib.get_close_matches(str(location[-1]), known, n=1)
    return f"; did you mean {near[0]}?" if near else f"; known here: {', '.join(known)}"


def _field_named(law: str, location: Location, tree: Node) -> Location:
    """Place of the first key that a law names: relative to its section, or dotted from the root."""
    for name in re.findall(r"[a-z_]\w*(?:\.[a-z_]\w*|\[\d+\])*", law):
        parts = tuple(int(p) if p.isdigit() else p for p in re.findall(r"[a-z_]\w*|\d+", name))
        if (location or len(parts) > 1) and _node(tree, (*location, *parts)) is not None:
            return (*location, *parts)
    return location


def _dotted(location: Location) -> str:
    """train.focal_exponents[0]"""
    return (
        "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in location).removeprefix(".")
        or "parameters"
    )


def _line(tree: Node, location: Sequence[int | str]) -> int:
    """Line (from 1) of the deepest part of a place that the file has."""
    for depth in range(len(location), 0, -1):
        node = _node(tree, location[:depth])
        if node is not None:
            return int(node.start_mark.line) + 1
    return 1


def _node(tree: Node, location: Sequence[int | str]) -> Node | None:
    """Node of a place (of its key, if it has one), None where the file has nothing there."""
    node, found = tree, tree
    for part in location:
        if isinstance(node, MappingNode):
            pairs = {str(key.value): (key, value) for key, value in node.value}
            if str(part) not in pairs:
                return None
            found, node = pairs[str(part)]
        elif isinstance(node, SequenceNode) and isinstance(part, int) and part < len(node.value):
            found = node = node.value[part]
        else:
            return None
    return found
