"""What the network reads of an observation: the one function behind `normalize`'s files and `localize`.

Maps need the noise power, and so does the estimated SNR that the network reads beside them; the covariance
R_samp (`stages.covariance.sample_factor`) does not.
"""

from dataclasses import dataclass
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from stages.inference.grid import Grid, grid_steering
from stages.inference.sparse_fit import sparse_fit_maps
from stages.physics.observation import Observation, estimated_snr


@dataclass(frozen=True)
class MapSettings:
    """Grid of the maps, the iterations of the fit after which one is taken, and the amplitude of the wave."""

    grid: Grid
    iterations: tuple[int, ...]
    spherical_amplitude: bool


class MapValues(NamedTuple):
    """Maps of the sparse covariance fit and the estimated SNR (a power ratio), float32."""

    values: Float[Tensor, "scene map point"]
    estimated_snr: Float[Tensor, " scene"]


def fit_maps(observation: Observation, settings: MapSettings) -> MapValues:
    """What the network reads of `independent` sources whose noise power is known.

    Raises:
        ValueError: as `sparse_fit_maps`.
    """
    wave = grid_steering(
        settings.grid, observation.elements, observation.wavelength, settings.spherical_amplitude
    )
    values = sparse_fit_maps(observation, wave, settings.iterations)
    return MapValues(values, estimated_snr(observation).float())


def has_maps(observation: Observation) -> bool:
    """True where `fit_maps` applies: `independent` sources and a known noise power."""
    return observation.source_model == "independent" and observation.noise_power is not None
