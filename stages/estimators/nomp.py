"""NOMP: sources found on the grid one by one, all refined by maximum likelihood after each."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from stages.estimators.contract import (
    Covariance,
    Estimate,
    Factory,
    Group,
    Settings,
    joined,
    require_determined,
)
from stages.inference.detection import Detector, detectors
from stages.inference.grid import Grid
from stages.inference.growth import located
from stages.inference.likelihood import Refinement
from stages.inference.search import exchanged
from stages.physics.observation import Observation


@dataclass(frozen=True)
class NompEstimator:
    """Newtonized orthogonal matching pursuit on the raw snapshots, counting by likelihood.

    A new source starts where the snapshots have most left to explain, in the span of no other; then all
    sources are refined together (`refine`), and each in turn is detected anew beside the others, as long as
    that lowers J. Where the number of sources is not told, the first that noise would explain is not added
    (`is_source`). Reads no covariance; both source models, the noise power known or not.

    References:
        Mamandipoor, Ramasamy and Madhow, "Newtonized orthogonal matching pursuit: frequency estimation over
        the continuum", IEEE Trans. Signal Process. 64 (2016).
    """

    name: str
    grid: Grid
    settings: Settings

    @property
    def covariance_kind(self) -> None:
        """None: the snapshots are enough."""
        return None

    def estimate(
        self,
        observation: Observation,
        covariance: Covariance | None,
        n_sources: Int[Tensor, " scene"] | None,
    ) -> Estimate:
        """Sources of every scene; see `Estimator.estimate`."""
        n_iterations = self.settings.n_iterations

        def improve(detector: Detector, fit: Refinement) -> Refinement:
            return exchanged(detector, fit, 1, n_iterations)

        return searched(observation, self.grid, self.settings, n_sources, improve, lambda _, fit: fit)


def told_or_counted(
    observation: Observation, n_sources: Int[Tensor, " scene"] | None, grid: Grid, settings: Settings
) -> Int[Tensor, " scene"]:
    """The numbers of sources that were told, or those that NOMP counts.

    Covariances do not show the number under codes that change with the snapshot; see `inference.counting`.

    Raises:
        ValueError: as `require_determined`.
    """
    if n_sources is None:
        return NompEstimator("nomp", grid, settings).estimate(observation, None, None).n_sources
    require_determined(observation, n_sources)
    return n_sources


def searched(
    observation: Observation,
    grid: Grid,
    settings: Settings,
    n_sources: Int[Tensor, " scene"] | None,
    improve: Callable[[Detector, Refinement], Refinement],
    finish: Callable[[Detector, Refinement], Refinement],
) -> Estimate:
    """Sources grown one by one (`located`), improved after each and finished at the end.

    The sources are those of the observation on unit scale, and their likelihood that of the observation.
    """
    if n_sources is not None:
        require_determined(observation, n_sources)
    groups: list[tuple[Int[Tensor, " member"], Group]] = []
    for piece, detector in detectors(observation, grid, settings.spherical_amplitude):
        told = None if n_sources is None else n_sources[piece]
        first = piece.start
        for scenes, fit in located(detector, told, settings.counting, settings.n_iterations, improve):
            if fit.sources.shape[1] == 0:
                continue
            best = finish(detector.select(scenes), fit)
            found = torch.ones(scenes.shape[0], dtype=torch.bool)
            group = Group(best.sources, found, best.sources, converged=best.converged)
            groups.append((scenes + first, group))
    return joined(observation, groups, settings.spherical_amplitude)


def _make(name: str, grid: Grid, settings: Settings) -> NompEstimator:
    return NompEstimator(name, grid, settings)


ESTIMATORS: dict[str, Factory] = {"nomp": _make}
