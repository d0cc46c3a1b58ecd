"""An array: its elements, its wavelength and its amplitude law, with the manifold that these make."""

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Complex, Float
from numpy.typing import ArrayLike
from torch import Tensor

from risolve.physics.geometry import planar_array
from risolve.physics.steering import SteeringDerivatives, steering, steering_derivatives
from risolve.shapes import Elements


@dataclass(frozen=True, init=False)
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
        places = elements if isinstance(elements, Tensor) else torch.from_numpy(np.array(elements))
        if places.is_complex() or places.dtype == torch.bool:
            raise TypeError(f"elements are real numbers in m, got {places.dtype}")
        if places.ndim != 2 or places.shape[1] != 3 or places.shape[0] < 1:
            raise ValueError(f"elements are [element, 3], x, y and z in m, got shape {list(places.shape)}")
        if not bool(torch.isfinite(places).all()):
            raise ValueError(f"elements are finite, got {int((~torch.isfinite(places)).sum())} that are not")
        if not (math.isfinite(wavelength) and wavelength > 0.0):
            raise ValueError(f"a wavelength is positive and finite (m), got {wavelength}")
        if not places.is_floating_point() or not isinstance(elements, Tensor):
            places = places.double()
        object.__setattr__(self, "elements", places)
        object.__setattr__(self, "wavelength", float(wavelength))
        object.__setattr__(self, "spherical_amplitude", spherical_amplitude)

    @property
    def n_elements(self) -> int:
        return self.elements.shape[0]

    def steering(self, sources: Float[Tensor, "*batch 3"]) -> Complex[Tensor, "*batch element"]:
        """Response to sources (azimuth, elevation, inverse range), see `steering`."""
        return steering(sources, self.elements, self.wavelength, self.spherical_amplitude)

    def steering_derivatives(self, sources: Float[Tensor, "*batch 3"]) -> SteeringDerivatives:
        """Response to sources, and its derivatives by their coordinates, see `steering_derivatives`."""
        return steering_derivatives(sources, self.elements, self.wavelength, self.spherical_amplitude)

    def to(self, device: torch.device | str) -> "Array":
        """The same array on another device."""
        return replace(self, elements=self.elements.to(device))


def planar(n_horizontal: int, n_vertical: int, spacing: float, wavelength: float) -> Array:
    """A uniform rectangular array in the x-y plane, horizontal index fast; lengths in m.

    Raises:
        ValueError: fewer than one element along a side, or lengths that are none.
    """
    _require_length("spacing", spacing)
    for name, number in (("n_horizontal", n_horizontal), ("n_vertical", n_vertical)):
        if number < 1:
            raise ValueError(f"{name} is 1 or more, got {number}")
    return Array(planar_array(n_horizontal, n_vertical, spacing), wavelength)


def linear(n_elements: int, spacing: float, wavelength: float) -> Array:
    """A uniform line of elements along x, centred on the origin; lengths in m.

    Raises:
        ValueError: as `planar`.
    """
    return planar(n_elements, 1, spacing, wavelength)


def circular(n_elements: int, radius: float, wavelength: float) -> Array:
    """Elements evenly on a circle in the x-y plane about the origin, the first on the x axis; lengths in m.

    Raises:
        ValueError: fewer than one element, or lengths that are none.
    """
    _require_length("radius", radius)
    if n_elements < 1:
        raise ValueError(f"n_elements is 1 or more, got {n_elements}")
    angle = 2.0 * math.pi * torch.arange(n_elements, dtype=torch.float64) / n_elements
    return Array(
        radius * torch.stack((angle.cos(), angle.sin(), torch.zeros_like(angle)), dim=-1), wavelength
    )


def _require_length(name: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0.0):
        raise ValueError(f"{name} is positive and finite (m), got {value}")
