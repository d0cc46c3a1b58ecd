"""Where sources may be: limits of their coordinates."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from risolve.physics.array import Array
from risolve.physics.geometry import blind_axis, turned

_OFF = 0.05
"""Rad off a mirror at which a descent starts."""


@dataclass(frozen=True, eq=False)
class Limits:
    """Least and largest (azimuth (rad), elevation (rad), inverse range (1/m)) of a source.

    A coordinate whose limits are equal is known. The azimuths of a sector through pi end beyond it.
    """

    low: Float[Tensor, " 3"]
    high: Float[Tensor, " 3"]

    @property
    def is_free(self) -> Bool[Tensor, " 3"]:
        """True for coordinates that are unknown."""
        return self.low < self.high

    @property
    def n_free(self) -> int:
        """Coordinates of a source that are unknown."""
        return int(self.is_free.sum())

    @property
    def variances(self) -> Float[Tensor, " 3"]:
        """Of coordinates that may be anywhere within their limits, (high - low)^2 / 12; all round, 2 pi."""
        width = self.high - self.low
        return torch.where(width.isinf(), 2.0 * math.pi, width).square() / 12.0

    def held(self, sources: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3"]:
        """The nearest sources within the limits, coordinate by coordinate; NaN stays NaN.

        Azimuths are from -pi to pi.
        """
        return turned(torch.minimum(torch.maximum(self.beside(sources), self.low), self.high))

    def beside(self, sources: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3"]:
        """The same sources with azimuths within half a turn of the middle of the limits; of 0 all round."""
        middle = (self.low[:1] + self.high[:1]) / 2.0
        return turned(sources, middle.nan_to_num(nan=0.0))

    def begun(self, sources: Float[Tensor, "*batch 3"], mirrors: "Limits") -> Float[Tensor, "*batch 3"]:
        """The nearest sources to start a descent from: within the limits, and off those that are mirrors.

        J is even about a mirror: a descent that starts on it has no slope to leave it by.
        """
        room = ((self.high - self.low) / 2.0).clamp_max(_OFF)
        low = torch.where(self.low == mirrors.low, self.low + room, self.low)
        high = torch.where(self.high == mirrors.high, self.high - room, self.high)
        return torch.minimum(torch.maximum(self.beside(sources), low), high)

    def touched(self, sources: Float[Tensor, "*batch 3"], mirrors: "Limits") -> Bool[Tensor, "*batch 3"]:
        """True for the unknown coordinates of sources that are at a limit; infinity and a mirror are none."""
        infinity = torch.tensor([-torch.inf, -torch.inf, 0.0], dtype=torch.float64)
        sources = self.beside(sources)
        least = (sources <= self.low) & (self.low > infinity) & (self.low != mirrors.low)
        most = (sources >= self.high) & (self.high != mirrors.high)
        return (least | most) & self.is_free

    def of(self, n_sources: int) -> tuple[Float[Tensor, "1 coordinate"], Float[Tensor, "1 coordinate"]]:
        """Least and largest coordinates of some sources, source by source."""
        return self.low.repeat(n_sources)[None], self.high.repeat(n_sources)[None]


def visible(array: Array, n_antennas: int) -> Limits:
    """What elements see, no nearer than half a wavelength.

    Of a surface, which has as many antennas as elements nowhere, and of antennas in the x-y plane or on a
    line across z: the front half space. Of antennas in the x-z plane: all azimuths, and elevations from 0. In
    the y-z plane, or on a line along z: azimuths from 0 to pi. Of a volume: every direction. With a common
    delay no farther than it is told.
    """
    quarter = math.pi / 2
    below = math.nextafter(quarter, 0.0)
    nearest = 2.0 / array.wavelength
    azimuth, elevation = {
        0: ((0.0, math.pi), (-below, below)),
        1: ((-math.inf, math.inf), (0.0, below)),
        2: ((-quarter, quarter), (-below, below)),
        None: ((-math.inf, math.inf), (-below, below)),
    }[_blind(array, n_antennas)]
    low, high = zip(azimuth, elevation, (1.0 / array.unambiguous_range, nearest), strict=True)
    return Limits(torch.tensor(low, dtype=torch.float64), torch.tensor(high, dtype=torch.float64))


def mirrors(array: Array, n_antennas: int) -> Limits:
    """Limits of `visible` on which the elements lie, NaN where there is none: what they see on one side of it
    they see on the other.

    An elevation of 0 of antennas in the x-z plane; azimuths of 0 and pi in the y-z plane, of +-pi/2 in the
    x-y plane or on a line across z. A surface has none: nothing reaches it from behind.
    """
    low, high = torch.full((2, 3), torch.nan, dtype=torch.float64)
    match blind_axis(array.places, array.wavelength) if array.is_received_by(n_antennas) else None:
        case 0:
            low[0], high[0] = 0.0, math.pi
        case 1:
            low[1] = 0.0
        case 2:
            low[0], high[0] = -math.pi / 2, math.pi / 2
    return Limits(low, high)


def _blind(array: Array, n_antennas: int) -> int | None:
    """The axis of `blind_axis`; z of a surface, whatever its elements."""
    return blind_axis(array.places, array.wavelength) if array.is_received_by(n_antennas) else 2
