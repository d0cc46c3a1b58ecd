"""Search for the least J of a given number of sources: growth, exchange of one source, exchange of two, and
growth of many hypotheses at once.

    J(sources) = sum_g |(I - P_{G_g}) y_g|^2

Every step proposes places of the grid, which a few Levenberg-Marquardt steps compare and the best of which
are refined to the end. J never rises. All scenes of a call have the same number of sources; observations are
on unit scale, as a `Detector` holds them.
"""

import itertools
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from risolve.inference.detection import Detector, explained, gains, pair_gains, widened
from risolve.inference.likelihood import Refinement, refine
from risolve.inference.peaks import local_maxima

_SAME = 1e-6
"""Share of J by which a minimum is less than another, and not the same one."""

_WORTH = 0.65
"""Share of what a source explains that its replacement explains at a grid point, 2 dB off its peak."""

_SCREENING = 4
"""Levenberg-Marquardt steps after which proposals are compared."""

_MOST_ROUNDS = 8

_PAIRED = 64
"""Grid points of greatest gain whose pairs are compared."""

_BRANCHES = 16
"""Hypotheses that `branched` keeps after each source."""

_BRANCHING = 3
"""Levenberg-Marquardt steps after which these are compared."""

_DISTINCT = 1e-3
"""Share of J by which hypotheses differ that are not the same one."""


class Proposals(NamedTuple):
    """Starts, and the scene of each."""

    scene: Int[Tensor, " proposal"]
    sources: Float[Tensor, "proposal source 3"]


def cheaper(best: Refinement, other: Refinement, scenes: Int[Tensor, " other"]) -> Refinement:
    """`best`, with those of `other` that have less J in their scene; one of each scene at most."""
    lower = other.residual < best.residual[scenes] * (1.0 - _SAME)
    return best.replaced(scenes[lower], other.select(lower))


def grown(detector: Detector, sources: Float[Tensor, "scene source 3"], n_iterations: int) -> Refinement:
    """One more source where the grid says that it explains most, all refined together.

    References:
        Mamandipoor, Ramasamy and Madhow, "Newtonized orthogonal matching pursuit: frequency estimation over
        the continuum", IEEE Trans. Signal Process. 64 (2016).
    """
    gain = gains(detector, explained(detector, sources[:, None]))[:, 0]
    new = detector.grid.sources[gain.argmax(-1)]
    start = torch.cat((sources, new[:, None]), dim=1)
    return refine(detector.observation, start, n_iterations)


def shrunk(detector: Detector, fit: Refinement, n_iterations: int) -> Refinement:
    """The source left out without which the others leave the least J, all refined together."""
    n_scenes, n_sources = fit.sources.shape[:2]
    scene = torch.arange(n_scenes).repeat_interleave(n_sources)
    others = without(fit.sources, [(k,) for k in range(n_sources)]).flatten(0, 1)
    observation = detector.observation
    screened = refine(observation.select(scene), others, _SCREENING)
    first = leading(scene, screened.residual, 1)
    return refine(observation, screened.sources[first], n_iterations)


def exchanged(detector: Detector, best: Refinement, n_proposals: int, n_iterations: int) -> Refinement:
    """Exchange of one source for a place of the grid, again and again until no exchange lowers J.

    Each source is taken out in turn; of the `n_proposals` highest local maxima of the gain beside the others,
    those that explain nearly as much as it did, and lie in another cell, are proposed.
    """
    active = torch.arange(detector.n_scenes)
    for _ in range(_MOST_ROUNDS):
        part = beside_each(detector.select(active), best.sources[active])
        offered = _single_proposals(part, best.select(active), n_proposals)
        before = best.residual
        best = _best_proposal(detector, best, offered, active, 1, n_iterations)
        active = torch.nonzero(best.residual < before).flatten()
        if active.numel() == 0:
            break
    return best


def pairs_exchanged(detector: Detector, best: Refinement, n_proposals: int, n_iterations: int) -> Refinement:
    """Exchange of two sources at once for the best pairs of grid points beside the others, once.

    It separates sources that merged, and leaves minima that no exchange of one source leaves.
    """
    if best.sources.shape[1] < 2:
        return best
    active = torch.arange(detector.n_scenes)
    return _best_proposal(
        detector, best, _pair_proposals(detector, best, n_proposals), active, 2, n_iterations
    )


def branched(detector: Detector, best: Refinement, n_proposals: int, n_iterations: int) -> Refinement:
    """`best`, or the sources of less J that many hypotheses lead to, each grown one source at a time.

    Every hypothesis goes on at the `n_proposals` highest local maxima of the gain beside its sources; a few
    steps compare what comes of them, and the best are kept. Where sources hide each other the first of them
    that a search of one finds is none, and no exchange of one or two leads back from there.

    References:
        Kwon, Wang and Shim, "Multipath matching pursuit", IEEE Trans. Inf. Theory 60 (2014).
    """
    n_scenes, n_sources = best.sources.shape[:2]
    scene = torch.arange(n_scenes)
    fits = refine(detector.observation, best.sources[:, :0], 0)
    for count in range(n_sources):
        hypotheses = _by_scene(scene, fits.sources, n_scenes)
        gain = gains(detector, explained(detector, hypotheses)).flatten(0, 1)
        maxima = local_maxima(gain, detector.grid, n_proposals if count else _BRANCHES)
        row, rank = torch.nonzero(maxima.usable, as_tuple=True)
        scene = row // hypotheses.shape[1]
        new = detector.grid.sources[maxima.point[row, rank]]
        starts = torch.cat((hypotheses.flatten(0, 1)[row], new[:, None]), dim=1)
        fits = refine(detector.observation.select(scene), starts, _BRANCHING)
        kept = _distinct(scene, fits.residual)
        scene, fits = scene[kept], fits.select(kept)
    return _best_finished(detector, best, scene, fits, 2, n_iterations)


def _distinct(scene: Int[Tensor, " row"], residual: Float[Tensor, " row"]) -> Int[Tensor, " kept"]:
    """The rows of least J of each scene, one of those that have the same."""
    order = leading(scene, residual, len(residual))
    own, ordered = scene[order], residual[order]
    new = torch.ones_like(own, dtype=torch.bool)
    new[1:] = (own[1:] != own[:-1]) | (ordered[1:] > ordered[:-1] * (1.0 + _DISTINCT))
    order = order[new]
    return order[leading(scene[order], residual[order], _BRANCHES)]


def _by_scene(
    scene: Int[Tensor, " row"], sources: Float[Tensor, "row source 3"], n_scenes: int
) -> Float[Tensor, "scene hypothesis source 3"]:
    """Rows in the order of their scenes, side by side; the last of a scene stands for those it lacks."""
    sizes = torch.bincount(scene, minlength=n_scenes)
    first = sizes.cumsum(0) - sizes
    place = torch.minimum(torch.arange(int(sizes.max())), sizes[:, None] - 1)
    return sources[first[:, None] + place]


def proposals(detector: Detector, best: Refinement, n_proposals: int) -> Proposals:
    """Exchanges of one source and of two for places of the grid."""
    single = _single_proposals(detector, best, n_proposals)
    if best.sources.shape[1] < 2:
        return single
    pairs = _pair_proposals(detector, best, n_proposals)
    return Proposals(torch.cat((single.scene, pairs.scene)), torch.cat((single.sources, pairs.sources)))


def _best_proposal(
    detector: Detector,
    best: Refinement,
    offered: Proposals,
    active: Int[Tensor, " active"],
    n_finished: int,
    n_iterations: int,
) -> Refinement:
    """`best`, or where it has less J the best of the proposals of a scene, of which `n_finished` are refined.

    The scenes of proposals count among the active ones.
    """
    scene = active[offered.scene]
    if scene.numel() == 0:
        return best
    screened = refine(detector.observation.select(scene), offered.sources, _SCREENING)
    return _best_finished(detector, best, scene, screened, n_finished, n_iterations)


def _best_finished(
    detector: Detector,
    best: Refinement,
    scene: Int[Tensor, " row"],
    screened: Refinement,
    n_finished: int,
    n_iterations: int,
) -> Refinement:
    """`best`, or where it has less J the best of the n screened rows of least J of a scene, refined."""
    kept = leading(scene, screened.residual, n_finished)
    scene = scene[kept]
    finished = refine(detector.observation.select(scene), screened.sources[kept], n_iterations)
    first = leading(scene, finished.residual, 1)
    return cheaper(best, finished.select(first), scene[first])


def leading(scene: Int[Tensor, " row"], residual: Float[Tensor, " row"], n_kept: int) -> Int[Tensor, " kept"]:
    """The n rows of least residual, or other cost, of each scene: scene by scene, the least first."""
    order = residual.argsort(stable=True)
    order = order[scene[order].argsort(stable=True)]
    ordered = scene[order]
    place = torch.arange(ordered.shape[0])
    first = torch.ones_like(ordered, dtype=torch.bool)
    first[1:] = ordered[1:] != ordered[:-1]
    start = torch.where(first, place, 0).cummax(0).values
    return order[place - start < n_kept]


def _single_proposals(detector: Detector, best: Refinement, n_proposals: int) -> Proposals:
    n_scenes, n_sources = best.sources.shape[:2]
    others = without(best.sources, [(k,) for k in range(n_sources)])
    taken = explained(detector, others)
    gain = gains(detector, taken)
    maxima = local_maxima(gain.flatten(0, 1), detector.grid, n_proposals)
    point = maxima.point.unflatten(0, (n_scenes, n_sources))
    usable = maxima.usable.unflatten(0, (n_scenes, n_sources))
    own = taken.residual - best.residual[:, None]
    worth = gain.gather(2, point) > _WORTH * own[..., None]
    elsewhere = ~_same_cell(detector, best.sources[:, :, None], point)
    scene, slot, rank = torch.nonzero(usable & worth & elsewhere, as_tuple=True)
    start = best.sources[scene].clone()
    start[torch.arange(scene.shape[0]), slot] = detector.grid.sources[point[scene, slot, rank]]
    return Proposals(scene, start)


def _pair_proposals(detector: Detector, best: Refinement, n_proposals: int) -> Proposals:
    scenes, starts = [], []
    grid, n_sources = detector.grid, best.sources.shape[1]
    for pair in itertools.combinations(range(n_sources), 2):
        taken = explained(detector, without(best.sources, [pair]))
        points = detector.highest(gains(detector, taken)[:, 0], _PAIRED)
        most, partner = pair_gains(detector, taken, points).max(-1)
        # The gain of a point with its best partner, as a spectrum: points that were not paired are below all.
        marginal = most.new_full((detector.n_scenes, grid.n_points), -1.0).scatter(1, points, most)
        maxima = local_maxima(marginal, grid, n_proposals)
        place = (points[:, None] == maxima.point[..., None]).long().argmax(-1)
        second = points.gather(1, partner.gather(1, place))
        own = taken.residual - best.residual[:, None]
        usable = maxima.usable & (marginal.gather(1, maxima.point) > _WORTH * own)
        usable &= ~_repeated(maxima.point, second)
        scene, rank = torch.nonzero(usable, as_tuple=True)
        start = best.sources[scene].clone()
        start[:, pair[0]] = grid.sources[maxima.point[scene, rank]]
        start[:, pair[1]] = grid.sources[second[scene, rank]]
        scenes.append(scene)
        starts.append(start)
    return Proposals(torch.cat(scenes), torch.cat(starts))


def beside_each(detector: Detector, sources: Float[Tensor, "scene source 3"]) -> Detector:
    """Widened for each source left out."""
    return widened(detector, without(sources, [(k,) for k in range(sources.shape[1])]))


def without(
    sources: Float[Tensor, "scene source 3"], left_out: list[tuple[int, ...]]
) -> Float[Tensor, "scene hypothesis other 3"]:
    """The sources without some of them, one hypothesis each."""
    n_sources = sources.shape[1]
    kept = [[k for k in range(n_sources) if k not in out] for out in left_out]
    return torch.stack([sources[:, k] for k in kept], dim=1)


def _same_cell(
    detector: Detector,
    sources: Float[Tensor, "scene source 1 3"],
    point: Int[Tensor, "scene source rank"],
) -> Bool[Tensor, "scene source rank"]:
    """True where a grid point is within a cell of a source along every axis."""
    grid = detector.grid
    apart = grid.apart(grid.coordinates_of(sources), grid.coordinates[point])
    return (apart <= 1.01 * grid.steps).all(-1)


def _repeated(
    first: Int[Tensor, "scene rank"], second: Int[Tensor, "scene rank"]
) -> Bool[Tensor, "scene rank"]:
    """True for a pair that came before, in either order."""
    pair = torch.stack((torch.minimum(first, second), torch.maximum(first, second)), dim=-1)
    same = (pair[:, :, None] == pair[:, None]).all(-1)
    return torch.tril(same, diagonal=-1).any(-1)
