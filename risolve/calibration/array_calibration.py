"""What an array is beside its nominal places, and an observation as such an array saw it.

y_l = diag(h) H diag(g) (I + c T) diag(c_l) A(e) s_l + n_l,   T_nm = 1 of elements nearest to each other
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from risolve.physics.array import Array
from risolve.physics.observation import Observation
from risolve.shapes import Elements

_SAME = 1e-6
"""Of a wavelength: places that differ by less are the same."""

_AS_NEAR = 1.01
"""Times the least distance of two elements within which others are as near to each other."""


def neighbours(elements: Elements) -> Float[Tensor, "element element"]:
    """T: 1 of two elements that are as near to each other as any two are, else 0."""
    apart = torch.cdist(elements, elements, compute_mode="donot_use_mm_for_euclid_dist")
    apart.fill_diagonal_(torch.inf)
    return (apart <= _AS_NEAR * apart.amin()).double()


@dataclass(frozen=True, eq=False)
class ArrayCalibration:
    """What an array is beside its nominal places: its true ones, and gains before and behind the channel.

    heading: eta, coupling: c, None where they were not looked for.
    """

    nominal: Array
    array: Array
    element_gains: Complex[Tensor, " element"]
    antenna_gains: Complex[Tensor, " antenna"]
    heading: float | None
    coupling: complex | None

    def apply(self, observation: Observation) -> Observation:
        """The observation as this array saw it: H <- diag(h) H diag(g) (I + c T), and the true places.

        Noise of a covariance that is not diagonal must not be whitened before: h stands behind it.

        Raises:
            ValueError: an observation of another array.
        """
        own, nominal = observation.array, self.nominal
        faults = [
            f"{name} {found} and not {expected}"
            for name, found, expected in (
                ("bands", own.n_bands, nominal.n_bands),
                ("elements", own.n_elements, nominal.n_elements),
                ("antennas", observation.n_antennas, len(self.antenna_gains)),
                ("wavelength", own.wavelength, nominal.wavelength),
            )
            if found != expected
        ]
        if not faults:
            off = float((own.elements - nominal.elements).norm(dim=-1).amax())
            if off > _SAME * nominal.wavelength:
                faults = [f"elements up to {off:.3g} m beside those that were calibrated"]
        if faults:
            raise ValueError(f"a calibration is of the array that it was made for; got {'; '.join(faults)}")
        return self.of(observation)

    @property
    def mixing(self) -> Complex[Tensor, "element element"] | None:
        """I + c T; None where no coupling was looked for."""
        if self.coupling is None:
            return None
        return torch.eye(self.nominal.n_elements) + self.coupling * neighbours(self.nominal.elements)

    def of(self, observation: Observation) -> Observation:
        """The same, of an observation that is known to be of this array."""
        gains = self.antenna_gains[:, None] * self.element_gains
        channel = observation.channel * gains.to(observation.channel.dtype)
        mixing = self.mixing
        if mixing is not None:
            channel = channel @ mixing.to(channel.dtype)
        array = replace(observation.array, elements=self.array.elements)
        return replace(observation, channel=channel, array=array)
