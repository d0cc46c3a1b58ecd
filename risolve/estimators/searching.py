"""Estimators that search the likelihood of the snapshots themselves."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeAlias

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from risolve.estimators.contract import (
    Estimate,
    Group,
    Reading,
    Settings,
    joined,
    require_determined,
)
from risolve.inference.condensing import condensed
from risolve.inference.detection import Detector, detectors
from risolve.inference.grid import Grid
from risolve.inference.growth import Located
from risolve.inference.likelihood import Refinement
from risolve.physics.observation import Observation

Locate: TypeAlias = Callable[[Detector, Int[Tensor, " scene"] | None, Settings], list[Located]]
"""(detector, numbers of sources or None, settings) -> fits of the scenes, by number of sources."""

Finish: TypeAlias = Callable[[Observation, Detector, Refinement, Settings], Group]
"""(observation, its detector on unit scale, fit, settings) -> estimate of scenes of one K > 0."""


class Found(NamedTuple):
    """Scenes of one number K > 0 of sources, their detector, their fit, and whether counting stopped before
    twins.
    """

    members: Int[Tensor, " member"]
    detector: Detector
    fit: Refinement
    stopped: Bool[Tensor, " member"]


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
        return self.finished(observation, self.search(observation, n_sources), n_sources)

    def search(self, observation: Observation, n_sources: Int[Tensor, " scene"] | None) -> list[Found]:
        """What the search of this estimator, and of any other with the same `locate`, finds."""
        if n_sources is not None:
            require_determined(observation, n_sources)
        found = []
        for piece, detector in detectors(condensed(observation), self.grid):
            told = None if n_sources is None else n_sources[piece]
            for scenes, fit, stopped in self.locate(detector, told, self.settings):
                if fit.sources.shape[1]:
                    found.append(Found(piece.start + scenes, detector.select(scenes), fit, stopped))
        return found

    def finished(
        self, observation: Observation, found: Sequence[Found], n_sources: Int[Tensor, " scene"] | None
    ) -> Estimate:
        """The estimate that `finish` makes of what was found."""
        groups: list[tuple[Int[Tensor, " member"], Group]] = []
        for members, detector, fit, stopped in found:
            group = self.finish(observation.select(members), detector, fit, self.settings)
            groups.append((members, replace(group, resolved=group.resolved & ~stopped)))
        estimate = joined(observation, groups, looked=True)
        return estimate if n_sources is None else replace(estimate, resolved=estimate.n_sources == n_sources)


def as_located(observation: Observation, detector: Detector, fit: Refinement, settings: Settings) -> Group:
    """The fit as it is: the sources do not depend on the scale, their likelihood is computed at them."""
    found = torch.ones(detector.n_scenes, dtype=torch.bool)
    return Group(fit.sources, found, fit.sources, converged=fit.converged)
