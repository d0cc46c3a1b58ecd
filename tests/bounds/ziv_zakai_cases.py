"""Scenes, priors and draws of the tests of the Ziv-Zakai bound."""

from dataclasses import replace

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from risolve.bounds.local_information import received
from risolve.bounds.ziv_zakai import ZivZakaiBound, ziv_zakai_bound
from risolve.physics.observation import Observation
from risolve.physics.scenario import System
from tests.oracles import cramer_rao as oracle
from tests.oracles.ziv_zakai import Box
from tests.worlds import DEFAULT, FIELD_OF_VIEW, make_scenes

PRIOR = replace(FIELD_OF_VIEW, max_sources=1)
BOX = Box(PRIOR.azimuth, PRIOR.elevation, PRIOR.range)


def systems(system: System = DEFAULT, n_scenes: int = 3, seed: int = 1) -> Observation:
    """Scenes whose channels and codes a bound reads."""
    return make_scenes(system, 1, 10.0, n_scenes, seed=seed, distribution=PRIOR).observation


def bound(observation: Observation, snr_db: list[float], n_draws: int = 8, seed: int = 1) -> ZivZakaiBound:
    snr = 10.0 ** (torch.tensor(snr_db, dtype=torch.float64) / 10.0)
    generator = torch.Generator().manual_seed(seed)
    return ziv_zakai_bound(observation, PRIOR, snr, n_draws, generator)


def known(observation: Observation, scene: int) -> oracle.Scene:
    double = observation.to(torch.complex128)
    return oracle.Scene(
        double.channel[scene].numpy(),
        double.codes[scene].numpy(),
        double.array.elements.tolist(),
        double.array.wavelength,
        False,
    )


def responses(
    observation: Observation, places: Float[Tensor, "scene *point 3"]
) -> Complex[Tensor, "scene *point snapshot antenna"]:
    """b_l = B_l a(x) of places in every scene."""
    waves = observation.array.steering(places)
    return received(observation.to(torch.complex128), waves)


def gaussian(shape: tuple[int, ...], generator: torch.Generator) -> Complex[Tensor, "..."]:
    """CN(0, 1)."""
    return torch.randn(shape, dtype=torch.complex128, generator=generator)
