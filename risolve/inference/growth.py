"""Sources one by one, up to a number that is told or counted."""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from risolve.identifiability import most_sources
from risolve.inference.counting import CountingRule, is_source
from risolve.inference.detection import Detector, widened
from risolve.inference.likelihood import Refinement, refine
from risolve.inference.search import grown, shrunk
from risolve.inference.twins import has_twins
from risolve.physics.ranks import received_rank

_AHEAD = 3
"""Sources beyond the number that is counted for which equal gains are tried: three may be seen where none of
two explains more than noise.
"""

Improve: TypeAlias = Callable[[Detector, Refinement], Refinement]
"""A search that lowers J of the sources found so far."""


class Located(NamedTuple):
    """Scenes that have one number of sources, their fit, and whether counting stopped before twins."""

    scenes: Int[Tensor, " scene"]
    fit: Refinement
    stopped: Bool[Tensor, " scene"]

    def select(self, rows: Tensor) -> "Located":
        """Some of them."""
        return Located(self.scenes[rows], self.fit.select(rows), self.stopped[rows])


def located(
    detector: Detector,
    n_sources: Int[Tensor, " scene"] | None,
    rule: CountingRule,
    n_iterations: int,
    improve: Improve,
) -> list[Located]:
    """Sources added one at a time where they explain most, improved after each.

    A scene ends at its number of sources, or where that is not told, before the first that is not one by
    `is_source` or makes twins (`has_twins`), or at `rule.most` or the most that the snapshots determine;
    sources that the others then make needless are taken out again. Of equal gains see `_counted_together`.
    """
    if n_sources is None and detector.observation.gains == "equal":
        return _counted_together(detector, rule, n_iterations, improve)
    n_points = detector.grid.n_inside
    empty = torch.empty((detector.n_scenes, 0, 3), dtype=torch.float64)
    fit = refine(detector.observation, empty, 0)
    active, part = torch.arange(detector.n_scenes), detector
    ended = []
    for count in range(_most(detector, rule) if n_sources is None else int(n_sources.max())):
        if n_sources is not None:
            going = n_sources[active] > count
            ended.append(_as_told(active, fit).select(~going))
            fit, active, part = fit.select(going), active[going], part.select(_rows(going))
        part = widened(part, fit.sources[:, None])
        more = improve(part, grown(part, fit.sources, n_iterations))
        if n_sources is None:
            explains = is_source(rule, part.observation, count, fit.residual, more.residual, n_points)
            stopped = explains & has_twins(part.observation, more)
            going = explains & ~stopped
            ended.append(Located(active, fit, stopped).select(~going))
            more, active, part = more.select(going), active[going], part.select(_rows(going))
        fit = more
        if active.numel() == 0:
            break
    ended.append(_as_told(active, fit))
    if n_sources is None:
        ended = [part for group in ended for part in _needed(detector, group, rule, n_iterations)]
    return [group for group in ended if group.scenes.numel()]


def _counted_together(
    detector: Detector, rule: CountingRule, n_iterations: int, improve: Improve
) -> list[Located]:
    """Sources of equal gains: the number to which none of the next three adds one by `is_source`.

    Each number of sources is another model, and one more of them may explain less. A scene ends where noise
    leaves as much.
    """
    n_points = detector.grid.n_inside
    empty = torch.empty((detector.n_scenes, 0, 3), dtype=torch.float64)
    counts = torch.zeros(detector.n_scenes, dtype=torch.int64)
    tried = [_as_told(torch.arange(detector.n_scenes), refine(detector.observation, empty, 0))]
    least = tried[0].fit.residual.clone()
    for count in range(1, _most(detector, rule) + 1):
        scenes, fit, _ = tried[-1]
        going = torch.zeros_like(scenes, dtype=torch.bool)
        for fewer in range(max(0, count - _AHEAD), count):
            rows = torch.nonzero(counts[scenes] == fewer).flatten()
            own, left = detector.observation.select(scenes[rows]), least[scenes[rows]]
            going[rows] = is_source(rule, own, fewer, left, torch.zeros_like(left), n_points)
        active = scenes[going]
        if active.numel() == 0:
            break
        part = detector.select(active)
        more = improve(part, grown(part, fit.sources[going], n_iterations))
        tried.append(_as_told(active, more))
        for fewer in range(max(0, count - _AHEAD), count):
            rows = torch.nonzero(counts[active] == fewer).flatten()
            own, left = part.observation.select(rows), more.residual[rows]
            explains = is_source(rule, own, fewer, least[active[rows]], left, n_points, count - fewer)
            better = active[rows[explains]]
            counts[better], least[better] = count, left[explains]
    return [
        group
        for count, each in enumerate(tried)
        if (group := each.select(counts[each.scenes] == count)).scenes.numel()
    ]


def _rows(chosen: Bool[Tensor, " scene"]) -> Int[Tensor, " chosen"]:
    return torch.nonzero(chosen).flatten()


def _as_told(scenes: Int[Tensor, " scene"], fit: Refinement) -> Located:
    return Located(scenes, fit, torch.zeros(len(scenes), dtype=torch.bool))


def _needed(detector: Detector, group: Located, rule: CountingRule, n_iterations: int) -> list[Located]:
    """The sources that remain sources beside the others, by number of them.

    From a minimum of J in which one stands for two, growth goes on past the number of sources; the surplus
    one is then noise to the rest.
    """
    count = group.fit.sources.shape[1]
    if count < 2 or group.scenes.numel() == 0:
        return [group]
    part = detector.select(group.scenes)
    fewer = shrunk(part, group.fit, n_iterations)
    n_points = detector.grid.n_inside
    needed = is_source(rule, part.observation, count - 1, fewer.residual, group.fit.residual, n_points)
    without = group._replace(fit=fewer).select(~needed)
    return [group.select(needed), *_needed(detector, without, rule, n_iterations)]


def _most(detector: Detector, rule: CountingRule) -> int:
    """Sources looked for at most, no more than the snapshots determine."""
    seen = detector.observation
    rank = received_rank(seen) if seen.source_model == "independent" else seen.n_antennas
    n_free = seen.limits.n_free
    law = most_sources(seen.source_model, seen.n_recorded, rank, seen.array.n_coherent, n_free, seen.gains)
    return min(rule.most, law.n_sources)
