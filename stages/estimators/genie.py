"""The genie: maximum likelihood that is also started at the truth. A limit for plots, no estimator."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from stages.estimators.contract import Estimate, Group, Settings, joined
from stages.estimators.ml import least_residual, likeliest
from stages.inference.detection import Detector, detectors, explained, gains
from stages.inference.grid import Grid
from stages.inference.likelihood import Refinement, refine
from stages.inference.search import leading, selected
from stages.physics.observation import Observation

_SCREENING, _FINISHED = 6, 6
"""Steps of J after which starts are compared, and those of a scene that are refined to the end."""

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
    grid: Grid,
    settings: Settings,
    n_starts: int,
    random: torch.Generator,
) -> Genie:
    """Both likelihoods maximized from the truth, from the result of `ml` and from random starts.

    The K places of each of `n_starts` random starts are drawn from the grid with probabilities that grow with
    the gain of one source there. All starts descend 6 steps, the 6 of least J of a scene to the end; these
    minima of J, and the truth, start the unconditional refinement. A
    minimum below that of the truth is one that the likelihood itself prefers: with few other starts the genie
    looks better than any estimator can be. All scenes have K = truth.shape[1] > 0 sources.
    """
    spherical, n_iterations = settings.spherical_amplitude, settings.n_iterations
    n_sources = truth.shape[1]
    conditional: list[tuple[Int[Tensor, " member"], Group]] = []
    unconditional: list[tuple[Int[Tensor, " member"], Group]] = []
    for piece, detector in detectors(observation, grid, spherical):
        members = torch.arange(piece.start, piece.stop)
        counts = torch.full((detector.n_scenes,), n_sources)
        ((_, searched),) = least_residual(detector, counts, settings)
        drawn = _random_starts(detector, n_sources, n_starts, random)
        own = torch.arange(detector.n_scenes)
        scenes = torch.cat((own, own, own.repeat_interleave(n_starts)))
        starts = torch.cat((truth[piece].double(), searched.sources, drawn.flatten(0, 1)))
        screened = refine(detector.observation.select(scenes), starts, _SCREENING, spherical)
        kept = leading(scenes, screened.residual, _FINISHED)
        scenes, places = scenes[kept], screened.sources[kept]
        fits = refine(detector.observation.select(scenes), places, n_iterations, spherical)
        conditional.append((members, _least(scenes, fits)))
        every = torch.cat((own, scenes))
        places = torch.cat((truth[piece].double(), fits.sources))
        part = observation.select(members)
        unconditional.append((members, likeliest(part, every, places, n_iterations, spherical)))
    return Genie(joined(observation, conditional, spherical), joined(observation, unconditional, spherical))


def _random_starts(
    detector: Detector, n_sources: int, n_starts: int, random: torch.Generator
) -> Float[Tensor, "scene start source 3"]:
    alone = torch.empty((detector.n_scenes, 1, 0, 3), dtype=torch.float64)
    gain = gains(detector, explained(detector, alone))[:, 0]
    weights = (gain / gain.amax(-1, keepdim=True)).double() ** _SHARPNESS
    points = [torch.multinomial(weights, n_sources, generator=random) for _ in range(n_starts)]
    return detector.grid.sources[torch.stack(points, dim=1)]


def _least(scenes: Int[Tensor, " start"], fits: Refinement) -> Group:
    best = leading(scenes, fits.residual, 1)
    best = best[scenes[best].argsort()]
    fit = selected(fits, best)
    return Group(fit.sources, torch.ones(len(best), dtype=torch.bool), fit.sources, converged=fit.converged)
