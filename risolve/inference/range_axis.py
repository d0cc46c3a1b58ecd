"""The range coordinate of a grid: w = 1/r, or x = w - b / w of bands with a common delay, b in 1/m^2.

Steps of x are steps of w near by, where the wave front is curved, and of r far away, where a delay tells it.
"""

import torch
from jaxtyping import Float
from torch import Tensor


def ends(range_: tuple[float, float], delay_weight: float) -> tuple[float, float]:
    """w - b / w of the farthest and of the nearest range."""
    nearest, farthest = range_
    if not delay_weight:
        return 1.0 / farthest, 1.0 / nearest
    return 1.0 / farthest - delay_weight * farthest, 1.0 / nearest - delay_weight * nearest


def bent(places: Float[Tensor, "*batch axis"], delay_weight: float) -> Float[Tensor, "*batch axis"]:
    """The last coordinate w as w - b / w."""
    if not delay_weight:
        return places
    w = places[..., -1:]
    return torch.cat((places[..., :-1], w - delay_weight / w), dim=-1)


def straight(coordinates: Float[Tensor, "*batch 3"], delay_weight: float) -> Float[Tensor, "*batch 3"]:
    """w > 0 of x = w - b / w, the larger root of w^2 - x w - b = 0; of x < 0 without a difference."""
    if not delay_weight:
        return coordinates
    x = coordinates[..., 2:]
    sum_ = x.abs() + (x.square() + 4.0 * delay_weight).sqrt()
    w = torch.where(x < 0.0, 2.0 * delay_weight / sum_, sum_ / 2.0)
    return torch.cat((coordinates[..., :2], w), dim=-1)
