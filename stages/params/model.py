"""The parameters of params.yaml: frozen, strict, complete. Nothing has a default here."""

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from risolve.files.model_params import (
    Covariance,
    GridSize,
    ModelParams,
    ModelSources,
    Network,
    NonNegativeFloat,
    Normalize,
    PositiveFloat,
    PositiveInt,
    Receiver,
    Section,
    require_increasing,
)
from risolve.identifiability import most_sources
from stages.params.scenes import (
    SPLITS,
    TEST_SPLITS,
    TRAINING_SPLITS,
    VALIDATION_SPLITS,
    ArrayParams,
    Channel,
    Codebook,
    Count,
    Decibels,
    Epochs,
    FileArray,
    Fraction,
    FractionBelowOne,
    Impairments,
    Processes,
    Seed,
    Simulate,
    Sources,
    Split,
    Steps,
)
from stages.params.search import Search

__all__ = [
    "SPLITS",
    "TEST_SPLITS",
    "TRAINING_SPLITS",
    "VALIDATION_SPLITS",
    "FileParams",
    "Params",
    "Sources",
    "Split",
]

MODEL_READS = (
    *("array", "receiver"),
    *("sources.azimuth_deg", "sources.elevation_deg", "sources.range_m", "sources.max_sources"),
    *("grid", "covariance", "normalize", "network"),
)
"""What `Params.of_model` reads."""


class Train(Section):
    """Optimization of the network."""

    seed: Seed
    device: Literal["auto", "cpu", "cuda"]
    mixed_precision: bool
    epochs: Epochs
    batch_size: PositiveInt
    processes: Processes
    block_scenes: PositiveInt
    buffer_blocks: PositiveInt
    lr: PositiveFloat
    warmup_fraction: FractionBelowOne
    weight_decay: NonNegativeFloat
    clip_norm: PositiveFloat
    ema_decay: FractionBelowOne
    flips: bool
    target_width_cells: Annotated[float, Field(ge=1e-3, le=1e3)]
    target_width_planes: Annotated[float, Field(ge=1e-3, le=1e3)]
    focal_exponents: tuple[NonNegativeFloat, NonNegativeFloat]
    detection_weight: PositiveFloat
    offset_weight: NonNegativeFloat
    count_weight: NonNegativeFloat
    covariance_weight: NonNegativeFloat
    subspace_weight: NonNegativeFloat
    likelihood_weight: NonNegativeFloat
    pass_weight: NonNegativeFloat
    blend_beta_start: Fraction
    blend_beta_end: Fraction
    blend_beta_jitter: Fraction

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.buffer_blocks - 1) * self.block_scenes < self.batch_size:
            raise ValueError(
                f"a batch is drawn from a buffer that has room for one block more: (buffer_blocks - 1) "
                f"block_scenes >= batch_size, got ({self.buffer_blocks} - 1) x {self.block_scenes} and "
                f"{self.batch_size}"
            )
        return self


class Estimators(Section):
    """What the estimators are made with."""

    refine_iterations: Steps
    fit_iterations: Steps
    counting: Literal["glrt", "bic"]
    false_alarm: Annotated[float, Field(gt=0.0, lt=1.0)]
    most_sources: Annotated[int, Field(gt=0, le=1000)]


class Evaluate(Section):
    """What is evaluated, and how an estimate is scored."""

    batch_size: PositiveInt
    workers: Processes
    estimators: Annotated[tuple[str, ...], Field(min_length=1)]
    blind: tuple[str, ...]
    refine: Annotated[tuple[bool, ...], Field(min_length=1)]
    genie_starts: Count
    found_tolerance_deg: PositiveFloat
    gospa_cutoff_m: PositiveFloat
    bootstrap_samples: Annotated[int, Field(gt=0, le=10**6)]
    seed: Seed

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name in ("estimators", "blind", "refine"):
            values = getattr(self, name)
            if len(set(values)) < len(values):
                raise ValueError(f"{name} lists each value once, got {list(values)}")
        missing = sorted(set(self.blind) - set(self.estimators))
        if missing:
            raise ValueError(f"blind names some of evaluate.estimators, got also {missing}")
        return self


class Threshold(Section):
    """Where the Ziv-Zakai bound on one source is computed, and over how many scenes and places a scene."""

    snr_db: Annotated[tuple[Decibels, ...], Field(min_length=1)]
    scenes: PositiveInt
    draws: PositiveInt
    seed: Seed

    @model_validator(mode="after")
    def _check(self) -> Self:
        require_increasing("snr_db", self.snr_db)
        return self


class SweepPoints(Section):
    """Levels of every impairment that is swept, in the units of `impairments`."""

    position_jitter_m: Annotated[tuple[NonNegativeFloat, ...], Field(min_length=1)]
    phase_error_deg: Annotated[tuple[NonNegativeFloat, ...], Field(min_length=1)]
    dead_fraction: Annotated[tuple[FractionBelowOne, ...], Field(min_length=1)]
    channel_error: Annotated[tuple[NonNegativeFloat, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name in type(self).model_fields:
            require_increasing(name, getattr(self, name))
        return self


class Sweep(Section):
    """Scenes of every point of the sweep over impairments."""

    seed: Seed
    n_scenes: PositiveInt
    n_sources: PositiveInt
    snr_db: Decibels
    points: SweepPoints


class Report(Section):
    """What the report shows beyond the metrics."""

    example_scenes: Count


class Params(Section):
    """params.yaml."""

    array: ArrayParams
    receiver: Receiver
    channel: Channel
    codebook: Codebook
    sources: Sources
    impairments: Impairments
    simulate: Simulate
    grid: GridSize
    covariance: Covariance
    normalize: Normalize
    network: Network
    train: Train
    estimators: Estimators
    evaluate: Evaluate
    threshold: Threshold
    sweep: Sweep
    search: Search
    report: Report

    def of_model(self) -> ModelParams:
        """The part that the weights of a network are valid for."""
        sources = ModelSources(
            azimuth_deg=self.sources.azimuth_deg,
            elevation_deg=self.sources.elevation_deg,
            range_m=self.sources.range_m,
            max_sources=self.sources.max_sources,
        )
        return ModelParams(
            array=self.array.of_model(),
            receiver=self.receiver,
            sources=sources,
            grid=self.grid,
            covariance=self.covariance,
            normalize=self.normalize,
            network=self.network,
        )

    def with_values(self, values: Mapping[str, Any]) -> "Params":
        """The same with other values, by SECTION.KEY.

        Raises:
            ValidationError: they break a law.
        """
        tree = self.model_dump()
        for name, value in values.items():
            section, key = name.split(".")
            tree[section][key] = value
        return type(self).model_validate(tree)

    @model_validator(mode="after")
    def _check(self) -> Self:
        for angle in ("azimuth_deg", "elevation_deg"):
            low, high = getattr(self.sources, angle)
            if self.train.flips and low != -high:
                raise ValueError(
                    f"train.flips mirrors scenes within sources.{angle}, so lowest = -highest; got "
                    f"[{low}, {high}]: set train.flips to false or make the range symmetric"
                )
        loading, chosen = self.covariance.diagonal_loading, self.evaluate.estimators
        if loading == 0.0 and any(name.startswith("mvdr") for name in chosen):
            raise ValueError(
                f"MVDR inverts R + eps I, so covariance.diagonal_loading > 0 with evaluate.estimators "
                f"{list(chosen)}; got {loading:g}"
            )
        self.search.space.require_valid("train", self.train)
        self.search.space.require_valid("network", self.network)
        if not self.array.is_elsewhere:
            self._check_system()
        return self

    def _check_system(self) -> None:
        """Sources that the array, the antennas and the snapshots tell apart."""
        n_antennas, max_sources = self.receiver.n_antennas, self.sources.max_sources
        if max_sources >= n_antennas:
            raise ValueError(
                f"the snapshots of K sources leave M - K > 0 dimensions for the noise: sources.max_sources = "
                f"{max_sources} must be below receiver.n_antennas = {n_antennas}"
            )
        rank = min(n_antennas * self.receiver.n_snapshots, self.array.n_elements)
        if max_sources > rank:
            raise ValueError(
                f"the stacked sensing matrix has rank at most min(L M, N) = {rank}: too low for "
                f"sources.max_sources = {max_sources}"
            )
        nearest = self.array.wavelength_m / 2.0
        if self.sources.range_m[0] < nearest:
            raise ValueError(
                f"a source stands half a wavelength or more from the centre, {nearest:g} m, the nearest that "
                f"the refinement looks for it; sources.range_m starts at {self.sources.range_m[0]:g} m"
            )
        reach, height = self.array.wavelength_m / (2.0 * math.pi), self.sources.closest_height_m()
        if height <= reach and not isinstance(self.array, FileArray):
            raise ValueError(
                f"a source stands farther from the surface than lambda / (2 pi) = {reach:.4g} m, where "
                f"waves are spherical; sources.range_m, azimuth_deg and elevation_deg allow "
                f"r cos(phi) cos(theta) = {height:.4g} m"
            )
        for name in SPLITS:
            self._check_split(name)
        L, N, K = self.receiver.n_snapshots, self.array.n_elements, self.sweep.n_sources
        most, law = most_sources("independent", L, n_antennas, N)
        if K > min(most, max_sources):
            raise ValueError(
                f"sweep.n_sources is at most sources.max_sources = {max_sources}, and independent sources "
                f"need {law}: L = {L} snapshots, M = {n_antennas} antennas and N = {N} elements allow "
                f"{most}; got {K}"
            )

    def _check_split(self, name: Split) -> None:
        """A split has the source model of its use, and scenes that its snapshots determine."""
        split, L, M = self.simulate.split(name), self.receiver.n_snapshots, self.receiver.n_antennas
        expected: Literal["independent", "constant"]
        expected = "constant" if name.endswith("_constant") else "independent"
        if split.source_model != expected:
            raise ValueError(
                f"simulate.{name}.source_model is {expected}, and each source model has splits of its own; "
                f"got {split.source_model}"
            )
        if not name.startswith("test") and all(
            stratum.n_sources[1] == 0 for stratum in split.strata.values()
        ):
            raise ValueError(
                f"simulate.{name}.strata hold scenes with sources, from which a covariance is learned; got "
                "strata of 0 sources alone"
            )
        N = self.array.n_elements
        most, law = most_sources(expected, L, M, N)
        for key, stratum in split.strata.items():
            K = stratum.n_sources[1]
            if K > self.sources.max_sources:
                raise ValueError(
                    f"simulate.{name}.strata.{key} asks for up to {K} sources; sources.max_sources is "
                    f"{self.sources.max_sources}"
                )
            if K > most:
                raise ValueError(
                    f"simulate.{name}.strata.{key} asks for up to {K} sources; {expected} sources need "
                    f"{law}: L = {L} snapshots, M = {M} antennas and N = {N} elements allow {most}"
                )
            if name.startswith("test") and stratum.snr_db[0] != stratum.snr_db[1]:
                raise ValueError(
                    f"simulate.{name}.strata.{key} is a cell of the tables, of one SNR; got snr_db = "
                    f"[{stratum.snr_db[0]:g}, {stratum.snr_db[1]:g}]: one stratum for each SNR"
                )


class FileParams(Params):
    """params.yaml with the array of a file, and the antennas and snapshots that it has."""

    array: FileArray
