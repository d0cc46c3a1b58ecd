"""Sparse covariance fit of one scene, point by point and snapshot by snapshot, in complex128."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.complex128]


def groups(channel: Array, codes: Array, snapshots: Array, source_model: str) -> list[tuple[Array, Array]]:
    """(B, y) pairs with one S each: B_l = H diag(c_l) a snapshot, or all of them stacked (`constant`)."""
    pairs = [(channel * code[None, :], received) for code, received in zip(codes, snapshots, strict=True)]
    if source_model == "independent":
        return pairs
    return [(np.vstack([b for b, _ in pairs]), np.concatenate([y for _, y in pairs]))]


def step(
    pairs: list[tuple[Array, Array]], columns: Array, covariance: Array, noise_power: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """num_g = sum_l |a_g^H B_l^H S_l^-1 y_l|^2 and den_g = sum_l a_g^H B_l^H S_l^-1 B_l a_g."""
    n_points = columns.shape[1]
    numerator, denominator = np.zeros(n_points), np.zeros(n_points)
    for b, y in pairs:
        inverse = np.linalg.inv(b @ covariance @ b.conj().T + noise_power * np.eye(len(y)))
        for point in range(n_points):
            response = b @ columns[:, point]
            numerator[point] += abs(response.conj() @ inverse @ y) ** 2
            denominator[point] += (response.conj() @ inverse @ response).real
    return numerator, denominator


def maps(
    channel: Array,
    codes: Array,
    snapshots: Array,
    columns: Array,
    noise_power: float,
    source_model: str,
    iterations: tuple[int, ...],
) -> NDArray[np.float64]:
    """num / den at R = p_0 I, then p N / mean |y|^2 after i steps p <- p num / den from p = num / den^2.

    H and c enter with a mean squared entry of 1.
    """
    n_elements, n_points = columns.shape
    channel = channel / np.sqrt(np.mean(np.abs(channel) ** 2))
    codes = codes / np.sqrt(np.mean(np.abs(codes) ** 2))
    pairs = groups(channel, codes, snapshots, source_model)
    mean_power = float(np.mean(np.abs(snapshots) ** 2))
    start = max(mean_power - noise_power, 0.01 * noise_power) / n_elements
    numerator, denominator = step(pairs, columns, start * np.eye(n_elements, dtype=complex), noise_power)
    found = {0: numerator / denominator}
    powers = numerator / denominator**2
    for iteration in range(1, max(iterations) + 1):
        covariance = np.zeros((n_elements, n_elements), dtype=complex)
        for point in range(n_points):
            covariance += powers[point] * np.outer(columns[:, point], columns[:, point].conj())
        numerator, denominator = step(pairs, columns, covariance, noise_power)
        powers = powers * numerator / denominator
        found[iteration] = powers * n_elements / mean_power
    return np.stack([found[i] for i in iterations])
