"""What an estimator takes and gives.

Conventions
-----------
The number of sources K is known, one a scene. Slots of an `Estimate` that hold no source are NaN, in every
field. What an estimator did not measure is None, and what it could not resolve is said by `resolved`: neither
is ever 0.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from stages.covariance import LoadedBlend, NormalizedCovariance
from stages.identifiability import most_sources
from stages.physics.observation import Observation
from stages.shapes import SourceMask, Sources

Covariance: TypeAlias = NormalizedCovariance | LoadedBlend
CovarianceKind: TypeAlias = Literal["sample", "predicted", "blend"]


@dataclass(frozen=True)
class Likelihood:
    """What the snapshots say of an estimate that maximizes their likelihood.

    powers: mean |s_lk|^2 over the snapshots. position_covariance (m^2): inverse Fisher information at the
    estimate, a Cartesian block a source, NaN where the information is singular or a source lies at infinity.
    residual: sum_l |P_{G_l}^perp y_l|^2. converged: the refinement ended before its budget did.
    """

    powers: Float[Tensor, "scene source"]
    position_covariance: Float[Tensor, "scene source 3 3"]
    residual: Float[Tensor, " scene"]
    converged: Bool[Tensor, " scene"]


@dataclass(frozen=True)
class Estimate:
    """Sources of every scene, NaN-padded to the largest K of the batch.

    resolved: the method tells apart as many sources as the scene has, and found them all. candidates: the
    places among which the method chose its sources, best first, NaN-padded. likelihood is None where nothing
    was refined.
    """

    sources: Sources
    resolved: Bool[Tensor, " scene"]
    candidates: Float[Tensor, "scene candidate 3"]
    likelihood: Likelihood | None

    @property
    def present(self) -> SourceMask:
        """True where a slot holds a source."""
        return ~self.sources[..., 0].isnan()


@runtime_checkable
class Estimator(Protocol):
    """A named way from an observation and its covariance to sources."""

    @property
    def name(self) -> str:
        """Name in the registry and in the tables."""
        ...

    @property
    def covariance_kind(self) -> CovarianceKind:
        """Which covariance it reads: R_samp, R_pred or R_blend."""
        ...

    def estimate(
        self, observation: Observation, covariance: Covariance, n_sources: Int[Tensor, " scene"]
    ) -> Estimate:
        """Sources of every scene, batched over scenes.

        Raises:
            TypeError: a covariance of another type.
            ValueError: more sources than the snapshots determine, or sizes that do not agree.
        """
        ...


def require_determined(observation: Observation, n_sources: Int[Tensor, " scene"]) -> None:
    """Refuse more sources than `most_sources`.

    Raises:
        ValueError: the law with its numbers, and the scenes.
    """
    L, M, N = observation.n_snapshots, observation.n_antennas, observation.elements.shape[0]
    if n_sources.shape[0] != observation.n_scenes:
        raise ValueError(
            f"n_sources has one number a scene: {observation.n_scenes} scenes, {n_sources.shape[0]} numbers"
        )
    most, law = most_sources(observation.source_model, L, M, N)
    wrong = (n_sources > most) | (n_sources < 0)
    if bool(wrong.any()):
        scenes = torch.nonzero(wrong).flatten().tolist()
        raise ValueError(
            f"{observation.source_model} sources need {law}: L = {L} snapshots, M = {M} antennas and N = {N} "
            f"elements allow 0 to {most} sources; scenes {scenes} of this batch ask for "
            f"{n_sources[wrong].tolist()}"
        )


def estimate_by_count(
    n_sources: Int[Tensor, " scene"], estimate_group: Callable[[Int[Tensor, " member"], int], Estimate]
) -> Estimate:
    """Join the estimates of the groups of scenes that have one K each, `estimate_group(scenes, K)`.

    A group has K slots and `n_candidates(K)` candidates, and no likelihood.
    """
    n_scenes = n_sources.shape[0]
    width = int(n_sources.max()) if n_scenes else 0
    sources = torch.full((n_scenes, width, 3), torch.nan, dtype=torch.float64)
    candidates = torch.full((n_scenes, n_candidates(width), 3), torch.nan, dtype=torch.float64)
    resolved = torch.ones(n_scenes, dtype=torch.bool)
    for count in sorted(set(n_sources.tolist()) - {0}):
        scenes = torch.nonzero(n_sources == count).flatten()
        group = estimate_group(scenes, count)
        sources[scenes, :count] = group.sources
        candidates[scenes, : n_candidates(count)] = group.candidates
        resolved[scenes] = group.resolved
    return Estimate(sources, resolved, candidates, None)


def n_candidates(n_sources: int) -> int:
    """Candidates that a method keeps of a scene of K sources: 8, or K where that is more."""
    return max(8, n_sources)
