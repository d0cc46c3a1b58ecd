"""Concentrated likelihood of one scene by explicit projections, its information, the best subset."""

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tests.oracles import steering

Array = NDArray[np.complex128]
Real = NDArray[np.float64]


def dictionary(
    channel: Array,
    codes: Array,
    sources: Sequence[Sequence[float]],
    elements: Sequence[Sequence[float]],
    wavelength: float,
    spherical_amplitude: bool,
    source_model: str,
) -> list[Array]:
    """G_l = H diag(c_l) A of every snapshot, or all of them stacked (`constant`)."""
    waves = [steering.steering(source, elements, wavelength, spherical_amplitude) for source in sources]
    matrix = np.array(waves).T
    each = [channel @ np.diag(code) @ matrix for code in codes]
    return each if source_model == "independent" else [np.vstack(each)]


def groups(snapshots: Array, source_model: str) -> list[Array]:
    """y_l of every snapshot, or all of them stacked (`constant`)."""
    return list(snapshots) if source_model == "independent" else [snapshots.reshape(-1)]


def residual(matrices: list[Array], received: list[Array]) -> float:
    """sum_l |(I - G_l G_l^+) y_l|^2."""
    total = 0.0
    for matrix, y in zip(matrices, received, strict=True):
        projector = np.eye(len(y)) - matrix @ np.linalg.pinv(matrix)
        total += float(np.linalg.norm(projector @ y) ** 2)
    return total


def best_subset(columns: list[Array], received: list[Array], n_sources: int) -> tuple[int, ...]:
    """The columns, K of them, of least residual."""
    candidates = range(columns[0].shape[1])
    return min(
        itertools.combinations(candidates, n_sources),
        key=lambda subset: residual([matrix[:, subset] for matrix in columns], received),
    )


def information(
    matrices: list[Array], derivatives: list[list[Array]], amplitudes: list[Array], noise_power: float
) -> Real:
    """F_ij = (2 / sigma^2) sum_l Re{v_li^H (I - P_{G_l}) v_lj}, v_li = B_l da_k/dx_i s_lk (conditional
    bound).

    derivatives[l][i] is B_l da_k/dx_i, i running over (azimuth, elevation, inverse range) source by source.
    """
    n_coordinates = len(derivatives[0])
    matrix = np.zeros((n_coordinates, n_coordinates))
    for responses, slopes, waves in zip(matrices, derivatives, amplitudes, strict=True):
        projector = np.eye(len(responses)) - responses @ np.linalg.pinv(responses)
        for i in range(n_coordinates):
            for j in range(n_coordinates):
                first, second = slopes[i] * waves[i // 3], slopes[j] * waves[j // 3]
                matrix[i, j] += 2.0 / noise_power * float((first.conj() @ projector @ second).real)
    return matrix
