"""What the network reads of an observation: the one function behind `normalize`'s files and `localize`.

Maps and the estimated SNR beside them take the noise power that is stated, or else the estimated one.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from risolve.inference.grid import Grid, grid_steering
from risolve.inference.noise import estimated_noise_power
from risolve.inference.sparse_fit import sparse_fit_maps
from risolve.physics.observation import Observation, estimated_snr


@dataclass(frozen=True)
class MapSettings:
    """Grid of the maps, and the iterations of the fit after which one is taken."""

    grid: Grid
    iterations: tuple[int, ...]


class MapValues(NamedTuple):
    """Maps of the sparse covariance fit and the estimated SNR (a power ratio), float32."""

    values: Float[Tensor, "scene map point"]
    estimated_snr: Float[Tensor, " scene"]


def fit_maps(observation: Observation, settings: MapSettings) -> MapValues:
    """What the network reads of sources of either model, the noise power known or not.

    Raises:
        ValueError: as `sparse_fit_maps`.
    """
    if observation.noise_power is None:
        observation = replace(observation, noise_power=estimated_noise_power(observation))
    wave = grid_steering(settings.grid, observation.array)
    values = sparse_fit_maps(observation, wave, settings.iterations)
    return MapValues(values, estimated_snr(observation).float())
