"""Where sources are looked for: limits of azimuth, elevation and range, as a person states them."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from risolve.physics.array import Array
from risolve.physics.geometry import aperture, fraunhofer_distance

_AZIMUTH_DEG, _ELEVATION_DEG = (-60.0, 60.0), (-30.0, 30.0)
"""Field of view where none is given."""

_NEAREST_M = 1e-9
"""Nearest range that a field of view may begin with, as the law of a true range."""

_NEAREST = 0.2
"""Nearest range searched, in apertures, where none is given; the farthest is the Fraunhofer distance."""


@dataclass(frozen=True)
class FieldOfView:
    """Azimuth, elevation (degrees) and range (m) in which sources are looked for."""

    azimuth_deg: tuple[float, float]
    elevation_deg: tuple[float, float]
    range_m: tuple[float, float]

    def __str__(self) -> str:
        sides = ((self.azimuth_deg, "degrees"), (self.elevation_deg, "degrees"), (self.range_m, "m"))
        texts = [f"{low:.4g} to {high:.4g} {unit}" for (low, high), unit in sides]
        return f"azimuth {texts[0]}, elevation {texts[1]}, range {texts[2]}"


def default_field(array: Array) -> FieldOfView:
    """Where sources are looked for if nobody says it."""
    nearest = max(_NEAREST * aperture(array.elements), array.wavelength / 2.0)
    farthest = fraunhofer_distance(aperture(array.elements), array.wavelength)
    return FieldOfView(_AZIMUTH_DEG, _ELEVATION_DEG, (nearest, max(farthest, 10.0 * nearest)))


def limits_of(name: str, limits: Sequence[float] | Float[np.ndarray, "2"]) -> tuple[float, float]:
    """Lowest and highest of a coordinate, as numbers.

    Raises:
        TypeError: not two numbers.
        ValueError: angles that are multiples of pi / 12, and so of radians.
    """
    law = f"{name} is (lowest, highest), two real numbers; got {limits!r}"
    held = np.asarray(limits) if isinstance(limits, Sequence | np.ndarray) else np.array(None)
    if held.dtype.kind not in "fiu" or held.shape != (2,):
        raise TypeError(law)
    low, high = held.astype(float).tolist()
    if name != "range":
        refuse_radians(name, (low, high))
    return low, high


def check_angles(name: str, angles_deg: Iterable[float]) -> None:
    """Refuse angles that are not in front of the array, or radians.

    Raises:
        ValueError: the law with its numbers.
    """
    held = list(angles_deg)
    refuse_radians(name, held)
    beyond = [angle for angle in held if not -90.0 < angle < 90.0]
    if beyond:
        raise ValueError(f"{name} is within +-90 degrees, in front of the array; got {beyond[0]:g}")


def refuse_radians(name: str, angles: Iterable[float]) -> None:
    """Refuse multiples of pi / 12, which nobody means in degrees.

    Raises:
        ValueError: as said.
    """
    for angle in angles:
        if angle and _is_multiple(angle, math.pi / 12.0):
            raise ValueError(
                f"{name} is in degrees; {angle:.6g} is {math.degrees(angle):.0f} degrees in radians"
            )


def check_field(field: FieldOfView) -> None:
    """Refuse limits that are none.

    Raises:
        ValueError: the law with its numbers.
    """
    for name, (low, high) in (("azimuth", field.azimuth_deg), ("elevation", field.elevation_deg)):
        if not -90.0 < low < high < 90.0:
            law = f"{name} is lowest < highest within +-90 degrees, in front of the array"
            raise ValueError(f"field of view: {law}; got {low:g} to {high:g}")
    nearest, farthest = field.range_m
    if not _NEAREST_M <= nearest < farthest:
        raise ValueError(
            f"field of view: range is {_NEAREST_M:g} <= nearest < farthest (m, inf allowed), got "
            f"{nearest:g} to {farthest:g}"
        )


def _is_multiple(value: float, unit: float) -> bool:
    return abs(value) < 7.0 and math.isclose(value / unit, round(value / unit), rel_tol=0.0, abs_tol=1e-9)
