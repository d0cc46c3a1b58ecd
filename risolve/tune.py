"""How a network is tuned on files of measurements: the wishes of the user, and files that belong to it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

from risolve.errors import CheckpointError, MeasurementError
from risolve.files.contents import Look
from risolve.files.hdf5 import source_paths
from risolve.files.measurement_laws import Sizes
from risolve.files.measurement_stream import MADE_BY, first_looks, measurement_stream
from risolve.files.model import Model, is_tuned, read_model
from risolve.files.model_fit import differences
from risolve.files.model_params import ModelParams
from risolve.physics.array import Array
from risolve.running.target import Kinds
from risolve.running.work import work_key

KINDS: Kinds = {".pt": is_tuned}

LEAST_SCENES = 100
"""Of fewer, those held back do not tell a better network from chance."""


@dataclass(frozen=True)
class TuningOptions:
    """How a network is tuned.

    model: the file of the network. lr: the largest learning rate. held_back: share of the scenes that no step
    is taken on. seed: of the order of the scenes, and of which of them are held back.
    """

    model: Path
    epochs: int
    lr: float
    held_back: float
    seed: int


class Subject(NamedTuple):
    """The network that is tuned, the scenes of all files, and what a first look said of each file."""

    model: Model
    n_scenes: int
    looks: Mapping[Path, Look]


def checked(files: Sequence[Path], options: TuningOptions) -> Subject:
    """What is tuned on how much: an impossible wish, files of another system and too few scenes are refused
    before any work.

    Raises:
        MeasurementError: an option outside its range; a file that cannot be read or breaks the format; fewer
            scenes than `LEAST_SCENES`.
        CheckpointError: a network that is missing, damaged, or was trained for something else.
    """
    _check_options(options)
    looks = first_looks(files)
    systems, n_scenes = list[_System](), 0
    for path in looks:
        with measurement_stream(path, looks) as stream:
            if stream.noise == "antennas":
                law = "a network is tuned beside noise of one power, or of stated ones; got noise = antennas"
                raise MeasurementError(f"{path}: {law}: state noise_power [1, antenna]")
            if stream.gains == "equal":
                law = "a network is tuned on sources that have an amplitude each; got gains = equal"
                raise MeasurementError(f"{path}: {law}: state gains = free")
            systems.append(_System(path, stream.sizes, stream.array))
            n_scenes += stream.sizes.scenes
    model = read_model(options.model, partial(_require_same_system, options.model, systems))
    require_enough(n_scenes, files)
    return Subject(model, n_scenes, looks)


class _System(NamedTuple):
    """What the measurements of a file were made with."""

    path: Path
    sizes: Sizes
    array: Array


def _require_same_system(model: Path, systems: Sequence[_System], params: ModelParams) -> None:
    """Refuse to tune a network on measurements of another system than that which it was trained for.

    Raises:
        CheckpointError: everything that differs.
    """
    for system in systems:
        if faults := differences(params, system.array, system.sizes.antennas, system.sizes.snapshots):
            raise CheckpointError(
                f"{model}: a network is tuned on the system that it was trained for; of {system.path}, "
                f"{'; '.join(faults)}: train for this system"
            )


def _check_options(options: TuningOptions) -> None:
    if options.epochs < 1:
        raise MeasurementError(f"--epochs: 1 or more, got {options.epochs}")
    if not (options.lr > 0.0 and math.isfinite(options.lr)):
        raise MeasurementError(f"--lr: a learning rate is positive and finite, got {options.lr:g}")
    if not 0.05 <= options.held_back <= 0.5:
        raise MeasurementError(f"--held-back: a share of 0.05 to 0.5, got {options.held_back:g}")
    if options.seed < 0:
        raise MeasurementError(f"--seed: 0 or more, got {options.seed}")


def require_enough(n_scenes: int, files: Sequence[Path]) -> None:
    """Refuse to tune on a few scenes.

    Raises:
        MeasurementError: fewer than `LEAST_SCENES`.
    """
    if n_scenes < LEAST_SCENES:
        raise MeasurementError(
            f"{files[0]}: a network is tuned on {LEAST_SCENES} scenes or more, got {n_scenes} that can be "
            "used; record more of them"
        )


def tuning_key(files: Sequence[Path], options: TuningOptions) -> str:
    """Digest of what a tuning depends on: the files, the options, the model, the code.

    Raises:
        MeasurementError: a file that is missing.
    """
    parameters = asdict(options) | {"model": None, "files": [str(file) for file in files]}
    return work_key("risolve.finetune", parameters, [*_paths(files), options.model])


def _paths(files: Sequence[Path]) -> list[Path]:
    """Every file of measurements, shards one by one."""
    return [path for file in files for path in source_paths(file, MADE_BY)]
