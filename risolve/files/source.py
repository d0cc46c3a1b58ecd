"""Measurements whatever their format: what is known of them before snapshots are read, and their scenes."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol, TypeAlias, TypeVar, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch.linalg import LinAlgError  # type: ignore[attr-defined]

from risolve.errors import MeasurementError
from risolve.files.measurement_laws import Sizes
from risolve.physics.array import Array
from risolve.physics.observation import Gains, Noise, Observation, SourceModel

FORMAT = "risolve-measurements"
VERSION = 1
BANDED = 2
"""Version of a file of several wavelengths."""

Computed = TypeVar("Computed")

Places: TypeAlias = Float[np.ndarray, "scene source 3"]
"""(azimuth (rad), elevation (rad), inverse range (1/m)), NaN in empty slots."""


class Unit(NamedTuple):
    """Exponents of 2: snapshots and channel of the file are those of the observation times 2^exponent."""

    snapshots: int
    channel: int


@dataclass(frozen=True)
class Chunk:
    """Scenes of a file that can be located: their numbers and units, the observation, and why others were
    left out.
    """

    scenes: tuple[int, ...]
    units: tuple[Unit, ...]
    observation: Observation | None
    left_out: dict[int, str]

    def without(self, reasons: dict[int, str]) -> "Chunk":
        """The chunk with more scenes left out."""
        kept = [row for row, scene in enumerate(self.scenes) if scene not in reasons]
        observation = self.observation
        return Chunk(
            tuple(self.scenes[row] for row in kept),
            tuple(self.units[row] for row in kept),
            observation.select(torch.tensor(kept)) if observation is not None and kept else None,
            dict(sorted({**self.left_out, **reasons}.items())),
        )

    def beside(self, other: "Chunk") -> "Chunk":
        """Scenes of both."""
        parts = [chunk.observation for chunk in (self, other) if chunk.observation is not None]
        return Chunk(
            (*self.scenes, *other.scenes),
            (*self.units, *other.units),
            Observation.joined(parts) if parts else None,
            self.left_out | other.left_out,
        )


def computed(
    path: Path, chunk: Chunk, compute: Callable[[Observation], Computed]
) -> tuple[Chunk, Computed | None]:
    """What is computed of the scenes of a chunk, None where there are none; a scene that alone raises an
    error although its numbers are sound is left out of it.

    Raises:
        MeasurementError: the scenes together raise one, and each alone does not.
    """
    if chunk.observation is None:
        return chunk, None
    try:
        return chunk, compute(chunk.observation)
    except (ValueError, LinAlgError) as error:
        faults: dict[int, str] = {}
        for row, scene in enumerate(chunk.scenes):
            try:
                compute(chunk.observation.select(slice(row, row + 1)))
            except (ValueError, LinAlgError) as own:
                faults[scene] = " ".join(str(own).split())
        if not faults:
            together = f"{path}: scenes {chunk.scenes[0]} to {chunk.scenes[-1]}"
            raise MeasurementError(f"{together}: {error}") from error
    return computed(path, chunk.without(faults), compute)


@dataclass(frozen=True)
class TruePlaces:
    """Number of sources and places of every scene, as a file states them."""

    n_sources: Int[np.ndarray, " scene"]
    sources: Places


@runtime_checkable
class Source(Protocol):
    """Scenes of one array, whose layout has been checked.

    warnings: what is odd and allowed, one line each. shared: whether one channel, and one set of codes, is
    that of all scenes. knows_noise_power: whether the noise power of every scene is stated.
    """

    path: Path
    sizes: Sizes
    array: Array
    warnings: list[str]

    @property
    def source_model(self) -> SourceModel: ...

    @property
    def gains(self) -> Gains: ...

    @property
    def noise(self) -> Noise: ...

    @property
    def n_snapshots(self) -> int: ...

    @property
    def n_antennas(self) -> int: ...

    @property
    def shared(self) -> dict[str, bool]: ...

    @property
    def knows_noise_power(self) -> bool: ...

    def chunk_scenes(self) -> list[range]:
        """The scenes in order, as many at a time as memory allows."""
        ...

    def read(self, scenes: range) -> Chunk:
        """Scenes that follow one another; those that cannot be read or located are left out.

        Raises:
            ChangedFileError: what was opened is no longer there.
        """
        ...

    def truth(self) -> TruePlaces | None:
        """The true sources, or None where there is no truth.

        Raises:
            MeasurementError: a truth that is not complete, or breaks the format.
        """
        ...
