"""MVDR (Capon) in the near field, on the exact spherical wave."""

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from stages.covariance import NormalizedCovariance
from stages.estimators.contract import Covariance
from stages.estimators.spectral import has_short_factor, short_factor

# Scenes solved at once: N x G responses of each are held in memory.
_CHUNK = 16


def mvdr_spectrum(
    covariance: Covariance, steering: Complex[Tensor, "element point"], loading: float
) -> Float[Tensor, "scene point"]:
    """Power that a distortionless filter of least output power lets through.

        P = 1 / (a^H (R + eps I)^-1 a)

    eps (`loading`) is added to R, tr R = N; a blend has its loading already and takes 0. A short factor F, R
    = F F^H, uses the Woodbury identity in complex128,

        a^H (R + eps I)^-1 a = (|a|^2 - a^H F (eps I + F^H F)^-1 F^H a) / eps,

    any other covariance a Cholesky factor of the dense R in complex64, in which the error of P is about
    1e-7 times the condition number N / eps.

    Raises:
        ValueError: a matrix that is not positive definite.

    References:
        Capon, "High-resolution frequency-wavenumber spectrum analysis", Proc. IEEE 57 (1969), eq. (24).
    """
    if isinstance(covariance, NormalizedCovariance) and has_short_factor(covariance):
        return _woodbury(short_factor(covariance), steering, loading)
    matrix = covariance.dense()
    matrix = matrix + loading * torch.eye(matrix.shape[-1], dtype=matrix.dtype)
    lower, info = torch.linalg.cholesky_ex(matrix)
    if bool((info != 0).any()):
        scenes = torch.nonzero(info != 0).flatten().tolist()
        raise ValueError(
            f"MVDR inverts R, which is not positive definite in scenes {scenes} of this batch: "
            "choose a diagonal loading eps > 0, about 1e-3"
        )
    spectra = [
        _squared_norms(torch.linalg.solve_triangular(part, steering.to(part.dtype), upper=False))
        for part in lower.split(_CHUNK)
    ]
    return 1.0 / torch.cat(spectra)


def _squared_norms(columns: Complex[Tensor, "scene row point"]) -> Float[Tensor, "scene point"]:
    return torch.view_as_real(columns).square().sum((1, -1))


def _woodbury(
    factor: Complex[Tensor, "scene element rank"], steering: Complex[Tensor, "element point"], loading: float
) -> Float[Tensor, "scene point"]:
    F = factor
    if loading <= 0.0:
        raise ValueError(
            f"MVDR inverts R + eps I, and R has rank {F.shape[-1]} of {F.shape[-2]} at most: the diagonal "
            f"loading eps is positive, got {loading}"
        )
    inner = F.mH @ F + loading * torch.eye(F.shape[-1], dtype=F.dtype)
    responses = F.mH @ steering.to(F.dtype)
    explained = _squared_norms(
        torch.linalg.solve_triangular(torch.linalg.cholesky(inner), responses, upper=False)
    )
    total = torch.view_as_real(steering).double().square().sum((0, -1))
    return (loading / (total - explained)).float()
