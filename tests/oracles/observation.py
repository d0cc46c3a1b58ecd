"""Coded snapshots, antenna by antenna and element by element."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.complex128]


def sensing(channel: Array, code: Array) -> Array:
    """B = H diag(c)."""
    return channel @ np.diag(code)


def snapshots(channel: Array, codes: Array, waves: Array, amplitudes: Array) -> Array:
    """y_l = sum_k B_l a_k s_lk: channel (M, N), codes (L, N), waves (K, N), amplitudes (L, K)."""
    n_antennas, n_elements = channel.shape
    received = np.zeros((len(codes), n_antennas), dtype=np.complex128)
    for snapshot, code in enumerate(codes):
        for antenna in range(n_antennas):
            for element in range(n_elements):
                for source, wave in enumerate(waves):
                    path = channel[antenna, element] * code[element] * wave[element]
                    received[snapshot, antenna] += path * amplitudes[snapshot, source]
    return received


def rician(
    k_factor: float, antenna_cosine: float, departure: tuple[float, float], scattered: Array, array: Array
) -> Array:
    """sqrt(kappa/(kappa+1)) exp(j pi m sin psi) exp(j 2 pi q.e_n / lambda) + sqrt(1/(kappa+1)) scattered.

    `array` holds the element positions in wavelengths.
    """
    azimuth, elevation = departure
    q = (np.sin(azimuth) * np.cos(elevation), np.sin(elevation), np.cos(azimuth) * np.cos(elevation))
    channel = np.zeros_like(scattered, dtype=np.complex128)
    for antenna in range(scattered.shape[0]):
        for element in range(scattered.shape[1]):
            phase = np.pi * antenna * antenna_cosine
            phase += 2.0 * np.pi * sum(q[axis] * array[element, axis].real for axis in range(3))
            channel[antenna, element] = np.sqrt(k_factor / (k_factor + 1.0)) * np.exp(1j * phase)
            channel[antenna, element] += np.sqrt(1.0 / (k_factor + 1.0)) * scattered[antenna, element]
    return channel
