"""Covariances for the tests of estimators: R_samp of the snapshots, R_pred of a map drawn at the truth."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from stages.covariance import (
    NormalizedCovariance,
    SharedBasis,
    blend,
    predicted_covariance,
    sample_covariance,
    sample_factor,
)
from stages.estimators.contract import Covariance, Estimator, Settings
from stages.estimators.registry import estimator
from stages.inference.counting import CountingRule
from stages.inference.grid import Grid, search_grid
from stages.physics.geometry import cosines_from_sources
from stages.physics.observation import Observation
from stages.physics.steering import steering
from tests.worlds import FIELD_OF_VIEW

LOADING = 1e-3
GRID = search_grid(15, 13, 4, FIELD_OF_VIEW.azimuth, FIELD_OF_VIEW.elevation, FIELD_OF_VIEW.range)


SETTINGS = Settings(
    diagonal_loading=LOADING,
    spherical_amplitude=False,
    counting=CountingRule("glrt", 0.01, 4),
    n_iterations=40,
    fit_iterations=12,
)


def make_estimator(name: str) -> Estimator:
    return estimator(name, GRID, SETTINGS)


def covariance_for(
    one: Estimator, observation: Observation, sources: Float[Tensor, "scene source 3"]
) -> Covariance | None:
    """The covariance that an estimator reads, in complex128; R_pred and R_fit are drawn at the truth."""
    if one.covariance_kind is None:
        return None
    sample = sample_covariance(sample_factor(observation.to(torch.complex128), 1e-3))
    if one.covariance_kind == "sample":
        return sample
    predicted = drawn_prediction(observation, sources, GRID, torch.complex128)
    return blend(predicted, sample, 0.3, LOADING) if one.covariance_kind == "blend" else predicted


def drawn_prediction(
    observation: Observation, sources: Float[Tensor, "scene source 3"], grid: Grid, dtype: torch.dtype
) -> NormalizedCovariance:
    """R_pred of a power map with a Gaussian of width 0.7 cells at every source, on a floor of 1e-6.

    The map is rounded to float32, as a network gives it, whatever the precision of the covariance.
    """
    cells = (cosines_from_sources(sources)[:, :, None] - grid.cosines) / grid.steps
    splats = torch.exp(-0.5 * (cells / 0.7).square().sum(-1)).nan_to_num(nan=0.0)
    powers = (splats.amax(1) + 1e-6).float().to(torch.empty((), dtype=dtype).real.dtype)
    wave = steering(grid.sources, observation.elements, observation.wavelength, False).mT
    return predicted_covariance(SharedBasis(wave.to(dtype).contiguous()), powers)


def largest_errors(
    estimate: Float[Tensor, "scene source 3"], truth: Float[Tensor, "scene source 3"]
) -> tuple[float, float]:
    """Largest angle error (deg) and largest range error (m), sources of both ordered by azimuth."""
    ordered = [each.gather(1, each[..., :1].argsort(1).expand_as(each)) for each in (estimate, truth)]
    angles = (ordered[0][..., :2] - ordered[1][..., :2]).abs().max()
    ranges = (1.0 / ordered[0][..., 2] - 1.0 / ordered[1][..., 2]).abs().max()
    return math.degrees(float(angles)), float(ranges)
