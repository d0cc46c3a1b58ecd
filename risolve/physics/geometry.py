"""Planar array and source coordinates.

The surface lies in the x-y plane, centred on the origin, boresight +z. Element order: vertical index slow,
horizontal index fast. A source at azimuth phi, elevation theta, range r stands at p = r q with q = (sin phi
cos theta, sin theta, cos phi cos theta).
"""

import math

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.spatial import KDTree
from torch import Tensor

from risolve.shapes import Elements

_LEVEL = 1e-6
"""Share of the direction of a line along a coordinate, below which the line has no part along it."""

_ALONG = 0.98
"""Share of a direction along a coordinate from which it counts as being along it."""


def planar_array(n_horizontal: int, n_vertical: int, spacing: float) -> Elements:
    """Uniform planar array, indices -(n-1)/2 ... (n-1)/2 times the spacing (m), float64.

    >>> planar_array(2, 1, 0.5).tolist()
    [[-0.25, 0.0, 0.0], [0.25, 0.0, 0.0]]
    """
    x = (torch.arange(n_horizontal, dtype=torch.float64) - (n_horizontal - 1) / 2) * spacing
    y = (torch.arange(n_vertical, dtype=torch.float64) - (n_vertical - 1) / 2) * spacing
    grid_y, grid_x = torch.meshgrid(y, x, indexing="ij")
    return torch.stack((grid_x, grid_y, torch.zeros_like(grid_x)), dim=-1).reshape(-1, 3)


def nearest_spacing(elements: Elements) -> float:
    """Median distance (m) of an element from its nearest neighbour; 0 for a single element.

    >>> nearest_spacing(planar_array(3, 2, 0.5))
    0.5
    """
    if elements.shape[0] < 2:
        return 0.0
    distance, _ = KDTree(elements.numpy()).query(elements.numpy(), k=[2])
    return float(np.median(distance))


def is_line(elements: Elements) -> bool:
    """Whether all elements are on one line, to 1e-6 of its length.

    >>> is_line(planar_array(4, 1, 0.5)), is_line(planar_array(2, 2, 0.5))
    (True, False)
    """
    from_centre = elements - elements.mean(0)
    return elements.shape[0] < 3 or bool(
        torch.linalg.svdvals(from_centre)[1] <= 1e-6 * from_centre.abs().max()
    )


def line_direction(elements: Elements) -> Float[Tensor, " 3"]:
    """Direction along which elements extend farthest, a unit vector of either sign."""
    direction: Tensor = torch.linalg.svd(elements - elements.mean(0), full_matrices=False).Vh[0]
    return direction


def line_tells(elements: Elements) -> str:
    """Which angle elements on a line tell: azimuth, elevation, or the cone about them, one of the two.

    >>> line_tells(planar_array(4, 1, 0.5)), line_tells(planar_array(1, 4, 0.5))
    ('azimuth', 'elevation')
    """
    x, y, z = line_direction(elements).tolist()
    if abs(y) < _LEVEL:
        return "azimuth"
    return "elevation" if math.hypot(x, z) < _LEVEL else "one of the two"


def blind_axis(elements: Elements, wavelength: float) -> int | None:
    """Axis (0, 1, 2 of x, y, z) of which elements do not tell one side from the other; None of a volume.

    It is the normal of elements within a quarter of a wavelength of a plane, where it is within 11 degrees
    of the axis. Across any other plane a place has a mirror image, which is searched too. A line is blind all
    around: across z, or across x where it runs along z.

    >>> blind_axis(planar_array(4, 4, 0.5), 1.0)
    2
    """
    if is_line(elements):
        return 0 if float(line_direction(elements)[2].abs()) > _ALONG else 2
    normal = plane_normal(elements, wavelength)
    if normal is None:
        return None
    return int(normal.abs().argmax()) if float(normal.abs().amax()) > _ALONG else None


def plane_normal(elements: Elements, wavelength: float) -> Float[Tensor, " 3"] | None:
    """Unit normal, of either sign, of the plane within a quarter of a wavelength of which elements lie; None
    where there is none.
    """
    from_centre = elements - elements.mean(0)
    normal: Tensor = torch.linalg.svd(from_centre, full_matrices=False).Vh[2]
    depth = from_centre @ normal
    return None if float(depth.amax() - depth.amin()) >= wavelength / 4.0 else normal


def mirrored(
    places: Float[Tensor, "*batch 3"], elements: Elements, wavelength: float
) -> Float[Tensor, "*batch 3"] | None:
    """p - 2 n n^T (p - centre), as far from every element as p; n of `plane_normal`, None where it is."""
    normal = plane_normal(elements, wavelength)
    if normal is None:
        return None
    return places - 2.0 * ((places - elements.mean(0)) @ normal)[..., None] * normal


def aperture(elements: Elements) -> float:
    """D = 2 max |e_n - centre| (m), the diameter of the array seen from its centre."""
    return 2.0 * float((elements - elements.mean(0)).norm(dim=-1).max())


def fresnel_distance(aperture: float, wavelength: float) -> float:
    """0.62 sqrt(D^3 / lambda) (m): nearer than this the second-order phase is wrong."""
    return 0.62 * math.sqrt(aperture**3 / wavelength)


def fraunhofer_distance(aperture: float, wavelength: float) -> float:
    """2 D^2 / lambda (m): farther than this the wave is plane, to pi/8 of phase at the edge.

    >>> round(fraunhofer_distance(aperture(planar_array(12, 12, 0.15)), 0.3), 1)
    36.3
    """
    return 2.0 * aperture**2 / wavelength


def mirror_order(elements: Elements, axis: int) -> Int[Tensor, " element"] | None:
    """The element at the mirror image in x (axis 0) or y (axis 1) of each; None where one falls between
    elements.
    """
    sign = torch.ones(3, dtype=elements.dtype)
    sign[axis] = -1.0
    distance, nearest = KDTree(elements.numpy()).query((elements * sign).numpy())
    moved = torch.from_numpy(nearest)
    is_own = torch.equal(moved[moved], torch.arange(len(moved)))
    return moved if is_own and np.max(distance) <= 1e-6 * float(elements.abs().max()) else None


def directions(angles: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch 3"]:
    """q = (sin phi cos theta, sin theta, cos phi cos theta) of (azimuth, elevation) in rad."""
    azimuth, elevation = angles.unbind(-1)
    cosine = torch.cos(elevation)
    return torch.stack(
        (torch.sin(azimuth) * cosine, torch.sin(elevation), torch.cos(azimuth) * cosine), dim=-1
    )


def positions(sources: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3"]:
    """p = q / w (m) of sources (azimuth, elevation, inverse range); infinite for w = 0, NaN stays NaN."""
    return directions(sources[..., :2]) / sources[..., 2:]


def position_jacobian(sources: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """dp / d(azimuth, elevation, range), columns in that order (m/rad, m/rad, 1), valid for w > 0.

    dp/dphi = r (cos phi cos theta, 0, -sin phi cos theta),
    dp/dtheta = r (-sin phi sin theta, cos theta, -cos phi sin theta), dp/dr = q.
    """
    azimuth_derivative, elevation_derivative = direction_derivatives(sources[..., :2])
    reach = 1.0 / sources[..., 2:]
    return torch.stack(
        (reach * azimuth_derivative, reach * elevation_derivative, directions(sources[..., :2])), dim=-1
    )


def direction_derivatives(
    angles: Float[Tensor, "*batch 2"],
) -> tuple[Float[Tensor, "*batch 3"], Float[Tensor, "*batch 3"]]:
    """(dq/dphi, dq/dtheta) of (azimuth, elevation)."""
    azimuth, elevation = angles.unbind(-1)
    sin_phi, cos_phi = torch.sin(azimuth), torch.cos(azimuth)
    sin_theta, cos_theta = torch.sin(elevation), torch.cos(elevation)
    by_azimuth = torch.stack((cos_phi * cos_theta, torch.zeros_like(azimuth), -sin_phi * cos_theta), dim=-1)
    by_elevation = torch.stack((-sin_phi * sin_theta, cos_theta, -cos_phi * sin_theta), dim=-1)
    return by_azimuth, by_elevation


def sources_from_cosines(cosines: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3"]:
    """(azimuth, elevation, inverse range) of (u, v, w), for u^2 + v^2 <= 1.

    phi = atan2(u, sqrt(1 - u^2 - v^2)),   theta = asin(v)
    """
    u, v, w = cosines.unbind(-1)
    forward = torch.sqrt((1.0 - u * u - v * v).clamp_min(0.0))
    return torch.stack((torch.atan2(u, forward), torch.asin(v), w), dim=-1)


def cosines_from_sources(sources: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3"]:
    """(u, v, w) of (azimuth, elevation, inverse range)."""
    q = directions(sources[..., :2])
    return torch.stack((q[..., 0], q[..., 1], sources[..., 2]), dim=-1)


def turned(
    sources: Float[Tensor, "*batch 3"], middle: Float[Tensor, " 1"] | float = 0.0
) -> Float[Tensor, "*batch 3"]:
    """The same sources with azimuths within half a turn of a middle; those that are stay as they are, bit for
    bit.
    """
    azimuth = sources[..., :1]
    beside = azimuth - middle
    turns = torch.where(beside.abs() > math.pi, torch.round(beside / (2.0 * math.pi)), 0.0)
    return torch.cat((azimuth - 2.0 * math.pi * turns, sources[..., 1:]), dim=-1)


def radians(limits_deg: tuple[float, float]) -> tuple[float, float]:
    """[lowest, highest] in rad of both in degrees."""
    return math.radians(limits_deg[0]), math.radians(limits_deg[1])
