"""Checkpoints: plain tensors, numbers and strings, whole or absent, tied to the parameters behind them."""

import hashlib
import io
import json
import pickle
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from stages.artifacts.atomic import write_bytes
from stages.artifacts.errors import CheckpointError

FORMAT = "risolve-checkpoint"
VERSION = 1

_DIRECTORY = 0x10
"""Bit of the attributes of an entry of a zip archive."""


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


def load_checkpoint(path: Path, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Content of a checkpoint that was made with these parameters, its tensors on the CPU.

    Raises:
        CheckpointError: as `read_checkpoint`, or made with other parameters (it names the keys that differ,
            with both values).
    """
    checkpoint = read_checkpoint(path)
    wanted = _text(parameters)
    if _text(checkpoint.parameters) != wanted:
        differences = "; ".join(_differences(checkpoint.parameters, json.loads(wanted)))
        raise CheckpointError(
            f"{path}: made with other parameters: {differences}; train again, or restore those parameters"
        )
    return checkpoint.content


def read_checkpoint(path: Path) -> Checkpoint:
    """A checkpoint whatever its parameters, its tensors on the CPU.

    Raises:
        CheckpointError: missing, damaged, or of another format or version.
    """
    document = _document(path)
    for name, expected in (("format", FORMAT), ("version", VERSION)):
        if document.get(name) != expected:
            raise CheckpointError(f"{path}: {name}: {expected!r} is read here, got {document.get(name)!r}")
    for name, kind in (("parameters", str), ("content", dict)):
        if not isinstance(document[name], kind):
            raise CheckpointError(
                f"{path}: {name}: a {kind.__name__}, got {type(document[name]).__name__}; train again"
            )
    if document["parameter_digest"] != _digest(document["parameters"]):
        raise CheckpointError(
            f"{path}: parameter_digest: is not that of the parameters beside it; train again"
        )
    return Checkpoint(json.loads(document["parameters"]), document["content"])


def _document(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise CheckpointError(
            f"{path}: there is no such checkpoint; run `train` first, and `calibrate` for one that counts"
        )
    try:
        # torch reads tensors without a look at their checksums, and nothing of what is marked as a directory
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                if entry.compress_type != zipfile.ZIP_STORED or entry.external_attr & _DIRECTORY:
                    raise zipfile.BadZipFile(f"{entry.filename}: not a file that is stored as it is")
            if damaged := archive.testzip():
                raise zipfile.BadZipFile(f"{damaged}: its checksum is another")
        document = torch.load(path, map_location="cpu", weights_only=True)
    except (
        OSError,
        RuntimeError,
        EOFError,
        ValueError,
        KeyError,
        pickle.UnpicklingError,
        zipfile.BadZipFile,
    ) as error:
        raise CheckpointError(
            f"{path}: not a checkpoint, or damaged; if `train` wrote it, remove it and train again"
        ) from error
    fields = {"format", "version", "parameters", "parameter_digest", "content"}
    if not isinstance(document, dict) or not fields <= document.keys():
        raise CheckpointError(
            f"{path}: a checkpoint holds {', '.join(sorted(fields))}; this file is another thing"
        )
    return document


def _text(parameters: Mapping[str, Any]) -> str:
    return json.dumps(parameters, sort_keys=True)


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _differences(made_with: Any, wanted: Any, key: str = "") -> Iterator[str]:
    """Every leaf that differs, as "key was 1, is 2"."""
    if isinstance(made_with, dict) and isinstance(wanted, dict):
        for name in sorted(made_with.keys() | wanted.keys()):
            yield from _differences(made_with.get(name), wanted.get(name), f"{key}.{name}".removeprefix("."))
    elif made_with != wanted:
        yield f"{key} was {json.dumps(made_with)}, is {json.dumps(wanted)}"
