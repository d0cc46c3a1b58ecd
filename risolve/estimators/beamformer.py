"""The conventional (Bartlett) beamformer in the near field, on the exact spherical wave: for a first look, in
a fiftieth of the time of `ml`.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from risolve.covariance import NormalizedCovariance
from risolve.estimators.contract import Covariance, Factory, Settings
from risolve.estimators.spectral import (
    SCENES_AT_ONCE,
    SpectralEstimator,
    Waves,
    has_short_factor,
    short_factor,
)
from risolve.inference.grid import Grid
from risolve.modulus import squared_norms


def beamformer_spectrum(covariance: Covariance, steering: Waves) -> Float[Tensor, "scene point"]:
    """Power that the filter w = a / |a| of unit norm lets through.

        P = a^H R a / (a^H a)

    Of one source, R = a_0 a_0^H, P is |a^H a_0|^2 / |a|^2 <= |a_0|^2 with equality where a is parallel to a_0
    (Cauchy-Schwarz), whatever the amplitudes of the wave. Neither a^H R a nor the power of the source
    a^H R a / (a^H a)^2 has its maximum there when |a| varies with the place, as it does with the spherical
    amplitude: the one is drawn to near places, the other away from them. White noise, R = sigma^2 I, gives P
    = sigma^2 everywhere. P lies between the extreme eigenvalues of R.

    Regime: sources apart by more than a beam, lambda / (n d) in the direction cosine along n elements of
    spacing d, and no source far below another's sidelobes; a strong source hides a weak one that MUSIC and
    MVDR tell apart. A short factor F, R = F F^H, gives a^H R a = |F^H a|^2. The precision is that of a, and
    in a null, where rounding of R (tr R = N) is all there is, P is one unit of it.

    References:
        Krim and Viberg, "Two decades of array signal processing research", IEEE Signal Process. Mag. 13
        (1996), the conventional beamformer.
    """
    power, least = squared_norms(steering), torch.finfo(steering.dtype).eps
    if isinstance(covariance, NormalizedCovariance) and has_short_factor(covariance):
        F = short_factor(covariance).to(steering.dtype)
        return (squared_norms(F.mH @ steering) / power).clamp_min(least)
    R = covariance.dense().to(steering.dtype)
    waves = steering.expand(R.shape[0], -1, -1)
    through = [
        (columns.conj() * (part @ columns)).real.sum(-2)
        for part, columns in zip(R.split(SCENES_AT_ONCE), waves.split(SCENES_AT_ONCE), strict=True)
    ]
    return (torch.cat(through) / power).clamp_min(least)


def _make(name: str, grid: Grid, settings: Settings) -> SpectralEstimator:
    def spectrum(covariance: Covariance, steering: Waves, n_sources: int) -> Float[Tensor, "scene point"]:
        return beamformer_spectrum(covariance, steering)

    return SpectralEstimator(name, "sample", spectrum, grid, settings)


ESTIMATORS: dict[str, Factory] = {"beamformer": _make}
