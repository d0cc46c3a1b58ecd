"""MUSIC in the near field, on the exact spherical wave."""

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from stages.covariance import NormalizedCovariance
from stages.estimators.contract import Covariance
from stages.estimators.spectral import has_short_factor, short_factor, significant

# 1 - |U_s^H a|^2 / |a|^2 of a steering vector inside the signal subspace is rounding of complex64 sums of N
# terms.
_NULL_FLOOR = 1e-6


def signal_subspace(covariance: Covariance, n_sources: int) -> Complex[Tensor, "scene element source"]:
    """Orthonormal eigenvectors U_s of the K largest eigenvalues of R.

    A short factor F (R = F F^H) gives them from its Gram matrix, F^H F V = V diag(lambda), U_s = F V
    diag(lambda)^(-1/2), in complex128; any other covariance from the dense R. Columns beyond the rank of R
    are 0: they span nothing.
    """
    if isinstance(covariance, NormalizedCovariance) and has_short_factor(covariance):
        F = short_factor(covariance)
        eigenvalues, V = torch.linalg.eigh(F.mH @ F)
        used = significant(eigenvalues)[:, -n_sources:]
        scale = torch.where(used, eigenvalues[:, -n_sources:], torch.inf).rsqrt()
        basis: Tensor = (F @ V[..., -n_sources:] * scale[:, None, :]).to(torch.complex64)
        return basis
    vectors: Tensor = torch.linalg.eigh(covariance.dense()).eigenvectors
    return vectors[..., -n_sources:]


def music_spectrum(
    covariance: Covariance, steering: Complex[Tensor, "element point"], n_sources: int
) -> Float[Tensor, "scene point"]:
    """MUSIC spectrum, relative to a steering vector orthogonal to the signal subspace.

        P = |a|^2 / (|a|^2 - |U_s^H a|^2)     (>= 1)

    U_s: eigenvectors of the K largest eigenvalues; a enters with the sign of R = A diag(p) A^H, never
    conjugated. A covariance of rank below K has a signal subspace of its rank. Computed in complex64.

    References:
        Schmidt, "Multiple emitter location and signal parameter estimation", IEEE Trans. Antennas Propag. 34
        (1986), eq. (6).
    """
    projection = signal_subspace(covariance, n_sources).mH @ steering
    share = torch.view_as_real(projection).square().sum((1, -1)) / torch.view_as_real(steering).square().sum(
        (0, -1)
    )
    return 1.0 / (1.0 - share).clamp_min(_NULL_FLOOR)
