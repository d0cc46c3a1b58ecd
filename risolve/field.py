"""Where sources are looked for, and where they may be: what is stated of azimuth, elevation and range."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, SupportsFloat, TypeAlias

import numpy as np
import torch
from jaxtyping import Shaped

from risolve.physics.array import Array
from risolve.physics.geometry import aperture, fraunhofer_distance, is_line, line_tells
from risolve.physics.limits import Limits, visible

_AZIMUTH_DEG, _ELEVATION_DEG = (-60.0, 60.0), (-30.0, 30.0)
"""Searched in front of an array where nothing is stated."""

_STEEPEST_DEG = 85.0
"""Highest elevation searched all around an array where nothing is stated."""

_ROUND_DEG = 360.0
"""A whole turn."""

_NEAREST_M = 1e-9
"""Nearest range that may be stated, as the law of a true range."""

_NEAREST = 0.2
"""Nearest range searched, in apertures, where none is stated; the farthest is the Fraunhofer distance, or the
one from which a common delay comes again.
"""

Interval: TypeAlias = tuple[float, float]

Coordinate: TypeAlias = Interval | float | None
"""Lowest and highest, a number that is known, or None: nothing is stated."""

CoordinateLike: TypeAlias = Sequence[float] | Shaped[np.ndarray, "..."] | SupportsFloat | None
"""A coordinate as a person gives it: two numbers, one, or None."""


class Searched(NamedTuple):
    """Intervals in which sources are looked for, degrees and m; of a known coordinate both ends are equal.

    The azimuths of a sector through 180 degrees end beyond 180.
    """

    azimuth_deg: Interval
    elevation_deg: Interval
    range_m: Interval

    @property
    def middle(self) -> float:
        """The azimuth in the middle, rad."""
        return math.radians(sum(self.azimuth_deg) / 2.0)

    def __str__(self) -> str:
        sides = (("azimuth", "degrees"), ("elevation", "degrees"), ("range", "m"))
        low, high = self.azimuth_deg
        stated = self._replace(azimuth_deg=(low, high if high <= _ROUND_DEG / 2 else high - _ROUND_DEG))
        return ", ".join(
            f"{name} {_ends(interval)} {unit}" for (name, unit), interval in zip(sides, stated, strict=True)
        )


@dataclass(frozen=True)
class FieldOfView:
    """What is stated of the places of sources, degrees and m: it binds what is searched and what is answered.

    What is not stated is searched where it usually lies, and may be answered anywhere that the array sees.
    Azimuths whose lowest is above the highest are the sector from the one through 180 degrees to the other.
    """

    azimuth_deg: Coordinate = None
    elevation_deg: Coordinate = None
    range_m: Coordinate = None

    @property
    def n_free(self) -> int:
        """Coordinates that are not known."""
        return sum(
            not isinstance(stated, float) for stated in (self.azimuth_deg, self.elevation_deg, self.range_m)
        )

    def settled(self, array: Array) -> "FieldOfView":
        """With the angle that a line of elements does not tell: 0 where it is not stated.

        A vertical line tells elevation alone, any other is taken to look along azimuth: it sees the angle of
        the cone about it.
        """
        if not is_line(array.elements) or isinstance(self.azimuth_deg, float):
            return self
        if line_tells(array.elements) == "elevation":
            return replace(self, azimuth_deg=0.0) if self.azimuth_deg is None else self
        return replace(self, elevation_deg=0.0) if self.elevation_deg is None else self

    def searched(self, usual: Searched) -> Searched:
        """The intervals stated, and the usual ones where nothing is."""
        azimuth = None if self.azimuth_deg is None else _sector(self.azimuth_deg)
        return Searched(
            *(
                own if stated is None else _interval(stated)
                for stated, own in zip((azimuth, self.elevation_deg, self.range_m), usual, strict=True)
            )
        )

    def limits(self, array: Array, n_antennas: int) -> Limits | None:
        """What is stated of what the array sees, behind which there are so many antennas; None where nothing
        is.

        Raises:
            ValueError: all of it is nearer than half a wavelength, or beside what the array sees.
        """
        if self == FieldOfView():
            return None
        seen = visible(array, n_antennas)
        everywhere = (-math.inf, math.inf)
        nothing = Searched(everywhere, everywhere, (0.0, array.unambiguous_range))
        azimuth, elevation, (nearest, farthest) = self.searched(nothing)
        low = torch.tensor(
            [math.radians(azimuth[0]), math.radians(elevation[0]), 1.0 / farthest], dtype=torch.float64
        )
        high = torch.tensor(
            [math.radians(azimuth[1]), math.radians(elevation[1]), 1.0 / nearest if nearest else math.inf],
            dtype=torch.float64,
        )
        if float(low[2]) > float(seen.high[2]):
            raise ValueError(
                f"field of view: range reaches beyond half a wavelength, {array.wavelength / 2.0:.4g} m; got "
                f"{_ends((nearest, farthest))} m"
            )
        if azimuth[1] - azimuth[0] >= _ROUND_DEG:
            # a whole turn has no ends
            low[0], high[0] = -math.inf, math.inf
        # ranges at which a delay comes again may be stated
        least = torch.cat((torch.maximum(low, seen.low)[:2], low[2:]))
        held = Limits(least, torch.minimum(high, seen.high))
        if bool(((held.low > held.high) | (low < high) & (held.low >= held.high))[:2].any()):
            ends = torch.rad2deg(torch.stack((seen.low, seen.high), -1)[:2])
            (least, most), (lowest, highest) = ends.clamp(-_ROUND_DEG / 2, _ROUND_DEG / 2).tolist()
            raise ValueError(
                f"field of view: the array sees azimuth {_ends((least, most))}, elevation "
                f"{_ends((lowest, highest))} degrees, and no more than an edge of what is stated; got "
                f"{self.searched(Searched((least, most), (lowest, highest), (nearest, farthest)))}"
            )
        return held


def usual_field(array: Array, n_antennas: int) -> Searched:
    """Where sources are looked for if nobody says it: in front, or all around where antennas see that."""
    nearest = max(_NEAREST * aperture(array.elements), array.wavelength / 2.0)
    farthest = max(fraunhofer_distance(aperture(array.elements), array.wavelength), 10.0 * nearest)
    if math.isfinite(array.unambiguous_range):
        farthest = array.unambiguous_range
    azimuth, elevation = _AZIMUTH_DEG, _ELEVATION_DEG
    low, high = (ends.tolist() for ends in (visible(array, n_antennas).low, visible(array, n_antennas).high))
    if high[0] > math.pi / 2:
        azimuth = (max(-_ROUND_DEG / 2, math.degrees(low[0])), _ROUND_DEG / 2)
        elevation = (0.0 if low[1] == 0.0 else -_STEEPEST_DEG, _STEEPEST_DEG)
    return Searched(azimuth, elevation, (nearest, farthest))


def coordinate_of(name: str, value: object) -> Coordinate:
    """A coordinate: (lowest, highest), a number, or None.

    Raises:
        TypeError: none of these.
        ValueError: angles that are multiples of pi / 12, and so of radians.
    """
    if value is None:
        return None
    law = f"{name} is (lowest, highest) or one number that is known; got {value!r}"
    if isinstance(value, bool) or not isinstance(value, Sequence | np.ndarray | int | float | np.number):
        raise TypeError(law)
    held = np.asarray(value)
    if held.dtype.kind not in "fiu" or held.shape not in ((), (2,)):
        raise TypeError(law)
    ends = held.astype(float).ravel().tolist()
    if name != "range":
        refuse_radians(name, ends)
    return ends[0] if held.shape == () else (ends[0], ends[1])


def check_angles(name: str, angles_deg: Iterable[float], seen: Limits) -> None:
    """Refuse angles that the array does not see, or radians.

    Raises:
        ValueError: the law with its numbers.
    """
    held = list(angles_deg)
    refuse_radians(name, held)
    low, high, law = _law(name, seen)
    beyond = [angle for angle in held if not low <= angle <= high]
    if beyond:
        raise ValueError(f"{name} is {law}; got {beyond[0]:g}")


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


def check_field(field: FieldOfView, seen: Limits) -> None:
    """Refuse limits that are none, or reach beyond what an array sees.

    Raises:
        ValueError: the law with its numbers.
    """
    for name, stated in (("azimuth", field.azimuth_deg), ("elevation", field.elevation_deg)):
        if stated is None:
            continue
        low, high = _interval(stated)
        least, most, law = _law(name, seen)
        first, last = _sector(stated) if name == "azimuth" and bool(seen.high[0].isinf()) else (low, high)
        inside = least <= min(low, high) and max(low, high) <= most
        if not (inside and (first < last or isinstance(stated, float))):
            raise ValueError(
                f"field of view: {name} is lowest < highest, or a number, {law}; got {low:g} to {high:g}"
            )
    if field.range_m is None:
        return
    nearest, farthest = _interval(field.range_m)
    if not (_NEAREST_M <= nearest <= farthest and (nearest < farthest or isinstance(field.range_m, float))):
        raise ValueError(
            f"field of view: range is {_NEAREST_M:g} <= nearest < farthest, or a number (m, inf allowed), "
            f"got {nearest:g} to {farthest:g}"
        )
    if math.isinf(farthest) and bool(seen.low[2] > 0.0):
        raise ValueError(
            "field of view: range is finite with a common delay, of which infinity has none; got "
            f"{nearest:g} to {farthest:g}; it comes again after {1.0 / float(seen.low[2]):.4g} m"
        )


def require_inside(field: FieldOfView, own: Searched) -> None:
    """Refuse what is stated beyond other intervals, as those that a network was trained in.

    Raises:
        ValueError: the law with its numbers.
    """
    if any(
        low < known[0] or high > known[1] for (low, high), known in zip(field.searched(own), own, strict=True)
    ):
        raise ValueError(f"the field of view is {field.searched(own)}, not inside {own}")


def _interval(stated: Interval | float) -> Interval:
    return stated if isinstance(stated, tuple) else (stated, stated)


def _sector(stated: Interval | float) -> Interval:
    """Azimuths from the first on to the last, through 180 degrees where that is less."""
    low, high = _interval(stated)
    return low, high + _ROUND_DEG if low > high else high


def _ends(interval: Interval) -> str:
    low, high = interval
    return f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g}"


def _law(name: str, seen: Limits) -> tuple[float, float, str]:
    """Least and largest angle of an array, degrees, and the same in words."""
    if name == "azimuth" and float(seen.high[0]) > math.pi / 2:
        return -_ROUND_DEG / 2, _ROUND_DEG / 2, f"within +-{_ROUND_DEG / 2:g} degrees"
    quarter = _ROUND_DEG / 4
    inside = quarter if name == "azimuth" else math.nextafter(quarter, 0.0)
    return -inside, inside, f"within +-{quarter:g} degrees, in front of the array"


def _is_multiple(value: float, unit: float) -> bool:
    return abs(value) < 7.0 and math.isclose(value / unit, round(value / unit), rel_tol=0.0, abs_tol=1e-9)
