"""What a source beyond those that were found lowers the cost of the unconditional likelihood by."""

import torch
from jaxtyping import Float
from torch import Tensor

from risolve.inference.detection import detectors, explained, gains
from risolve.inference.grid import Grid
from risolve.inference.unconditional import refine_unconditional
from risolve.physics.observation import Observation

_STEPS = 3
"""Of V, from the place on the grid: a source that is there lowers V by more than what is still to come."""


def decrease_by_one_more(
    observation: Observation, sources: Float[Tensor, "scene source 3"], grid: Grid
) -> Float[Tensor, " scene"]:
    """D_K = V_K - V_{K+1} of K sources at a minimum of V and one more (`inference.unconditional`).

    It starts at the point of the grid where it explains most of what the others leave, and all take a few
    steps.

    Raises:
        ValueError: as `unit_scale` and `refine_unconditional`.
    """
    decrease = torch.empty(observation.n_scenes, dtype=torch.float64)
    for piece, detector in detectors(observation, grid):
        own, seen = sources[piece], detector.observation
        gain = gains(detector, explained(detector, own[:, None]))[:, 0]
        more = torch.cat((own, grid.sources[gain.argmax(-1)][:, None]), dim=1)
        before, after = (refine_unconditional(seen, places, _STEPS).cost for places in (own, more))
        decrease[piece] = before - after
    return decrease
