"""Sources by the likelihood of Gaussian amplitudes, from candidate places: hypotheses, and their exchange.

    V = sum_g [ log det R_g + y_g^H R_g^-1 y_g ],   R_g = G_g diag(p) G_g^H + sigma^2 I

Hypotheses are subsets of candidates, of equal powers at first. A few steps of V compare them, and the best is
refined to the end. Where one source may stand better elsewhere, the grid tells from what the others leave
(`inference.left_out`).
"""

from dataclasses import fields
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from stages.inference.candidates import Match, Subsets, likeliest_subsets, marginal_gain, match
from stages.inference.field import Field
from stages.inference.grid import Grid, peaks
from stages.inference.left_out import left_out_decrease
from stages.inference.projection import grouped_snapshots, responses
from stages.inference.search import leading
from stages.inference.unconditional import UnconditionalRefinement, refine_unconditional
from stages.modulus import squared_modulus
from stages.physics.geometry import cosines_from_sources, sources_from_cosines
from stages.physics.steering import steering

_KEPT, _STARTED, _EXCHANGED = 12, 2, 3
"""Subsets of a beam search; hypotheses that are compared at the start, and in an exchange."""

_ROUNDS = 2
"""Exchanges at most, the next of scenes alone that the last one changed."""

_SCREENING = 2
"""Steps of V after which hypotheses are compared."""

_OFF_PLACE = 0.35
"""Share of what a source explains that it may lose where it stands off its place, on the grid."""

_SAME_CELL = 0.75
"""Distance, in cells along every axis, of places that a refinement takes to the same maximum."""

_STILL_TO_FALL = 4.0
"""What V may still fall after the screening."""

_PROPOSED = 3
"""Places that are proposed for a source."""

_LEAST_SIGNAL = 0.01
"""Power of the sources at least, over that of the noise, where the snapshots show none."""


class _Starts(NamedTuple):
    """Sources to start from, and the scene of each."""

    scene: Int[Tensor, " start"]
    sources: Float[Tensor, "start source 3"]


def likeliest_sources(
    scenes: Field,
    places: Float[Tensor, "scene candidate 3"],
    usable: Bool[Tensor, "scene candidate"],
    n_sources: int,
    n_iterations: int,
) -> UnconditionalRefinement:
    """Sources of least V less their prior, found from K > 0 candidates of each scene and by exchanges.

    places: (azimuth, elevation, inverse range) of the candidates, of which each scene has K or more usable
    ones. The result is a minimum of V alone, in the unit of the scaled snapshots: the prior chooses among
    minima.
    """
    placed = torch.where(usable[..., None], places, 0.0)
    seen = _equal_powers(scenes, placed, usable, n_sources)
    prior = scenes.prior_of(placed).masked_fill(~usable, -torch.inf)
    subsets = likeliest_subsets(seen, prior, n_sources, _KEPT)
    first = Subsets(subsets.members[:, :_STARTED], subsets.score[:, :_STARTED])
    starts = _starts(placed, first)
    begun = _begun(scenes, starts)
    best = refine_unconditional(
        scenes.observation, begun.fit.sources, n_iterations, scenes.spherical_amplitude
    )
    unsettled = torch.arange(scenes.observation.n_scenes)
    for _ in range(_ROUNDS):
        before = best.select(unsettled)
        after = _exchanged(
            scenes.select(unsettled), before, placed[unsettled], usable[unsettled], n_iterations
        )
        changed = torch.nonzero(after.cost != before.cost).flatten()
        unsettled = unsettled[changed]
        if unsettled.numel() == 0:
            break
        best = _replaced(best, after.select(changed), unsettled)
    return best


def _exchanged(
    scenes: Field,
    best: UnconditionalRefinement,
    places: Float[Tensor, "scene candidate 3"],
    usable: Bool[Tensor, "scene candidate"],
    n_iterations: int,
) -> UnconditionalRefinement:
    """The best, or what is better of other subsets of its sources, their proposals and the candidates.

    A subset is tried that, before any refinement, misses no more of the gain of the best one than a source
    loses that stands off its place; and goes on where a few steps bring it near the best.
    """
    n_sources = best.sources.shape[1]
    proposed, is_place = _proposals(scenes, best)
    pool = torch.cat((best.sources, proposed, places), dim=1)
    offered = torch.cat((torch.ones_like(is_place[:, :n_sources]), is_place, usable), dim=1)
    seen = _equal_powers(scenes, pool, offered, n_sources)
    prior = scenes.prior_of(pool).masked_fill(~offered, -torch.inf)
    subsets = likeliest_subsets(seen, prior, n_sources, _KEPT)
    same = torch.arange(n_sources)
    own = marginal_gain(seen, same.expand(offered.shape[0], 1, -1))
    least = own + prior[:, :n_sources].sum(-1, keepdim=True) - _OFF_PLACE / n_sources * own.abs()
    known = _same_cells(scenes.grid, pool, subsets.members, same)
    tried = ~known & (subsets.score >= least)
    score, order = subsets.score.masked_fill(~tried, -torch.inf).topk(_EXCHANGED, dim=1)
    members = subsets.members.gather(1, order[..., None].expand(-1, -1, n_sources))
    starts = _starts(pool, Subsets(members, score))
    if starts.scene.numel() == 0:
        return best
    begun = _begun(scenes, starts)
    near = begun.cost < _penalized(scenes, best)[begun.scene] + _STILL_TO_FALL
    members = begun.scene[near]
    if members.numel() == 0:
        return best
    part = scenes.select(members)
    other = refine_unconditional(
        part.observation, begun.fit.sources[near], n_iterations, scenes.spherical_amplitude
    )
    is_better = _penalized(part, other) < _penalized(part, best.select(members))
    better = torch.nonzero(is_better).flatten()
    return _replaced(best, other.select(better), members[better])


def _penalized(scenes: Field, fit: UnconditionalRefinement) -> Float[Tensor, " scene"]:
    """V less the prior of the sources."""
    return fit.cost - scenes.prior_of(fit.sources).sum(-1)


class _Begun(NamedTuple):
    """The best start of each scene that has one after a few steps, and its V less the prior."""

    scene: Int[Tensor, " started"]
    fit: UnconditionalRefinement
    cost: Float[Tensor, " started"]


def _begun(scenes: Field, starts: _Starts) -> _Begun:
    """All starts take a few steps, the best of each scene is kept."""
    part = scenes.select(starts.scene)
    tried = refine_unconditional(part.observation, starts.sources, _SCREENING, scenes.spherical_amplitude)
    cost = _penalized(part, tried)
    first = leading(starts.scene, cost, 1)
    return _Begun(starts.scene[first], tried.select(first), cost[first])


def _same_cells(
    grid: Grid,
    pool: Float[Tensor, "scene place 3"],
    members: Int[Tensor, "scene subset source"],
    own: Int[Tensor, " source"],
) -> Bool[Tensor, "scene subset"]:
    """True for subsets in the cells, place by place, of the first K places or of a better subset."""
    cosines = cosines_from_sources(pool)
    apart = ((cosines[:, :, None] - cosines[:, None]).abs() / grid.steps).amax(-1)
    cell = (apart <= _SAME_CELL).long().argmax(-1)
    cells = cell.gather(1, members.flatten(1)).unflatten(1, members.shape[1:]).sort(-1).values
    repeated = torch.tril((cells[:, :, None] == cells[:, None]).all(-1), diagonal=-1).any(-1)
    known: Tensor = repeated | (cells == own).all(-1)
    return known


def _starts(places: Float[Tensor, "scene candidate 3"], subsets: Subsets) -> _Starts:
    """The sources of subsets that have a score."""
    scene, rank = torch.nonzero(subsets.score > -torch.inf, as_tuple=True)
    return _Starts(scene, places[scene[:, None], subsets.members[scene, rank]])


def _equal_powers(
    scenes: Field,
    places: Float[Tensor, "scene candidate 3"],
    usable: Bool[Tensor, "scene candidate"],
    n_sources: int,
) -> Match:
    """Inner products of candidates with the power that each of K equal ones would have.

    p = max(mean_g |y_g|^2 - n sigma^2, 0.01 n sigma^2) / (K mean |b_g|^2),   n rows of a group
    """
    single = scenes.observation.to(torch.complex64)
    waves = steering(places, single.elements, single.wavelength, scenes.spherical_amplitude)
    waves = torch.where(usable[..., None], waves.to(torch.complex64), 0.0)
    columns, snapshots = responses(single, waves), grouped_snapshots(single)
    noise = scenes.noise_power.float()
    received, by_noise = squared_modulus(snapshots).sum(-1).mean(1), noise * snapshots.shape[-1]
    signal = torch.maximum(received - by_noise, _LEAST_SIGNAL * by_noise)
    energy = (squared_modulus(columns).sum(-1).mean(1)).sum(-1) / usable.sum(-1)
    scale = (signal / (n_sources * energy * noise)).sqrt()[:, None, None, None]
    return match(columns * scale, snapshots * noise.rsqrt()[:, None, None])


def _replaced(
    best: UnconditionalRefinement, other: UnconditionalRefinement, scenes: Int[Tensor, " other"]
) -> UnconditionalRefinement:
    """`best` with the rows of another in the place of those of some scenes."""

    def merged(name: str) -> Tensor:
        values: Tensor = getattr(best, name).clone()
        values[scenes] = getattr(other, name)
        return values

    return UnconditionalRefinement(*(merged(part.name) for part in fields(UnconditionalRefinement)))


def _proposals(
    scenes: Field, fit: UnconditionalRefinement
) -> tuple[Float[Tensor, "scene place 3"], Bool[Tensor, "scene place"]]:
    """Places where each source would stand best, between the grid points, and whether each is one."""
    decrease = left_out_decrease(scenes, fit.sources, fit.powers, fit.noise_power)
    found = peaks((decrease + scenes.prior.float()[:, None]).flatten(0, 1), scenes.grid, _PROPOSED)
    low, high = scenes.grid.cosines.amin(0), scenes.grid.cosines.amax(0)
    inside = torch.minimum(torch.maximum(found.cosines.nan_to_num(nan=0.0), low), high)
    n_scenes = decrease.shape[0]
    return sources_from_cosines(inside).reshape(n_scenes, -1, 3), found.usable.reshape(n_scenes, -1)
