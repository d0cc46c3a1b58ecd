"""What estimators read, for their tests: R_samp of the snapshots, and predictions drawn at the truth."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from risolve.covariance import (
    NormalizedCovariance,
    SharedBasis,
    blend,
    predicted_covariance,
    sample_covariance,
    sample_factor,
)
from risolve.estimators.contract import Estimator, Reading, Settings
from risolve.estimators.registry import estimator
from risolve.inference.counting import CountingRule
from risolve.inference.grid import Grid, search_grid
from risolve.networks.counting import CountRule
from risolve.networks.trained import Calibration, Prediction
from risolve.physics.geometry import cosines_from_sources
from risolve.physics.observation import Observation, SourceModel
from risolve.physics.scenario import Scenes
from tests.worlds import FIELD_OF_VIEW, WIDE, make_scenes

LOADING = 1e-3
GRID = search_grid(15, 13, 4, FIELD_OF_VIEW.azimuth, FIELD_OF_VIEW.elevation, FIELD_OF_VIEW.range)


SETTINGS = Settings(
    diagonal_loading=LOADING,
    counting=CountingRule("glrt", 0.01, 4),
    n_iterations=40,
    fit_iterations=12,
)


COUNT_RULE = CountRule(0.0, 0.5, (0.5, 2.0, 2.0, 1.0, 0.0), (0.5, 2.0, 2.0, 0.5, 0.0), 100.0)
"""A rule like those that calibration finds: a further source costs V of 4 at low SNR, and more above."""

_SURE = 0.95
"""Probability of the true count in a drawn prediction."""


def make_estimator(name: str) -> Estimator:
    return estimator(name, GRID, SETTINGS)


def covariance_for(
    one: Estimator, observation: Observation, sources: Float[Tensor, "scene source 3"]
) -> Reading | None:
    """What an estimator reads, covariances in complex128; R_pred and R_fit are drawn at the truth."""
    if one.covariance_kind is None:
        return None
    sample = sample_covariance(sample_factor(observation.to(torch.complex128), 1e-3))
    if one.covariance_kind == "sample":
        return sample
    if one.covariance_kind == "predicted":
        return network_prediction(observation, sources, GRID)
    predicted = drawn_prediction(observation, sources, GRID, torch.complex128)
    return blend(predicted, sample, 0.3, LOADING) if one.covariance_kind == "blend" else predicted


def network_prediction(
    observation: Observation, sources: Float[Tensor, "scene source 3"], grid: Grid
) -> Prediction:
    """What a good network would say, in its precision: occupancy of width 0.7 cells at every source, places
    half of the way from the points to them, the true count with probability 0.95, an SNR of 10 dB.
    """
    apart = cosines_from_sources(sources)[:, :, None] - grid.coordinates
    squared = (apart / grid.steps).square().sum(-1).nan_to_num(nan=torch.inf)
    near, nearest = squared.min(1)
    occupancy = torch.exp(-0.5 * near / 0.7**2).clamp(1e-4, 1.0 - 1e-4).logit()
    own = apart.gather(1, nearest[:, None, :, None].expand(-1, -1, -1, 3))[:, 0]
    moved = (own.abs() <= grid.steps).all(-1, keepdim=True)
    places = grid.coordinates + torch.where(moved, 0.5 * own, 0.0)
    n_counts = sources.shape[1] + 1
    count = (~sources[..., 0].isnan()).sum(-1, keepdim=True)
    others = (1.0 - _SURE) / (n_counts - 1)
    probabilities = torch.full((len(count), n_counts), others).scatter(1, count, _SURE)
    return Prediction(
        drawn_prediction(observation, sources, grid, torch.complex64),
        occupancy.float(),
        places.float(),
        probabilities.log(),
        Calibration(COUNT_RULE, COUNT_RULE, 0.3),
        torch.full((len(count),), 10.0),
    )


def drawn_prediction(
    observation: Observation, sources: Float[Tensor, "scene source 3"], grid: Grid, dtype: torch.dtype
) -> NormalizedCovariance:
    """R_pred of a power map with a Gaussian of width 0.7 cells at every source, on a floor of 1e-6.

    The map is rounded to float32, as a network gives it, whatever the precision of the covariance.
    """
    cells = (cosines_from_sources(sources)[:, :, None] - grid.coordinates) / grid.steps
    splats = torch.exp(-0.5 * (cells / 0.7).square().sum(-1)).nan_to_num(nan=0.0)
    powers = (splats.amax(1) + 1e-6).float().to(torch.empty((), dtype=dtype).real.dtype)
    wave = observation.array.steering(grid.sources).mT
    return predicted_covariance(SharedBasis(wave.to(dtype).contiguous()), powers)


def largest_errors(
    estimate: Float[Tensor, "scene source 3"], truth: Float[Tensor, "scene source 3"]
) -> tuple[float, float]:
    """Largest angle error (deg) and largest range error (m), sources of both ordered by azimuth."""
    ordered = [each.gather(1, each[..., :1].argsort(1).expand_as(each)) for each in (estimate, truth)]
    angles = (ordered[0][..., :2] - ordered[1][..., :2]).abs().max()
    ranges = (1.0 / ordered[0][..., 2] - 1.0 / ordered[1][..., 2]).abs().max()
    return math.degrees(float(angles)), float(ranges)


def mixed(source_model: SourceModel = "independent") -> Scenes:
    """Scenes of 0 to 3 sources on a 5 x 8 surface, at 20 dB."""
    return Scenes.joined([make_scenes(WIDE, k, 20.0, 2, source_model, seed=3 + k) for k in (2, 0, 3, 1)])
