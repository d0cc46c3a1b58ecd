"""Measurements of any array, scene by scene in bounded memory: what `risolve localize` reads.

Takes what the format allows (docs/formats.md), also in double precision, and tells scenes that cannot be
located from files that cannot be read: a scene of zeros or of numbers that are not finite is left out with a
reason, and the others are read.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch.linalg import LinAlgError  # type: ignore[attr-defined]

from stages.artifacts import hdf5
from stages.artifacts.errors import MeasurementError
from stages.artifacts.hdf5 import Reader
from stages.artifacts.measurement_laws import (
    AXES,
    COMPLEX,
    Sizes,
    check_sizes,
    check_type,
    check_units,
    unusable,
)
from stages.artifacts.measurements_file import FORMAT, VERSION, joined_observations
from stages.physics.observation import Observation, SourceModel
from stages.shapes import Elements

MADE_BY = "docs/formats.md describes the format of measurements"
_CHUNK_VALUES = 2_000_000
"""Complex numbers read at once: bounds the memory, 16 MB."""

_MOST_SCENES = 64
"""Scenes of one chunk."""

_UNIT_MODULUS = 1e-3
"""Deviation of |c| from 1 beyond which elements lose power, and not digits."""

_LIMITS = {"azimuth_deg": (-180.0, 180.0), "elevation_deg": (-90.0, 90.0), "range_m": (1e-9, math.inf)}
"""Where a true source may stand."""

Computed = TypeVar("Computed")

Places: TypeAlias = Float[np.ndarray, "scene source 3"]
"""(azimuth (rad), elevation (rad), inverse range (1/m)), NaN in empty slots."""


@dataclass(frozen=True)
class Chunk:
    """Scenes of a file that can be located: their numbers, the observation, and why others were left out."""

    scenes: tuple[int, ...]
    observation: Observation | None
    left_out: dict[int, str]

    def without(self, reasons: dict[int, str]) -> "Chunk":
        """The chunk with more scenes left out."""
        kept = [row for row, scene in enumerate(self.scenes) if scene not in reasons]
        observation = self.observation
        return Chunk(
            tuple(self.scenes[row] for row in kept),
            observation.select(torch.tensor(kept)) if observation is not None and kept else None,
            dict(sorted({**self.left_out, **reasons}.items())),
        )

    def beside(self, other: "Chunk") -> "Chunk":
        """Scenes of both."""
        parts = [chunk.observation for chunk in (self, other) if chunk.observation is not None]
        return Chunk(
            (*self.scenes, *other.scenes),
            joined_observations(parts) if parts else None,
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


class MeasurementStream:
    """An open file of measurements whose layout has been checked.

    warnings: what is odd and allowed, one line each.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.path = reader.path
        laws = {name: f"[{', '.join(axes)}]" for name, axes in AXES.items()}
        self._datasets = {name: reader.dataset(name, law) for name, law in laws.items()}
        for name, dataset in self._datasets.items():
            check_type(reader, name, dataset)
        self.sizes: Sizes = check_sizes(reader, {name: d.shape for name, d in self._datasets.items()})
        self.wavelength = reader.positive("wavelength_m")
        self.source_model: SourceModel = "independent"
        if reader.has_attribute("source_model"):
            chosen = reader.choice("source_model", ("independent", "constant"))
            self.source_model = "constant" if chosen == "constant" else "independent"
        positions = self._read("element_positions_m", slice(None)).astype(np.float64)
        reader.require_finite("element_positions_m", positions)
        self.elements: Elements = torch.from_numpy(positions)
        self.warnings = check_units(reader, self.elements, self.wavelength)
        self._noise_power = self._column("noise_power", ("scene",)) if reader.has("noise_power") else None
        self._shared = {name: self._read_shared(name) for name in ("channel", "codes")}
        self._warn_of_lossy_codes()

    @property
    def shared(self) -> dict[str, bool]:
        """Whether one channel, and one set of codes, is that of all scenes."""
        return {name: values is not None for name, values in self._shared.items()}

    def chunks(self) -> Iterator[Chunk]:
        """The scenes in order, as many at a time as memory allows; those that cannot be read are left out."""
        for scenes in self.chunk_scenes():
            yield self._readable(scenes.start, scenes.stop)

    def chunk_scenes(self) -> list[range]:
        """The scenes of every chunk."""
        n_scenes, size = self.sizes.scenes, self.chunk_size
        return [range(first, min(first + size, n_scenes)) for first in range(0, n_scenes, size)]

    @property
    def chunk_size(self) -> int:
        """Scenes of a chunk."""
        _, L, M, N = self.sizes
        values = L * M + (0 if self.shared["channel"] else M * N) + (0 if self.shared["codes"] else L * N)
        return max(1, min(_MOST_SCENES, _CHUNK_VALUES // values))

    def _readable(self, first: int, last: int) -> Chunk:
        """Scenes first to last - 1, read apart where the file is damaged."""
        try:
            return self.chunk(first, last)
        except MeasurementError as error:
            if last - first == 1:
                return Chunk((), None, {first: str(error).removeprefix(f"{self.path}: ")})
            middle = (first + last) // 2
            return self._readable(first, middle).beside(self._readable(middle, last))

    def chunk(self, first: int, last: int) -> Chunk:
        """Scenes first to last - 1."""
        scenes = slice(first, last)
        values = {name: self._complex(name, scenes) for name in COMPLEX}
        noise_power = None if self._noise_power is None else self._noise_power[scenes].astype(np.float64)
        per_scene = {name: values[name] for name in COMPLEX if self._shared.get(name) is None}
        reasons = unusable(per_scene, noise_power)
        observation = Observation(
            snapshots=torch.from_numpy(values["snapshots"]),
            channel=torch.from_numpy(values["channel"]),
            codes=torch.from_numpy(values["codes"]),
            elements=self.elements,
            wavelength=self.wavelength,
            source_model=self.source_model,
            noise_power=None if noise_power is None else torch.from_numpy(noise_power),
        )
        whole = Chunk(tuple(range(first, last)), observation, {})
        return whole.without({first + scene: reason for scene, reason in reasons.items()})

    def truth(self) -> TruePlaces | None:
        """The true sources, or None where the file holds no truth.

        Raises:
            MeasurementError: a truth that is not complete, or breaks the format.
        """
        if not self._reader.has("truth"):
            return None
        stated = self._column("truth/n_sources", ("scene",))
        n_sources = np.nan_to_num(stated, nan=-1.0, posinf=-1.0, neginf=-1.0).astype(np.int64)
        if (n_sources != stated).any():
            wrong = stated[n_sources != stated][0]
            raise self._reader.fault("truth/n_sources", f"whole numbers [scene], got {wrong:g}")
        columns = {name: self._column(f"truth/{name}", ("scene", "source")) for name in _LIMITS}
        slots = columns["range_m"].shape[1]
        if not (n_sources.min() >= 0 and n_sources.max() <= slots):
            law = f"0 to {slots} (the slots of truth/range_m), got {n_sources.min()} to {n_sources.max()}"
            raise self._reader.fault("truth/n_sources", law)
        present = np.arange(slots) < n_sources[:, None]
        for name, (low, high) in _LIMITS.items():
            values = columns[name]
            if values.shape[1] != slots:
                law = f"real numbers [scene, source] with {slots} slots as truth/range_m, got {values.shape}"
                raise self._reader.fault(f"truth/{name}", law)
            wrong = present & ~((values >= low) & (values <= high))
            if wrong.any():
                scene, slot = (int(i) for i in np.argwhere(wrong)[0])
                raise self._reader.fault(
                    f"truth/{name}",
                    f"{low:g} to {high:g} in the first n_sources slots, got {values[scene, slot]:g} in scene "
                    f"{scene}, slot {slot}",
                )
        places = np.stack(
            (
                np.deg2rad(columns["azimuth_deg"].astype(np.float64)),
                np.deg2rad(columns["elevation_deg"].astype(np.float64)),
                1.0 / np.where(present, columns["range_m"], np.nan),
            ),
            axis=-1,
        )
        return TruePlaces(n_sources, np.where(present[..., None], places, np.nan))

    def _complex(self, name: str, scenes: slice) -> NDArray[np.complex64]:
        shared = self._shared.get(name)
        if shared is not None:
            return shared
        # what single precision cannot hold becomes infinite, and its scene is left out
        with np.errstate(over="ignore"):
            return self._read(name, scenes).astype(np.complex64)

    def _read_shared(self, name: str) -> NDArray[np.complex64] | None:
        """Channel or codes of all scenes, None where each scene has its own."""
        if self._datasets[name].shape[0] != 1 or self.sizes.scenes == 1:
            return None
        exact = self._read(name, slice(0, 1))
        self._reader.require_finite(name, exact)
        with np.errstate(over="ignore"):
            values: NDArray[np.complex64] = exact.astype(np.complex64)
        if not np.isfinite(values).all():
            largest = float(np.abs(exact).max())
            raise self._reader.fault(name, f"numbers of single precision, up to 1e38, got {largest:.3g}")
        if not values.any():
            raise self._reader.fault(name, "not all zero; nothing reaches the antennas")
        return values

    def _warn_of_lossy_codes(self) -> None:
        shared = self._shared["codes"]
        codes = self._complex("codes", slice(0, self.chunk_size)) if shared is None else shared
        modulus = np.abs(codes[np.isfinite(codes)])
        if modulus.size and np.abs(modulus - 1.0).max() > _UNIT_MODULUS:
            self.warnings.append(
                f"{self.path}: codes: |c| from {modulus.min():.3g} to {modulus.max():.3g}, not 1: taken as "
                "elements that lose power"
            )

    def _column(self, name: str, axes: tuple[str, ...]) -> NDArray[Any]:
        """A small data set with one row a scene."""
        law = f"real numbers [{', '.join(axes)}]"
        dataset = self._reader.dataset(name, law)
        if dataset.dtype.kind not in "fiu" or dataset.ndim != len(axes):
            raise self._reader.fault(name, f"{law}, got {dataset.dtype} {dataset.shape}")
        if dataset.shape[0] != self.sizes.scenes:
            raise self._reader.fault(name, f"{law} with scene = {self.sizes.scenes}, got {dataset.shape}")
        return self._reader.rows(name, dataset, ())

    def _read(self, name: str, rows: slice) -> NDArray[Any]:
        return self._reader.rows(name, self._datasets[name], rows)


@contextmanager
def measurement_stream(path: Path) -> Iterator[MeasurementStream]:
    """Open a file of measurements of any array.

    Raises:
        MeasurementError: a missing, foreign or damaged file, or one that breaks the format.
    """
    with hdf5.reading(path, FORMAT, VERSION, MADE_BY) as reader:
        yield MeasurementStream(reader)
