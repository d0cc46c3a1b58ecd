import re
from pathlib import Path
from typing import Any

import pytest
import torch

from risolve.errors import CheckpointError
from risolve.files.checkpoint import load_checkpoint, save_checkpoint
from tests.checkpoints import anything
from tests.messages import shows

PARAMETERS: dict[str, Any] = {"train": {"lr": 2e-3, "epochs": 3}, "network": {"channels": 8}}
CONTENT: dict[str, Any] = {
    "epoch": 2,
    "name": "ema",
    "losses": [1.5, 0.5],
    "weights": {"a": torch.arange(3.0), "b": torch.tensor([1 + 2j])},
}


def test_round_trip(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "covariance.pt", CONTENT, PARAMETERS)
    found = load_checkpoint(tmp_path / "covariance.pt", PARAMETERS, anything)
    assert found["epoch"] == 2
    assert found["name"] == "ema"
    assert found["losses"] == [1.5, 0.5]
    assert all(torch.equal(found["weights"][name], CONTENT["weights"][name]) for name in ("a", "b"))
    assert [path.name for path in tmp_path.iterdir()] == ["covariance.pt"]


def test_equal_content_makes_equal_bytes(tmp_path: Path) -> None:
    for folder in ("first", "second"):
        save_checkpoint(tmp_path / folder / "covariance.pt", CONTENT, PARAMETERS)
    files = [tmp_path / folder / "covariance.pt" for folder in ("first", "second")]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_other_parameters_are_named_with_both_values(tmp_path: Path) -> None:
    path = tmp_path / "covariance.pt"
    save_checkpoint(path, CONTENT, PARAMETERS)
    other = {"train": {"lr": 1e-3, "epochs": 3}, "network": {"channels": 8, "blocks": 5}}
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path, other, anything)
    message = str(caught.value)
    assert re.match(
        shows(f"{path}: ... network.blocks ... null ... 5; train.lr ... 0.002 ... 0.001"), message
    )
    assert "epochs" not in message


def test_damaged_and_missing_checkpoints(tmp_path: Path) -> None:
    path = tmp_path / "covariance.pt"
    with pytest.raises(CheckpointError, match=shows(f"{path}: ... `train` ... `calibrate`")):
        load_checkpoint(path, PARAMETERS, anything)
    save_checkpoint(path, CONTENT, PARAMETERS)
    content = path.read_bytes()
    weights = content.index(CONTENT["weights"]["a"].numpy().tobytes())
    # an entry of the directory: its compression lies at 10, its attributes at 38
    entry = content.index(b"PK\x01\x02")
    flips = ((weights, 1), (entry + 10, 8), (entry + 38, 0x10))
    flipped = [content[:at] + bytes([content[at] ^ bit]) + content[at + 1 :] for at, bit in flips]
    for damaged in (b"", b"not a checkpoint", content[: len(content) // 2], *flipped):
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match=shows("covariance.pt: ... damaged")):
            load_checkpoint(path, PARAMETERS, anything)


def test_foreign_checkpoints(tmp_path: Path) -> None:
    path = tmp_path / "covariance.pt"
    torch.save({"weights": torch.zeros(2)}, path)
    with pytest.raises(CheckpointError, match=shows("content, format ... version")):
        load_checkpoint(path, PARAMETERS, anything)
    torch.save(torch.nn.Linear(2, 2), path)
    with pytest.raises(CheckpointError, match=shows("covariance.pt: ... damaged")):
        load_checkpoint(path, PARAMETERS, anything)
    save_checkpoint(path, CONTENT, PARAMETERS)
    document = torch.load(path, weights_only=True)
    torch.save({**document, "version": 99}, path)
    with pytest.raises(CheckpointError, match=shows("version: 1 ... got 99")):
        load_checkpoint(path, PARAMETERS, anything)
    torch.save({**document, "parameters": "{}"}, path)
    with pytest.raises(CheckpointError, match="parameter_digest"):
        load_checkpoint(path, PARAMETERS, anything)


def test_a_failed_save_keeps_the_earlier_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "covariance.pt"
    save_checkpoint(path, CONTENT, PARAMETERS)
    with pytest.raises(TypeError, match="JSON"):
        save_checkpoint(path, CONTENT, {"train": object()})
    assert load_checkpoint(path, PARAMETERS, anything)["epoch"] == 2
