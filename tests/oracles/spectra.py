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


def beamformer(covariance: NDArray[np.complex128], steering: NDArray[np.complex128]) -> NDArray[np.float64]:
    """a^H R a / (a^H a), the double sum."""
    spectrum = np.empty(steering.shape[1])
    for point in range(steering.shape[1]):
        a = steering[:, point]
        n_elements = len(a)
        through = sum(
            a[i].conjugate() * covariance[i, j] * a[j] for i in range(n_elements) for j in range(n_elements)
        )
        spectrum[point] = through.real / sum(abs(a[i]) ** 2 for i in range(n_elements))
    return spectrum


def virtual_music(
    covariance: NDArray[np.complex128],
    elements: NDArray[np.float64],
    n_horizontal: int,
    sub_array: tuple[int, int],
    wavelength: float,
    directions: NDArray[np.float64],
    n_sources: int,
) -> NDArray[np.float64]:
    """MUSIC of the anti-diagonal R[n, N-1-n], smoothed over sub-arrays of (columns, rows), at each (u, v).

    The phase of element n of the virtual array is 2 k (u x_n + v y_n).
    """
    n_elements = len(covariance)
    n_vertical = n_elements // n_horizontal
    width, height = sub_array
    virtual = [covariance[n, n_elements - 1 - n] for n in range(n_elements)]
    smoothed = np.zeros((width * height, width * height), dtype=complex)
    first: list[int] = []
    for top in range(n_vertical - height + 1):
        for left in range(n_horizontal - width + 1):
            members = [
                (top + row) * n_horizontal + left + column for row in range(height) for column in range(width)
            ]
            first = first or members
            part = np.array([virtual[n] for n in members])
            smoothed += np.outer(part, part.conj())
    k = 2.0 * np.pi / wavelength
    steering = np.array(
        [[np.exp(2j * k * (u * elements[n, 0] + v * elements[n, 1])) for u, v in directions] for n in first]
    )
    return music(smoothed, steering, n_sources)


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
