"""Estimators that search the peaks of a spectrum on a grid."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor

from risolve.covariance import LoadedBlend, NormalizedCovariance
from risolve.estimators.contract import (
    Covariance,
    CovarianceKind,
    Estimate,
    Group,
    Reading,
    Settings,
    estimate_by_count,
    n_candidates,
)
from risolve.estimators.counted import told_or_counted
from risolve.inference.grid import Grid, grid_steering
from risolve.inference.peaks import local_maxima, placed, stencils
from risolve.networks.trained import Prediction
from risolve.physics.observation import Observation

_KINDS: dict[CovarianceKind, type[Reading]] = {
    "sample": NormalizedCovariance,
    "predicted": Prediction,
    "blend": LoadedBlend,
    "fitted": NormalizedCovariance,
}

# Eigenvalues of an exact covariance below this share of the largest are rounding of its complex64 factor.
_RANK_TOLERANCE = 1e-10

SCENES_AT_ONCE = 16
"""Scenes of a dense R that a spectrum takes at once: N x G responses of each are held in memory."""

Waves: TypeAlias = Complex[Tensor, "*#scene element point"]
"""Steering vectors as columns: one matrix for all scenes, or one a scene."""

Spectrum: TypeAlias = Callable[[Covariance, Waves, int], Float[Tensor, "scene point"]]
"""(covariance, steering vectors, K) -> positive spectrum, largest where a source is likely.

Its precision is that of the steering vectors: complex64 to search a grid, complex128 to place a peak.
"""


@dataclass(frozen=True)
class SpectralEstimator:
    """The K strongest peaks of a spectrum on the grid.

    The grid is searched in complex64. The reciprocal of MUSIC's and MVDR's spectrum is smooth through a peak
    where the spectrum itself is a spike, so peaks are placed on -1/P, evaluated in complex128 at each peak
    and its neighbours: what leaves a covariance as it is then moves no source by more than rounding of the
    covariance itself, unless two points are equal to the search.

    A covariance of rank below K does not tell K sources apart: the peaks are given, and the scene is not
    resolved. That is every scene of K >= 2 of the `constant` model, where R_samp has rank one.
    """

    name: str
    covariance_kind: CovarianceKind
    spectrum: Spectrum
    grid: Grid
    settings: Settings

    def estimate(
        self,
        observation: Observation,
        covariance: Reading | None,
        n_sources: Int[Tensor, " scene"] | None,
    ) -> Estimate:
        """Sources of every scene; see `Estimator.estimate`."""
        read = required(self.name, self.covariance_kind, covariance, observation.n_elements)
        assert not isinstance(read, Prediction)
        counts = told_or_counted(observation, n_sources, self.grid, self.settings)
        array = observation.array
        wave, rows = grid_steering(self.grid, array), array.steering(self.grid.sources)

        def group(scenes: Int[Tensor, " member"], count: int) -> Group:
            part = read.select(scenes)
            maxima = local_maxima(-1.0 / self.spectrum(part, wave, count), self.grid, n_candidates(count))
            around = stencils(self.grid, maxima.point)
            values = -1.0 / self.spectrum(part, rows[around.flatten(1)].mT, count)
            strongest = placed(values.unflatten(1, around.shape[1:]), maxima, self.grid)
            candidates = self.grid.sources_at(strongest.coordinates)
            resolved = strongest.usable[:, :count].all(-1) & (rank(part) >= count)
            return Group(candidates[:, :count], resolved, candidates)

        return estimate_by_count(observation, counts, group)


def required(name: str, kind: CovarianceKind, covariance: Reading | None, n_elements: int) -> Reading:
    """What an estimator reads, refused where it is of another type or of another surface.

    Raises:
        TypeError: not the type that the kind has.
        ValueError: another number of elements.
    """
    if covariance is None or not isinstance(covariance, _KINDS[kind]):
        raise TypeError(
            f"{name} reads a {kind} covariance ({_KINDS[kind].__name__}), got {type(covariance).__name__}"
        )
    if covariance.n_elements != n_elements:
        raise ValueError(
            f"the covariance and the observation have one N; the covariance has {covariance.n_elements}, "
            f"the observation {n_elements}"
        )
    return covariance


def has_short_factor(covariance: Covariance) -> bool:
    """True for R = U diag(w) U^H of few columns, whose L x L Gram matrix replaces the N x N matrix."""
    return (
        isinstance(covariance, NormalizedCovariance)
        and 2 * covariance.weights.shape[-1] <= covariance.n_elements
    )


def short_factor(covariance: NormalizedCovariance) -> Complex[Tensor, "scene element rank"]:
    """F = U diag(sqrt w), R = F F^H, complex128."""
    return covariance.columns.to(torch.complex128) * covariance.weights.double().sqrt()[:, None, :]


def rank(covariance: Covariance) -> Int[Tensor, " scene"]:
    """Number of eigenvalues of R above rounding; N for a covariance that is not held by a short factor."""
    if isinstance(covariance, NormalizedCovariance) and has_short_factor(covariance):
        F = short_factor(covariance)
        return significant(torch.linalg.eigvalsh(F.mH @ F)).sum(-1)
    return torch.full((covariance.n_scenes,), covariance.n_elements)


def significant(eigenvalues: Float[Tensor, "scene rank"]) -> Tensor:
    """Which eigenvalues, in ascending order, stand above the rounding of the largest."""
    return eigenvalues > _RANK_TOLERANCE * eigenvalues[:, -1:]
