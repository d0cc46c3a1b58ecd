"""An array: its elements, its wavelength and its amplitude law, with the manifold that these make."""

import math
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Complex, Float, Int
from numpy.typing import ArrayLike
from torch import Tensor

from risolve.physics.geometry import planar_array
from risolve.physics.steering import (
    SteeringDerivatives,
    Wavelength,
    steering,
    steering_by_elements,
    steering_derivatives,
)
from risolve.shapes import Elements

Numbers: TypeAlias = Tensor | ArrayLike
"""Numbers of torch, NumPy or plain lists."""


@dataclass(frozen=True, init=False, eq=False)
class Array:
    """Elements that receive, or reflect, a wave of one wavelength.

    elements: places (m) about the centre of the array, from which ranges count; z points to the front.
    wavelength: m. spherical_amplitude: the amplitude at an element falls with its distance from the source,
    too; otherwise all elements have the same.
    """

    elements: Elements
    wavelength: float
    spherical_amplitude: bool

    def __init__(
        self,
        elements: Tensor | ArrayLike,
        wavelength: float,
        spherical_amplitude: bool = False,
    ) -> None:
        """elements: real numbers [element, 3], of NumPy, torch or plain lists.

        Raises:
            TypeError: elements that are not real.
            ValueError: elements of another shape or not finite, or a wavelength that is no length.
        """
        places = tensor_of("elements", elements)
        if places.is_complex():
            raise TypeError(f"elements are real numbers in m, got {places.dtype}")
        if places.ndim != 2 or places.shape[1] != 3 or places.shape[0] < 1:
            raise ValueError(f"elements are [element, 3], x, y and z in m, got shape {list(places.shape)}")
        if not bool(torch.isfinite(places).all()):
            raise ValueError(f"elements are finite, got {int((~torch.isfinite(places)).sum())} that are not")
        _require_length("wavelength", wavelength)
        if not isinstance(spherical_amplitude, bool):
            raise TypeError(f"spherical_amplitude is True or False, got {spherical_amplitude!r}")
        object.__setattr__(self, "elements", places.double())
        object.__setattr__(self, "wavelength", float(wavelength))
        object.__setattr__(self, "spherical_amplitude", spherical_amplitude)

    @property
    def n_elements(self) -> int:
        return self.elements.shape[0]

    @property
    def n_bands(self) -> int:
        """Wavelengths at which it is seen."""
        return 1

    @property
    def n_free_bands(self) -> int:
        """Wavelengths at which sources have amplitudes of their own."""
        return self.n_bands

    @property
    def n_coherent(self) -> int:
        """Elements at which a source has one amplitude: those of a band, or of all with a common delay."""
        return self.n_elements // self.n_free_bands

    @property
    def unambiguous_range(self) -> float:
        """Range (m) from which delays come again; infinite where none is told."""
        return math.inf

    @property
    def range_resolution(self) -> float:
        """Difference of ranges (m) that delays resolve; infinite where none is told."""
        return math.inf

    @property
    def places(self) -> Elements:
        """Its elements, each once however many wavelengths there are."""
        return self.elements

    @property
    def n_places(self) -> int:
        return self.places.shape[0]

    @property
    def wavelengths(self) -> Wavelength:
        """That of all elements, or of each."""
        return self.wavelength

    def is_received_by(self, n_antennas: int) -> bool:
        """Whether its elements are the antennas themselves, so many, and no surface."""
        return n_antennas == self.n_elements

    def steering(self, sources: Float[Tensor, "*batch 3"]) -> Complex[Tensor, "*batch element"]:
        """Response to sources (azimuth, elevation, inverse range), see `steering`."""
        return steering(sources, self.elements, self.wavelengths, self.spherical_amplitude)

    def steering_derivatives(self, sources: Float[Tensor, "*batch 3"]) -> SteeringDerivatives:
        """Response to sources, and its derivatives by their coordinates, see `steering_derivatives`."""
        return steering_derivatives(sources, self.elements, self.wavelengths, self.spherical_amplitude)

    def steering_by_elements(self, sources: Float[Tensor, "*batch 3"]) -> Complex[Tensor, "*batch 3 element"]:
        """Derivatives of the response by the places of the elements, see `steering_by_elements`."""
        return steering_by_elements(sources, self.elements, self.wavelengths, self.spherical_amplitude)

    def only(self, places: Int[Tensor, " place"]) -> "Array":
        """Some of its elements, by their numbers among `places`."""
        return replace(self, elements=self.elements[places])

    def to(self, device: torch.device | str) -> "Array":
        """The same array on another device."""
        return replace(self, elements=self.elements.to(device))


def planar(n_horizontal: int, n_vertical: int, spacing: float, wavelength: float) -> Array:
    """A uniform rectangular array in the x-y plane, horizontal index fast; lengths in m.

    Raises:
        ValueError: fewer than one element along a side, or lengths that are none.
    """
    _require_length("spacing", spacing)
    _require_count("n_horizontal", n_horizontal)
    _require_count("n_vertical", n_vertical)
    return Array(planar_array(n_horizontal, n_vertical, spacing), wavelength)


def linear(n_elements: int, spacing: float, wavelength: float) -> Array:
    """A uniform line of elements along x, centred on the origin; lengths in m.

    Raises:
        ValueError: as `planar`.
    """
    return planar(n_elements, 1, spacing, wavelength)


def circular(n_elements: int, radius: float, wavelength: float) -> Array:
    """Elements evenly on a circle in the x-y plane about the origin, the first on the x axis; lengths in m.

    It faces z, as every array in that plane. Elements in the x-z plane see azimuth all round.

    Raises:
        ValueError: fewer than one element, or lengths that are none.
    """
    _require_length("radius", radius)
    _require_count("n_elements", n_elements)
    angle = 2.0 * math.pi * torch.arange(n_elements, dtype=torch.float64) / n_elements
    return Array(
        radius * torch.stack((angle.cos(), angle.sin(), torch.zeros_like(angle)), dim=-1), wavelength
    )


def tensor_of(name: str, values: Numbers | float) -> Tensor:
    """Numbers as a tensor; those of NumPy are copied, in native byte order and precision of torch.

    Raises:
        TypeError: what is no numbers.
        ValueError: masked numbers.
    """
    if isinstance(values, Tensor):
        if values.dtype == torch.bool:
            raise TypeError(f"{name} are numbers, got {values.dtype}")
        return values
    if np.ma.is_masked(values):
        raise ValueError(f"{name} are numbers of which none is masked; give them without a mask")
    try:
        held = np.array(values)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    if held.dtype.kind not in "fciu":
        raise TypeError(f"{name} are numbers of NumPy or torch, got {held.dtype}")
    if held.dtype.kind == "c":
        return torch.from_numpy(held.astype(np.complex64 if held.dtype.itemsize <= 8 else np.complex128))
    return torch.from_numpy(held.astype(np.float64))


def _require_length(name: str, value: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise TypeError(f"{name} is a length in m, got {value!r}")
    if not (math.isfinite(value) and value > 0.0):
        raise ValueError(f"{name} is positive and finite (m), got {value}")


def _require_count(name: str, value: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{name} is a whole number, got {value!r}")
    if value < 1:
        raise ValueError(f"{name} is 1 or more, got {value}")
