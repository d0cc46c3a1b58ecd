"""The Ziv-Zakai bound of one source by definition: dense covariances, numerical derivatives, loops.

A place x is (azimuth, elevation, inverse range), and (azimuth, elevation, range) for component 3, the range.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tests.oracles import observation
from tests.oracles.cramer_rao import Scene, derivatives
from tests.oracles.steering import steering

Real = NDArray[np.float64]
Array = NDArray[np.complex128]


class Box(NamedTuple):
    """Uniform prior in azimuth, elevation and range."""

    azimuth: tuple[float, float]
    elevation: tuple[float, float]
    range: tuple[float, float]


def minimum_error(first: Array, second: Array, power: float, noise_power: float) -> float:
    """exp(mu + mu''/8) Q(sqrt(mu'')/2) of R_il = p b_il b_il^H + sigma^2 I: responses (L, M)."""
    mu, curvature = 0.0, 0.0
    for one, other in zip(first, second, strict=True):
        noise = noise_power * np.eye(one.size)
        covariances = [power * np.outer(b, b.conj()) + noise for b in (one, other)]
        mean = (covariances[0] + covariances[1]) / 2
        mu += sum(np.linalg.slogdet(r)[1] for r in covariances) / 2 - np.linalg.slogdet(mean)[1]
        ratio = (covariances[0] - covariances[1]) @ np.linalg.inv(mean)
        curvature += np.trace(ratio @ ratio).real
    return math.exp(mu + curvature / 8) * math.erfc(math.sqrt(curvature) / 2 / math.sqrt(2)) / 2


def responses(scene: Scene, place: Real, component: int) -> Array:
    """b_l = B_l a(x), snapshot by snapshot."""
    inverse_range = 1.0 / place[2] if component == 3 else place[2]
    source = (place[0], place[1], inverse_range)
    wave = steering(source, scene.array, scene.wavelength, scene.spherical_amplitude)
    return np.array([observation.sensing(scene.channel, code) @ wave for code in scene.codes])


def covariance(scene: Scene, place: Real, component: int) -> Real:
    """(sum_l Re D_l^H (I - b_l b_l^H / |b_l|^2) D_l)^-1."""
    slopes = derivatives(lambda x: responses(scene, x, component), place)
    information = np.zeros((3, 3))
    for snapshot, b in enumerate(responses(scene, place, component)):
        D = np.array([slope[snapshot] for slope in slopes]).T
        projector = np.eye(b.size) - np.outer(b, b.conj()) / np.vdot(b, b)
        information += (D.conj().T @ projector @ D).real
    return np.linalg.inv(information)


def least_informed(scene: Scene, place: Real, component: int) -> Real:
    """d = C e_i / C_ii."""
    axis = min(component, 2)
    found = covariance(scene, place, component)
    direction: Real = found[:, axis] / found[axis, axis]
    return direction


def slopes_of_ridge(scene: Scene, place: Real, component: int) -> Real:
    """dd_m/dx_n, row m, column n."""

    def direction(x: Real) -> Array:
        return least_informed(scene, x, component).astype(np.complex128)

    return np.array(derivatives(direction, place)).T.real


def density(box: Box, place: Real, component: int) -> float:
    """p(x), up to a factor common to all places."""
    near, far = box.range
    reach = place[2] if component == 3 else 1.0 / place[2]
    inside = box.azimuth[0] <= place[0] <= box.azimuth[1]
    inside = inside and box.elevation[0] <= place[1] <= box.elevation[1]
    if not (inside and near * (1 - 1e-12) <= reach <= far * (1 + 1e-12)):
        return 0.0
    return 1.0 if component == 3 else reach**2


def overlap(box: Box, component: int, shift: float) -> float:
    """Integral of min(p(x), p(x + h e_i)) over the axis i alone, by the midpoint rule."""
    axis = min(component, 2)
    low, high = limits(box, component)
    n_points = 20_000
    step = (high - low) / n_points
    middle = np.array([sum(side) / 2 for side in (box.azimuth, box.elevation)] + [0.0])
    middle[2] = sum(box.range) / 2 if component == 3 else 2.0 / sum(box.range)
    total, shared = 0.0, 0.0
    for index in range(n_points):
        place = middle.copy()
        place[axis] = low + (index + 0.5) * step
        moved = place.copy()
        moved[axis] += shift
        total += density(box, place, component)
        shared += min(density(box, place, component), density(box, moved, component))
    return shared / total


def limits(box: Box, component: int) -> tuple[float, float]:
    near, far = box.range
    return (box.azimuth, box.elevation, (1.0 / far, 1.0 / near), box.range)[component]


def ridge_pair(
    scene: Scene, box: Box, place: Real, component: int, shift: float, scale: Real
) -> tuple[Real, float]:
    """x + h d(x) and its weight: min(1, p(g) det(dg/dx) / p(x)) where h |dd/dx| < 1, beside the axis i."""
    moved = place + shift * least_informed(scene, place, component)
    slopes = slopes_of_ridge(scene, place, component)
    beside = [axis for axis in range(3) if axis != min(component, 2)]
    stretch = math.sqrt(sum((slopes[m, n] * scale[n] / scale[m]) ** 2 for m in beside for n in beside))
    if shift * stretch >= 1.0 or density(box, moved, component) == 0.0:
        return moved, 0.0
    determinant = float(np.linalg.det(np.eye(3) + shift * slopes))
    ratio = density(box, moved, component) / density(box, place, component)
    return moved, min(1.0, ratio * determinant)


def valley_filled_integral(shifts: Sequence[float], error: Sequence[float]) -> float:
    """Integral of h max_{h' >= h} f(h') from 0, by the trapezoidal rule on given h."""
    filled = [max(error[index:]) for index in range(len(error))]
    total = filled[0] * shifts[0] ** 2 / 2
    for index in range(1, len(shifts)):
        left, right = (shifts[i] * filled[i] for i in (index - 1, index))
        total += (left + right) / 2 * (shifts[index] - shifts[index - 1])
    return total


def mean_square(
    scenes: Sequence[Scene], box: Box, cube: Real, component: int, snr: float, n_shifts: int
) -> float:
    """The bound on E e^2: points of the unit cube (scene, draw, 3) choose the places."""
    axis = min(component, 2)
    sides = np.array([box.azimuth, box.elevation, box.range])
    low, high = limits(box, component)
    drawn = sides[:, 0] + cube * (sides[:, 1] - sides[:, 0])
    if component != 3:
        drawn[..., 2] = 1.0 / drawn[..., 2]
    received = [
        [responses(scene, x, component) for x in places] for scene, places in zip(scenes, drawn, strict=True)
    ]
    spreads = np.array(
        [
            [np.diag(covariance(scene, x, component)) for x in places]
            for scene, places in zip(scenes, drawn, strict=True)
        ]
    )
    if component == 3:
        # scale of the angles alone, which a change from w to r leaves as they are
        spreads[..., 2] = 1.0
    scale = np.sqrt(spreads.mean((0, 1)))
    shifts = np.geomspace(1e-4 * (high - low), high - low, n_shifts)
    error = []
    for shift in shifts:
        straight, ridge = 0.0, 0.0
        weight = overlap(box, component, float(shift)) if component == 2 else 1.0 - shift / (high - low)
        for number, scene in enumerate(scenes):
            power = snr / np.mean([np.mean(np.abs(b) ** 2) for b in received[number]])
            for draw, x in enumerate(drawn[number]):
                point = cube[number, draw].copy()
                point[axis] *= weight
                second = sides[:, 0] + point * (sides[:, 1] - sides[:, 0])
                if component != 3:
                    second[2] = 1.0 / second[2]
                first = second.copy()
                if component == 2:
                    first[axis] -= shift
                else:
                    second[axis] += shift
                pair = [responses(scene, place, component) for place in (first, second)]
                straight += weight * minimum_error(*pair, power, 1.0)
                moved, share = ridge_pair(scene, box, x, component, float(shift), scale)
                if share > 0.0:
                    pair = [received[number][draw], responses(scene, moved, component)]
                    ridge += share * minimum_error(*pair, power, 1.0)
        error.append(max(straight, ridge) / (len(scenes) * cube.shape[1]))
    return valley_filled_integral(shifts.tolist(), error)
