"""The genie: maximum likelihood that is also started at the truth. A limit for plots, no estimator."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from risolve.estimators.contract import Estimate, Group, Settings, joined
from risolve.estimators.ml import likeliest
from risolve.inference.detection import Detector, detectors, explained, gains
from risolve.inference.grid import Grid
from risolve.inference.likelihood import Refinement, refine
from risolve.inference.search import leading
from risolve.physics.observation import Observation

_SCREENING, _FINISHED = 6, 6
"""Steps of J after which starts are compared, and those of a scene that are refined to the end."""

_SAME = 1e-6
"""Difference of J, over J, of starts that lead to one minimum."""

_SHARPNESS = 4.0
"""Exponent of the gain by which random starts are drawn: likely places, and unlikely ones too."""


@dataclass(frozen=True)
class Genie:
    """The least J, and the largest unconditional likelihood, of the truth and of many other starts."""

    conditional: Estimate
    unconditional: Estimate


def genie(
    observation: Observation,
    truth: Float[Tensor, "scene source 3"],
    others: Float[Tensor, "scene other source 3"],
    grid: Grid,
    settings: Settings,
    n_starts: int,
    random: torch.Generator,
) -> Genie:
    """Both likelihoods maximized from the truth, from what estimators found, and from random starts.

    others: sources that estimators gave, NaN where they gave fewer than K. The K places of each of `n_starts`
    random starts are drawn from the grid with probabilities that grow with the gain of one source there. All
    starts descend 6 steps; of those that lead to different J, the 6 of least J of a scene descend to the end,
    and so does the truth. These minima of J, and the truth, start the unconditional refinement. A minimum
    below that of the truth is one that the likelihood itself prefers: with few other starts the genie looks
    better than any estimator can be. All scenes have K = truth.shape[1] > 0 sources.
    """
    n_iterations = settings.n_iterations
    conditional: list[tuple[Int[Tensor, " member"], Group]] = []
    unconditional: list[tuple[Int[Tensor, " member"], Group]] = []
    for piece, detector in detectors(observation, grid):
        exact = truth[piece].double()
        drawn = _random_starts(detector, truth.shape[1], n_starts, random)
        pool = torch.cat((exact[:, None], others[piece], drawn), dim=1)
        scenes, number = torch.nonzero(pool.isfinite().all((2, 3)), as_tuple=True)
        start = refine(detector.observation.select(scenes), pool[scenes, number], _SCREENING)
        kept = _distinct(scenes, start.residual)
        kept = kept[leading(scenes[kept], start.residual[kept], _FINISHED)]
        kept = torch.cat((kept, torch.nonzero(number == 0).flatten())).unique()
        scenes, is_truth = scenes[kept], number[kept] == 0
        # the truth descends in one go: stopped and started again, it may end elsewhere
        begun = torch.where(is_truth[:, None, None], exact[scenes], start.sources[kept])
        fits = refine(detector.observation.select(scenes), begun, n_iterations)
        members = torch.arange(piece.start, piece.stop)
        conditional.append((members, _least(scenes, fits)))
        every = torch.cat((torch.arange(detector.n_scenes), scenes))
        places = torch.cat((exact, fits.sources))
        part = observation.select(members)
        unconditional.append((members, likeliest(part, every, places, n_iterations)))
    return Genie(
        joined(observation, conditional, looked=True),
        joined(observation, unconditional, looked=True),
    )


def _distinct(scenes: Int[Tensor, " start"], residual: Float[Tensor, " start"]) -> Int[Tensor, " distinct"]:
    """Rows scene by scene, the least J first, without those whose J is that of the row before."""
    order = leading(scenes, residual, scenes.shape[0])
    scene, value = scenes[order], residual[order]
    first = torch.ones_like(order, dtype=torch.bool)
    first[1:] = (scene[1:] != scene[:-1]) | (value[1:] > value[:-1] * (1.0 + _SAME))
    return order[first]


def _random_starts(
    detector: Detector, n_sources: int, n_starts: int, random: torch.Generator
) -> Float[Tensor, "scene start source 3"]:
    alone = torch.empty((detector.n_scenes, 1, 0, 3), dtype=torch.float64)
    gain = gains(detector, explained(detector, alone))[:, 0]
    weights = (gain / gain.amax(-1, keepdim=True)).double() ** _SHARPNESS
    points = [torch.multinomial(weights, n_sources, generator=random) for _ in range(n_starts)]
    return detector.grid.sources[torch.stack(points, dim=1)]


def _least(scenes: Int[Tensor, " start"], fits: Refinement) -> Group:
    fit = fits.select(leading(scenes, fits.residual, 1))
    found = torch.ones(fit.sources.shape[0], dtype=torch.bool)
    return Group(fit.sources, found, fit.sources, converged=fit.converged)
