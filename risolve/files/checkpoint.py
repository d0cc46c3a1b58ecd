"""Checkpoints: plain tensors, numbers and strings, whole or absent, tied to the parameters behind them."""

import contextlib
import hashlib
import io
import json
import textwrap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from risolve.errors import CheckpointError
from risolve.files.atomic import write_bytes
from risolve.files.checkpoint_archive import Archive
from risolve.files.regular import IrregularFileError, opened
from risolve.files.stored_zip import ArchiveError

FORMAT = "risolve-checkpoint"
VERSION = 1

_LONGEST = 200
"""Characters of a value in a message, as of the places of many elements."""

MOST_BYTES = 2**33
"""Of a file: the state of a training of 2^28 weights, each with its average, the best and two moments."""


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint holds, and the parameters that it is valid for, as plain values."""

    parameters: dict[str, Any]
    content: dict[str, Any]


def save_checkpoint(path: Path, content: Mapping[str, Any], parameters: Mapping[str, Any]) -> None:
    """Write tensors, numbers, strings and nested dicts and lists of them; the file appears when complete.

    `parameters` are those that the content is valid for, as plain values (`model_dump(mode="json")`).

    Raises:
        StateError: the file cannot be written.
    """
    text = _text(parameters)
    document = {
        "format": FORMAT,
        "version": VERSION,
        "parameters": text,
        "parameter_digest": _digest(text),
        "content": dict(content),
    }
    archive = io.BytesIO()
    torch.save(document, archive)
    write_bytes(path, archive.getbuffer())


def load_checkpoint(
    path: Path, parameters: Mapping[str, Any], accept: Callable[[dict[str, Any]], None]
) -> dict[str, Any]:
    """Content of a checkpoint that was made with these parameters, its tensors on the CPU.

    accept: is given the content with its tensors on the meta device before any of them is read.

    Raises:
        CheckpointError: as `read_checkpoint`, or made with other parameters (it names the keys that differ,
            with both values).
    """
    wanted = _text(parameters)

    def check(declared: Checkpoint) -> None:
        if _text(declared.parameters) != wanted:
            differences = "; ".join(_differences(declared.parameters, json.loads(wanted)))
            raise CheckpointError(
                f"{path}: made with other parameters: {differences}; train again, or restore those parameters"
            )
        accept(declared.content)

    return read_checkpoint(path, check).content


def read_checkpoint(path: Path, accept: Callable[[Checkpoint], None]) -> Checkpoint:
    """A checkpoint whatever its parameters, its tensors on the CPU.

    accept: is given it with its tensors on the meta device, of known shape and type, before memory is taken
    for any of them, and raises where the rest of it is not wanted.

    Raises:
        CheckpointError: missing, damaged, or of another format or version.
    """
    with _archive(path) as archive:
        accept(_checkpoint(path, archive.declared()))
        return _checkpoint(path, archive.loaded())


def declared_checkpoint(path: Path) -> Checkpoint:
    """A checkpoint whatever its parameters, with its tensors on the meta device: their shapes and types.

    Raises:
        CheckpointError: as `read_checkpoint`.
    """
    with _archive(path) as archive:
        return _checkpoint(path, archive.declared())


@contextlib.contextmanager
def _archive(path: Path) -> Iterator[Archive]:
    try:
        with opened(path, MOST_BYTES) as file:
            yield Archive(file)
    except FileNotFoundError:
        raise CheckpointError(
            f"{path}: there is no such checkpoint; run `train` first, and `calibrate` for one that counts"
        ) from None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from None
    except IrregularFileError as error:
        raise CheckpointError(f"{path}: {error}") from None
    except ArchiveError as error:
        raise CheckpointError(
            f"{path}: not a checkpoint, or damaged: {error}; if `train` wrote it, remove it and train again"
        ) from None


def _checkpoint(path: Path, document: Any) -> Checkpoint:
    """What the document of an archive says, as far as all checkpoints are alike."""
    kinds = {"format": str, "version": int, "parameters": str, "parameter_digest": str, "content": dict}
    if not isinstance(document, dict) or not kinds.keys() <= document.keys():
        raise CheckpointError(
            f"{path}: a checkpoint holds {', '.join(sorted(kinds))}; this file is another thing"
        )
    for name, kind in kinds.items():
        if not isinstance(document[name], kind):
            raise CheckpointError(
                f"{path}: {name}: a {kind.__name__}, got {type(document[name]).__name__}; train again"
            )
    for name, expected in (("format", FORMAT), ("version", VERSION)):
        if document[name] != expected:
            raise CheckpointError(f"{path}: {name}: {expected!r} is read here, got {document[name]!r:.80}")
    if document["parameter_digest"] != _digest(document["parameters"]):
        raise CheckpointError(
            f"{path}: parameter_digest: is not that of the parameters beside it; train again"
        )
    try:
        parameters = json.loads(document["parameters"])
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: parameters: not JSON: {error}; train again") from None
    if not isinstance(parameters, dict):
        raise CheckpointError(f"{path}: parameters: sections, got {type(parameters).__name__}; train again")
    return Checkpoint(parameters, document["content"])


def _text(parameters: Mapping[str, Any]) -> str:
    return json.dumps(parameters, sort_keys=True)


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _differences(made_with: Any, wanted: Any, key: str = "") -> Iterator[str]:
    """Every leaf that differs, as "key was 1, is 2"."""
    if isinstance(made_with, dict) and isinstance(wanted, dict):
        for name in sorted(made_with.keys() | wanted.keys()):
            yield from _differences(made_with.get(name), wanted.get(name), f"{key}.{name}".removeprefix("."))
    elif made_with != wanted:
        was, now = (textwrap.shorten(json.dumps(value), _LONGEST) for value in (made_with, wanted))
        yield f"{key} was {was}, is {now}"
