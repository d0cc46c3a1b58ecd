"""Positions and spherical waves, element by element, from the definitions in Cartesian coordinates."""

import cmath
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Point = tuple[float, float, float]


def position(azimuth: float, elevation: float, reach: float) -> Point:
    """p = r (sin phi cos theta, sin theta, cos phi cos theta)."""
    return (
        reach * math.sin(azimuth) * math.cos(elevation),
        reach * math.sin(elevation),
        reach * math.cos(azimuth) * math.cos(elevation),
    )


def elements(n_horizontal: int, n_vertical: int, spacing: float) -> list[Point]:
    """Centred planar array in the x-y plane: vertical index slow, horizontal index fast."""
    found = []
    for vertical in range(n_vertical):
        for horizontal in range(n_horizontal):
            x = (horizontal - (n_horizontal - 1) / 2) * spacing
            y = (vertical - (n_vertical - 1) / 2) * spacing
            found.append((x, y, 0.0))
    return found


def steering(
    source: Sequence[float], array: Sequence[Sequence[float]], wavelength: float, spherical_amplitude: bool
) -> NDArray[np.complex128]:
    """a_n = exp(-j k (|p - e_n| - |p|)), times |p| / |p - e_n| with the spherical amplitude.

    `source` is (azimuth, elevation, inverse range > 0).
    """
    azimuth, elevation, inverse_range = source
    p = position(azimuth, elevation, 1.0 / inverse_range)
    to_centre = math.dist(p, (0.0, 0.0, 0.0))
    wave = []
    for element in array:
        to_element = math.dist(p, element)
        gain = to_centre / to_element if spherical_amplitude else 1.0
        wave.append(gain * cmath.exp(-2j * math.pi / wavelength * (to_element - to_centre)))
    return np.array(wave)
