"""What a Gaussian source of known power tells of its place, and along which line it tells least.

y_l ~ CN(0, R_l), R_l = p b_l b_l^H + sigma^2 I, b_l = B_l a(x), with p and sigma^2 known and x = (azimuth,
elevation, inverse range) unknown. Places are many a scene ("point"); everything in complex128.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from risolve.physics.observation import Observation, sensing

CHUNK_BYTES = 2**26
"""Working memory of one piece of the batch."""

_SINGULAR = 1e-12
"""Smallest eigenvalue of the scaled Fisher information above rounding, as in `cramer_rao`."""

_STEP = 1e-4
"""Of central differences (rad, 1/m): they err by some (k |e| step)^2 = 1e-5."""


class LocalStatistics(NamedTuple):
    """Products of b_l and d_li = db_l/dx_i of every snapshot.

    power: |b|^2; slope: Re b^H d_i; spread: Re{ |b|^2 d_i^H d_j - d_i^H b b^H d_j }.
    """

    power: Float[Tensor, "scene point snapshot"]
    slope: Float[Tensor, "scene point snapshot 3"]
    spread: Float[Tensor, "scene point snapshot 3 3"]

    def information(self, power_ratio: Float[Tensor, " scene"]) -> Float[Tensor, "scene point 3 3"]:
        """Fisher information of x, with q = p / sigma^2 of each scene.

        F_ij = sum_l tr(R_l^-1 dR_l/di R_l^-1 dR_l/dj)
             = sum_l 4 q^2 slope_i slope_j / (1 + q |b|^2)^2 + 2 q^2 spread_ij / (1 + q |b|^2)
        """
        q = power_ratio[:, None, None, None, None]
        loaded = 1.0 + q * self.power[..., None, None]
        outer = self.slope[..., :, None] * self.slope[..., None, :]
        found: Tensor = (4.0 * (q / loaded).square() * outer + 2.0 * q.square() / loaded * self.spread).sum(2)
        return found

    def limit(self) -> Float[Tensor, "scene point 3 3"]:
        """F / (2 q) for q to infinity, sum_l spread / |b|^2."""
        return (self.spread / self.power[..., None, None]).sum(2)


class RidgeField(NamedTuple):
    """Direction d of each component i at each place, d_i = 1, along which x is hardest to tell from x + h d.

    Components are (azimuth, elevation, inverse range, range); d of the range is in (azimuth, elevation,
    range), the others in (azimuth, elevation, inverse range). With j, k the coordinates beside i,

        det d(x + h d)/dx = 1 + h divergence + h^2 minor
        divergence = dd_j/dx_j + dd_k/dx_k,   minor = dd_j/dx_j dd_k/dx_k - dd_j/dx_k dd_k/dx_j
        stretch = Frobenius norm of [dd_m/dx_n scale_n / scale_m], m and n in {j, k}

    Two places with h stretch < 1 between them never move to the same one. The scales are common to all
    places.
    """

    direction: Float[Tensor, "scene point 4 3"]
    divergence: Float[Tensor, "scene point 4"]
    minor: Float[Tensor, "scene point 4"]
    stretch: Float[Tensor, "scene point 4"]


def pieces(observation: Observation, n_points: int, n_columns: int) -> Iterator[tuple[slice, slice]]:
    """Scenes and points of pieces of bounded memory, `n_columns` responses a point."""
    received_size = observation.n_snapshots * observation.n_antennas
    per_point = 16 * n_columns * (3 * observation.n_elements + 2 * received_size)
    points = max(1, min(n_points, CHUNK_BYTES // per_point))
    scenes = max(1, CHUNK_BYTES // (points * per_point + 16 * received_size * observation.n_elements))
    for scene in range(0, observation.n_scenes, scenes):
        for point in range(0, n_points, points):
            yield slice(scene, scene + scenes), slice(point, point + points)


def received(
    observation: Observation, waves: Complex[Tensor, "scene *point element"]
) -> Complex[Tensor, "scene *point snapshot antenna"]:
    """B_l times waves on the surface, as one product with the stacked B."""
    stacked = sensing(observation).flatten(1, 2)
    found: Tensor = waves.flatten(1, -2) @ stacked.mT
    return found.reshape(*waves.shape[:-1], observation.n_snapshots, observation.n_antennas)


def survey(
    observation: Observation, places: Float[Tensor, "scene point 3"]
) -> tuple[LocalStatistics, RidgeField]:
    """Statistics and ridges at all places.

        d = C e_i / C_ii,   C^-1 = sum_l Re{ D_l^H (I - P_{b_l}) D_l }

    which is the Cramer-Rao bound for high SNR up to a factor: of all x + h d with d_i = 1 the least
    informed. Derivatives of d are central differences.

    Raises:
        ValueError: a measurement that does not resolve all three coordinates, naming scenes.
    """
    n_scenes, n_points = places.shape[:2]
    statistics = LocalStatistics(
        places.new_empty((n_scenes, n_points, observation.n_snapshots)),
        places.new_empty((n_scenes, n_points, observation.n_snapshots, 3)),
        places.new_empty((n_scenes, n_points, observation.n_snapshots, 3, 3)),
    )
    limits = places.new_empty((n_scenes, n_points, 7, 3, 3))
    steps = _STEP * torch.eye(3, dtype=torch.float64)
    offsets = torch.cat((torch.zeros((1, 3), dtype=torch.float64), steps, -steps))
    for scenes, points in pieces(observation, n_points, 4 * len(offsets)):
        around = places[scenes, points, None] + offsets
        found = _statistics(observation.select(scenes), around.flatten(1, 2))
        limits[scenes, points] = found.limit().unflatten(1, around.shape[1:3])
        for whole, part in zip(statistics, found, strict=True):
            whole[scenes, points] = part.unflatten(1, around.shape[1:3])[:, :, 0]
    covariance = inverse(limits.flatten(1, 2)).unflatten(1, (n_points, 7))
    own = covariance.diagonal(dim1=-2, dim2=-1)
    # row i of C / C_ii is d of component i
    return statistics, _field(covariance / own[..., None], own.mean((0, 1, 2)).sqrt(), places)


def inverse(information: Float[Tensor, "scene point 3 3"]) -> Float[Tensor, "scene point 3 3"]:
    """F^-1, inverted as F_ij / sqrt(F_ii F_jj).

    Raises:
        ValueError: a singular F, naming scenes.
    """
    scale = information.diagonal(dim1=-2, dim2=-1).sqrt()
    product = scale[..., :, None] * scale[..., None, :]
    scaled = (information / product).nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
    smallest = torch.linalg.eigvalsh(scaled)[..., 0].amin(-1)
    singular = ~(smallest > _SINGULAR)
    if bool(singular.any()):
        raise ValueError(
            "the Fisher information is regular where the measurement resolves all three coordinates; its "
            f"smallest scaled eigenvalue is {smallest[singular].tolist()} in scenes "
            f"{torch.nonzero(singular).flatten().tolist()} of this batch, not above {_SINGULAR:g}"
        )
    found: Tensor = torch.linalg.inv(scaled) / product
    return found


def _statistics(observation: Observation, places: Float[Tensor, "scene point 3"]) -> LocalStatistics:
    wave = observation.array.steering_derivatives(places)
    columns = torch.cat((wave.steering[..., None, :], wave.by_source), dim=-2)
    # snapshots before columns, [b_l, d_l1, d_l2, d_l3]
    responses = received(observation, columns).transpose(2, 3)
    gram = responses.conj() @ responses.mT
    power, inner = gram[..., 0, 0].real, gram[..., 0, 1:]
    outer = inner.conj()[..., :, None] * inner[..., None, :]
    spread = power[..., None, None] * gram[..., 1:, 1:] - outer
    return LocalStatistics(power, inner.real, spread.real)


def _field(
    direction: Float[Tensor, "scene point 7 3 3"],
    scale: Float[Tensor, " 3"],
    places: Float[Tensor, "scene point 3"],
) -> RidgeField:
    """Ridges of d at a place and 2 x 3 neighbours; d of the range r is dw/dr = -w^2 times that of w = 1/r."""
    # by axis, component and coordinate of d
    slope = (direction[:, :, 1:4] - direction[:, :, 4:]) / (2.0 * _STEP)
    divergence, minor, stretch = [], [], []
    for component, beside in enumerate(((1, 2), (0, 2), (0, 1))):
        block = slope[:, :, beside, component][..., beside]
        divergence.append(block[..., 0, 0] + block[..., 1, 1])
        minor.append(torch.linalg.det(block))
        ratio = scale[list(beside), None] / scale[list(beside)]
        stretch.append((block * ratio).square().sum((-2, -1)).sqrt())
    by_range = -places[..., 2].square()
    angles = by_range[..., None] * direction[:, :, 0, 2, :2]
    of_range = torch.cat((angles, torch.ones_like(angles[..., :1])), dim=-1)
    return RidgeField(
        torch.cat((direction[:, :, 0], of_range[:, :, None]), dim=2),
        torch.stack((*divergence, by_range * divergence[2]), dim=-1),
        torch.stack((*minor, by_range.square() * minor[2]), dim=-1),
        torch.stack((*stretch, by_range.abs() * stretch[2]), dim=-1),
    )
