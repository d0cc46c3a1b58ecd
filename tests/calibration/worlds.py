"""Arrays with errors that are known, and what they see of sources at known places."""

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from risolve.calibration.array_calibration import ArrayCalibration
from risolve.calibration.information import Placed
from risolve.calibration.unknowns import Priors, Unknowns
from risolve.physics.array import Array, planar
from risolve.physics.observation import Observation, SourceModel, respond

LOG_GAIN, PHASE, HEADING = 0.115, math.radians(20.0), math.radians(2.0)
"""1 dB, 20 degrees and 2 degrees."""

COUPLING = (0.15, -0.1)
RANGE_OFFSET, LOG_SCALE = 0.01, 0.03
"""Of the truth: 1 cm, 3 %."""

NO_PRIORS = Priors(None, None, None)

SURFACE = planar(5, 3, 0.05, 0.1)


@dataclass(frozen=True)
class World:
    """Scenes of an array whose theta is true; placed: with the true sources, all known."""

    unknowns: Unknowns
    theta: Float[Tensor, " unknown"]
    placed: Placed
    signal: Complex[Tensor, "scene snapshot antenna"]

    @property
    def true(self) -> ArrayCalibration:
        return self.unknowns.calibration(self.theta)

    def blind(self, off: float, known: int) -> Placed:
        """With all but the first scenes unknown, and started some way (rad, 1/m) from the truth."""
        sources = self.placed.sources.clone()
        shift = torch.randn(sources.shape, generator=generator(3), dtype=torch.float64)
        sources[known:] += off * shift[known:]
        free = torch.ones_like(self.placed.is_free)
        free[:known] = False
        return replace(self.placed, sources=sources, is_free=free)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(random: torch.Generator, *shape: int) -> Complex[Tensor, "..."]:
    return torch.randn(shape, generator=random, dtype=torch.complex128)


def errors(unknowns: Unknowns, random: torch.Generator) -> Float[Tensor, " unknown"]:
    """Gains of 1 dB and 20 degrees, any phase of an antenna, positions as stated, a heading of 2 degrees, as
    the truth lacks, and its ranges beside.
    """
    theta = torch.randn(unknowns.size, generator=random, dtype=torch.float64)
    n_elements = unknowns.array.n_elements
    for name, part in unknowns.parts.items():
        own = theta[part]
        match name:
            case "gains":
                own[:n_elements] *= LOG_GAIN
                own[n_elements:] *= PHASE
            case "antenna_phases":
                own[:] = 2.0 * math.pi * torch.rand(len(own), generator=random, dtype=torch.float64)
            case "antenna_gains":
                own *= LOG_GAIN
            case "positions":
                own *= unknowns.wavenumber * (unknowns.priors.position or 0.0)
            case "coupling":
                own[:] = torch.tensor(COUPLING)
            case "truth_azimuth" | "truth_elevation":
                own[:] = HEADING * unknowns.reach * unknowns.wavenumber
            case "truth_range":
                own[:] = RANGE_OFFSET * unknowns.wavenumber
            case "truth_scale":
                own[:] = LOG_SCALE
            case _:
                own[:] = HEADING * unknowns.lever * unknowns.wavenumber
    return theta


def world(
    *names: str,
    array: Array = SURFACE,
    n_antennas: int | None = 4,
    n_scenes: int = 12,
    n_sources: int = 1,
    n_snapshots: int = 8,
    snr_db: float = 10.0,
    source_model: SourceModel = "independent",
    nearest: float = 0.4,
    farthest: float = 2.0,
    elevation: float = 0.4,
    knows_noise: bool = True,
    priors: Priors = NO_PRIORS,
    seed: int = 1,
) -> World:
    """n_antennas: behind a random channel and random codes; None for an array without a surface.

    Sources between +-0.9 rad of azimuth, and the elevation and ranges given.
    """
    random = generator(seed)
    n_elements = array.n_elements
    unknowns = Unknowns(names, array, n_antennas or n_elements, priors)
    theta = errors(unknowns, random)
    place = torch.rand((n_scenes, n_sources, 3), generator=random, dtype=torch.float64)
    near, far = 1.0 / nearest, 1.0 / farthest
    low = torch.tensor([-0.9, -elevation, far], dtype=torch.float64)
    high = torch.tensor([0.9, elevation, near], dtype=torch.float64)
    sources = low + (high - low) * place
    channel = codes = None
    if n_antennas is not None:
        channel = normal(random, 1, n_antennas, n_elements)
        turns = torch.rand((1, n_snapshots, n_elements), generator=random, dtype=torch.float64)
        codes = torch.polar(torch.ones_like(turns), 2.0 * math.pi * turns)
    shape = (n_scenes, n_snapshots, n_antennas or n_elements)
    nothing = torch.zeros(shape, dtype=torch.complex128)
    seen = Observation(nothing, array, channel, codes, source_model).to(torch.complex128)
    true = unknowns.calibration(theta).of(seen)
    n_groups = n_snapshots if source_model == "independent" else 1
    amplitudes = normal(random, n_scenes, n_groups, n_sources)
    places, _ = unknowns.true_places(theta, sources, torch.ones_like(sources, dtype=torch.bool))
    columns = respond(true, true.array.steering(places).mT)
    signal = (columns @ amplitudes.expand(-1, n_snapshots, -1)[..., None])[..., 0]
    noise_power = signal.abs().square().mean((1, 2)) / 10.0 ** (snr_db / 10.0)
    snapshots = signal + noise_power.sqrt()[:, None, None] * normal(random, *shape)
    observation = replace(seen, snapshots=snapshots, noise_power=noise_power if knows_noise else None)
    known = torch.zeros_like(sources, dtype=torch.bool)
    return World(unknowns, theta, Placed(observation, sources, known), signal)
