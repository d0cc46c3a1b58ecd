"""An array at several wavelengths as one, whose bands have amplitudes of their own or a common delay."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor

from risolve.physics.array import Array
from risolve.physics.steering import SteeringDerivatives
from risolve.shapes import Elements


@dataclass(frozen=True, init=False, eq=False)
class BandedArray(Array):
    """The elements of an array at several wavelengths, band after band.

    bands: the array in each of them. has_surface: whether antennas stand behind it. wavelength: the shortest,
    which has the narrowest beam.
    """

    bands: tuple[Array, ...]
    has_surface: bool

    def __init__(self, bands: Sequence[Array], has_surface: bool) -> None:
        """bands: arrays of the same elements and amplitude law."""
        elements = torch.cat([band.elements for band in bands])
        super().__init__(elements, min(band.wavelength for band in bands), bands[0].spherical_amplitude)
        object.__setattr__(self, "bands", tuple(bands))
        object.__setattr__(self, "has_surface", has_surface)

    @property
    def n_bands(self) -> int:
        return len(self.bands)

    @property
    def places(self) -> Elements:
        """The elements of a band."""
        return self.bands[0].elements

    @property
    def wavelengths(self) -> Float[Tensor, " element"]:
        """That of each element."""
        own = torch.tensor([band.wavelength for band in self.bands], dtype=torch.float64)
        return own.repeat_interleave(self.n_places).to(self.elements.device)

    def is_received_by(self, n_antennas: int) -> bool:
        """Whether its elements are antennas, and no surface."""
        return not self.has_surface

    def only(self, places: Int[Tensor, " place"]) -> "BandedArray":
        """Some of its elements, in every band."""
        return BandedArray([band.only(places) for band in self.bands], self.has_surface)

    def to(self, device: torch.device | str) -> "BandedArray":
        """The same array on another device."""
        return BandedArray([band.to(device) for band in self.bands], self.has_surface)


@dataclass(frozen=True, init=False, eq=False)
class DelayedArray(BandedArray):
    """Bands with one clock: the wave of a source comes in all of them with one amplitude and one delay.

        a_fn = exp(-j (k_f (|p - e_n| - |p|) + (k_f - k) |p|)) g_n,   k_f = 2 pi / lambda_f

    k: the mean of all k_f, whose phase k |p| is that of the amplitude. An infinite range has no delay: its
    second term is left out.
    """

    @property
    def n_free_bands(self) -> int:
        return 1

    @property
    def unambiguous_range(self) -> float:
        """2 pi over the least difference of two k_f."""
        return 2.0 * math.pi / float(self._wavenumbers.sort().values.diff().min())

    @property
    def range_resolution(self) -> float:
        """2 pi over the span of all k_f and one spacing: a beam of the delay."""
        spacing = 2.0 * math.pi / self.unambiguous_range
        return 2.0 * math.pi / (float(self._wavenumbers.max() - self._wavenumbers.min()) + spacing)

    def steering(self, sources: Float[Tensor, "*batch 3"]) -> Complex[Tensor, "*batch element"]:
        return super().steering(sources) * self._delays(sources)

    def steering_derivatives(self, sources: Float[Tensor, "*batch 3"]) -> SteeringDerivatives:
        """As of an array, with j (k_f - k) a / w^2 added to the derivative by inverse range w."""
        steering, by_source = super().steering_derivatives(sources)
        delays, slopes = self._delays(sources), torch.zeros_like(by_source)
        slopes[..., 2, :] = 1j * self._beside_mean(sources) * steering * _ranges(sources).square()
        return SteeringDerivatives(steering * delays, (by_source + slopes) * delays.unsqueeze(-2))

    def steering_by_elements(self, sources: Float[Tensor, "*batch 3"]) -> Complex[Tensor, "*batch 3 element"]:
        return super().steering_by_elements(sources) * self._delays(sources).unsqueeze(-2)

    def only(self, places: Int[Tensor, " place"]) -> "DelayedArray":
        """Some of its elements, in every band."""
        return DelayedArray([band.only(places) for band in self.bands], self.has_surface)

    def to(self, device: torch.device | str) -> "DelayedArray":
        """The same array on another device."""
        return DelayedArray([band.to(device) for band in self.bands], self.has_surface)

    @property
    def _wavenumbers(self) -> Float[Tensor, " band"]:
        return 2.0 * math.pi / torch.tensor([band.wavelength for band in self.bands], dtype=torch.float64)

    def _beside_mean(self, sources: Float[Tensor, "*batch 3"]) -> Float[Tensor, " element"]:
        """k_f - k of each element."""
        beside = self._wavenumbers - self._wavenumbers.mean()
        return beside.repeat_interleave(self.n_places).to(sources.device, sources.dtype)

    def _delays(self, sources: Float[Tensor, "*batch 3"]) -> Complex[Tensor, "*batch element"]:
        phase = -self._beside_mean(sources) * _ranges(sources)
        return torch.polar(torch.ones_like(phase), phase)


def _ranges(sources: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 1"]:
    """1 / w, 0 of an infinite range."""
    w = sources[..., 2:]
    return torch.where(w > 0.0, 1.0 / w, 0.0)
