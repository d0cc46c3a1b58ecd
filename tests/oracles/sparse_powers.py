"""The sparse covariance fit on responses, scene by scene and point by point, as its module states it."""

from typing import Any

import numpy as np


def fit(columns: Any, received: Any, noise: float, n_iterations: int) -> Any:
    """Powers of one scene; columns [group, point, row], received [group, row]."""
    n_groups, n_points, n_rows = columns.shape
    signal = max(1.0 - noise, 0.01 * noise)
    mean_energy = (np.abs(columns) ** 2).sum() / n_groups
    powers = np.full(n_points, signal * n_rows / mean_energy)
    for iteration in range(-1, n_iterations):
        numerator, denominator = np.zeros(n_points), np.zeros(n_points)
        for g in range(n_groups):
            S = noise * np.eye(n_rows, dtype=complex)
            for i in range(n_points):
                S += powers[i] * np.outer(columns[g, i], columns[g, i].conj())
            inverse = np.linalg.inv(S)
            for i in range(n_points):
                b = columns[g, i]
                numerator[i] += abs(b.conj() @ inverse @ received[g]) ** 2
                denominator[i] += (b.conj() @ inverse @ b).real
        if iteration < 0:
            powers = numerator / denominator**2
            continue
        powers = powers * numerator / denominator
    return powers
