"""The number of sources, and the sources themselves, by a search of the least J."""

from dataclasses import replace

import torch
from jaxtyping import Int
from torch import Tensor

from risolve.estimators.contract import Settings, require_determined
from risolve.estimators.searching import SearchEstimator, as_located
from risolve.inference.antenna_noise import of_equal_noise
from risolve.inference.condensing import condensed
from risolve.inference.detection import Detector, detectors
from risolve.inference.grid import Grid
from risolve.inference.growth import Located, located
from risolve.inference.likelihood import Refinement
from risolve.inference.search import branched, exchanged
from risolve.physics.observation import Observation
from risolve.shapes import Sources

PROPOSALS = 6
"""Places proposed for a source at a time."""


def searched(
    detector: Detector, n_sources: Int[Tensor, " scene"] | None, settings: Settings
) -> list[Located]:
    """Sources that grow one by one, each exchanged for better places after every step (`exchanged`).

    `constant` sources under one code are seen once: those near opposite phases hide each other from a search
    of one, so that many hypotheses grow at once too (`branched`).
    """
    seen = detector.observation
    is_seen_once = seen.source_model == "constant" and bool((seen.codes == seen.codes[:, :1]).all())

    def improve(part: Detector, fit: Refinement) -> Refinement:
        fit = exchanged(part, fit, PROPOSALS, settings.n_iterations)
        if not is_seen_once or fit.sources.shape[1] < 2:
            return fit
        return branched(part, fit, PROPOSALS, settings.n_iterations)

    return located(detector, n_sources, settings.counting, settings.n_iterations, improve)


def told_or_counted(
    observation: Observation, n_sources: Int[Tensor, " scene"] | None, grid: Grid, settings: Settings
) -> Int[Tensor, " scene"]:
    """The numbers of sources that were told, or those that the search counts.

    Covariances do not show the number under codes that change with the snapshot; see `inference.counting`.

    Raises:
        ValueError: as `require_determined`.
    """
    if n_sources is not None:
        require_determined(observation, n_sources)
        return n_sources
    counts = torch.zeros(observation.n_scenes, dtype=torch.int64)
    for piece, detector in detectors(condensed(observation), grid):
        for group in searched(detector, None, settings):
            counts[piece.start + group.scenes] = group.fit.sources.shape[1]
    return counts


def behind_its_noise(
    observation: Observation, n_sources: Int[Tensor, " scene"] | None, grid: Grid, settings: Settings
) -> Observation:
    """Snapshots and channel behind noise of one power, estimated with the sources that the search finds.

    Raises:
        ValueError: as `of_equal_noise`.
    """

    def search(seen: Observation, told: Int[Tensor, " scene"] | None, most: int) -> Sources:
        own = replace(settings, counting=replace(settings.counting, most=most))
        return SearchEstimator("", grid, own, searched, as_located).estimate(seen, None, told).sources

    return of_equal_noise(observation, n_sources, settings.counting.most, search)
