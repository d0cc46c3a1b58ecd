"""Rivals: other places of a source at which the snapshots are nearly as likely.

Elements more than half a wavelength apart, a code book whose beams have mirror images, antennas in a plane,
or delays that come again leave several places that answer alike. Each source is left out in turn, and put
where the grid says that it would explain most, far from where it was.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from risolve.inference.assessment import log_likelihood
from risolve.inference.condensing import condensed
from risolve.inference.detection import Detector, detectors, explained, gains
from risolve.inference.grid import Grid
from risolve.inference.likelihood import refine
from risolve.inference.peaks import local_maxima
from risolve.inference.search import beside_each, leading, without
from risolve.physics.geometry import turned
from risolve.physics.observation import Observation

_APART = 2.0
"""Cells of half a beam along u or v, azimuth or elevation, or a delay, from which a place is another."""

_LEAST_SHARE = 0.4
"""Of what a source explains, that a point of the grid must explain in its stead: between the points half of
it is lost.
"""

AS_LIKELY = 7.0
"""Log-likelihood below which a rival is not ruled out: odds of a thousand."""

_TRIED = 2
"""Places that are tried for each source."""

_SCREENING = 4
"""Steps of the refinement after which these are compared."""


class Rivals(NamedTuple):
    """The best other place of each source, and how far the log-likelihood of the scene with the source there
    is below that of the sources where they are: of free amplitudes, each at its maximum.

    NaN where no other direction, or with a common delay no other place, explains nearly as much.
    """

    places: Float[Tensor, "scene source 3"]
    below: Float[Tensor, "scene source"]


def rivals(
    observation: Observation, sources: Float[Tensor, "scene source 3"], grid: Grid, n_iterations: int
) -> Rivals:
    """Rivals of NaN-padded sources within the grid; the other sources may move a little."""
    places = torch.full_like(sources, torch.nan)
    below = torch.full_like(sources[..., 0], torch.nan)
    present = ~sources[..., 0].isnan()
    for count in sorted(set(present.sum(-1).tolist()) - {0}):
        scenes = torch.nonzero(present.sum(-1) == count).flatten()
        slots = torch.nonzero(present[scenes])[:, 1].reshape(-1, count)
        part, own = observation.select(scenes), sources[scenes[:, None], slots]
        few = condensed(part)
        for piece, detector in detectors(few, grid):
            scene, source, starts = _starts(beside_each(detector, own[piece]), own[piece])
            if scene.numel() == 0:
                continue
            number = scene * count + source
            seen = few.select(piece.start + scene)
            kept = leading(number, refine(seen, starts, _SCREENING).residual, 1)
            scene, source = scene[kept], source[kept]
            fit = refine(seen.select(kept), starts[kept], n_iterations)
            moved = fit.sources[torch.arange(len(kept)), source]
            stays = _is_apart(grid, moved[:, None], own[piece][scene])[:, 0].all(-1)
            row = piece.start + scene[stays]
            where = scenes[row], slots[row, source[stays]]
            places[where] = turned(moved[stays])
            rivalled, of_scene = scene[stays].unique(return_inverse=True)
            here = refine(few.select(piece.start + rivalled), own[piece][rivalled], n_iterations)
            seen = part.select(row)
            best = log_likelihood(seen, here.residual[of_scene])
            below[where] = best - log_likelihood(seen, fit.residual[stays])
    return Rivals(places, below)


class _Starts(NamedTuple):
    """Scene and source of each start, and all sources of the scene with that one put elsewhere."""

    scene: Int[Tensor, " start"]
    source: Int[Tensor, " start"]
    sources: Float[Tensor, "start source 3"]


def _starts(detector: Detector, sources: Float[Tensor, "scene source 3"]) -> _Starts:
    grid, (n_scenes, n_sources) = detector.grid, sources.shape[:2]
    taken = explained(detector, without(sources, [(k,) for k in range(n_sources)]))
    gain = gains(detector, taken).flatten(0, 1)
    # as many maxima may be those of the sources themselves
    maxima = local_maxima(gain, grid, n_sources + _TRIED)
    share = gain.gather(1, maxima.point).unflatten(0, (n_scenes, n_sources))
    own = taken.residual - refine(detector.observation, sources, 0).residual[:, None]
    point, usable = (values.unflatten(0, (n_scenes, n_sources)) for values in maxima)
    found = grid.sources[point].flatten(1, 2)
    elsewhere = _is_apart(grid, found, sources).all(-1).unflatten(1, point.shape[1:])
    usable = usable & elsewhere & (share > _LEAST_SHARE * own[..., None])
    usable &= usable.cumsum(-1) <= _TRIED
    scene, source, rank = torch.nonzero(usable, as_tuple=True)
    moved = sources[scene].clone()
    moved[torch.arange(len(scene)), source] = grid.sources[point[scene, source, rank]]
    return _Starts(scene, source, moved)


def _is_apart(
    grid: Grid, places: Float[Tensor, "scene place 3"], sources: Float[Tensor, "scene source 3"]
) -> Bool[Tensor, "scene place source"]:
    """True for places in another direction than a source, or at another delay; along an axis of one point
    nothing is apart.
    """
    apart = grid.apart(grid.coordinates_of(places)[:, :, None], grid.coordinates_of(sources)[:, None])
    n_told = 3 if grid.delay_weight else 2
    distance: Tensor = (apart / grid.steps)[..., :n_told].nan_to_num(nan=0.0, posinf=0.0).amax(-1)
    return distance > _APART
