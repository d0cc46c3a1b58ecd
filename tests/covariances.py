"""Covariances of every origin, for the tests of the normalization."""

from functools import cache

import torch
from torch import Tensor

from risolve import covariance
from risolve.covariance import NormalizedCovariance, SharedBasis
from risolve.physics.observation import Observation
from risolve.physics.scenario import System
from risolve.physics.steering import steering
from tests.worlds import DEFAULT, SMALL, SPREAD_SOURCES, WIDE, direct_array, make_observation

RIDGE = 1e-3
KINDS = (
    "sample, independent",
    "sample, independent, small",
    "sample, constant",
    "sample, noise only",
    "sample, direct array",
    "predicted",
    "predicted, more columns than elements",
    "true",
    "true, one source",
)


def sample(observation: Observation) -> NormalizedCovariance:
    return covariance.sample_covariance(covariance.sample_factor(observation, RIDGE))


def predicted(n_scenes: int, n_elements: int, rank: int, seed: int = 1) -> NormalizedCovariance:
    """Random powers on a random basis shared by all scenes."""
    random = torch.Generator().manual_seed(seed)
    basis = torch.randn((n_elements, rank), dtype=torch.complex64, generator=random)
    powers = torch.rand((n_scenes, rank), generator=random) + 1e-3
    return covariance.predicted_covariance(SharedBasis(basis), powers)


def identity_basis(n_elements: int, rank: int) -> SharedBasis:
    return SharedBasis(torch.eye(n_elements, rank, dtype=torch.complex64))


def true_waves(system: System, n_scenes: int) -> Tensor:
    sources = torch.tensor(SPREAD_SOURCES, dtype=torch.float64).expand(n_scenes, 3, 3)
    return steering(sources, system.array().elements, system.wavelength, False).to(torch.complex64)


@cache
def kinds() -> dict[str, NormalizedCovariance]:
    """Covariances of every origin, four scenes each."""
    return {
        "sample, independent": sample(make_observation(DEFAULT, 2, 5.0, 4)),
        "sample, independent, small": sample(make_observation(SMALL, 1, 10.0, 4)),
        "sample, constant": sample(make_observation(WIDE, 2, 10.0, 4, "constant")),
        "sample, noise only": sample(make_observation(DEFAULT, 0, 0.0, 4)),
        "sample, direct array": sample(direct_array(SPREAD_SOURCES, 10.0, 4).observation),
        "predicted": predicted(4, 144, 5),
        "predicted, more columns than elements": predicted(4, 144, 300, seed=2),
        "true": covariance.true_covariance(true_waves(DEFAULT, 4), torch.ones((4, 3))),
        "true, one source": covariance.true_covariance(true_waves(DEFAULT, 4)[:, :1], torch.ones((4, 1))),
    }
