"""What parameters take on disk and in memory: sizes that no machine has room for are refused beforehand."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from risolve.files.model import declared_network
from stages.params.file import fault
from stages.params.model import SPLITS, Params

MOST_ON_DISK = 10**15
"""Bytes of all scenes and covariances."""

MOST_IN_MEMORY = 2**40
"""Bytes of one table that a process holds."""

MOST_WEIGHTS = 2**28
"""Of a network; a state of training is five times as large, in single precision."""


def require_room(params: Params) -> None:
    """Refuse sizes for which no machine has room; they may still be more than this one has.

    Raises:
        ParameterError: the largest table or data set, and what it takes.
    """
    L, M, N = params.receiver.n_snapshots, params.receiver.n_antennas, params.array.n_elements
    if (n_bytes := data_bytes(params)) > MOST_ON_DISK:
        n_scenes = sum(params.simulate.split(name).n_scenes for name in SPLITS)
        raise fault(
            "simulate",
            f"scenes and covariances take {MOST_ON_DISK / 1e12:g} TB at most; those of {n_scenes} scenes of "
            f"L = {L} snapshots, M = {M} antennas and N = {N} elements take {n_bytes / 1e12:.3g} TB",
        )
    for key, n_bytes, what in _tables(params):
        if n_bytes > MOST_IN_MEMORY:
            most = f"{MOST_IN_MEMORY / 1e12:.2g} TB"
            raise fault(key, f"{what} takes {n_bytes / 1e12:.3g} TB of memory; a table takes {most} at most")
    n_weights = sum(weight.numel() for weight in declared_network(params.of_model()).state_dict().values())
    if n_weights > MOST_WEIGHTS:
        raise fault("network.channels", f"a network has {MOST_WEIGHTS} weights at most, got {n_weights}")


def warning(params: Params, folder: Path) -> str | None:
    """What is said where the disk of a folder is smaller than the scenes and covariances."""
    n_bytes, n_there = data_bytes(params), shutil.disk_usage(folder).total
    if n_bytes <= n_there:
        return None
    return (
        f"scenes and covariances take {n_bytes / 1e9:.4g} GB, the disk of {folder} has {n_there / 1e9:.4g} GB"
    )


def data_bytes(params: Params) -> int:
    """Bytes of data/scenes and data/covariances: y, H, c, X and the maps of every scene."""
    L, M, N = params.receiver.n_snapshots, params.receiver.n_antennas, params.array.n_elements
    scene = 8 * (L * M + L * N + (M * N if params.channel.per_scene else 0))
    return sum(
        params.simulate.split(name).n_scenes * (scene + _example_bytes(params, name.endswith("_constant")))
        for name in SPLITS
    )


def _example_bytes(params: Params, is_constant: bool) -> int:
    """Bytes of the covariance factor and the maps of a scene; the factor of constant sources has one row."""
    rank = 1 if is_constant else params.receiver.n_snapshots
    return 8 * rank * params.array.n_elements + 4 * len(params.normalize.map_iterations) * _n_points(params)


def _n_points(params: Params) -> int:
    return params.grid.n_u * params.grid.n_v * params.grid.n_w


def _tables(params: Params) -> Iterator[tuple[str, int, str]]:
    """(key of the size, bytes, what it is) of what a process holds at once."""
    L, M, N = params.receiver.n_snapshots, params.receiver.n_antennas, params.array.n_elements
    P, train = _n_points(params), params.train
    yield "array", 16 * N * N, f"the covariance of N = {N} elements"
    yield "receiver", 16 * L * M * N, f"the sensing matrix of L M = {L * M} samples of N = {N} elements"
    yield "grid", 8 * N * P + 4 * P * P, f"a table of {P} points for N = {N} elements"
    shard = min(
        params.simulate.scenes_per_shard, max(params.simulate.split(name).n_scenes for name in SPLITS)
    )
    yield (
        "simulate.scenes_per_shard",
        shard * 8 * (L * M + L * N + M * N),
        f"a shard of {shard} scenes of L = {L} snapshots, M = {M} antennas and N = {N} elements",
    )
    held = sum(params.simulate.split(name).n_scenes for name in ("validation", "validation_constant"))
    yield (
        "simulate.validation",
        held * _example_bytes(params, True),
        f"what {held} validation scenes are compared with",
    )
    buffered = min(
        train.block_scenes * train.buffer_blocks,
        sum(params.simulate.split(name).n_scenes for name in ("train", "train_constant")),
    )
    yield "train.buffer_blocks", buffered * _example_bytes(params, True), f"a buffer of {buffered} scenes"
