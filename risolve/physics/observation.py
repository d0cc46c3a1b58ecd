"""What a receiver has: coded snapshots, and what is known of the system that made them."""

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor

from risolve.shapes import Channel, Codes, Elements, Powers, Snapshots

SourceModel: TypeAlias = Literal["independent", "constant"]


@dataclass(frozen=True)
class Observation:
    """Coded snapshots of a batch of scenes, y_l = H diag(c_l) A s_l + n_l.

    source_model: `independent`, s_l free in every snapshot; `constant`, one s for all snapshots.
    noise_power: sigma^2 of each scene, None where it is not known.
    """

    snapshots: Snapshots
    channel: Channel
    codes: Codes
    elements: Elements
    wavelength: float
    source_model: SourceModel
    noise_power: Powers | None

    @property
    def n_scenes(self) -> int:
        return self.snapshots.shape[0]

    @property
    def n_snapshots(self) -> int:
        return self.snapshots.shape[1]

    @property
    def n_antennas(self) -> int:
        return self.snapshots.shape[2]

    @property
    def n_elements(self) -> int:
        return self.elements.shape[0]

    def select(self, scenes: slice | Tensor) -> "Observation":
        """The same observation of some scenes; what is shared by all scenes stays shared."""
        return replace(
            self,
            snapshots=self.snapshots[scenes],
            channel=self.channel if self.channel.shape[0] == 1 else self.channel[scenes],
            codes=self.codes if self.codes.shape[0] == 1 else self.codes[scenes],
            noise_power=None if self.noise_power is None else self.noise_power[scenes],
        )

    def to(self, dtype: torch.dtype, device: torch.device | str = "cpu") -> "Observation":
        """The same observation in another precision (complex64 or complex128) or on another device."""
        real = torch.float64 if dtype == torch.complex128 else torch.float32
        return replace(
            self,
            snapshots=self.snapshots.to(device, dtype),
            channel=self.channel.to(device, dtype),
            codes=self.codes.to(device, dtype),
            elements=self.elements.to(device),
            noise_power=None if self.noise_power is None else self.noise_power.to(device, real),
        )


def sensing(observation: Observation) -> Complex[Tensor, "#scene snapshot antenna element"]:
    """Sensing matrices B_l = H diag(c_l) of every scene and snapshot."""
    return observation.channel[:, None] * observation.codes[:, :, None, :]


def respond(
    observation: Observation, field: Complex[Tensor, "#scene element column"]
) -> Complex[Tensor, "scene snapshot antenna column"]:
    """B_l F for every snapshot: the response at the antennas to columns of a field on the surface."""
    n_snapshots, n_columns = observation.codes.shape[1], field.shape[-1]
    coded = observation.codes[:, :, :, None] * field[:, None]
    n_scenes, n_elements = coded.shape[0], coded.shape[2]
    columns = coded.permute(0, 2, 1, 3).reshape(n_scenes, n_elements, n_snapshots * n_columns)
    received = observation.channel @ columns
    response: Tensor = received.unflatten(-1, (n_snapshots, n_columns)).permute(0, 2, 1, 3)
    return response


def estimated_snr(observation: Observation) -> Float[Tensor, " scene"]:
    """(mean_{l,m} |y|^2 - sigma^2) / sigma^2, a power ratio; it can be negative by chance.

    Raises:
        ValueError: the noise power is not known.
    """
    if observation.noise_power is None:
        raise ValueError(
            "the estimated SNR (mean |y|^2 - sigma^2) / sigma^2 needs the noise power; there is none"
        )
    # squares of weak snapshots leave single precision
    power = observation.snapshots.abs().double().square().mean((1, 2))
    return power / observation.noise_power - 1.0


def stacked_gram(observation: Observation) -> Complex[Tensor, "scene element element"]:
    """B^H B of the stacked sensing matrix B = [B_1; ...; B_L], without forming it.

    B^H B = sum_l diag(c_l)^* H^H H diag(c_l) = (H^H H) o (C^H C)    (elementwise)
    """
    channel, codes = observation.channel, observation.codes
    return (channel.mH @ channel) * (codes.mH @ codes)


def stacked_match(observation: Observation) -> Complex[Tensor, "scene element"]:
    """B^H y = sum_l diag(c_l)^* H^H y_l of the stacked sensing matrix and snapshots."""
    returned = observation.snapshots @ observation.channel.conj()
    match: Tensor = (returned * observation.codes.conj()).sum(1)
    return match


def sensing_rank(observation: Observation) -> Int[Tensor, " scene"]:
    """Rank of the stacked sensing matrix B = [B_1; ...; B_L]: K sources can be told apart only if K <= rank.

    Counts singular values above 1e-5 of the largest, which single-precision channels and codes can resolve.
    """
    eigenvalues = torch.linalg.eigvalsh(stacked_gram(observation.to(torch.complex128)))
    rank: Tensor = (eigenvalues > 1e-10 * eigenvalues[:, -1:]).sum(-1)
    return rank
