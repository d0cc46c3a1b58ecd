"""Where sources may be: limits of their coordinates."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from risolve.physics.array import Array


@dataclass(frozen=True, eq=False)
class Limits:
    """Least and largest (azimuth (rad), elevation (rad), inverse range (1/m)) of a source.

    A coordinate whose limits are equal is known.
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

    def held(self, sources: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3"]:
        """The nearest sources within the limits, coordinate by coordinate; NaN stays NaN."""
        return torch.minimum(torch.maximum(sources, self.low), self.high)

    def touched(self, sources: Float[Tensor, "*batch 3"]) -> Bool[Tensor, "*batch 3"]:
        """True for the unknown coordinates of sources that are at a limit; infinity is none."""
        infinity = torch.tensor([-torch.inf, -torch.inf, 0.0], dtype=torch.float64)
        least = (sources <= self.low) & (self.low > infinity)
        return (least | (sources >= self.high)) & self.is_free

    def of(self, n_sources: int) -> tuple[Float[Tensor, "1 coordinate"], Float[Tensor, "1 coordinate"]]:
        """Least and largest coordinates of some sources, source by source."""
        return self.low.repeat(n_sources)[None], self.high.repeat(n_sources)[None]


def visible(array: Array) -> Limits:
    """What an array sees: the front half space, no nearer than half a wavelength."""
    quarter = math.pi / 2
    below = math.nextafter(quarter, 0.0)
    return Limits(
        torch.tensor([-quarter, -below, 0.0], dtype=torch.float64),
        torch.tensor([quarter, below, 2.0 / array.wavelength], dtype=torch.float64),
    )
