"""The learned estimator: sources at the peaks of a predicted power map."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from stages.covariance import NormalizedCovariance
from stages.estimators.contract import (
    Covariance,
    CovarianceKind,
    Estimate,
    Factory,
    Group,
    Settings,
    estimate_by_count,
    n_candidates,
)
from stages.estimators.counted import told_or_counted
from stages.estimators.spectral import required
from stages.inference.grid import Grid, peaks
from stages.physics.geometry import sources_from_cosines
from stages.physics.observation import Observation


@dataclass(frozen=True)
class LearnedEstimator:
    """The K strongest peaks of the power map p of R_pred = A diag(p) A^H, interpolated on log p in float64.

    A scene whose map has fewer than K peaks is not resolved and gets those it has.
    """

    name: str
    grid: Grid
    settings: Settings

    @property
    def covariance_kind(self) -> CovarianceKind:
        """R_pred, whose weights are the power map."""
        return "predicted"

    def estimate(
        self,
        observation: Observation,
        covariance: Covariance | None,
        n_sources: Int[Tensor, " scene"] | None,
    ) -> Estimate:
        """Sources of every scene; see `Estimator.estimate`."""
        covariance = required(self.name, self.covariance_kind, covariance, observation.n_elements)
        counts = told_or_counted(observation, n_sources, self.grid, self.settings)
        powers = _power_map(covariance, self.grid)

        def group(scenes: Int[Tensor, " member"], count: int) -> Group:
            logarithm = powers[scenes].clamp_min(torch.finfo(powers.dtype).tiny).double().log()
            strongest = peaks(logarithm, self.grid, n_candidates(count))
            candidates = sources_from_cosines(strongest.cosines)
            resolved = strongest.usable.sum(-1) >= count
            return Group(candidates[:, :count], resolved, candidates)

        return estimate_by_count(observation, counts, self.settings.spherical_amplitude, group)


def _power_map(covariance: Covariance, grid: Grid) -> Float[Tensor, "scene point"]:
    if not isinstance(covariance, NormalizedCovariance) or covariance.weights.shape[-1] != grid.n_points:
        held = covariance.weights.shape[-1] if isinstance(covariance, NormalizedCovariance) else 0
        raise ValueError(
            f"the learned estimator reads a power map, one weight a grid point: the grid has {grid.n_points} "
            f"points, the covariance {held} weights"
        )
    return covariance.weights


def _make(name: str, grid: Grid, settings: Settings) -> LearnedEstimator:
    return LearnedEstimator(name, grid, settings)


ESTIMATORS: dict[str, Factory] = {"learned": _make}
