"""Damaged texts of params.yaml: bytes, words that readers of YAML differ in, lines."""

from functools import cache
from pathlib import Path

import numpy as np
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from benchmarks.fuzz._frame import Subject
from benchmarks.fuzz._mutations import damaged
from risolve.errors import ParameterError
from stages.params import text as params_text
from stages.params.file import PARAMS, read_params
from stages.params.text import ParamsTextError

SEED = 20261129
ROOT = Path(__file__).parents[2]
_WHOLE_EVERY = 20
"""A whole file is parsed in a twentieth of a second, a section in a tenth of that."""

_SPELLINGS = """
0777 0o17 0x1F 1_000 1e-3 1e999 .inf -.nan yes ~ null true 2020-01-01 <<: &a [*a] *a !!int !!python/tuple
%YAML --- ... ? : - | > ' " # [ ] { } , @ ` {a:1} 99999999999999999999999
"""
_WORDS = (*_SPELLINGS.split(), *"\t\0\x1b\x85\u2028\ud800\ufeff\U0001f600\\ \n")
_REPEATED = (1, 1, 1, 2, 30, 3000)


@cache
def sections() -> list[str]:
    """The file, cut before every section."""
    parts: list[str] = []
    for line in (ROOT / PARAMS).read_text("utf-8").splitlines(keepends=True):
        if not line.startswith((" ", "#", "\n")) or not parts:
            parts.append("")
        parts[-1] += line
    return parts


def make(number: int, path: Path) -> None:
    """Damaged text `number`: a section or the whole file with other bytes, words or lines."""
    generator = np.random.default_rng((SEED, number))
    own = sections()
    text = "".join(own) if number % _WHOLE_EVERY == 0 else own[int(generator.integers(0, len(own)))]
    match number % 4:
        case 0:
            path.write_bytes(damaged(text.encode(), generator))
            return
        case 1 | 2:
            for _ in range(int(generator.integers(1, 4))):
                word = _WORDS[int(generator.integers(0, len(_WORDS)))] * int(
                    generator.choice([1, 1, 1, 2, 30, 3000])
                )
                at, to = sorted(int(n) for n in generator.integers(0, len(text) + 1, 2))
                text = text[:at] + word + text[at if generator.random() < 0.7 else min(to, at + 30) :]
        case 3:
            lines = text.splitlines(keepends=True)
            for _ in range(int(generator.integers(1, 4))):
                at, other = (int(n) for n in generator.integers(0, len(lines), 2))
                lines[at:at] = [" " * int(generator.integers(0, 9)) + lines[other].lstrip()] * int(
                    generator.choice([1, 1, 2, 2000])
                )
            text = "".join(lines)
    path.write_bytes(text.encode("utf-8", "surrogatepass"))


def read_alike(path: Path) -> None:
    """The parameters of a text whose values, where it is accepted, are those that DVC reads.

    Raises:
        ParameterError: the text is refused.
        AssertionError: DVC reads other values.
    """
    try:
        held = params_text.read(path)
    except ParamsTextError as error:
        raise ParameterError(str(error)) from error
    try:
        found = YAML(typ="safe").load(held.text)
    except (YAMLError, ValueError):
        found = held.values  # DVC refuses the text itself
    if repr(found) != repr(held.values):
        raise AssertionError("DVC reads other values")
    read_params(path)


SUBJECT = Subject("params.yaml", make, read_alike, ".yaml")
