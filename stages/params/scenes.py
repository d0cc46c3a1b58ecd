"""What scenes are drawn from, in params.yaml: the system, its sources and departures, the data sets.

Frozen, strict, complete: nothing has a default here.
"""

import math
from typing import Annotated, Literal, Self, get_args

from pydantic import AfterValidator, Field, model_validator

from risolve.files.model_params import (
    ArrayLayout,
    ElementPlaces,
    NonNegativeFloat,
    Places,
    PositiveInt,
    Section,
    SourceRanges,
    require_ordered,
)
from risolve.seeds import Stream

# Counts that no machine exceeds; `stages.params.room` minds what they take together.
Count = Annotated[int, Field(ge=0, le=10**4)]
Steps = Annotated[int, Field(gt=0, le=10**4)]
# A state of training keeps readings of every epoch, as many as are read back at once.
Epochs = Annotated[int, Field(gt=0, le=4000)]
Processes = Annotated[int, Field(gt=0, le=4096)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Decibels = Annotated[float, Field(ge=-200.0, le=200.0)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
FractionBelowOne = Annotated[float, Field(ge=0.0, lt=1.0)]
PhaseBits = Annotated[int, Field(ge=1, le=3)]
PowerSpread = Annotated[float, Field(ge=0.0, le=200.0)]
GainJitter = Annotated[float, Field(ge=0.0, le=100.0)]
Split = Literal[
    "train", "train_constant", "validation", "validation_constant", "test_independent", "test_constant"
]
SPLITS: tuple[Split, ...] = get_args(Split)
TRAINING_SPLITS: tuple[Split, ...] = ("train", "train_constant")
VALIDATION_SPLITS: tuple[Split, ...] = ("validation", "validation_constant")
TEST_SPLITS: tuple[Split, ...] = ("test_independent", "test_constant")


STATED = "params.yaml"
"""`array.file` of a uniform planar array, whose numbers stand beside it."""


class ArrayParams(ArrayLayout):
    """The array: as it is stated, or in place of it that of a file of measurements."""

    file: Annotated[str, Field(min_length=1)]

    @property
    def is_elsewhere(self) -> bool:
        """Whether its numbers, and those of the receiver, are those of a file that `check` reads."""
        return self.file != STATED

    def of_model(self) -> ArrayLayout | ElementPlaces:
        """What the weights of a network are valid for."""
        return ArrayLayout(**self.model_dump(exclude={"file"}))


class FileArray(ArrayParams):
    """The array of a file, as `check` read it; layout and spacing are of no array."""

    element_positions_m: Places

    @property
    def n_elements(self) -> int:
        return len(self.element_positions_m)

    @property
    def is_elsewhere(self) -> bool:
        return False

    def of_model(self) -> ElementPlaces:
        """What the weights of a network are valid for."""
        return ElementPlaces(
            wavelength_m=self.wavelength_m,
            element_positions_m=self.element_positions_m,
            spherical_amplitude=self.spherical_amplitude,
        )


class Channel(Section):
    """Rician channel from the surface to the base station."""

    k_factor: tuple[NonNegativeFloat, NonNegativeFloat]
    per_scene: bool

    @model_validator(mode="after")
    def _check(self) -> Self:
        require_ordered("k_factor", self.k_factor)
        return self


class Codebook(Section):
    """Phase profiles of the surface."""

    kind: Literal["random", "dft2d", "hadamard"]
    phase_bits: PhaseBits


class Sources(SourceRanges):
    """Where sources may stand and how strong they are."""

    power_spread_db: PowerSpread
    path_loss: bool
    max_sources: PositiveInt

    def closest_height_m(self) -> float:
        """Smallest distance of a source from the plane of the surface, r cos(phi) cos(theta)."""
        azimuth = max(abs(a) for a in self.azimuth_deg)
        elevation = max(abs(a) for a in self.elevation_deg)
        return self.range_m[0] * math.cos(math.radians(azimuth)) * math.cos(math.radians(elevation))


class Impairments(Section):
    """Departures of the true system from the known one."""

    position_jitter_m: NonNegativeFloat
    phase_error_deg: NonNegativeFloat
    gain_jitter_db: GainJitter
    dead_fraction: FractionBelowOne
    channel_error: NonNegativeFloat
    amplitude_minimum: Fraction
    background: NonNegativeFloat
    noise_spread_db: PowerSpread


class AugmentationRanges(Section):
    """Departures that every scene of an augmented split draws for itself: shares of the scenes, levels."""

    spread_share: Fraction
    power_spread_db: tuple[PowerSpread, PowerSpread]
    impaired_share: Fraction
    phase_bits: tuple[PhaseBits, PhaseBits]
    position_jitter_m: tuple[NonNegativeFloat, NonNegativeFloat]
    phase_error_deg: tuple[NonNegativeFloat, NonNegativeFloat]
    gain_jitter_db: tuple[GainJitter, GainJitter]
    dead_fraction: tuple[FractionBelowOne, FractionBelowOne]
    channel_error: tuple[NonNegativeFloat, NonNegativeFloat]

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name in type(self).model_fields:
            if not name.endswith("_share"):
                require_ordered(name, getattr(self, name))
        return self


class Stratum(Section):
    """Scenes with a number of sources and an SNR uniform in the given ranges."""

    n_sources: tuple[Count, Count]
    snr_db: tuple[Decibels, Decibels]
    n_scenes: PositiveInt

    @model_validator(mode="after")
    def _check(self) -> Self:
        require_ordered("n_sources", self.n_sources)
        require_ordered("snr_db", self.snr_db)
        return self


def _by_name(strata: dict[str, Stratum]) -> dict[str, Stratum]:
    return dict(sorted(strata.items()))


StratumName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]


class SplitParams(Section):
    """One data set: source model, departures or none, strata by name. Scenes are numbered through the strata
    in the order of their names, for a mapping has none of its own: to DVC a file with its keys in another
    order is the same.
    """

    source_model: Literal["independent", "constant"]
    augmented: bool
    strata: Annotated[dict[StratumName, Stratum], Field(min_length=1), AfterValidator(_by_name)]

    @property
    def n_scenes(self) -> int:
        return sum(stratum.n_scenes for stratum in self.strata.values())

    def stratum_of(self, scene: int) -> Stratum:
        """The stratum that holds a scene number."""
        first = 0
        for stratum in self.strata.values():
            first += stratum.n_scenes
            if scene < first:
                return stratum
        raise IndexError(f"scene {scene} of a split with {self.n_scenes} scenes")


class Simulate(Section):
    """Data sets to simulate."""

    seed: Seed
    scenes_per_shard: PositiveInt
    workers: Processes
    augmentation: AugmentationRanges
    train: SplitParams
    train_constant: SplitParams
    validation: SplitParams
    validation_constant: SplitParams
    test_independent: SplitParams
    test_constant: SplitParams

    def split(self, name: Split) -> SplitParams:
        """The data set of a name."""
        splits: dict[Stream, SplitParams] = {
            "train": self.train,
            "train_constant": self.train_constant,
            "validation": self.validation,
            "validation_constant": self.validation_constant,
            "test_independent": self.test_independent,
            "test_constant": self.test_constant,
        }
        return splits[name]
