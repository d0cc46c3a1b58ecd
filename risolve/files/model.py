"""The trained network as a file, tied to the array, the receiver, the grid, the covariances and maps, and the
layers that it was trained with; and what it was tuned on since.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from torch import Tensor

from risolve.errors import CheckpointError
from risolve.files import model_grid
from risolve.files.checkpoint import (
    Checkpoint,
    declared_checkpoint,
    load_checkpoint,
    read_checkpoint,
    save_checkpoint,
)
from risolve.files.model_params import KINDS_OF_ARRAY, ModelParams
from risolve.files.shipped import NETWORK
from risolve.networks.covariance_network import CovarianceNetwork, Layout
from risolve.networks.dictionary import Dictionary, dictionary_of
from risolve.networks.features import n_channels
from risolve.networks.trained import Calibration, TrainedNetwork
from risolve.seeds import integer_seed

_TUNED = "covariance_network"
"""Name of the weights that say R_pred alone."""


_CALIBRATION = TypeAdapter(
    tuple[Calibration], config=ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)
)
"""A calibration as it is stored."""

_PLAIN = TypeAdapter[object](object)
"""Anything as JSON, in text where JSON has nothing of its kind."""


class Tuning(BaseModel):
    """A fine-tuning of R_pred on measurements without truth.

    files: their names. n_scenes: of both kinds, n_held_back those that no step was taken on. best_epoch: that
    of the weights, 0 where no epoch was better than the network before. loss_before, loss_after: likelihood
    loss of the scenes held back.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)

    files: tuple[str, ...]
    n_scenes: int
    n_held_back: int
    epochs: int
    lr: float
    seed: int
    best_epoch: int
    loss_before: float
    loss_after: float


@dataclass(frozen=True)
class Model:
    """A trained network, the parameters that its weights are valid for, and its tunings, in their order."""

    params: ModelParams
    trained: TrainedNetwork
    tunings: tuple[Tuning, ...]


def new_network(params: ModelParams, seed: int) -> CovarianceNetwork:
    """Network with the initial weights of a seed of training; no global random state changes."""
    with torch.random.fork_rng():
        torch.manual_seed(integer_seed(seed, "initialization"))
        return _layers(params)


def _layers(params: ModelParams) -> CovarianceNetwork:
    """The network with weights from torch's global generator, that a caller forks, seeds or overwrites."""
    shape = (params.grid.n_w, params.grid.n_v, params.grid.n_u)
    layout = Layout(
        n_inputs=n_channels(len(params.normalize.map_iterations), shape),
        shape=shape,
        channels=params.network.channels,
        blocks=params.network.blocks,
        groups=params.network.groups,
        loops=params.network.loops,
        most_sources=params.sources.max_sources,
        head=params.network.head,
        rank=params.network.rank,
        n_elements=params.array.n_elements,
    )
    return CovarianceNetwork(layout)


def network_dictionary(params: ModelParams) -> Dictionary:
    """Steering matrix of the grid for the nominal array."""
    return dictionary_of(model_grid.grid(params), model_grid.nominal_array(params))


def write_network(
    path: Path, weights: dict[str, Tensor], calibration: Calibration, params: ModelParams
) -> None:
    """Write the weights of a trained network, and its calibration.

    Raises:
        StateError: the file cannot be written.
    """
    save_checkpoint(path, _content(weights, calibration), params.model_dump(mode="json"))


def write_model(path: Path, model: Model) -> None:
    """Write a trained network with the parameters that it has, and its tunings.

    Raises:
        StateError: the file cannot be written.
    """
    trained = model.trained
    content = _content(trained.network.state_dict(), trained.calibration)
    if trained.of_covariance is not None:
        content[_TUNED] = _on_cpu(trained.of_covariance.state_dict())
    content["tunings"] = [tuning.model_dump(mode="json") for tuning in model.tunings]
    save_checkpoint(path, content, model.params.model_dump(mode="json"))


def _content(weights: dict[str, Tensor], calibration: Calibration) -> dict[str, Any]:
    return {"network": _on_cpu(weights), "calibration": asdict(calibration)}


def _on_cpu(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().cpu() for name, value in weights.items()}


def read_network(path: Path, params: ModelParams) -> TrainedNetwork:
    """The trained network, in evaluation mode.

    Raises:
        CheckpointError: missing, damaged, or trained with other parameters than these.
    """
    content = load_checkpoint(path, params.model_dump(mode="json"), partial(_require_network, path, params))
    return _trained(path, content, params)


def _of_any_system(params: ModelParams) -> None:
    """Accepts a network whatever it was trained for."""


def read_model(path: Path, accept: Callable[[ModelParams], None] = _of_any_system) -> Model:
    """The trained network of a file with its own parameters, whatever those of params.yaml are.

    accept: is given them before anything of their size is made, and raises where they are not wanted.

    Raises:
        CheckpointError: missing, damaged, or not a trained network.
    """

    def check(declared: Checkpoint) -> None:
        params = _model_params(path, declared)
        accept(params)
        _require_network(path, params, declared.content)

    checkpoint = read_checkpoint(path, check)
    params = _model_params(path, checkpoint)
    return Model(params, _trained(path, checkpoint.content, params), tunings_of(path, checkpoint.content))


def load_model(path: Path | str = NETWORK) -> Model:
    """The trained network of a file, for `locate`; that of the default system where none is named.

    Raises:
        CheckpointError: as `read_model`.
    """
    return read_model(Path(path))


def _model_params(path: Path, checkpoint: Checkpoint) -> ModelParams:
    try:
        return ModelParams.model_validate_json(json.dumps(checkpoint.parameters))
    except ValidationError as error:
        faults = ", ".join(
            ".".join(str(part) for part in fault["loc"] if part not in KINDS_OF_ARRAY)
            for fault in error.errors()
        )
        raise CheckpointError(
            f"{path}: parameters: those of a trained network, of which {faults} are missing or wrong; "
            "train again"
        ) from error


def _require_network(path: Path, params: ModelParams, content: Mapping[str, Any]) -> None:
    """Refuse weights that are not those of the network of the parameters, from what is declared of them.

    Raises:
        CheckpointError: weights that are missing, superfluous, or of another shape or type.
    """
    expected = declared_network(params).state_dict()
    for name in ("network", *({_TUNED} & content.keys())):
        require_weights(path, name, weights_of(path, content, name), expected)


def weights_of(path: Path, content: Mapping[str, Any], name: str) -> dict[str, Tensor]:
    """Weights under a name of a checkpoint.

    Raises:
        CheckpointError: missing, or no tensors with names.
    """
    if name not in content:
        raise CheckpointError(f"{path}: {name}: missing; train again")
    weights = content[name]
    if not isinstance(weights, dict) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in weights.items()
    ):
        raise CheckpointError(f"{path}: {name}: weights are tensors with names; train again")
    return weights


def declared_network(params: ModelParams) -> CovarianceNetwork:
    """The network of the parameters on the meta device: names, shapes and types of its weights."""
    with torch.device("meta"):
        return _layers(params)


def require_weights(
    path: Path, name: str, weights: Mapping[str, Tensor], expected: Mapping[str, Tensor]
) -> None:
    """Refuse weights of other names, shapes or types than those expected.

    Raises:
        CheckpointError: the names of those that differ.
    """
    wanted = {key: (value.shape, value.dtype) for key, value in expected.items()}
    held = {key: (value.shape, value.dtype) for key, value in weights.items()}
    if held != wanted:
        wrong = sorted(key for key in held.keys() | wanted.keys() if held.get(key) != wanted.get(key))
        more = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        raise CheckpointError(
            f"{path}: {name}: the weights of the network of params.yaml; missing, superfluous or of another "
            f"shape or type are {', '.join(wrong[:5])}{more}: train again"
        )


def _trained(path: Path, content: dict[str, Any], params: ModelParams) -> TrainedNetwork:
    tuned = _network(path, content, _TUNED, params) if _TUNED in content else None
    network = _network(path, content, "network", params)
    return TrainedNetwork(network, network_dictionary(params), calibration_of(path, content), tuned)


def _network(path: Path, content: dict[str, Any], name: str, params: ModelParams) -> CovarianceNetwork:
    """The network whose weights stand under a name, in evaluation mode."""
    weights = weights_of(path, content, name)
    if len({value.data_ptr() for value in weights.values()}) < len(weights):
        raise CheckpointError(f"{path}: {name}: weights have numbers of their own each; train again")
    broken = sorted(name for name, value in weights.items() if not bool(value.isfinite().all()))
    if broken:
        raise CheckpointError(
            f"{path}: {name}: finite weights, which {', '.join(broken[:5])} are not; train again"
        )
    network = declared_network(params).to_empty(device="cpu")
    network.load_state_dict(weights)
    return network.eval()


def tunings_of(path: Path, content: Mapping[str, Any]) -> tuple[Tuning, ...]:
    """The tunings in the content of a checkpoint; none where it is as `train` and `calibrate` write it.

    Raises:
        CheckpointError: they are not as `write_model` writes them.
    """
    if "tunings" not in content:
        return ()
    try:
        return TypeAdapter(tuple[Tuning, ...]).validate_json(json.dumps(content["tunings"]))
    except (ValidationError, TypeError) as error:
        raise CheckpointError(f"{path}: tunings: damaged; run `risolve finetune` again") from error


def is_tuned(path: Path) -> bool:
    """Whether a file is a model that `risolve finetune` wrote."""
    try:
        return bool(tunings_of(path, declared_checkpoint(path).content))
    except CheckpointError:
        return False


def calibration_of(path: Path, content: Mapping[str, Any]) -> Calibration:
    """The calibration in the content of a checkpoint.

    Raises:
        CheckpointError: missing, or not finite weights of rules and a weight of the blend.
    """
    if "calibration" not in content:
        raise CheckpointError(f"{path}: calibration: missing; train again")
    try:
        (held,) = _CALIBRATION.validate_json(_PLAIN.dump_json([content["calibration"]], fallback=str))
    except ValueError as error:
        told = error.errors() if isinstance(error, ValidationError) else []
        faults = ", ".join(".".join(map(str, fault["loc"][1:])) for fault in told) or "all"
        raise CheckpointError(
            f"{path}: calibration: finite weights of two count rules, 0 <= missed < 1, 0 <= blend_beta <= 1, "
            f"of which {faults} are missing, superfluous or wrong; run `train` and `calibrate` again"
        ) from error
    return held
