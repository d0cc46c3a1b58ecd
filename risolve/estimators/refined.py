"""Maximum-likelihood refinement of any estimate."""

from dataclasses import replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from risolve.estimators.contract import Estimate, Estimator, Group, joined
from risolve.inference.assessment import likelihood_of
from risolve.inference.grid import Grid
from risolve.inference.likelihood import Refinement, best_subset, refine
from risolve.inference.search import cheaper
from risolve.physics.observation import Observation

_REACH = (0.25, 0.25, 0.4)
"""How far from a candidate its source is also looked for, in cells of (u, v, w)."""


def refined(observation: Observation, start: Estimate, grid: Grid, n_iterations: int) -> Estimate:
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
    groups = []
    for count in sorted(set(start.n_sources.tolist()) - {0}):
        scenes = torch.nonzero(start.n_sources == count).flatten()
        slots = torch.nonzero(start.present[scenes])[:, 1].reshape(scenes.shape[0], count)
        part = observation.select(scenes)
        fit = best_of_starts(
            part,
            start.sources[scenes[:, None], slots],
            start.candidates[scenes],
            grid,
            n_iterations,
        )
        group = Group(
            fit.sources,
            start.resolved[scenes],
            start.candidates[scenes],
            likelihood_of(part, fit),
            fit.converged,
        )
        groups.append((scenes, group))
    best = joined(observation, groups, looked=True)
    return replace(
        best,
        resolved=start.resolved,
        candidates=start.candidates,
        count_confidence=start.count_confidence,
    )


def resumed(
    observation: Observation, start: Estimate, n_sources: Int[Tensor, " scene"] | None, search: Estimator
) -> Estimate:
    """An estimate to refine, with what a search finds in scenes that are not resolved."""
    lost = torch.nonzero(~start.resolved).flatten()
    if not lost.numel():
        return start
    own = search.estimate(observation.select(lost), None, None if n_sources is None else n_sources[lost])
    n_slots = max(start.sources.shape[1], own.sources.shape[1])
    sources = torch.full((observation.n_scenes, n_slots, 3), torch.nan, dtype=torch.float64)
    sources[:, : start.sources.shape[1]] = start.sources
    sources[lost] = torch.nan
    sources[lost, : own.sources.shape[1]] = own.sources
    return replace(start, sources=sources, resolved=start.resolved.index_put((lost,), own.resolved))


def best_of_starts(
    observation: Observation,
    sources: Float[Tensor, "scene source 3"],
    candidates: Float[Tensor, "scene candidate 3"],
    grid: Grid,
    n_iterations: int,
) -> Refinement:
    """Refinement of least J from the three starts of `refined`, all scenes with K = sources.shape[1]."""
    count = sources.shape[1]
    best = refine(observation, sources, n_iterations)
    if count == 0:
        return best

    def improved(
        start: Float[Tensor, "scene source 3"], known: Float[Tensor, "scene source 3"]
    ) -> Refinement:
        changed = torch.nonzero(_differs(start, known)).flatten()
        if changed.numel() == 0:
            return best
        other = refine(observation.select(changed), start[changed], n_iterations)
        return cheaper(best, other, changed)

    def subset(pool: Float[Tensor, "scene place 3"]) -> Float[Tensor, "scene source 3"]:
        return best_subset(observation, pool, pool.isfinite().all(-1), count)

    best = improved(subset(_surroundings(candidates, grid)), sources)
    return improved(subset(torch.cat((best.sources, candidates), dim=1)), best.sources)


def _surroundings(
    candidates: Float[Tensor, "scene candidate 3"], grid: Grid
) -> Float[Tensor, "scene place 3"]:
    """Every candidate and the places before and behind it along u, v and w, within the box of the grid."""
    reach = torch.diag(torch.tensor(_REACH, dtype=candidates.dtype))
    offsets = torch.cat((torch.zeros_like(reach[:1]), reach, -reach)) * grid.steps
    places = grid.coordinates_of(candidates)[:, :, None] + offsets
    return grid.sources_at(grid.in_box(places)).flatten(1, 2)


def _differs(
    start: Float[Tensor, "scene source 3"], known: Float[Tensor, "scene source 3"]
) -> Bool[Tensor, " scene"]:
    """True where a start is complete and not the same set of sources."""
    same = (start[:, :, None] == known[:, None]).all(-1).any(-1).all(-1)
    return start.isfinite().all((1, 2)) & ~same
