"""Noise power of one scene from what is received alone, step by step in complex128."""

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
