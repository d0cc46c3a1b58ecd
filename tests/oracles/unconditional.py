"""Likelihood of Gaussian amplitudes of one scene, with every covariance written out and inverted."""

import numpy as np

from tests.oracles.likelihood import Array, Real


def covariance(matrix: Array, powers: Real, noise_power: float) -> Array:
    """R_g = sum_k p_k g_k g_k^H + sigma^2 I."""
    total = noise_power * np.eye(len(matrix), dtype=complex)
    for column, power in zip(matrix.T, powers, strict=True):
        total += power * np.outer(column, column.conj())
    return total


def cost(matrices: list[Array], received: list[Array], powers: Real, noise_power: float) -> float:
    """V = sum_g [ log det R_g + y_g^H R_g^-1 y_g ]."""
    total = 0.0
    for matrix, y in zip(matrices, received, strict=True):
        r = covariance(matrix, powers, noise_power)
        total += float(np.log(np.linalg.eigvalsh(r)).sum())
        total += float((y.conj() @ np.linalg.inv(r) @ y).real)
    return total


def most_likely_noise_power(matrices: list[Array], received: list[Array], ratios: Real) -> float:
    """sigma^2 = sum_g y_g^H (I + G_g diag(p / sigma^2) G_g^H)^-1 y_g / equations."""
    total, n_equations = 0.0, 0
    for matrix, y in zip(matrices, received, strict=True):
        total += float((y.conj() @ np.linalg.inv(covariance(matrix, ratios, 1.0)) @ y).real)
        n_equations += len(y)
    return total / n_equations
