"""Likelihood of the snapshots of one scene under a covariance, over that of noise alone, matrix by matrix."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.complex128]


def likelihood_loss(
    covariance: Array, snapshots: Array, channel: Array, codes: Array, noise_power: float, source_model: str
) -> float:
    """[-log p(y | S) - c] / [-log p(y | sigma^2 I) - c], y ~ CN(0, S), c = log(pi sigma^2) - 1 a number.

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
    constant = (np.log(np.pi * noise_power) - 1.0) * snapshots.size
    of_model, of_noise = -constant, -constant
    for B, y in zip(matrices, received, strict=True):
        S = power * B @ covariance @ B.conj().T + noise_power * np.eye(len(y))
        of_model += np.log(np.linalg.det(np.pi * S).real) + (y.conj() @ np.linalg.inv(S) @ y).real
        of_noise += len(y) * np.log(np.pi * noise_power) + (y.conj() @ y).real / noise_power
    return float(of_model / of_noise)
