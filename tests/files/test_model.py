"""Models whose parameters and weights do not belong together: one line, before memory is taken."""

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from risolve.errors import CheckpointError
from risolve.files import model as network_file
from risolve.files.checkpoint import read_checkpoint, save_checkpoint
from risolve.files.model import new_network, read_model, read_network
from risolve.networks.trained import uncalibrated
from stages.params.file import read_params
from stages.params.model import ModelParams
from tests.checkpoints import anything, write_untrained
from tests.messages import shows
from tests.tiny_run import write_params


@pytest.fixture
def model(tmp_path: Path) -> Path:
    params = read_params(write_params(tmp_path))
    write_untrained(tmp_path / "learned.pt", uncalibrated(0.25), params)
    return tmp_path / "learned.pt"


def rewritten(path: Path, change: Callable[[dict[str, Any], dict[str, Any]], None]) -> None:
    """The file after a change of (content, parameters)."""
    held = read_checkpoint(path, anything)
    parameters = json.loads(json.dumps(held.parameters))
    change(held.content, parameters)
    save_checkpoint(path, held.content, parameters)


def refused_by_both(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        read_model(path)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value)


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("network", "blocks", 10**7),
        ("network", "loops", 10**9),
        ("network", "channels", 2**40),
        ("network", "rank", 10**9),
        ("array", "n_horizontal", 10**8),
        ("normalize", "map_iterations", [10**9]),
        ("normalize", "map_iterations", list(range(1000))),
        ("grid", "n_u", 10**9),
        ("receiver", "n_snapshots", 10**12),
        ("array", "n_vertical", "3"),
        ("array", "wavelength_m", float("nan")),
    ],
)
def test_sizes_that_no_network_has_are_named(model: Path, section: str, key: str, value: object) -> None:
    rewritten(model, lambda content, parameters: parameters[section].update({key: value}))
    assert key in refused_by_both(model)


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [("network", "blocks", 200), ("network", "channels", 4096), ("grid", "n_w", 7)],
)
def test_weights_of_another_network_are_refused_before_they_are_read(
    model: Path, section: str, key: str, value: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rewritten(model, lambda content, parameters: parameters[section].update({key: value}))
    monkeypatch.setattr(network_file, "network_dictionary", pytest.fail)
    monkeypatch.setattr(torch, "frombuffer", pytest.fail)
    assert re.search(shows("network: ... shape ... type"), refused_by_both(model))


def test_a_system_is_asked_for_before_anything_is_made(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rewritten(
        model, lambda content, parameters: parameters["array"].update(n_horizontal=2000, n_vertical=2000)
    )
    monkeypatch.setattr(network_file, "network_dictionary", pytest.fail)

    def refuse(params: ModelParams) -> None:
        raise CheckpointError(f"{params.array.n_elements} elements")

    with pytest.raises(CheckpointError, match="4000000 elements"):
        read_model(model, refuse)


@pytest.mark.parametrize(
    "cast",
    [
        lambda weight: weight > 0,
        lambda weight: weight.to(torch.int64),
        lambda weight: weight.to(torch.float16),
        lambda weight: weight.double(),
        lambda weight: weight.to(torch.complex64),
        lambda weight: weight.to_sparse() if weight.ndim else weight,
        lambda weight: 1.0,
        lambda weight: [1.0],
        lambda weight: None,
    ],
)
def test_weights_of_another_kind_are_refused(model: Path, cast: Callable[[torch.Tensor], object]) -> None:
    before = model.read_bytes()

    def change(content: dict[str, Any], parameters: dict[str, Any]) -> None:
        content["network"] = {name: cast(weight) for name, weight in content["network"].items()}

    rewritten(model, change)
    assert model.read_bytes() != before
    refused_by_both(model)


@pytest.mark.parametrize("weights", [[1], {}, {1: torch.ones(2)}, "x", None])
def test_what_are_no_weights(model: Path, weights: object) -> None:
    rewritten(model, lambda content, parameters: content.update(network=weights))
    assert "network: " in refused_by_both(model)


def test_weights_on_the_same_numbers_are_refused(model: Path) -> None:
    def change(content: dict[str, Any], parameters: dict[str, Any]) -> None:
        numbers = torch.ones(max(weight.numel() for weight in content["network"].values()))
        content["network"] = {
            name: numbers[: weight.numel()].view(weight.shape) for name, weight in content["network"].items()
        }

    rewritten(model, change)
    assert "numbers of" in refused_by_both(model)


@pytest.mark.parametrize("text", ["{no", "[1]", "3", "null", "[" * 10_000, "1" * 5000])
def test_parameters_that_are_no_sections(model: Path, text: str) -> None:
    document = torch.load(model, weights_only=True)
    digest = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
    torch.save({**document, "parameters": text, "parameter_digest": digest}, model)
    assert f"{model}: parameters: " in refused_by_both(model)


def test_a_model_is_read_bit_by_bit_and_draws_no_random_number(model: Path) -> None:
    params = read_params(model.parent / "params.yaml")
    before = torch.get_rng_state()
    for trained in (read_model(model).trained, read_network(model, params.of_model())):
        weights = new_network(params.of_model(), params.train.seed).state_dict()
        assert all(torch.equal(weights[name], held) for name, held in trained.network.state_dict().items())
        assert not trained.network.training
    assert torch.equal(torch.get_rng_state(), before)
