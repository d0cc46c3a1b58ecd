"""Noise power of one scene, and of each antenna, step by step in complex128."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tests.oracles.sparse_fit import Array, groups


def left_by_least_squares(channel: Array, codes: Array, snapshots: Array) -> float:
    """|y - B x|^2 / (L M - rank B) at the least-squares x of the stacked B."""
    ((b, y),) = groups(channel, codes, snapshots, "constant")
    x, _, rank, _ = np.linalg.lstsq(b, y, rcond=1e-8)
    return float(np.linalg.norm(y - b @ x) ** 2 / (len(y) - rank))


def beside_isotropic_field(
    channel: Array, codes: Array, snapshots: Array, ratios_db: NDArray[np.float64]
) -> float:
    """exp of the mean of log sigma^2 over the posterior of y_l ~ CN(0, sigma^2 (rho B_l B_l^H + I)).

    ratios_db: equally likely values of rho times the mean eigenvalue of all B_l B_l^H. For each of them
    sigma^2 = 1/(L M) sum_l y_l^H Q_l^-1 y_l and p(y | rho) = sigma^(-2 L M) prod_l 1 / det Q_l, up to a
    constant, with Q_l = rho B_l B_l^H + I.
    """
    pairs = groups(channel, codes, snapshots, "independent")
    n_numbers = snapshots.size
    gain = sum(np.trace(b @ b.conj().T).real for b, _ in pairs) / n_numbers
    log_noise, log_likelihood = [], []
    for ratio_db in ratios_db:
        energy, log_det = 0.0, 0.0
        for b, y in pairs:
            q = 10.0 ** (ratio_db / 10.0) / gain * (b @ b.conj().T) + np.eye(len(y))
            energy += (y.conj() @ np.linalg.solve(q, y)).real
            log_det += np.linalg.slogdet(q)[1]
        log_noise.append(np.log(energy / n_numbers))
        log_likelihood.append(-n_numbers * log_noise[-1] - log_det)
    weights = np.exp(np.array(log_likelihood) - max(log_likelihood))
    return float(np.exp(np.sum(weights * log_noise) / np.sum(weights)))


def antenna_equation(
    steering: Callable[[NDArray[np.float64]], Array],
    channel: Array,
    codes: Array,
    snapshots: Array,
    sources: NDArray[np.float64],
    powers: NDArray[np.float64],
    is_constant: bool,
    n_free: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both sides of (L - h_m + 1) q_m = q_m sum_l |e_lm|^2 + q, antenna by antenna.

    steering: [source, 3] -> [source, element]. One real column for the real and the imaginary part of every
    amplitude, and for each of the first `n_free` coordinates of every source.
    """
    L, M = snapshots.shape
    K = len(sources)

    def received(places: NDArray[np.float64]) -> Array:
        """[snapshot, antenna, source]"""
        waves = steering(places)
        return np.stack([channel @ (code[:, None] * waves.T) for code in codes])

    weights = np.tile(1.0 / np.sqrt(powers), L)

    def real(values: Array) -> NDArray[np.float64]:
        white = weights * values.reshape(-1)
        return np.concatenate((white.real, white.imag))

    G, columns = received(sources), []
    for k in range(K):
        for rows in [slice(None)] if is_constant else [slice(one, one + 1) for one in range(L)]:
            own = np.zeros((L, M), complex)
            own[rows] = G[rows, :, k]
            columns += [real(own), real(1j * own)]
    y = real(snapshots)
    amplitudes = np.linalg.lstsq(np.stack(columns, 1), y, rcond=None)[0].reshape(K, -1, 2) @ [1, 1j]
    for k in range(K):
        for coordinate in range(n_free):
            step = np.zeros_like(sources)
            step[k, coordinate] = 1e-6
            slope = (received(sources + step) - received(sources - step))[:, :, k] / 2e-6
            columns.append(real(slope * amplitudes[k][:, None]))
    Q, _ = np.linalg.qr(np.stack(columns, 1))
    left = np.square(y - Q @ (Q.T @ y)).reshape(2, L, M).sum((0, 1))
    h = np.square(Q).sum(1).reshape(2, L, M).sum((0, 1)) / 2.0
    mean = float(np.exp(np.log(powers).mean()))
    return (L - h + 1.0) * powers, powers * left + mean
