"""Cramer-Rao bounds of one scene by definition: joint Fisher information of every unknown, then its inverse.

Derivatives are fourth-order central differences of the mean or of the covariance, unknown by unknown, so that
neither an analytic derivative nor a projection is shared with what they check.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tests.oracles import observation
from tests.oracles.steering import steering

Real = NDArray[np.float64]
Array = NDArray[np.complex128]

STEP = 1e-4
"""Truncation (k |e| h)^4 / 30 and rounding eps / h are both about 1e-12 for apertures of some wavelengths."""


class Scene(NamedTuple):
    """What is known of a scene: channel (M, N), codes (L, N), element positions (N, 3)."""

    channel: Array
    codes: Array
    array: Sequence[Sequence[float]]
    wavelength: float
    spherical_amplitude: bool


def derivatives(function: Callable[[Real], Array], unknowns: Real) -> list[Array]:
    """(f(x - 2h) - 8 f(x - h) + 8 f(x + h) - f(x + 2h)) / 12 h along each unknown."""
    found = []
    for index in range(unknowns.size):
        step = np.zeros(unknowns.size)
        step[index] = STEP
        slope = function(unknowns - 2 * step) - 8 * function(unknowns - step)
        slope += 8 * function(unknowns + step) - function(unknowns + 2 * step)
        found.append(slope / (12 * STEP))
    return found


def _mean(scene: Scene, sources: Real, amplitudes: Array) -> Array:
    waves = [steering(source, scene.array, scene.wavelength, scene.spherical_amplitude) for source in sources]
    return observation.snapshots(scene.channel, scene.codes, np.array(waves), amplitudes)


def _of_mean(mean: Callable[[Real], Array], unknowns: Real, noise_power: float, n_positions: int) -> Real:
    """F_ij = (2 / sigma^2) Re sum (d mu / di)^* d mu / dj."""
    slopes = derivatives(mean, unknowns)
    information = np.zeros((len(slopes), len(slopes)))
    for i, first in enumerate(slopes):
        for j, second in enumerate(slopes):
            information[i, j] = 2.0 / noise_power * np.sum(first.conj() * second).real
    return np.linalg.inv(information)[:n_positions, :n_positions]


def conditional(scene: Scene, sources: Real, amplitudes: Array, noise_power: float) -> Real:
    """Unknowns: positions, real and imaginary part of s_lk for every snapshot and source."""
    size = sources.size

    def mean(unknowns: Real) -> Array:
        parts = unknowns[size:].reshape(2, *amplitudes.shape)
        return _mean(scene, unknowns[:size].reshape(-1, 3), parts[0] + 1j * parts[1])

    start = np.concatenate((sources.ravel(), amplitudes.real.ravel(), amplitudes.imag.ravel()))
    return _of_mean(mean, start, noise_power, size)


def constant(scene: Scene, sources: Real, amplitudes: Array, noise_power: float) -> Real:
    """Unknowns: positions, real and imaginary part of one s_k a source."""
    size = sources.size
    n_snapshots = len(scene.codes)

    def mean(unknowns: Real) -> Array:
        parts = unknowns[size:].reshape(2, -1)
        repeated = np.tile(parts[0] + 1j * parts[1], (n_snapshots, 1))
        return _mean(scene, unknowns[:size].reshape(-1, 3), repeated)

    start = np.concatenate((sources.ravel(), amplitudes.real, amplitudes.imag))
    return _of_mean(mean, start, noise_power, size)


def equal_gains(scene: Scene, sources: Real, amplitude: complex, noise_power: float) -> Real:
    """Unknowns: positions, real and imaginary part of one amplitude of all sources."""
    size = sources.size

    def mean(unknowns: Real) -> Array:
        amplitudes = np.full((len(scene.codes), len(sources)), unknowns[-2] + 1j * unknowns[-1])
        return _mean(scene, unknowns[:size].reshape(-1, 3), amplitudes)

    start = np.concatenate((sources.ravel(), [amplitude.real, amplitude.imag]))
    return _of_mean(mean, start, noise_power, size)


def unconditional(scene: Scene, sources: Real, powers: Real, noise_power: float) -> Real:
    """Unknowns: positions, powers, noise power; F_ij = sum_l tr(R_l^-1 dR_l/di R_l^-1 dR_l/dj)."""
    n_antennas, size, n_sources = len(scene.channel), sources.size, len(sources)

    def covariances(unknowns: Real) -> Array:
        found = []
        for code in scene.codes:
            b = observation.sensing(scene.channel, code)
            covariance = unknowns[-1] * np.eye(n_antennas, dtype=complex)
            for source in range(n_sources):
                place = unknowns[3 * source : 3 * source + 3]
                g = b @ steering(place, scene.array, scene.wavelength, scene.spherical_amplitude)
                covariance += unknowns[size + source] * np.outer(g, g.conj())
            found.append(covariance)
        return np.array(found)

    start = np.concatenate((sources.ravel(), powers, [noise_power]))
    slopes = derivatives(covariances, start)
    inverses = [np.linalg.inv(covariance) for covariance in covariances(start)]
    information = np.zeros((start.size, start.size))
    for i, first in enumerate(slopes):
        for j, second in enumerate(slopes):
            for snapshot, inverse in enumerate(inverses):
                information[i, j] += np.trace(inverse @ first[snapshot] @ inverse @ second[snapshot]).real
    return np.linalg.inv(information)[:size, :size]
