"""SBL: the peaks of a sparse covariance fit, refined by maximum likelihood: for many sources, in a third of
the time of `ml`, of five in a sixth.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from risolve.estimators.contract import (
    Estimate,
    Factory,
    Group,
    Reading,
    Settings,
    joined,
    n_candidates,
)
from risolve.estimators.counted import told_or_counted
from risolve.estimators.refined import best_of_starts
from risolve.inference.detection import Detector, alone, detectors
from risolve.inference.grid import Grid
from risolve.inference.likelihood import Refinement
from risolve.inference.peaks import local_maxima
from risolve.inference.sparse_powers import sparse_powers
from risolve.physics.observation import Observation


@dataclass(frozen=True)
class SblEstimator:
    """The highest peaks of the powers of a sparse covariance fit on the grid, refined.

    Both source models; the noise power is that of `remaining_noise` where it is not known. Sources start at
    grid points, and at the points around the peaks of least J (`best_of_starts`). A scene whose powers have
    fewer than K peaks is not resolved and gets those it has.
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
        covariance: Reading | None,
        n_sources: Int[Tensor, " scene"] | None,
    ) -> Estimate:
        """Sources of every scene; see `Estimator.estimate`."""
        counts = told_or_counted(observation, n_sources, self.grid, self.settings)
        groups: list[tuple[Int[Tensor, " member"], Group]] = []
        for piece, detector in detectors(observation, self.grid):
            for count in sorted(set(counts[piece].tolist()) - {0}):
                scenes = torch.nonzero(counts[piece] == count).flatten()
                group = self._groups(alone(detector.select(scenes)), count)
                groups += [(piece.start + scenes[rows], part) for rows, part in group]
        return joined(observation, groups, looked=True)

    def _groups(self, detector: Detector, count: int) -> list[tuple[Int[Tensor, " member"], Group]]:
        """Refinement of scenes of one K, apart by the number of sources that they have peaks for."""
        groups = []
        peaks = peaks_of_fit(detector, count, self.settings.fit_iterations)
        n_found = peaks.usable.sum(-1).clamp_max(count)
        for found in sorted(set(n_found.tolist()) - {0}):
            rows = torch.nonzero(n_found == found).flatten()
            places = peaks.places[rows]
            fit = refined_peaks(detector.select(rows), places, found, self.settings.n_iterations)
            resolved = torch.full((rows.shape[0],), found == count)
            groups.append((rows, Group(fit.sources, resolved, places, converged=fit.converged)))
        return groups


class FitPeaks(NamedTuple):
    """Grid points at the highest peaks of a sparse covariance fit, best first; NaN where not usable."""

    places: Float[Tensor, "scene peak 3"]
    usable: Bool[Tensor, "scene peak"]


def peaks_of_fit(detector: Detector, n_sources: int, n_iterations: int) -> FitPeaks:
    """The highest peaks of the powers, as many as a method keeps of a scene of K sources."""
    powers = sparse_powers(detector, torch.full((detector.n_scenes,), n_sources), n_iterations)
    maxima = local_maxima(powers, detector.grid, n_candidates(n_sources))
    usable = maxima.usable & (powers.gather(1, maxima.point) > 0.0)
    places = detector.grid.sources[maxima.point].masked_fill(~usable[..., None], torch.nan)
    return FitPeaks(places, usable)


def refined_peaks(
    detector: Detector, places: Float[Tensor, "scene peak 3"], n_sources: int, n_iterations: int
) -> Refinement:
    """The best refinement of K sources that start at peaks and around them; the first K peaks are usable."""
    return best_of_starts(
        detector.observation,
        places[:, :n_sources],
        places,
        detector.grid,
        n_iterations,
    )


def _make(name: str, grid: Grid, settings: Settings) -> SblEstimator:
    return SblEstimator(name, grid, settings)


ESTIMATORS: dict[str, Factory] = {"sbl": _make}
