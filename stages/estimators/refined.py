"""Maximum-likelihood refinement of any estimate."""

from dataclasses import fields, replace

import torch
from jaxtyping import Bool, Complex, Float, Int
from torch import Tensor

from stages.bounds.cramer_rao import Bound
from stages.estimators.contract import Estimate, Likelihood
from stages.inference.grid import Grid
from stages.inference.likelihood import Refinement, best_subset, refine
from stages.physics.geometry import cosines_from_sources, sources_from_cosines
from stages.physics.observation import Observation

_REACH = (0.25, 0.25, 0.4)
"""How far from a candidate its source is also looked for, in cells of (u, v, w)."""


def refined(
    observation: Observation, start: Estimate, grid: Grid, n_iterations: int, spherical_amplitude: bool
) -> Estimate:
    """The best maximum of the likelihood that an estimate and its candidates lead to.

        min over sources of J = sum_l |P_{G_l}^perp y_l|^2,   G_l = B_l A

    Each of three starts is refined where it differs from those before it, and the least J is kept: the
    sources of the estimate; the K places of least J among all candidates and six places around each, because
    a peak on `grid` is surer of the cell than of the place in it; and the K places of least J among the
    sources refined so far and all candidates, which exchanges a source that went astray.

    Scenes are refined in groups that have one number of sources at the start; a scene that starts with fewer
    sources than it has keeps them and stays unresolved. A scene without sources is explained by none: its J
    is sum_l |y_l|^2.
    """
    sources = torch.full_like(start.sources, torch.nan)
    powers = torch.full(sources.shape[:2], torch.nan, dtype=torch.float64)
    spread = torch.full((*sources.shape[:2], 3, 3), torch.nan, dtype=torch.float64)
    residual = torch.empty(sources.shape[0], dtype=torch.float64)
    converged = torch.ones(sources.shape[0], dtype=torch.bool)
    counts = start.present.sum(-1)
    for count in sorted(set(counts.tolist())):
        scenes = torch.nonzero(counts == count).flatten()
        slots = torch.nonzero(start.present[scenes])[:, 1].reshape(scenes.shape[0], count)
        result = _best_of_starts(
            observation.select(scenes),
            start.sources[scenes[:, None], slots],
            start.candidates[scenes],
            grid,
            n_iterations,
            spherical_amplitude,
        )
        sources[scenes[:, None], slots] = result.sources
        powers[scenes[:, None], slots] = _mean_powers(result.amplitudes)
        spread[scenes[:, None], slots] = position_covariance(result.sources, result.fisher)
        residual[scenes] = result.residual
        converged[scenes] = result.converged
    return replace(start, sources=sources, likelihood=Likelihood(powers, spread, residual, converged))


def _best_of_starts(
    observation: Observation,
    sources: Float[Tensor, "scene source 3"],
    candidates: Float[Tensor, "scene candidate 3"],
    grid: Grid,
    n_iterations: int,
    spherical_amplitude: bool,
) -> Refinement:
    """Refinement of least J from the three starts of `refined`, all scenes with K = sources.shape[1]."""
    count = sources.shape[1]
    best = refine(observation, sources, n_iterations, spherical_amplitude)
    if count == 0:
        return best

    def improved(
        start: Float[Tensor, "scene source 3"], known: Float[Tensor, "scene source 3"]
    ) -> Refinement:
        changed = torch.nonzero(_differs(start, known)).flatten()
        if changed.numel() == 0:
            return best
        other = refine(observation.select(changed), start[changed], n_iterations, spherical_amplitude)
        return _cheaper(best, other, changed)

    def subset(pool: Float[Tensor, "scene place 3"]) -> Float[Tensor, "scene source 3"]:
        return best_subset(observation, pool, pool.isfinite().all(-1), count, spherical_amplitude)

    best = improved(subset(_surroundings(candidates, grid)), sources)
    return improved(subset(torch.cat((best.sources, candidates), dim=1)), best.sources)


def _surroundings(
    candidates: Float[Tensor, "scene candidate 3"], grid: Grid
) -> Float[Tensor, "scene place 3"]:
    """Every candidate and the places before and behind it along u, v and w, within the box of the grid."""
    reach = torch.diag(torch.tensor(_REACH, dtype=candidates.dtype))
    offsets = torch.cat((torch.zeros_like(reach[:1]), reach, -reach)) * grid.steps
    places = cosines_from_sources(candidates)[:, :, None] + offsets
    low, high = grid.cosines.amin(0), grid.cosines.amax(0)
    return sources_from_cosines(torch.minimum(torch.maximum(places, low), high)).flatten(1, 2)


def _cheaper(best: Refinement, other: Refinement, scenes: Int[Tensor, " other"]) -> Refinement:
    """`best`, with the scenes of `other` where those have less J."""
    lower = other.residual < best.residual[scenes]

    def merged(name: str) -> Tensor:
        values: Tensor = getattr(best, name).clone()
        values[scenes[lower]] = getattr(other, name)[lower]
        return values

    return Refinement(*(merged(field.name) for field in fields(Refinement)))


def _differs(
    start: Float[Tensor, "scene source 3"], known: Float[Tensor, "scene source 3"]
) -> Bool[Tensor, " scene"]:
    """True where a start is complete and not the same set of sources."""
    same = (start[:, :, None] == known[:, None]).all(-1).any(-1).all(-1)
    return start.isfinite().all((1, 2)) & ~same


def _mean_powers(amplitudes: Complex[Tensor, "scene snapshot source"]) -> Float[Tensor, "scene source"]:
    return amplitudes.abs().square().mean(1).double()


def position_covariance(
    sources: Float[Tensor, "scene source 3"], fisher: Float[Tensor, "scene coordinate coordinate"]
) -> Float[Tensor, "scene source 3 3"]:
    """Covariance of the position of each source (m^2), the other sources and all amplitudes unknown too.

        C_p = J (F^-1)_kk J^T,   J = dp / d(azimuth, elevation, inverse range)

    F is the Fisher information of (azimuth, elevation, inverse range), source by source. NaN where F is
    singular and where the inverse range is not positive.
    """
    inverse, info = torch.linalg.inv_ex(fisher)
    blocks = Bound(inverse, sources).position_covariance()
    known = (info == 0)[:, None] & (sources[..., 2] > 0.0)
    return torch.where(known[..., None, None], blocks, torch.nan)
