"""What the network reads: compressed maps of the sparse covariance fit, the estimated SNR, and coordinates.

The surface and the grid are mirror-symmetric in u and v, so a mirrored map is the map of a mirrored scene.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

GridShape = tuple[int, int, int]
"""(n_w, n_v, n_u): points of the grid along 1/r, sin(theta), sin(phi) cos(theta)."""

_MAP_FLOOR = 1e-5
_SNR_FLOOR = 1e-2


class Mirror(NamedTuple):
    """Axes that a mirror reverses: u -> -u (azimuth changes sign), v -> -v (elevation changes sign)."""

    horizontal: bool
    vertical: bool


def mirror_points(
    points: Float[Tensor, "*batch point"], shape: GridShape, mirror: Mirror
) -> Float[Tensor, "*batch point"]:
    """Map values on the mirrored grid."""
    axes = [axis for axis, flipped in ((-1, mirror.horizontal), (-2, mirror.vertical)) if flipped]
    return points.reshape(*points.shape[:-1], *shape).flip(axes).reshape(points.shape) if axes else points


def n_channels(n_maps: int, shape: GridShape) -> int:
    """Channels of `network_input`: the 1/r planes of every map, two scalars and two coordinates."""
    return n_maps * shape[0] + 4


def network_input(
    maps: Float[Tensor, "scene map point"],
    estimated_snr: Float[Tensor, " scene"],
    shared: Bool[Tensor, " scene"],
    shape: GridShape,
) -> Float[Tensor, "scene channel v u"]:
    """Input image of the network: 1/r planes as channels of an image over (v, u).

    A map m enters as log(max(m, 1e-5)), the estimated SNR as log10(max(SNR, 1e-2)), sources with the same
    amplitude in all snapshots (`constant`) as 1, others as 0, and the coordinates u and v as -1 ... 1 over
    the grid.
    """
    n_scenes, n_maps, _ = maps.shape
    planes = maps.clamp_min(_MAP_FLOOR).log().reshape(n_scenes, n_maps * shape[0], shape[1], shape[2])
    scalars = torch.stack((estimated_snr.clamp_min(_SNR_FLOOR).log10(), shared.to(planes.dtype)), dim=1)
    levels = scalars[:, :, None, None].expand(-1, -1, shape[1], shape[2])
    v, u = torch.meshgrid(
        torch.linspace(-1.0, 1.0, shape[1], device=maps.device),
        torch.linspace(-1.0, 1.0, shape[2], device=maps.device),
        indexing="ij",
    )
    coordinates = torch.stack((v, u)).expand(n_scenes, -1, -1, -1)
    return torch.cat((planes, levels, coordinates), dim=1)
