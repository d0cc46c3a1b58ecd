"""MVDR (Capon) in the near field, on the exact spherical wave: for a look, in a fortieth of the time of `ml`,
with the sparse fit in a tenth, which finds more of `constant` sources.
"""

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from risolve.covariance import NormalizedCovariance
from risolve.estimators.contract import Covariance, CovarianceKind, Factory, Settings
from risolve.estimators.spectral import (
    SCENES_AT_ONCE,
    SpectralEstimator,
    Waves,
    has_short_factor,
    short_factor,
)
from risolve.inference.grid import Grid
from risolve.modulus import squared_norms


def mvdr_spectrum(covariance: Covariance, steering: Waves, loading: float) -> Float[Tensor, "scene point"]:
    """Power that a distortionless filter of least output power lets through.

        P = 1 / (a^H (R + eps I)^-1 a)

    eps (`loading`) is added to R, tr R = N; a blend has its loading already and takes 0. A short factor F, R
    = F F^H, uses the Woodbury identity in complex128,

        a^H (R + eps I)^-1 a = (|a|^2 - a^H F (eps I + F^H F)^-1 F^H a) / eps,

    any other covariance a Cholesky factor of the dense R in the precision of a: in complex64 the error of P
    is about 1e-7 times the condition number N / eps. The precision of P is that of a.

    Raises:
        ValueError: a matrix that is not positive definite.

    References:
        Capon, "High-resolution frequency-wavenumber spectrum analysis", Proc. IEEE 57 (1969), eq. (24).
    """
    if isinstance(covariance, NormalizedCovariance) and has_short_factor(covariance):
        return _woodbury(short_factor(covariance), steering, loading)
    matrix = covariance.dense().to(steering.dtype)
    matrix = matrix + loading * torch.eye(matrix.shape[-1], dtype=matrix.dtype)
    lower, info = torch.linalg.cholesky_ex(matrix)
    if bool((info != 0).any()):
        scenes = torch.nonzero(info != 0).flatten().tolist()
        raise ValueError(
            f"MVDR inverts R, which is not positive definite in scenes {scenes} of this batch: "
            "choose a diagonal loading eps > 0, about 1e-3"
        )
    waves = steering.expand(lower.shape[0], -1, -1)
    spectra = [
        squared_norms(torch.linalg.solve_triangular(part, columns, upper=False))
        for part, columns in zip(lower.split(SCENES_AT_ONCE), waves.split(SCENES_AT_ONCE), strict=True)
    ]
    return 1.0 / torch.cat(spectra)


def _woodbury(
    factor: Complex[Tensor, "scene element rank"], steering: Waves, loading: float
) -> Float[Tensor, "scene point"]:
    F = factor
    if loading <= 0.0:
        raise ValueError(
            f"MVDR inverts R + eps I, and R has rank {F.shape[-1]} of {F.shape[-2]} at most: the diagonal "
            f"loading eps is positive, got {loading}"
        )
    inner = F.mH @ F + loading * torch.eye(F.shape[-1], dtype=F.dtype)
    waves = steering.to(F.dtype)
    explained = squared_norms(
        torch.linalg.solve_triangular(torch.linalg.cholesky(inner), F.mH @ waves, upper=False)
    )
    return (loading / (squared_norms(waves) - explained)).to(steering.real.dtype)


def _of(kind: CovarianceKind) -> Factory:
    def make(name: str, grid: Grid, settings: Settings) -> SpectralEstimator:
        loading = 0.0 if kind == "blend" else settings.diagonal_loading

        def spectrum(covariance: Covariance, steering: Waves, n_sources: int) -> Float[Tensor, "scene point"]:
            return mvdr_spectrum(covariance, steering, loading)

        return SpectralEstimator(name, kind, spectrum, grid, settings)

    return make


ESTIMATORS: dict[str, Factory] = {
    "mvdr": _of("sample"),
    "mvdr_blend": _of("blend"),
    "mvdr_fitted": _of("fitted"),
}
