"""What the weights of a network are valid for, as its file states it: a part of params.yaml, frozen, strict,
complete.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

# Counts that no machine exceeds.
PositiveInt = Annotated[int, Field(gt=0, le=10**9)]
# Numbers that single precision holds; those that are squared, with their squares.
PositiveFloat = Annotated[float, Field(gt=0.0, le=1e30)]
NonNegativeFloat = Annotated[float, Field(ge=0.0, le=1e15)]
Length = Annotated[float, Field(ge=1e-6, le=1e6)]
Finite = Annotated[float, Field(allow_inf_nan=False)]

_MOST_POINTS = 20_000

MOST_ELEMENTS = 10**5
"""Whose places stand in the file of a model."""


class Section(BaseModel):
    """A part of parameters: frozen, strict, of known keys alone."""

    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="forbid",
        # a value may hold a secret in the wrong place
        hide_input_in_errors=True,
        # forms show the keys of params.yaml, with their units
        field_title_generator=lambda name, field: name,
    )

    def __hash__(self) -> int:
        """Of mappings too: processes keep by their parameters what they have read."""
        return hash(self.model_dump_json())


def require_ordered(name: str, pair: tuple[float, float]) -> None:
    """Refuse a pair whose first number is above its second."""
    if pair[0] > pair[1]:
        raise ValueError(f"{name} is [lowest, highest], got [{pair[0]}, {pair[1]}]")


def require_increasing(name: str, values: Sequence[float]) -> None:
    """Refuse numbers that do not increase strictly."""
    if list(values) != sorted(set(values)):
        raise ValueError(f"{name} increases strictly, got {list(values)}")


class ArrayLayout(Section):
    """Reconfigurable surface: uniform planar array in the x-y plane, centred on the origin.

    Two elements or more along each side: a straight line sees a cone, not azimuth and elevation.
    """

    wavelength_m: Length
    n_horizontal: Annotated[int, Field(ge=2, le=2048)]
    n_vertical: Annotated[int, Field(ge=2, le=2048)]
    spacing_m: Length
    spherical_amplitude: bool

    @property
    def n_elements(self) -> int:
        return self.n_horizontal * self.n_vertical


Coordinate = Annotated[float, Field(ge=-1e6, le=1e6)]
# A line sees a cone, not azimuth and elevation, and two elements are one.
Places = Annotated[
    tuple[tuple[Coordinate, Coordinate, Coordinate], ...], Field(min_length=3, max_length=MOST_ELEMENTS)
]


class ElementPlaces(Section):
    """Any array: the places of its elements about its centre, z to the front."""

    wavelength_m: Length
    element_positions_m: Places
    spherical_amplitude: bool

    @property
    def n_elements(self) -> int:
        return len(self.element_positions_m)


def _kind_of_array(held: Any) -> str:
    is_placed = isinstance(held, ElementPlaces) or (
        isinstance(held, Mapping) and "element_positions_m" in held
    )
    return "places" if is_placed else "layout"


ModelArray = Annotated[
    Annotated[ArrayLayout, Tag("layout")] | Annotated[ElementPlaces, Tag("places")],
    Discriminator(_kind_of_array),
]

KINDS_OF_ARRAY = frozenset(("layout", "places"))
"""Parts of the places of errors that stand in no file."""


class Receiver(Section):
    """Base station: half-wavelength uniform linear array."""

    n_antennas: Annotated[int, Field(gt=0, le=10**5)]
    n_snapshots: Annotated[int, Field(ge=2, le=10**6)]


class SourceRanges(Section):
    """Where sources may stand."""

    azimuth_deg: tuple[Finite, Finite]
    elevation_deg: tuple[Finite, Finite]
    range_m: tuple[Length, Length]

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name in ("azimuth_deg", "elevation_deg", "range_m"):
            require_ordered(name, getattr(self, name))
        for name in ("azimuth_deg", "elevation_deg"):
            low, high = getattr(self, name)
            if low <= -90.0 or high >= 90.0:
                raise ValueError(
                    f"{name} lies inside (-90, 90), in front of the surface; got [{low}, {high}]"
                )
        for name in ("azimuth_deg", "elevation_deg", "range_m"):
            low, high = getattr(self, name)
            if low == high:
                raise ValueError(f"{name} spans the search grid, lowest < highest; got [{low}, {high}]")
        return self


class GridSize(Section):
    """Search grid, uniform in direction cosines and inverse range over the source ranges."""

    n_u: Annotated[int, Field(ge=3, le=_MOST_POINTS)]
    n_v: Annotated[int, Field(ge=3, le=_MOST_POINTS)]
    n_w: Annotated[int, Field(ge=2, le=_MOST_POINTS)]

    @model_validator(mode="after")
    def _check(self) -> Self:
        n_points = self.n_u * self.n_v * self.n_w
        if n_points > _MOST_POINTS:
            raise ValueError(
                f"n_u n_v n_w <= {_MOST_POINTS}: the network holds a table of the overlaps of all pairs of "
                f"points; got {self.n_u} x {self.n_v} x {self.n_w} = {n_points}"
            )
        return self


class Covariance(Section):
    """The shared normalization and blend."""

    ls_ridge: PositiveFloat
    diagonal_loading: NonNegativeFloat


class Normalize(Section):
    """What normalize stores beside the covariance factors."""

    map_iterations: Annotated[
        tuple[Annotated[int, Field(ge=0, le=1000)], ...], Field(min_length=1, max_length=16)
    ]

    @model_validator(mode="after")
    def _check(self) -> Self:
        require_increasing("map_iterations", self.map_iterations)
        return self


class Network(Section):
    """Residual network on the maps, and the covariance that it predicts."""

    head: Literal["power_map", "factor"]
    rank: Annotated[int, Field(gt=0, le=1024)]
    channels: Annotated[int, Field(ge=2, le=4096)]
    blocks: Annotated[int, Field(gt=0, le=256)]
    groups: PositiveInt
    loops: Annotated[int, Field(ge=0, le=32)]

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.channels % self.groups:
            raise ValueError(
                f"channels is a multiple of groups (GroupNorm), got {self.channels} and {self.groups}"
            )
        return self


class ModelSources(SourceRanges):
    """Where the sources may stand whose maps a network reads, and how many it tells apart."""

    max_sources: PositiveInt


class ModelParams(Section):
    """The part of the parameters that the weights of a network are valid for."""

    array: ModelArray
    receiver: Receiver
    sources: ModelSources
    grid: GridSize
    covariance: Covariance
    normalize: Normalize
    network: Network
