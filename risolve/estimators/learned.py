"""Sources where a network puts them: its peaks (`learned_peaks`), or their likeliest hypothesis (`learned`).

`learned_peaks`: the K points of highest occupancy, at the places that the network gives within their cells.

`learned`: candidates are such points; the likelihood of Gaussian amplitudes compares hypotheses of them,
refines the best, and exchanges sources for places that the rest of the snapshots asks for
(`inference.hypotheses`). Where the number of sources is not told, fits of several numbers and the network
decide (`networks.counting`).
"""

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from risolve.batched import Batched
from risolve.estimators.contract import (
    CovarianceKind,
    Estimate,
    Factory,
    Group,
    Reading,
    Settings,
    estimate_by_count,
    joined,
    n_candidates,
    require_determined,
)
from risolve.estimators.spectral import required
from risolve.identifiability import most_sources
from risolve.inference.assessment import unconditional_likelihood
from risolve.inference.field import Field, field
from risolve.inference.grid import Grid
from risolve.inference.hypotheses import likeliest_sources
from risolve.inference.peaks import local_maxima
from risolve.inference.unconditional import UnconditionalRefinement, refine_unconditional
from risolve.networks.counting import Evidence
from risolve.networks.trained import Prediction
from risolve.physics.observation import Observation

_CANDIDATES = 12
"""Points of highest occupancy that hypotheses are made of."""

_PRIOR_WEIGHT = 0.75
"""Of the occupancy logit beside the likelihood, as the network has seen the same snapshots."""

_PLAUSIBLE = 0.05
"""Probability of a count, by the network, from which a fit is made of it at once."""


class _Candidates(NamedTuple):
    """Places of local maxima of the occupancy, best first, and their logits; -inf where there is none."""

    places: Float[Tensor, "scene candidate 3"]
    logits: Float[Tensor, "scene candidate"]


def _candidates(prediction: Prediction, grid: Grid, n_kept: int) -> _Candidates:
    maxima = local_maxima(prediction.occupancy, grid, n_kept)
    cosines = prediction.places.gather(1, maxima.point[..., None].expand(-1, -1, 3)).double()
    places = grid.sources_at(grid.in_box(cosines))
    logits = prediction.occupancy.gather(1, maxima.point).double()
    return _Candidates(
        places.masked_fill(~maxima.usable[..., None], torch.nan),
        logits.masked_fill(~maxima.usable, -math.inf),
    )


@dataclass(frozen=True)
class PeakEstimator:
    """The K points of highest occupancy among their neighbours.

    A scene with fewer than K local maxima is not resolved and gets those it has. The number of sources, where
    it is not told, is that of the network alone.
    """

    name: str
    grid: Grid
    settings: Settings

    @property
    def covariance_kind(self) -> CovarianceKind:
        """R_pred, with the occupancy, places and counts beside it."""
        return "predicted"

    def estimate(
        self,
        observation: Observation,
        covariance: Reading | None,
        n_sources: Int[Tensor, " scene"] | None,
    ) -> Estimate:
        """Sources of every scene; see `Estimator.estimate`."""
        prediction = _prediction(self.name, observation, covariance, self.grid)
        confidence = None
        if n_sources is None:
            among = _determined(observation, prediction)
            confidence, n_sources = prediction.count_log_probabilities[:, :among].double().softmax(-1).max(-1)
        require_determined(observation, n_sources)

        def group(scenes: Int[Tensor, " member"], count: int) -> Group:
            found = _candidates(prediction.select(scenes), self.grid, n_candidates(count))
            resolved = found.logits[:, :count].isfinite().all(-1)
            return Group(found.places[:, :count], resolved, found.places)

        found = estimate_by_count(observation, n_sources, group)
        return replace(found, count_confidence=confidence)


@dataclass(frozen=True)
class LearnedEstimator:
    """Sources of largest likelihood among hypotheses of the network.

    Both source models, the noise power known or not.
    """

    name: str
    grid: Grid
    settings: Settings

    @property
    def covariance_kind(self) -> CovarianceKind:
        """R_pred, with the occupancy, places and counts beside it."""
        return "predicted"

    def estimate(
        self,
        observation: Observation,
        covariance: Reading | None,
        n_sources: Int[Tensor, " scene"] | None,
    ) -> Estimate:
        """Sources of every scene; see `Estimator.estimate`."""
        prediction = _prediction(self.name, observation, covariance, self.grid)
        scenes = self._field(observation, prediction)
        if n_sources is not None:
            require_determined(observation, n_sources)
            fits = {}
            for count in sorted(set(n_sources.tolist()) - {0}):
                members = torch.nonzero(n_sources == count).flatten()
                fits[count] = _Fitted(members, self._fit(scenes, prediction, members, count, complete=True))
            found = self._joined(observation, scenes, fits, n_sources)
            return replace(found, resolved=found.n_sources == n_sources)
        counted = self._counted(scenes, prediction)
        found = self._joined(observation, scenes, counted.fits, counted.n_sources)
        return replace(found, count_confidence=counted.confidence)

    def evidence(self, observation: Observation, prediction: Prediction) -> Evidence:
        """What network and likelihood say of the counts that the network makes plausible; others, and those
        that the snapshots do not determine, have no cost.
        """
        scenes = self._field(observation, prediction)
        cost = _no_costs(prediction)
        plausible = _plausible(observation, prediction)
        for count in torch.nonzero(plausible.any(0)).flatten().tolist():
            members = torch.nonzero(plausible[:, count]).flatten()
            cost[members, count] = self._fit(scenes, prediction, members, count, complete=False).cost
        return _evidence(observation, prediction, cost)

    def _fit(
        self,
        scenes: Field,
        prediction: Prediction,
        members: Int[Tensor, " member"],
        count: int,
        *,
        complete: bool,
    ) -> UnconditionalRefinement:
        """The likeliest `count` sources of some scenes, in the unit of the scaled snapshots.

        complete: there are no others.
        """
        part = scenes.select(members)
        if count == 0:
            none = torch.empty((len(members), 0, 3), dtype=torch.float64)
            return refine_unconditional(part.observation, none, 0)
        found = _candidates(prediction.select(members), self.grid, max(_CANDIDATES, count))
        places, usable = found.places, found.logits.isfinite()
        short = torch.nonzero(usable.sum(-1) < count).flatten()
        if short.numel():
            # too few maxima: the points of highest occupancy beside them
            occupancy = prediction.occupancy[members[short]].masked_fill(~self.grid.inside, -math.inf)
            points = occupancy.topk(places.shape[1], dim=-1).indices
            places[short], usable[short] = self.grid.sources[points], True
        return likeliest_sources(part, places, usable, count, self.settings.n_iterations, complete)

    def _field(self, observation: Observation, prediction: Prediction) -> Field:
        """The scenes, with the highest logit around each grid point as its prior."""
        lattice = prediction.occupancy.unflatten(1, (1, *self.grid.shape))
        highest = torch.nn.functional.max_pool3d(lattice, 3, stride=1, padding=1).flatten(1)
        return field(observation, self.grid, _PRIOR_WEIGHT * highest)

    def _counted(self, scenes: Field, prediction: Prediction) -> "_Counted":
        """Fits of the counts that the network or a neighbouring fit makes plausible, and the best of each
        scene.
        """
        observation = scenes.observation
        rule = prediction.calibration.count_rule(observation)
        cost = _no_costs(prediction)
        fits: dict[int, _Fitted] = {}
        counts, n_determined = torch.arange(cost.shape[1]), _determined(observation, prediction)
        wanted = _plausible(observation, prediction)
        while True:
            for count in torch.nonzero((wanted & ~cost.isfinite()).any(0)).flatten().tolist():
                members = torch.nonzero(wanted[:, count] & ~cost[:, count].isfinite()).flatten()
                fit = self._fit(scenes, prediction, members, count, complete=False)
                cost[members, count] = fit.cost
                known = [fits[count]] if count in fits else []
                fits[count] = _Fitted.joined([*known, _Fitted(members, fit)])
            evidence = _evidence(observation, prediction, cost)
            confidence, best = rule.probabilities(evidence).max(-1)
            wanted = ((counts - best[:, None]).abs() <= 1) & (counts < n_determined)
            if not bool((wanted & ~cost.isfinite()).any()):
                return _Counted(fits, best, confidence)

    def _joined(
        self,
        observation: Observation,
        scenes: Field,
        fits: dict[int, "_Fitted"],
        n_sources: Int[Tensor, " scene"],
    ) -> Estimate:
        """The estimate of the fits that have the number of sources of their scene."""
        groups = []
        for count, fitted in fits.items():
            rows = torch.nonzero(n_sources[fitted.members] == count).flatten()
            if count == 0 or rows.numel() == 0:
                continue
            chosen = fitted.members[rows]
            # the order of a beam search depends on rounding
            own = scenes.select(chosen).in_own_units(fitted.fit, rows).strongest_first()
            part = observation.select(chosen)
            likelihood = unconditional_likelihood(part, own, torch.arange(len(chosen)))
            present = own.powers > 0.0
            sources = own.sources.masked_fill(~present[..., None], torch.nan)
            groups.append((chosen, Group(sources, present.all(-1), own.sources, likelihood, own.converged)))
        return joined(observation, groups, looked=True)


@dataclass(frozen=True)
class _Fitted(Batched):
    """Some scenes, and the fit of each."""

    members: Int[Tensor, " member"]
    fit: UnconditionalRefinement


class _Counted(NamedTuple):
    """Fits by number of sources, the likeliest number of every scene, and its probability."""

    fits: dict[int, _Fitted]
    n_sources: Int[Tensor, " scene"]
    confidence: Float[Tensor, " scene"]


def _determined(observation: Observation, prediction: Prediction) -> int:
    """How many of the counts 0, 1, ... of the network the snapshots determine."""
    L, M, N = observation.n_snapshots, observation.n_antennas, observation.n_elements
    most = most_sources(observation.source_model, L, M, N).n_sources
    return min(prediction.count_log_probabilities.shape[1], most + 1)


def _plausible(observation: Observation, prediction: Prediction) -> Bool[Tensor, "scene count"]:
    """Counts of which a fit is made at once: those that the network gives some probability, its likeliest
    one and the neighbours of that, and all between them.
    """
    log_probabilities, n_determined = prediction.count_log_probabilities, _determined(observation, prediction)
    counts = torch.arange(log_probabilities.shape[1])
    likely = log_probabilities[:, :n_determined].argmax(-1, keepdim=True)
    plausible = (log_probabilities > math.log(_PLAUSIBLE)) | ((counts - likely).abs() <= 1)
    between = plausible.cummax(-1).values & plausible.flip(-1).cummax(-1).values.flip(-1)
    return between & (counts < n_determined)


def _no_costs(prediction: Prediction) -> Float[Tensor, "scene count"]:
    """Costs of counts of which no fit was made yet."""
    return torch.full(prediction.count_log_probabilities.shape, math.inf, dtype=torch.float64)


def _evidence(
    observation: Observation, prediction: Prediction, cost: Float[Tensor, "scene count"]
) -> Evidence:
    shared = torch.full((observation.n_scenes,), observation.source_model == "constant")
    return Evidence(prediction.count_log_probabilities, cost, prediction.estimated_snr, shared)


def _prediction(name: str, observation: Observation, covariance: Reading | None, grid: Grid) -> Prediction:
    prediction = required(name, "predicted", covariance, observation.n_elements)
    assert isinstance(prediction, Prediction)
    if prediction.occupancy.shape[-1] != grid.n_points:
        raise ValueError(
            f"{name} reads an occupancy, one logit a grid point: the grid has {grid.n_points} points, the "
            f"prediction {prediction.occupancy.shape[-1]}"
        )
    return prediction


def _peaks(name: str, grid: Grid, settings: Settings) -> PeakEstimator:
    """The peaks of what a network sees: quicker and coarser than `learned`, for its own system."""
    return PeakEstimator(name, grid, settings)


def _learned(name: str, grid: Grid, settings: Settings) -> LearnedEstimator:
    """The likeliest hypothesis that a network proposes: for many scenes of the system of its training, in a
    sixth of the time of `ml`.
    """
    return LearnedEstimator(name, grid, settings)


ESTIMATORS: dict[str, Factory] = {"learned": _learned, "learned_peaks": _peaks}
