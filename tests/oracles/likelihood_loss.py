"""Likelihood of the snapshots of one scene under a covariance, less that of noise alone, matrix by matrix."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.complex128]


def likelihood_loss(
    covariance: Array, snapshots: Array, channel: Array, codes: Array, noise_power: float, source_model: str
) -> float:
    """-[log p(y | S) - log p(y | sigma^2 I)] / (number of y + |y|^2 / sigma^2), y ~ CN(0, S).

    S = p B R B^H + sigma^2 I, p such that its mean diagonal is the mean |y|^2 (its signal at least 0.01
    sigma^2); of every snapshot, or of all of them stacked (`constant`).
    """
    matrices = [channel @ np.diag(code) for code in codes]
    received = list(snapshots)
    if source_model == "constant":
        matrices, received = [np.vstack(matrices)], [snapshots.reshape(-1)]
    seen = np.mean([np.trace(B @ covariance @ B.conj().T).real / len(B) for B in matrices])
    mean_power = np.mean([abs(value) ** 2 for y in received for value in y])
    power = max(mean_power - noise_power, 0.01 * noise_power) / seen
    gain, size = 0.0, 0.0
    for B, y in zip(matrices, received, strict=True):
        S = power * B @ covariance @ B.conj().T + noise_power * np.eye(len(y))
        under_model = np.log(np.linalg.det(S).real) + (y.conj() @ np.linalg.inv(S) @ y).real
        under_noise = len(y) * np.log(noise_power) + (y.conj() @ y).real / noise_power
        gain += under_model - under_noise
        size += len(y) + (y.conj() @ y).real / noise_power
    return float(gain / size)
