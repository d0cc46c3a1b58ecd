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
    estimate_by_count,
    n_candidates,
    require_determined,
)
from stages.estimators.spectral import require_kind
from stages.inference.grid import Grid, peaks
from stages.inference.likelihood import best_subset
from stages.physics.geometry import sources_from_cosines
from stages.physics.observation import Observation

_REACH = (0.25, 0.25, 0.4)
"""How far from a peak its source is also looked for, in cells of (u, v, w)."""


@dataclass(frozen=True)
class LearnedEstimator:
    """The K peaks of the power map p of R_pred = A diag(p) A^H that explain the snapshots best.

    The map ranks its peaks, interpolated on log p. Of the strongest, and six places around each because a
    peak is surer of the cell than of the place in it, the subset of least sum_l |P_{G_l}^perp y_l|^2 is the
    estimate. A scene whose map has fewer than K peaks is not resolved and gets those it has.
    """

    name: str
    grid: Grid
    spherical_amplitude: bool

    @property
    def covariance_kind(self) -> CovarianceKind:
        """R_pred, whose weights are the power map."""
        return "predicted"

    def estimate(
        self, observation: Observation, covariance: Covariance, n_sources: Int[Tensor, " scene"]
    ) -> Estimate:
        """Sources of every scene; see `Estimator.estimate`."""
        require_kind(self.name, self.covariance_kind, covariance, observation.n_elements)
        require_determined(observation, n_sources)
        powers = _power_map(covariance, self.grid)

        def group(scenes: Int[Tensor, " member"], count: int) -> Estimate:
            logarithm = powers[scenes].clamp_min(torch.finfo(powers.dtype).tiny).log()
            strongest = peaks(logarithm, self.grid, n_candidates(count))
            candidates = sources_from_cosines(strongest.cosines)
            chosen = best_subset(
                observation.select(scenes),
                sources_from_cosines(_surroundings(strongest.cosines, self.grid)),
                strongest.usable.repeat_interleave(2 * len(_REACH) + 1, dim=1),
                count,
                self.spherical_amplitude,
            )
            resolved = strongest.usable.sum(-1) >= count
            found = torch.where(resolved[:, None, None], chosen, candidates[:, :count])
            return Estimate(found, resolved, candidates, None)

        return estimate_by_count(n_sources, group)


def _surroundings(cosines: Float[Tensor, "scene peak 3"], grid: Grid) -> Float[Tensor, "scene place 3"]:
    """Every peak and the places before and behind it along u, v and w, within the box of the grid."""
    reach = torch.diag(torch.tensor(_REACH, dtype=cosines.dtype))
    offsets = torch.cat((torch.zeros_like(reach[:1]), reach, -reach)) * grid.steps
    places = cosines[:, :, None] + offsets
    low, high = grid.cosines.amin(0), grid.cosines.amax(0)
    return torch.minimum(torch.maximum(places, low), high).flatten(1, 2)


def _power_map(covariance: Covariance, grid: Grid) -> Float[Tensor, "scene point"]:
    if not isinstance(covariance, NormalizedCovariance) or covariance.weights.shape[-1] != grid.n_points:
        held = covariance.weights.shape[-1] if isinstance(covariance, NormalizedCovariance) else 0
        raise ValueError(
            f"the learned estimator reads a power map, one weight a grid point: the grid has {grid.n_points} "
            f"points, the covariance {held} weights"
        )
    return covariance.weights
