"""MUSIC in the near field, on the exact spherical wave: for a look, in a fiftieth of the time of `ml`, with
the sparse fit in a tenth, which finds more.
"""

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from risolve.covariance import NormalizedCovariance
from risolve.estimators.contract import Covariance, CovarianceKind, Factory, Settings
from risolve.estimators.spectral import (
    SpectralEstimator,
    Waves,
    has_short_factor,
    short_factor,
    significant,
)
from risolve.inference.grid import Grid
from risolve.modulus import squared_norms

# 1 - |U_s^H a|^2 / |a|^2 of a steering vector inside the signal subspace is rounding of sums of N terms: some
# units in the last place of the precision.
_NULL_ROUNDINGS = 8.0


def signal_subspace(
    covariance: Covariance, n_sources: int, dtype: torch.dtype
) -> Complex[Tensor, "scene element source"]:
    """Orthonormal eigenvectors U_s of the K largest eigenvalues of R.

    A short factor gives them by `column_space`, in complex128; any other covariance has them from the dense
    R, in `dtype`. The result has `dtype`.
    """
    if isinstance(covariance, NormalizedCovariance) and has_short_factor(covariance):
        return column_space(short_factor(covariance), n_sources).to(dtype)
    vectors: Tensor = torch.linalg.eigh(covariance.dense().to(dtype)).eigenvectors
    return vectors[..., -n_sources:]


def column_space(
    factor: Complex[Tensor, "scene element rank"], n_sources: int
) -> Complex[Tensor, "scene element source"]:
    """Orthonormal eigenvectors U_s of the K largest eigenvalues of F F^H, from the Gram matrix of F.

        F^H F V = V diag(lambda),   U_s = F V diag(lambda)^(-1/2)

    Columns beyond the rank of F are 0, those beyond its number of columns are left out: they span nothing.
    """
    eigenvalues, V = torch.linalg.eigh(factor.mH @ factor)
    used = significant(eigenvalues)[:, -n_sources:]
    scale = torch.where(used, eigenvalues[:, -n_sources:], torch.inf).rsqrt()
    basis: Tensor = factor @ V[..., -n_sources:] * scale[:, None, :]
    return basis


def music_spectrum(covariance: Covariance, steering: Waves, n_sources: int) -> Float[Tensor, "scene point"]:
    """MUSIC spectrum, relative to a steering vector orthogonal to the signal subspace.

        P = |a|^2 / (|a|^2 - |U_s^H a|^2)     (>= 1)

    U_s: eigenvectors of the K largest eigenvalues; a enters with the sign of R = A diag(p) A^H, never
    conjugated. A covariance of rank below K has a signal subspace of its rank. The precision is that of a.

    References:
        Schmidt, "Multiple emitter location and signal parameter estimation", IEEE Trans. Antennas Propag. 34
        (1986), eq. (6).
    """
    projection = signal_subspace(covariance, n_sources, steering.dtype).mH @ steering
    share = squared_norms(projection) / squared_norms(steering)
    return 1.0 / (1.0 - share).clamp_min(_NULL_ROUNDINGS * torch.finfo(steering.dtype).eps)


def _of(kind: CovarianceKind) -> Factory:
    def make(name: str, grid: Grid, settings: Settings) -> SpectralEstimator:
        return SpectralEstimator(name, kind, music_spectrum, grid, settings)

    return make


ESTIMATORS: dict[str, Factory] = {
    "music": _of("sample"),
    "music_blend": _of("blend"),
    "music_fitted": _of("fitted"),
}
