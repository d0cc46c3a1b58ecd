"""What an estimator takes and gives.

Conventions
-----------
Slots of an `Estimate` that hold no source are NaN, in every field. What an estimator did not measure is None,
and what it could not resolve is said by `resolved`: neither is ever 0.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from risolve.bounds.cramer_rao import Bound
from risolve.covariance import LoadedBlend, NormalizedCovariance
from risolve.identifiability import most_sources
from risolve.inference.assessment import Likelihood, likelihood_at, no_likelihood
from risolve.inference.counting import CountingRule
from risolve.inference.goodness import Goodness
from risolve.inference.grid import Grid
from risolve.inference.rivals import Rivals
from risolve.networks.trained import Prediction
from risolve.physics.geometry import turned
from risolve.physics.observation import Observation
from risolve.shapes import SourceMask, Sources

Covariance: TypeAlias = NormalizedCovariance | LoadedBlend
Reading: TypeAlias = Covariance | Prediction
"""What an estimator reads beside the snapshots."""

CovarianceKind: TypeAlias = Literal["sample", "predicted", "blend", "fitted"]


@dataclass(frozen=True)
class Settings:
    """What estimators are made with.

    diagonal_loading: eps of a covariance that has none. counting: the rule where the number of sources is not
    told. n_iterations: budget of a refinement. fit_iterations: of the sparse covariance fit.
    """

    diagonal_loading: float
    counting: CountingRule
    n_iterations: int
    fit_iterations: int


@dataclass(frozen=True)
class Estimate:
    """Sources of every scene, NaN-padded to the largest K of the batch.

    resolved: the method tells apart as many sources as the scene has, and found them all. candidates: the
    places among which the method chose its sources, best first, NaN-padded. likelihood: what the snapshots
    say of the sources. converged: the maximum of a likelihood was reached; None where none was looked for.
    count_confidence: probability that the number of sources is right; None where it was told, or the method
    states none. rivals: other places that answer alike, goodness: whether the model fits; None where they
    were not looked for. robust: scenes whose covariance is that of a model that does not fit
    (`inference.robust`); at_edge: peaks at the nearest or farthest range searched; None as said before.
    beyond_training: probability that the scene is none of those that a network was trained on; None without
    a network, or where no maximum of a likelihood was looked for.
    """

    sources: Sources
    resolved: Bool[Tensor, " scene"]
    candidates: Float[Tensor, "scene candidate 3"]
    likelihood: Likelihood
    converged: Bool[Tensor, " scene"] | None
    count_confidence: Float[Tensor, " scene"] | None = None
    rivals: Rivals | None = None
    goodness: Goodness | None = None
    robust: Bool[Tensor, " scene"] | None = None
    at_edge: SourceMask | None = None
    beyond_training: Float[Tensor, " scene"] | None = None

    @property
    def present(self) -> SourceMask:
        """True where a slot holds a source."""
        return ~self.sources[..., 0].isnan()

    @property
    def n_sources(self) -> Int[Tensor, " scene"]:
        """Sources of each scene."""
        return self.present.sum(-1)

    def standard_deviations(self) -> Float[Tensor, "scene source 3"]:
        """Those of `Likelihood.covariance`: azimuth (rad), elevation (rad), range (m).

        sigma_r = sigma_w / w^2, infinite at infinity. NaN where the covariance is not known.
        """
        deviations = self.likelihood.covariance.diagonal(dim1=-2, dim2=-1).sqrt()
        reach = deviations[..., 2:] / self.sources[..., 2:].square()
        return torch.cat((deviations[..., :2], reach), dim=-1)

    def position_covariance(self) -> Float[Tensor, "scene source 3 3"]:
        """Covariance of the position of each source (m^2); NaN at infinity and where it is not known.

        C_p = J C J^T,   J = dp / d(azimuth, elevation, inverse range)
        """
        n_scenes, n_slots = self.present.shape
        own = self.likelihood.covariance.reshape(n_scenes * n_slots, 3, 3)
        blocks = Bound(own, self.sources.reshape(n_scenes * n_slots, 1, 3)).position_covariance()[:, 0]
        near = (self.sources[..., 2] > 0.0)[..., None, None]
        return torch.where(near, blocks.reshape(n_scenes, n_slots, 3, 3), torch.nan)


@runtime_checkable
class Estimator(Protocol):
    """A named way from an observation, and the covariance that it reads, to sources."""

    @property
    def name(self) -> str:
        """Name in the registry and in the tables."""
        ...

    @property
    def covariance_kind(self) -> CovarianceKind | None:
        """Which covariance it reads; None for one that reads the snapshots alone."""
        ...

    def estimate(
        self,
        observation: Observation,
        covariance: Reading | None,
        n_sources: Int[Tensor, " scene"] | None,
    ) -> Estimate:
        """Sources of every scene, batched over scenes; the number of them is counted where it is not told.

        Raises:
            TypeError: a covariance of another type.
            ValueError: more sources than the snapshots determine, or sizes that do not agree.
        """
        ...


Factory: TypeAlias = Callable[[str, Grid, Settings], Estimator]
"""(name, search grid, settings) -> estimator, as the table `ESTIMATORS` of an estimator's module holds it."""


@dataclass(frozen=True)
class Group:
    """Estimate of scenes that have one K each: K slots of sources, and any number of candidates.

    likelihood: None to have it computed at the sources.
    """

    sources: Float[Tensor, "scene source 3"]
    resolved: Bool[Tensor, " scene"]
    candidates: Float[Tensor, "scene candidate 3"]
    likelihood: Likelihood | None = None
    converged: Bool[Tensor, " scene"] | None = None


def require_determined(observation: Observation, n_sources: Int[Tensor, " scene"]) -> None:
    """Refuse more sources than `most_sources`.

    Raises:
        ValueError: the law with its numbers, and the scenes.
    """
    L, M, N = observation.n_snapshots, observation.n_antennas, observation.array.n_coherent
    if n_sources.shape[0] != observation.n_scenes:
        raise ValueError(
            f"n_sources has one number a scene: {observation.n_scenes} scenes, {n_sources.shape[0]} numbers"
        )
    n_free = observation.limits.n_free
    most, law = most_sources(observation.source_model, L, M, N, n_free, observation.gains)
    wrong = (n_sources > most) | (n_sources < 0)
    if bool(wrong.any()):
        scenes = torch.nonzero(wrong).flatten().tolist()
        raise ValueError(
            f"{observation.source_model} sources need {law}: L = {L} snapshots, M = {M} antennas and N = {N} "
            f"elements allow 0 to {most} sources; scenes {scenes} of this batch ask for "
            f"{n_sources[wrong].tolist()}"
        )


def estimate_by_count(
    observation: Observation,
    n_sources: Int[Tensor, " scene"],
    estimate_group: Callable[[Int[Tensor, " member"], int], Group],
) -> Estimate:
    """Estimate of the groups of scenes that have one K > 0 each, `estimate_group(scenes, K)`."""
    groups = {}
    for count in sorted(set(n_sources.tolist()) - {0}):
        scenes = torch.nonzero(n_sources == count).flatten()
        groups[count] = (scenes, estimate_group(scenes, count))
    return joined(observation, list(groups.values()), looked=False)


def joined(
    observation: Observation,
    groups: list[tuple[Int[Tensor, " member"], Group]],
    *,
    looked: bool,
) -> Estimate:
    """One estimate of groups of scenes, within what is stated; a scene that is in none has no source.

    looked: whether the groups are maxima of a likelihood, and say whether they converged.
    """
    n_scenes = observation.n_scenes
    width = max((group.sources.shape[1] for _, group in groups), default=0)
    n_places = max((group.candidates.shape[1] for _, group in groups), default=0)
    sources = torch.full((n_scenes, width, 3), torch.nan, dtype=torch.float64)
    candidates = torch.full((n_scenes, n_places, 3), torch.nan, dtype=torch.float64)
    resolved = torch.ones(n_scenes, dtype=torch.bool)
    converged = torch.ones(n_scenes, dtype=torch.bool)
    within = turned if observation.stated is None else observation.stated.held
    for scenes, group in groups:
        placed, offered = within(group.sources), within(group.candidates)
        sources[scenes, : placed.shape[1]] = placed
        candidates[scenes, : offered.shape[1]] = offered
        resolved[scenes] = group.resolved
        if group.converged is not None:
            converged[scenes] = group.converged
    likelihood = no_likelihood(n_scenes, width)
    unknown = torch.ones(n_scenes, dtype=torch.bool)
    for scenes, group in groups:
        if group.likelihood is not None:
            slots = torch.arange(group.sources.shape[1]).expand(scenes.shape[0], -1)
            likelihood = likelihood.replaced(scenes, slots, group.likelihood)
            unknown[scenes] = False
    rest = torch.nonzero(unknown).flatten()
    if rest.numel():
        own = likelihood_at(observation.select(rest), sources[rest])
        likelihood = likelihood.replaced(rest, torch.arange(width).expand(rest.shape[0], -1), own)
    return Estimate(sources, resolved, candidates, likelihood, converged if looked else None)


def n_candidates(n_sources: int) -> int:
    """Candidates that a method keeps of a scene of K sources: 8, or K where that is more."""
    return max(8, n_sources)
