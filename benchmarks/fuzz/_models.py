"""Damaged models: bytes, pickle, files of the archive, parameters, content."""

import hashlib
import io
import json
import math
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from benchmarks.fuzz._archives import archive_of, files_of
from benchmarks.fuzz._frame import Subject
from benchmarks.fuzz._mutations import damaged, replaced
from risolve.files.model import new_network, read_model, write_network
from risolve.networks.trained import uncalibrated
from risolve.words.inspection import inspect_lines
from stages.params.file import PARAMS, read_params
from stages.params.model import Params

SEED = 20261129
ROOT = Path(__file__).parents[2]
SIZES: dict[str, dict[str, Any]] = {
    "array": {"n_horizontal": 5, "n_vertical": 3},
    "receiver": {"n_antennas": 6, "n_snapshots": 16},
    "grid": {"n_u": 7, "n_v": 5, "n_w": 3},
    "network": {"channels": 8, "blocks": 1},
}

_WHOLE = (0, 1, -1, 2, 3, 7, 64, 1000, 10**5, 10**7, 10**9, 2**31, 2**63, 2**70)
_REAL = (0.0, -0.0, 0.5, 1e-320, 1e30, 1e308, math.inf, math.nan)
_OTHERS: tuple[Any, ...] = (True, None, "", "x", "1", "factor", [], [1], {}, {"a": 1}, [[1, 2]])
_PLAIN: list[Any] = [*_WHOLE, *_REAL, *_OTHERS]
_NAMES = ("data/900", "../x", "data.pkl/x", "data/", "A" * 300)


@cache
def model() -> bytes:
    """A small model."""
    values = read_params(ROOT / PARAMS).model_dump(mode="json")
    for section, sizes in SIZES.items():
        values[section] |= sizes
    params = Params.model_validate_json(json.dumps(values))
    with TemporaryDirectory() as directory:
        path = Path(directory) / "model.pt"
        write_network(
            path,
            new_network(params.of_model(), params.train.seed).state_dict(),
            uncalibrated(0.25),
            params.of_model(),
        )
        return path.read_bytes()


def make(number: int, path: Path) -> None:
    """Damaged model `number`: its bytes, those of its pickle, its files, its parameters, its content."""
    generator = np.random.default_rng((SEED, number))
    kind = number % 6
    if kind == 0:
        path.write_bytes(damaged(model(), generator))
    elif kind == 1:
        start = int(0.9 * len(model()))
        path.write_bytes(model()[:start] + damaged(model()[start:], generator))
    elif kind == 2:
        files = files_of(model())
        path.write_bytes(archive_of({**files, "data.pkl": damaged(files["data.pkl"], generator)}))
    elif kind == 3:
        path.write_bytes(archive_of(_other_files(generator)))
    else:
        document = torch.load(io.BytesIO(model()), weights_only=True)
        if kind == 4:
            parameters = replaced(json.loads(document["parameters"]), _PLAIN, generator)
            text = json.dumps(parameters, sort_keys=True)
            if generator.random() < 0.1:
                text = damaged(text.encode(), generator).decode("utf-8", "replace")
            digest = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
            document |= {"parameters": text, "parameter_digest": digest}
        else:
            document["content"] = replaced(document["content"], _PLAIN + _tensors(), generator)
        with path.open("wb") as file:
            torch.save(document, file)


def _other_files(generator: np.random.Generator) -> dict[str, bytes]:
    files = files_of(model())
    names = list(files)
    first, second = (names[int(generator.integers(0, len(names)))] for _ in range(2))
    match int(generator.integers(0, 4)):
        case 0:
            del files[first]
        case 1:
            files[first] = files[second]
        case 2:
            files[first] = damaged(files[first], generator)
        case 3:
            files[_NAMES[int(generator.integers(0, len(_NAMES)))]] = files.pop(first)
    return files


def _tensors() -> list[Any]:
    return [
        torch.zeros(0),
        torch.ones(3),
        torch.tensor(math.nan),
        torch.ones(8, dtype=torch.bool),
        torch.ones(8, dtype=torch.float16),
        torch.ones(8, dtype=torch.float64),
        torch.ones(8, dtype=torch.int64),
        torch.ones(8, dtype=torch.complex64),
        torch.eye(8).to_sparse(),
        torch.zeros(1).expand(10**6),
        torch.ones(4, 4).T,
        torch.full((8,), math.inf),
        torch.nn.Parameter(torch.ones(8)),
    ]


SUBJECTS = (
    Subject("models", make, read_model, ".pt"),
    Subject("models, inspected", make, inspect_lines, ".pt"),
)
