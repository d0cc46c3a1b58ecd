"""What scenes leave of their snapshots through an array with errors, scene by scene from the definitions."""

import cmath
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tests.oracles import likelihood

Array = NDArray[np.complex128]


def turned(point: Sequence[float], angle: float) -> list[float]:
    """A point on the boresight comes to stand at the azimuth `angle`."""
    x, y, z = point
    return [x * math.cos(angle) + z * math.sin(angle), y, z * math.cos(angle) - x * math.sin(angle)]


def residual(
    snapshots: Array,
    channel: Array,
    codes: Array,
    sources: Sequence[Sequence[float]],
    elements: Sequence[Sequence[float]],
    wavelength: float,
    source_model: str,
) -> float:
    """J of one scene."""
    matrices = likelihood.dictionary(channel, codes, sources, elements, wavelength, False, source_model)
    return likelihood.residual(matrices, likelihood.groups(snapshots, source_model))


def true_place(
    stated: Sequence[float], azimuth: float, elevation: float, offset: float, scale: float
) -> list[float]:
    """(azimuth, elevation, inverse range) that a wrong truth means."""
    return [stated[0] + azimuth, stated[1] + elevation, 1.0 / (scale / stated[2] + offset)]


def mixing(coupling: complex, elements: Sequence[Sequence[float]]) -> Array:
    """I + c T"""
    n_elements = len(elements)
    apart = [[math.dist(elements[n], elements[m]) for m in range(n_elements)] for n in range(n_elements)]
    nearest = min(apart[n][m] for n in range(n_elements) for m in range(n_elements) if n != m)
    matrix = np.eye(n_elements, dtype=complex)
    for n in range(n_elements):
        for m in range(n_elements):
            if n != m and apart[n][m] < 1.001 * nearest:
                matrix[n, m] = coupling
    return matrix


def gain(log_amplitude: float, phase: float) -> complex:
    """exp(alpha + j phi)"""
    return cmath.exp(complex(log_amplitude, phase))
