"""Spectra one point at a time, from the dense covariance in complex128, as their sources write them."""

import numpy as np
from numpy.typing import NDArray


def music(
    covariance: NDArray[np.complex128], steering: NDArray[np.complex128], n_sources: int
) -> NDArray[np.float64]:
    """Schmidt 1986, eq. (6): |a|^2 / (a^H E_N E_N^H a), E_N the N - K eigenvectors of least eigenvalue."""
    _, vectors = np.linalg.eigh(covariance)
    noise = vectors[:, : covariance.shape[0] - n_sources]
    spectrum = np.empty(steering.shape[1])
    for point in range(steering.shape[1]):
        a = steering[:, point]
        distance = sum(abs(np.vdot(noise[:, i], a)) ** 2 for i in range(noise.shape[1]))
        spectrum[point] = np.vdot(a, a).real / distance
    return spectrum


def mvdr(
    covariance: NDArray[np.complex128], steering: NDArray[np.complex128], loading: float
) -> NDArray[np.float64]:
    """Capon 1969, eq. (24): 1 / (a^H (R + eps I)^-1 a)."""
    loaded = covariance + loading * np.eye(covariance.shape[0])
    spectrum = np.empty(steering.shape[1])
    for point in range(steering.shape[1]):
        a = steering[:, point]
        spectrum[point] = 1.0 / np.vdot(a, np.linalg.solve(loaded, a)).real
    return spectrum
