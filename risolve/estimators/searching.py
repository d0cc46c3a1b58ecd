"""Estimators that search the likelihood of the snapshots themselves."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

import torch
from jaxtyping import Int
from torch import Tensor

from risolve.estimators.contract import (
    Estimate,
    Group,
    Reading,
    Settings,
    joined,
    require_determined,
)
from risolve.inference.detection import Detector, detectors
from risolve.inference.grid import Grid
from risolve.inference.growth import Located
from risolve.inference.likelihood import Refinement
from risolve.physics.observation import Observation

Locate: TypeAlias = Callable[[Detector, Int[Tensor, " scene"] | None, Settings], list[Located]]
"""(detector, numbers of sources or None, settings) -> fits of the scenes, by number of sources."""

Finish: TypeAlias = Callable[[Observation, Detector, Refinement, Settings], Group]
"""(observation, its detector on unit scale, fit, settings) -> estimate of scenes of one K > 0."""


@dataclass(frozen=True)
class SearchEstimator:
    """Sources that a search of the raw snapshots locates, and counts where their number is not told.

    Reads no covariance. Both source models, the noise power known or not.
    """

    name: str
    grid: Grid
    settings: Settings
    locate: Locate
    finish: Finish

    @property
    def covariance_kind(self) -> None:
        """None: the snapshots are enough."""
        return None

    def estimate(
        self,
        observation: Observation,
        covariance: Reading | None,
        n_sources: Int[Tensor, " scene"] | None,
    ) -> Estimate:
        """Sources of every scene; see `Estimator.estimate`."""
        if n_sources is not None:
            require_determined(observation, n_sources)
        groups: list[tuple[Int[Tensor, " member"], Group]] = []
        for piece, detector in detectors(observation, self.grid):
            told = None if n_sources is None else n_sources[piece]
            for scenes, fit in self.locate(detector, told, self.settings):
                if fit.sources.shape[1]:
                    members = piece.start + scenes
                    part = observation.select(members)
                    own = self.finish(part, detector.select(scenes), fit, self.settings)
                    groups.append((members, own))
        found = joined(observation, groups, looked=True)
        return found if n_sources is None else replace(found, resolved=found.n_sources == n_sources)


def as_located(observation: Observation, detector: Detector, fit: Refinement, settings: Settings) -> Group:
    """The fit as it is: the sources do not depend on the scale, their likelihood is computed at them."""
    found = torch.ones(detector.n_scenes, dtype=torch.bool)
    return Group(fit.sources, found, fit.sources, converged=fit.converged)
