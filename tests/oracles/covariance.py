"""Least-squares amplitudes and covariances of one scene as N x N matrices, snapshot by snapshot."""

import numpy as np
from numpy.typing import NDArray

from tests.oracles.observation import sensing

Array = NDArray[np.complex128]


def ls_amplitudes(snapshots: Array, channel: Array, codes: Array, ridge: float) -> Array:
    """x_l = B_l^H (B_l B_l^H + rho tr(B_l B_l^H) / M I)^-1 y_l."""
    n_antennas = channel.shape[0]
    rows = []
    for y, code in zip(snapshots, codes, strict=True):
        b = sensing(channel, code)
        gram = b @ b.conj().T
        loaded = gram + ridge * np.trace(gram).real / n_antennas * np.eye(n_antennas)
        rows.append(b.conj().T @ np.linalg.inv(loaded) @ y)
    return np.array(rows)


def joint_ls_amplitude(snapshots: Array, channel: Array, codes: Array, ridge: float) -> Array:
    """x = (B^H B + rho tr(B^H B) / N I)^-1 B^H y, B = [B_1; ...; B_L]."""
    stacked = np.concatenate([sensing(channel, code) for code in codes])
    gram = stacked.conj().T @ stacked
    n_elements = channel.shape[1]
    loaded = gram + ridge * np.trace(gram).real / n_elements * np.eye(n_elements)
    return np.linalg.inv(loaded) @ stacked.conj().T @ snapshots.reshape(-1)


def normalized(covariance: Array) -> Array:
    """R <- (R + R^H) / 2, then R <- R N / tr R."""
    hermitian = (covariance + covariance.conj().T) / 2
    return hermitian * covariance.shape[0] / np.trace(hermitian).real


def sample_covariance(amplitudes: Array) -> Array:
    """sum_l (x_l - mean x) (x_l - mean x)^H / (L - 1) of rows x_l, trace-normalized."""
    n_snapshots, n_elements = amplitudes.shape
    covariance = np.zeros((n_elements, n_elements), dtype=np.complex128)
    for x in amplitudes - amplitudes.mean(axis=0):
        covariance += np.outer(x, x.conj()) / (n_snapshots - 1)
    return normalized(covariance)


def source_covariance(waves: Array, powers: NDArray[np.float64]) -> Array:
    """sum_k p_k a_k a_k^H, trace-normalized."""
    n_elements = waves.shape[1]
    covariance = np.zeros((n_elements, n_elements), dtype=np.complex128)
    for wave, power in zip(waves, powers, strict=True):
        covariance += power * np.outer(wave, wave.conj())
    return normalized(covariance)


def loaded_blend(predicted: Array, sample: Array, beta: float, loading: float) -> Array:
    """(1 - beta) R_pred + beta R_samp + eps I."""
    return (1.0 - beta) * predicted + beta * sample + loading * np.eye(len(predicted))
