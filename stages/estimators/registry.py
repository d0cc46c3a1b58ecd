"""Every estimator by name. A new one is a factory in this table, and appears in the comparison."""

from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from stages.estimators.beamformer import beamformer_spectrum
from stages.estimators.contract import Covariance, CovarianceKind, Estimator
from stages.estimators.learned import LearnedEstimator
from stages.estimators.modified_music import ModifiedMusicEstimator
from stages.estimators.music import music_spectrum
from stages.estimators.mvdr import mvdr_spectrum
from stages.estimators.spectral import SpectralEstimator, Waves
from stages.inference.grid import Grid


@dataclass(frozen=True)
class Settings:
    """Diagonal loading eps of a covariance that has none; whether the amplitude of the wave is spherical."""

    diagonal_loading: float
    spherical_amplitude: bool


Factory = Callable[[str, Grid, Settings], Estimator]


def _music(kind: CovarianceKind) -> Factory:
    def make(name: str, grid: Grid, settings: Settings) -> Estimator:
        return SpectralEstimator(name, kind, music_spectrum, grid, settings.spherical_amplitude)

    return make


def _mvdr(kind: CovarianceKind) -> Factory:
    def make(name: str, grid: Grid, settings: Settings) -> Estimator:
        loading = settings.diagonal_loading if kind == "sample" else 0.0

        def spectrum(covariance: Covariance, steering: Waves, n_sources: int) -> Float[Tensor, "scene point"]:
            return mvdr_spectrum(covariance, steering, loading)

        return SpectralEstimator(name, kind, spectrum, grid, settings.spherical_amplitude)

    return make


def _beamformer(name: str, grid: Grid, settings: Settings) -> Estimator:
    def spectrum(covariance: Covariance, steering: Waves, n_sources: int) -> Float[Tensor, "scene point"]:
        return beamformer_spectrum(covariance, steering)

    return SpectralEstimator(name, "sample", spectrum, grid, settings.spherical_amplitude)


def _modified_music(kind: CovarianceKind) -> Factory:
    def make(name: str, grid: Grid, settings: Settings) -> Estimator:
        return ModifiedMusicEstimator(name, kind, grid, settings.spherical_amplitude)

    return make


def _learned(name: str, grid: Grid, settings: Settings) -> Estimator:
    return LearnedEstimator(name, grid)


REGISTRY: dict[str, Factory] = {
    "music": _music("sample"),
    "mvdr": _mvdr("sample"),
    "music_blend": _music("blend"),
    "mvdr_blend": _mvdr("blend"),
    "beamformer": _beamformer,
    "modified_music": _modified_music("sample"),
    "modified_music_blend": _modified_music("blend"),
    "learned": _learned,
}


def estimator(name: str, grid: Grid, settings: Settings) -> Estimator:
    """The estimator of a name.

    Raises:
        ValueError: an unknown name.
    """
    if name not in REGISTRY:
        raise ValueError(f"no estimator is called {name!r}; there are {', '.join(REGISTRY)}")
    return REGISTRY[name](name, grid, settings)
