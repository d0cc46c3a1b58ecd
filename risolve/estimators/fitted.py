"""R of the sparse covariance fit, which spectra may read in place of R_samp."""

import torch
from jaxtyping import Int
from torch import Tensor

from risolve.covariance import NormalizedCovariance, SharedBasis, predicted_covariance
from risolve.estimators.contract import Settings
from risolve.estimators.counted import told_or_counted
from risolve.inference.detection import alone, detectors
from risolve.inference.grid import Grid, grid_steering
from risolve.inference.sparse_powers import sparse_powers
from risolve.physics.observation import Observation


def fitted_covariance(
    observation: Observation, n_sources: Int[Tensor, " scene"] | None, grid: Grid, settings: Settings
) -> NormalizedCovariance:
    """R_fit = A diag(p) A^H with the powers p of the sparse covariance fit on the grid, tr R_fit = N.

    Both source models. An unknown noise power is that of `remaining_noise`, which needs the number of
    sources: the one that is told, or counted.
    """
    counts = told_or_counted(observation, n_sources, grid, settings)
    powers = [
        sparse_powers(alone(detector), counts[piece], settings.fit_iterations)
        for piece, detector in detectors(observation, grid)
    ]
    wave = grid_steering(grid, observation.array)
    return predicted_covariance(SharedBasis(wave), torch.cat(powers))
