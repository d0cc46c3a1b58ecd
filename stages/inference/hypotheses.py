"""Sources by the likelihood of Gaussian amplitudes, from candidate places: hypotheses, and their exchange.

    V = sum_g [ log det R_g + y_g^H R_g^-1 y_g ],   R_g = G_g diag(p) G_g^H + sigma^2 I

Hypotheses are subsets of candidates, of equal powers at first. A few steps of V compare them, and the best is
refined to the end. Where one source may stand better elsewhere, the grid tells from what the others leave:

    q_k(x) = num / den,   num = sum_g |b_g(x)^H R_-k,g^-1 y_g|^2,   den = sum_g b_g(x)^H R_-k,g^-1 b_g(x)

R_-k is R without source k. A source at x of the best power lowers V by about n (q - 1 - log q) for q > 1, n
groups, so that the maxima of q_k are the places for source k. All sums over the grid are products with its
steering vectors: the responses B_g A of the grid, which `detection.Detector` holds, are never formed.
"""

from dataclasses import dataclass, fields, replace
from typing import NamedTuple

import torch
from jaxtyping import Bool, Complex, Float, Int
from torch import Tensor

from stages.inference.candidates import Match, Subsets, likeliest_subsets, marginal_gain, match
from stages.inference.grid import Grid, grid_steering, peaks
from stages.inference.mirror import MirrorFold, mirror_fold
from stages.inference.noise import estimated_noise_power
from stages.inference.projection import grouped_snapshots, responses
from stages.inference.scaling import unit_scale
from stages.inference.search import leading
from stages.inference.unconditional import UnconditionalRefinement, refine_unconditional
from stages.physics.geometry import cosines_from_sources, sources_from_cosines
from stages.physics.observation import Observation
from stages.physics.steering import steering
from stages.shapes import Powers

_KEPT, _STARTED, _EXCHANGED = 12, 3, 4
"""Subsets of a beam search; hypotheses that are compared at the start, and in an exchange."""

_SCREENING = 3
"""Steps of V after which hypotheses are compared."""

_OFF_PLACE = 0.35
"""Share of what a source explains that it may lose where it stands off its place, on the grid."""

_SAME_CELL = 0.75
"""Distance, in cells along every axis, of places that a refinement takes to the same maximum."""

_STILL_TO_FALL = 4.0
"""What V may still fall after the screening."""

_PROPOSED = 3
"""Maxima of q_k that are proposed for a source."""

_LEAST_FREE = 1e-3
"""Share of sum_g |b_g|^2 that is left of den at least: a place that the others explain has no say."""

_LEAST_SIGNAL = 0.01
"""Power of the sources at least, over that of the noise, where the snapshots show none."""


@dataclass(frozen=True)
class Field:
    """Scenes on unit scale with the grid in its parity parts, and sum_g |b_g(x)|^2 of every point.

    prior: logarithm of what speaks for a source near each point beside the snapshots, 0 where nothing does.
    noise_power: known, or estimated from the snapshots. snapshot_power, system_power: mean |y|^2, and mean
    |H|^2 mean |c|^2, of the scenes before they were scaled.
    """

    observation: Observation
    grid: Grid
    spherical_amplitude: bool
    fold: MirrorFold
    energy: Float[Tensor, "scene point"]
    prior: Float[Tensor, "scene point"]
    noise_power: Powers
    snapshot_power: Powers
    system_power: Powers

    def select(self, scenes: Int[Tensor, " chosen"]) -> "Field":
        """The same of some scenes."""
        return replace(
            self,
            observation=self.observation.select(scenes),
            energy=self.energy[scenes],
            prior=self.prior[scenes],
            noise_power=self.noise_power[scenes],
            snapshot_power=self.snapshot_power[scenes],
            system_power=self.system_power[scenes],
        )

    def prior_of(self, sources: Float[Tensor, "scene source 3"]) -> Float[Tensor, "scene source"]:
        """The prior at the grid points nearest to sources; that of the border outside the grid."""
        n_w, n_v, n_u = self.grid.shape
        low = self.grid.cosines.amin(0)
        steps = torch.where(self.grid.steps > 0.0, self.grid.steps, 1.0)
        index = ((cosines_from_sources(sources) - low) / steps).round().long()
        u, v, w = (index[..., axis].clamp(0, n - 1) for axis, n in enumerate((n_u, n_v, n_w)))
        point = (w * n_v + v) * n_u + u
        return self.prior.gather(1, point)

    def in_own_units(
        self, fit: UnconditionalRefinement, rows: Int[Tensor, " scene"]
    ) -> UnconditionalRefinement:
        """One row of a fit a scene, in the units that the scenes had before they were scaled."""
        own = fit.select(rows)
        n_numbers = self.observation.n_snapshots * self.observation.n_antennas
        return replace(
            own,
            powers=own.powers * (self.snapshot_power / self.system_power)[:, None],
            noise_power=own.noise_power * self.snapshot_power,
            cost=own.cost + n_numbers * self.snapshot_power.log(),
        )


def field(
    observation: Observation, grid: Grid, spherical_amplitude: bool, prior: Float[Tensor, "scene point"]
) -> Field:
    """The field of a batch of scenes.

    Raises:
        ValueError: as `unit_scale`.
    """
    unit = unit_scale(observation)
    wave = grid_steering(grid, observation.elements, observation.wavelength, spherical_amplitude)
    fold = mirror_fold(wave, observation.elements)
    channel, codes = unit.channel.to(torch.complex64), unit.codes.to(torch.complex64)
    gram = fold.parity_blocks((channel.mH @ channel) * (codes.mH @ codes))
    energy = fold.forms(gram).expand(observation.n_scenes, -1)
    noise_power = estimated_noise_power(unit) if unit.noise_power is None else unit.noise_power
    snapshot_power, channel_power, code_power = (
        values.to(torch.complex128).abs().square().mean((1, 2))
        for values in (observation.snapshots, observation.channel, observation.codes)
    )
    system_power = (channel_power * code_power).expand_as(snapshot_power)
    return Field(
        unit,
        grid,
        spherical_amplitude,
        fold,
        energy,
        prior.double(),
        noise_power,
        snapshot_power,
        system_power,
    )


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
    """Sources of least V less their prior, found from K > 0 candidates of each scene and by one exchange.

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
    return _exchanged(scenes, best, placed, usable, n_iterations)


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
    received, by_noise = _squared(snapshots).sum(-1).mean(1), noise * snapshots.shape[-1]
    signal = torch.maximum(received - by_noise, _LEAST_SIGNAL * by_noise)
    energy = (_squared(columns).sum(-1).mean(1)).sum(-1) / usable.sum(-1)
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
    """Places at the maxima of q_k of every source, between the grid points, and whether each is one."""
    ratios = left_out_ratios(scenes, fit.sources, fit.powers, fit.noise_power)
    found = peaks(ratios.flatten(0, 1), scenes.grid, _PROPOSED)
    low, high = scenes.grid.cosines.amin(0), scenes.grid.cosines.amax(0)
    inside = torch.minimum(torch.maximum(found.cosines.nan_to_num(nan=0.0), low), high)
    n_scenes = ratios.shape[0]
    return sources_from_cosines(inside).reshape(n_scenes, -1, 3), found.usable.reshape(n_scenes, -1)


def left_out_ratios(
    scenes: Field,
    sources: Float[Tensor, "scene source 3"],
    powers: Float[Tensor, "scene source"],
    noise_power: Powers,
) -> Float[Tensor, "scene source point"]:
    """q_k of every source at every grid point, in complex64.

    With columns G of the sources scaled by sqrt(p_k) / sigma, and S = I + G^H G = L L^H,

        sigma^2 R^-1 = I - W W^H,   W = G L^-H
        sigma^2 R_-k^-1 = sigma^2 R^-1 + u_k u_k^H,   u_k = G S^-1 e_k / sqrt([S^-1]_kk)
    """
    single = scenes.observation.to(torch.complex64)
    waves = steering(sources, single.elements, single.wavelength, scenes.spherical_amplitude)
    noise = noise_power.float()
    ratio = powers.float() / noise[:, None]
    columns = responses(single, waves.to(torch.complex64)) * ratio.sqrt()[:, None, :, None]
    snapshots = grouped_snapshots(single)
    identity = torch.eye(sources.shape[1], dtype=torch.complex128)
    exact = columns.to(torch.complex128)
    lower = torch.linalg.cholesky(exact.conj() @ exact.mT + identity)
    inverse = torch.cholesky_solve(identity.expand_as(lower), lower)
    own = inverse.diagonal(dim1=-2, dim2=-1).real.rsqrt()[..., None]
    orthogonal = torch.linalg.solve_triangular(lower.conj(), exact, upper=False).to(torch.complex64)
    added = ((inverse.conj() @ exact) * own).to(torch.complex64)
    along = (added.conj() @ snapshots[..., None]) * added
    within = (orthogonal.conj() @ snapshots[..., None]).mT @ orthogonal
    matched = _on_grid(scenes, snapshots[:, :, None] - within + along)
    free = scenes.energy[:, None] - _on_grid(scenes, orthogonal).sum(1, keepdim=True)
    free = torch.maximum(free + _on_grid(scenes, added), _LEAST_FREE * scenes.energy[:, None])
    ratios: Tensor = matched / (noise[:, None, None] * free)
    return ratios


def _on_grid(
    scenes: Field, rows: Complex[Tensor, "scene group column row"]
) -> Float[Tensor, "scene column point"]:
    """sum_g |b_g(x)^H r_g|^2 of every column at every grid point."""
    observation, fold = scenes.observation, scenes.fold
    channel, codes = observation.channel.to(torch.complex64), observation.codes.to(torch.complex64)
    n_scenes, n_groups, n_columns, _ = rows.shape
    if observation.source_model == "constant":
        by_snapshot = rows[:, 0].unflatten(-1, (observation.n_snapshots, observation.n_antennas))
        received = ((by_snapshot @ channel.conj()[:, None]) * codes.conj()[:, None]).sum(2)[:, :, None]
    else:
        coded = (rows.flatten(1, 2) @ channel.conj()).unflatten(1, (n_groups, n_columns))
        received = (coded * codes.conj()[:, :, None]).permute(0, 2, 1, 3)
    seen = fold.powers(fold.columns(received.flatten(0, 1)))
    by_column: Tensor = seen.unflatten(0, (n_scenes, n_columns))
    return by_column


def _squared(values: Complex[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    squared: Tensor = torch.view_as_real(values).square().sum(-1)
    return squared
