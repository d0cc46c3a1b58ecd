"""Maximum likelihood by search, without any training: the cheapest of many starts."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
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
from stages.estimators.sbl import peaks_of_fit, refined_peaks
from stages.inference.assessment import unconditional_likelihood
from stages.inference.detection import Detector, detectors
from stages.inference.grid import Grid
from stages.inference.growth import Located, located
from stages.inference.likelihood import Refinement, refine
from stages.inference.search import cheaper, exchanged, leading, pairs_exchanged, proposals
from stages.inference.unconditional import refine_unconditional
from stages.physics.observation import Observation

_PROPOSALS = 6
"""Places proposed for a source, or for a pair of sources, at a time."""

_HYPOTHESES = 6
"""Minima of J of a scene, beside the least one, that the unconditional likelihood compares."""

_SCREENING = 4
"""Steps of the refinement of J after which hypotheses are compared."""


@dataclass(frozen=True)
class ConditionalEstimator:
    """The least J of several starts: the amplitudes of every snapshot are free.

        min over sources of J = sum_l |P_{G_l}^perp y_l|^2,   G_l = B_l A

    Sources grow one by one, each exchanged for better places after every step (`exchanged`); at the end the
    peaks of the sparse covariance fit are another start, pairs of sources are exchanged at once, and single
    ones again. Where the number of sources is not told, the first that noise would explain is not added.
    Reads no covariance; both source models, the noise power known or not: J does not depend on it.

    References:
        Ziskind and Wax, "Maximum likelihood localization of multiple sources by alternating projection", IEEE
        Trans. Acoust., Speech, Signal Process. 36 (1988).
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

        def group(observation: Observation, detector: Detector, fit: Refinement) -> Group:
            found = torch.ones(detector.n_scenes, dtype=torch.bool)
            return Group(fit.sources, found, fit.sources, converged=fit.converged)

        return _searched(observation, self.grid, self.settings, n_sources, group)


@dataclass(frozen=True)
class UnconditionalEstimator:
    """The largest unconditional likelihood of several minima of J: amplitudes CN(0, p_k), one p_k a source.

        min of sum_l log det R_l + y_l^H R_l^-1 y_l,   R_l = G_l diag(p) G_l^H + sigma^2 I

    Hypotheses are the sources of `ml` and what its last exchanges of one source and of two propose; a few
    steps of J compare these, and each of the best is refined by the unconditional likelihood. Below the
    threshold of J, where free amplitudes fit noise, it finds more sources. The number of sources is that of
    `ml`. Reads no covariance; both source models, the noise power known or estimated.

    References:
        Stoica and Nehorai, "Performance study of conditional and unconditional direction-of-arrival
        estimation", IEEE Trans. Acoust., Speech, Signal Process. 38 (1990).
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
        n_iterations, spherical = self.settings.n_iterations, self.settings.spherical_amplitude

        def group(part: Observation, detector: Detector, fit: Refinement) -> Group:
            offered = proposals(detector, fit, _PROPOSALS)
            screened = refine(
                detector.observation.select(offered.scene), offered.sources, _SCREENING, spherical
            )
            kept = leading(offered.scene, screened.residual, _HYPOTHESES)
            scenes = torch.cat((torch.arange(detector.n_scenes), offered.scene[kept]))
            starts = torch.cat((fit.sources, screened.sources[kept]))
            return likeliest(part, scenes, starts, n_iterations, spherical)

        return _searched(observation, self.grid, self.settings, n_sources, group)


def likeliest(
    observation: Observation,
    scenes: Int[Tensor, " start"],
    starts: Float[Tensor, "start source 3"],
    n_iterations: int,
    spherical_amplitude: bool,
) -> Group:
    """Refinement of least unconditional cost of the starts of each scene, every scene with one or more."""
    fits = refine_unconditional(observation.select(scenes), starts, n_iterations, spherical_amplitude)
    best = leading(scenes, fits.cost, 1)
    best = best[scenes[best].argsort()]
    likelihood = unconditional_likelihood(observation, fits, best, spherical_amplitude)
    found = torch.ones(observation.n_scenes, dtype=torch.bool)
    return Group(fits.sources[best], found, fits.sources[best], likelihood, fits.converged[best])


def least_residual(
    detector: Detector, n_sources: Int[Tensor, " scene"] | None, settings: Settings
) -> list[Located]:
    """The least J that the search of `ConditionalEstimator` finds, by number of sources."""
    n_iterations = settings.n_iterations

    def improve(part: Detector, fit: Refinement) -> Refinement:
        return exchanged(part, fit, _PROPOSALS, n_iterations)

    found = []
    for scenes, fit in located(detector, n_sources, settings.counting, n_iterations, improve):
        if fit.sources.shape[1]:
            part = detector.select(scenes)
            best = _with_peaks(part, fit, settings)
            best = pairs_exchanged(part, best, _PROPOSALS, n_iterations)
            found.append(Located(scenes, improve(part, best)))
    return found


def _with_peaks(detector: Detector, fit: Refinement, settings: Settings) -> Refinement:
    """The fit, or the refined peaks of the sparse covariance fit where they have less J."""
    count = fit.sources.shape[1]
    peaks = peaks_of_fit(detector, count, settings.fit_iterations)
    complete = torch.nonzero(peaks.usable[:, :count].all(-1)).flatten()
    if complete.numel() == 0:
        return fit
    other = refined_peaks(detector.select(complete), peaks.places[complete], count, settings.n_iterations)
    return cheaper(fit, other, complete)


def _searched(
    observation: Observation,
    grid: Grid,
    settings: Settings,
    n_sources: Int[Tensor, " scene"] | None,
    group: Callable[[Observation, Detector, Refinement], Group],
) -> Estimate:
    """Estimate of the groups that `group` makes of the scenes of one number of sources."""
    if n_sources is not None:
        require_determined(observation, n_sources)
    groups: list[tuple[Int[Tensor, " member"], Group]] = []
    for piece, detector in detectors(observation, grid, settings.spherical_amplitude):
        told = None if n_sources is None else n_sources[piece]
        for scenes, fit in least_residual(detector, told, settings):
            members = piece.start + scenes
            groups.append((members, group(observation.select(members), detector.select(scenes), fit)))
    return joined(observation, groups, settings.spherical_amplitude)


def _conditional(name: str, grid: Grid, settings: Settings) -> ConditionalEstimator:
    return ConditionalEstimator(name, grid, settings)


def _unconditional(name: str, grid: Grid, settings: Settings) -> UnconditionalEstimator:
    return UnconditionalEstimator(name, grid, settings)


ESTIMATORS: dict[str, Factory] = {"ml": _conditional, "ml_unconditional": _unconditional}
