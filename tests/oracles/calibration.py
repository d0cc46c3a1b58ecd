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


def gain(log_amplitude: float, phase: float) -> complex:
    """exp(alpha + j phi)"""
    return cmath.exp(complex(log_amplitude, phase))
