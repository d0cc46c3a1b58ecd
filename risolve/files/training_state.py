"""The state of an interrupted training as a file: what a training goes on with, or an error that names it."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from risolve.errors import CheckpointError
from risolve.files.checkpoint import load_checkpoint
from risolve.files.model import declared_network, require_weights, weights_of
from risolve.files.model_params import ModelParams
from risolve.networks.fit import STATE_PARTS, FitSettings, FitState, optimization

_Law = Callable[[Any], bool]


def read_training_state(
    path: Path,
    sections: Mapping[str, Any],
    params: ModelParams,
    settings: FitSettings,
    kept: Mapping[str, _Law],
) -> FitState:
    """State of the last finished epoch of a training with these sections of the parameters.

    kept: what the file holds beside `STATE_PARTS`, and what holds of each.

    Raises:
        CheckpointError: as `load_checkpoint`, or a part is missing, superfluous, or not as `fit` leaves it.
    """
    return load_checkpoint(path, sections, partial(_require_state, path, params, settings, kept))


def _require_state(
    path: Path,
    params: ModelParams,
    settings: FitSettings,
    kept: Mapping[str, _Law],
    state: dict[str, Any],
) -> None:
    network = declared_network(params)
    weights = network.state_dict()
    optimizer, scheduler = optimization(network, settings, 1)
    trained = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    laws: dict[str, _Law] = {
        "epoch": lambda value: type(value) is int and value >= 1,
        "optimizer": lambda value: _is_optimizer(value, optimizer.state_dict(), trained),
        "scheduler": lambda value: _is_alike(value, scheduler.state_dict()),
        "best": lambda value: _is_record(value, {"epoch", "validation_loss"}, {"network"}),
        "history": lambda value: _are(value, lambda one: _is_record(one, {"train_loss", "validation_loss"})),
        "readings": lambda value: _are(value, lambda one: _is_summary(one)),
        **kept,
    }
    odd = sorted(map(str, {*STATE_PARTS, *kept} ^ state.keys()))
    odd = odd or [name for name, law in laws.items() if not law(state[name])]
    odd = odd or [name for name in ("history", "readings") if len(state[name]) != state["epoch"]]
    if odd:
        raise CheckpointError(
            f"{path}: {', '.join(odd[:5])}: missing, superfluous, or not as a training leaves it; remove the "
            "file and run again"
        )
    for name, content in (("network", state), ("average", state), ("network", state["best"])):
        require_weights(path, name, weights_of(path, content, name), weights)


def is_number(value: object) -> bool:
    """A number, not a truth value."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _are(values: object, law: _Law) -> bool:
    return isinstance(values, list) and all(map(law, values))


def _is_record(values: object, names: set[str], others: frozenset[str] | set[str] = frozenset()) -> bool:
    """Numbers with names, some of them among others, beside what is no number."""
    return (
        isinstance(values, dict)
        and names | others <= values.keys()
        and all(is_number(value) for name, value in values.items() if name not in others)
    )


def _is_summary(values: object) -> bool:
    """The number of an epoch, and several readings of every quantity."""
    return isinstance(values, dict) and all(
        is_number(value) if name == "epoch" else _is_record(value, {"min", "median", "mean", "max"})
        for name, value in values.items()
    )


def _is_optimizer(values: object, fresh: Mapping[str, Any], trained: list[Tensor]) -> bool:
    """The groups of an optimizer that no step was taken with, and moments of the shapes of the weights."""
    if not isinstance(values, dict) or values.keys() != fresh.keys():
        return False
    moments = values["state"]
    return (
        isinstance(moments, dict)
        and moments.keys() <= set(range(len(trained)))
        and all(_are_moments(held, trained[number]) for number, held in moments.items())
        and _is_alike(values["param_groups"], fresh["param_groups"])
    )


def _are_moments(held: object, weights: Tensor) -> bool:
    shapes = {"step": (), "exp_avg": weights.shape, "exp_avg_sq": weights.shape}
    return (
        isinstance(held, dict)
        and held.keys() == shapes.keys()
        and all(
            isinstance(value, Tensor) and value.shape == shapes[name] and value.dtype == weights.dtype
            for name, value in held.items()
        )
    )


def _is_alike(held: object, fresh: object) -> bool:
    """The same structure, whatever its numbers are."""
    if isinstance(fresh, dict):
        return (
            isinstance(held, dict)
            and held.keys() == fresh.keys()
            and all(_is_alike(held[name], value) for name, value in fresh.items())
        )
    if isinstance(fresh, list | tuple):
        return isinstance(held, type(fresh)) and len(held) == len(fresh) and all(map(_is_alike, held, fresh))
    return is_number(held) if is_number(fresh) else type(held) is type(fresh)
