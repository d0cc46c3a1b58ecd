"""Sources by the likelihood of Gaussian amplitudes, from candidate places: hypotheses, and their exchange.

    V = sum_g [ log det R_g + y_g^H R_g^-1 y_g ],   R_g = G_g diag(p) G_g^H + sigma^2 I

Hypotheses are subsets of candidates, of equal powers at first. A few steps of V compare them, and the best is
refined to the end. Where one source may stand better elsewhere, the grid tells from what the others leave
(`inference.left_out`). Where K sources are all there are and yet leave more of the snapshots than noise does,

    sum_g y_g^H R_g^-1 y_g > n + 4 sqrt(n),   n = L M        (mean n and variance n at the truth)

the search goes on with more hypotheses, among them two sources in the place of one that merged them.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from risolve.inference.candidates import Match, Subsets, likeliest_subsets, marginal_gain, match
from risolve.inference.field import Field
from risolve.inference.grid import Grid
from risolve.inference.left_out import left_out_decrease, whitened
from risolve.inference.peaks import peaks
from risolve.inference.projection import grouped_snapshots, responses
from risolve.inference.search import leading
from risolve.inference.unconditional import UnconditionalRefinement, refine_unconditional
from risolve.modulus import squared_modulus


class _Effort(NamedTuple):
    """Subsets of a beam search, hypotheses that are compared in an exchange, the steps of V after which they
    are, the share of what a source explains that it may lose where it stands off its place, on the grid, and
    whether the directions around a source are proposed for another.
    """

    kept: int
    compared: int
    steps: int
    off_place: float
    around: bool


_USUAL = _Effort(12, 3, 2, 0.35, around=False)

_THOROUGH = _Effort(40, 12, 6, torch.inf, around=True)

_STARTED = 2
"""Hypotheses that are compared at the start."""

_ROUNDS = 2
"""Exchanges of either effort at most, the next of scenes alone that the last one changed."""

_MISFIT = 4.0
"""Standard deviations of sum_g y_g^H R_g^-1 y_g above its mean from which the sources explain too little."""

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
    complete: bool,
) -> UnconditionalRefinement:
    """Sources of least V less their prior, found from K > 0 candidates of each scene and by exchanges.

    places: (azimuth, elevation, inverse range) of the candidates, of which each scene has K or more usable
    ones. complete: there are no more than K sources, so that they explain the snapshots up to the noise. The
    result is a minimum of V alone, in the unit of the scaled snapshots: the prior chooses among minima.
    """
    placed = torch.where(usable[..., None], places, 0.0)
    seen = _equal_powers(scenes, placed, usable, n_sources)
    prior = scenes.prior_of(placed).masked_fill(~usable, -torch.inf)
    subsets = likeliest_subsets(seen, prior, n_sources, _USUAL.kept)
    first = Subsets(subsets.members[:, :_STARTED], subsets.score[:, :_STARTED])
    starts = _starts(placed, first)
    begun = _begun(scenes, starts, _USUAL.steps)
    best = refine_unconditional(scenes.observation, begun.fit.sources, n_iterations)
    every = torch.arange(scenes.observation.n_scenes)
    best = _after_rounds(scenes, best, every, placed, usable, n_iterations, _USUAL)
    if complete:
        misfitting = torch.nonzero(_is_misfit(scenes, best)).flatten()
        best = _after_rounds(scenes, best, misfitting, placed, usable, n_iterations, _THOROUGH)
    return best


def _after_rounds(
    scenes: Field,
    best: UnconditionalRefinement,
    unsettled: Int[Tensor, " unsettled"],
    places: Float[Tensor, "scene candidate 3"],
    usable: Bool[Tensor, "scene candidate"],
    n_iterations: int,
    effort: _Effort,
) -> UnconditionalRefinement:
    """The best of all scenes after exchanges in the unsettled ones."""
    for _ in range(_ROUNDS):
        if unsettled.numel() == 0:
            break
        before = best.select(unsettled)
        after = _exchanged(
            scenes.select(unsettled), before, places[unsettled], usable[unsettled], n_iterations, effort
        )
        changed = torch.nonzero(after.cost != before.cost).flatten()
        unsettled = unsettled[changed]
        best = best.replaced(unsettled, after.select(changed))
    return best


def _exchanged(
    scenes: Field,
    best: UnconditionalRefinement,
    places: Float[Tensor, "scene candidate 3"],
    usable: Bool[Tensor, "scene candidate"],
    n_iterations: int,
    effort: _Effort,
) -> UnconditionalRefinement:
    """The best, or what is better of other subsets of its sources, their proposals and the candidates.

    A subset is tried that, before any refinement, misses no more of the gain of the best one than a source
    loses that stands off its place; and goes on where a few steps bring it near the best.
    """
    n_sources = best.sources.shape[1]
    proposed, is_place = _proposals(scenes, best)
    if effort.around:
        neighbours = _neighbours(scenes.grid, best.sources)
        proposed = torch.cat((proposed, neighbours), dim=1)
        is_place = torch.cat((is_place, is_place.new_ones(neighbours.shape[:2])), dim=1)
    pool = torch.cat((best.sources, proposed, places), dim=1)
    offered = torch.cat((torch.ones_like(is_place[:, :n_sources]), is_place, usable), dim=1)
    seen = _equal_powers(scenes, pool, offered, n_sources)
    prior = scenes.prior_of(pool).masked_fill(~offered, -torch.inf)
    subsets = likeliest_subsets(seen, prior, n_sources, effort.kept)
    same = torch.arange(n_sources)
    own = marginal_gain(seen, same.expand(offered.shape[0], 1, -1))
    least = own + prior[:, :n_sources].sum(-1, keepdim=True) - effort.off_place / n_sources * own.abs()
    known = _same_cells(scenes.grid, pool, subsets.members, same)
    tried = ~known & (subsets.score >= least)
    score, order = subsets.score.masked_fill(~tried, -torch.inf).topk(effort.compared, dim=1)
    members = subsets.members.gather(1, order[..., None].expand(-1, -1, n_sources))
    starts = _starts(pool, Subsets(members, score))
    if starts.scene.numel() == 0:
        return best
    begun = _begun(scenes, starts, effort.steps)
    near = begun.cost < _penalized(scenes, best)[begun.scene] + _STILL_TO_FALL
    members = begun.scene[near]
    if members.numel() == 0:
        return best
    part = scenes.select(members)
    other = refine_unconditional(part.observation, begun.fit.sources[near], n_iterations)
    is_better = _penalized(part, other) < _penalized(part, best.select(members))
    better = torch.nonzero(is_better).flatten()
    return best.replaced(members[better], other.select(better))


def _penalized(scenes: Field, fit: UnconditionalRefinement) -> Float[Tensor, " scene"]:
    """V less the prior of the sources."""
    return fit.cost - scenes.prior_of(fit.sources).sum(-1)


class _Begun(NamedTuple):
    """The best start of each scene that has one after a few steps, and its V less the prior."""

    scene: Int[Tensor, " started"]
    fit: UnconditionalRefinement
    cost: Float[Tensor, " started"]


def _begun(scenes: Field, starts: _Starts, n_steps: int) -> _Begun:
    """All starts take a few steps, the best of each scene is kept."""
    part = scenes.select(starts.scene)
    tried = refine_unconditional(part.observation, starts.sources, n_steps)
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
    places = grid.coordinates_of(pool)
    apart = (grid.apart(places[:, :, None], places[:, None]) / grid.steps).amax(-1)
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
    waves = single.array.steering(places)
    waves = torch.where(usable[..., None], waves.to(torch.complex64), 0.0)
    columns, snapshots = responses(single, waves), grouped_snapshots(single)
    noise = scenes.noise_power.float()
    received, by_noise = squared_modulus(snapshots).sum(-1).mean(1), noise * snapshots.shape[-1]
    signal = torch.maximum(received - by_noise, _LEAST_SIGNAL * by_noise)
    energy = (squared_modulus(columns).sum(-1).mean(1)).sum(-1) / usable.sum(-1)
    scale = (signal / (n_sources * energy * noise)).sqrt()[:, None, None, None]
    return match(columns * scale, snapshots * noise.rsqrt()[:, None, None])


def _proposals(
    scenes: Field, fit: UnconditionalRefinement
) -> tuple[Float[Tensor, "scene place 3"], Bool[Tensor, "scene place"]]:
    """Places where each source would stand best, between the grid points, and whether each is one."""
    decrease = left_out_decrease(scenes, fit.sources, fit.powers, fit.noise_power)
    found = peaks((decrease + scenes.prior.float()[:, None]).flatten(0, 1), scenes.grid, _PROPOSED)
    inside = scenes.grid.in_box(found.coordinates.nan_to_num(nan=0.0))
    n_scenes = decrease.shape[0]
    return scenes.grid.sources_at(inside).reshape(n_scenes, -1, 3), found.usable.reshape(n_scenes, -1)


def _neighbours(grid: Grid, sources: Float[Tensor, "scene source 3"]) -> Float[Tensor, "scene place 3"]:
    """The eight directions one cell of the grid away from each source, at its range."""
    steps = [(u, v, 0) for v in (-1, 0, 1) for u in (-1, 0, 1) if (u, v) != (0, 0)]
    places = grid.coordinates_of(sources)[:, :, None] + grid.steps * torch.tensor(steps)
    return grid.sources_at(grid.in_box(places.flatten(1, 2)))


def _is_misfit(scenes: Field, fit: UnconditionalRefinement) -> Bool[Tensor, " scene"]:
    """True where sum_g y_g^H R_g^-1 y_g is larger than noise makes it, sigma^2 not being that of the fit."""
    seen = whitened(scenes, fit.sources, fit.powers, fit.noise_power)
    left = squared_modulus(seen.snapshots).sum((1, 2)) - squared_modulus(seen.inside).sum((1, 2, 3))
    left = left * fit.noise_power / scenes.noise_power
    n_equations = scenes.observation.n_snapshots * scenes.observation.n_antennas
    return left > n_equations + _MISFIT * math.sqrt(n_equations)
