"""Scenes: who transmits from where, through which system, and what the base station receives.

y_l = H diag(c_l) A s_l + n_l,   n_l ~ CN(0, sigma^2 I),
SNR = mean_{l,m} |B_l A s_l|^2 / sigma^2

The SNR is a power ratio, all sources together; a scene without sources has sigma^2 = 1. Where the
noise of antennas differs, sigma^2 is the mean of its powers.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Complex, Float, Int
from numpy.typing import NDArray
from torch import Tensor

from risolve.batched import Batched
from risolve.modulus import squared_modulus
from risolve.physics import impairments
from risolve.physics.array import Array
from risolve.physics.channel import line_of_sight, rician
from risolve.physics.codebook import CodebookKind, codes_from_levels, random_levels, structured_levels
from risolve.physics.geometry import planar_array
from risolve.physics.observation import Observation, SourceModel
from risolve.physics.steering import steering
from risolve.shapes import Elements, Sources


@dataclass(frozen=True, eq=False)
class GivenSystem:
    """A system that exists: its array, and the channel and the codes that all its scenes share.

    channel: of mean squared entry 1, as `rician` makes it; None where every scene has its own, and so of
    codes.
    """

    array: Array
    n_antennas: int
    n_snapshots: int
    channel: Complex[Tensor, "1 antenna element"] | None
    codes: Complex[Tensor, "1 snapshot element"] | None


@dataclass(frozen=True)
class System:
    """Surface, base station and codes; lengths in m, k_factor linear, angles in rad.

    given: what exists, of which array, channel and codes are then those; None of a uniform planar array.
    """

    n_horizontal: int
    n_vertical: int
    spacing: float
    wavelength: float
    n_antennas: int
    n_snapshots: int
    codebook: CodebookKind
    phase_bits: int
    k_factor: tuple[float, float]
    spherical_amplitude: bool
    given: GivenSystem | None = None

    @property
    def n_elements(self) -> int:
        return self.n_horizontal * self.n_vertical if self.given is None else self.given.array.n_elements

    @property
    def has_fixed_codes(self) -> bool:
        """Whether all scenes have the same codes."""
        return self.codebook != "random" or (self.given is not None and self.given.codes is not None)

    def array(self) -> Array:
        """The nominal array."""
        if self.given is not None:
            return self.given.array
        elements = planar_array(self.n_horizontal, self.n_vertical, self.spacing)
        return Array(elements, self.wavelength, self.spherical_amplitude)


@dataclass(frozen=True)
class SourceDistribution:
    """Uniform ranges of azimuth, elevation (rad) and range (m), and the powers of the sources.

    Powers are equal but for `power_spread_db` (uniform in +- half of it) and, with `path_loss`, the factor
    (lambda / (4 pi r))^2.
    """

    azimuth: tuple[float, float]
    elevation: tuple[float, float]
    range: tuple[float, float]
    power_spread_db: float
    path_loss: bool
    max_sources: int


@dataclass(frozen=True)
class SystemDraw:
    """Random part of a system: Rician channel terms."""

    k_factor: float
    antenna_cosine: float
    departure: tuple[float, float]
    scattered: NDArray[np.complex64]


@dataclass(frozen=True)
class Installation:
    """One surface and base station for all scenes: channel terms, and departures where they are on."""

    system: SystemDraw
    impairment: impairments.ImpairmentDraw | None


@dataclass(frozen=True)
class SceneDraw:
    """Everything random in one scene, as standard draws."""

    n_sources: int
    snr_db: float
    sources: NDArray[np.float64]
    power_db: NDArray[np.float64]
    amplitudes: NDArray[np.complex128]
    noise: NDArray[np.complex64]
    levels: NDArray[np.uint8]
    phase_bits: int
    system: SystemDraw
    impairment: impairments.ImpairmentDraw | None


@dataclass(frozen=True)
class Truth(Batched):
    """Sources of a batch of scenes (NaN in empty slots), their powers, and the SNR of each scene (dB)."""

    n_sources: Int[Tensor, " scene"]
    snr_db: Float[Tensor, " scene"]
    sources: Sources
    power: Float[Tensor, "scene source"]


@dataclass(frozen=True)
class Scenes(Truth):
    """Simulated scenes: the whole truth, and what the receiver has."""

    observation: Observation
    amplitudes: Complex[Tensor, "scene snapshot source"]


def _complex_normal(generator: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.complex64]:
    """CN(0, 1), complex64."""
    parts = generator.standard_normal((*shape, 2), dtype=np.float32)
    parts *= np.float32(math.sqrt(0.5))
    return parts.view(np.complex64)[..., 0]


def draw_system(generator: np.random.Generator, system: System) -> SystemDraw:
    """Rician channel terms: uniform linear K-factor, base station within +-60 x +-30 degrees of boresight."""
    return SystemDraw(
        k_factor=generator.uniform(*system.k_factor),
        antenna_cosine=generator.uniform(-1.0, 1.0),
        departure=(
            generator.uniform(-math.pi / 3, math.pi / 3),
            generator.uniform(-math.pi / 6, math.pi / 6),
        ),
        scattered=_complex_normal(generator, (system.n_antennas, system.n_elements)),
    )


def draw_installation(
    generator: np.random.Generator, system: System, levels: impairments.ImpairmentLevels
) -> Installation:
    """The system that all scenes share, with the departures of its hardware and of its calibration."""
    drawn = draw_system(generator, system)
    return Installation(drawn, _draw_impairment(generator, system, levels))


def _draw_impairment(
    generator: np.random.Generator, system: System, levels: impairments.ImpairmentLevels
) -> impairments.ImpairmentDraw | None:
    """Random departures, None where none is on."""
    if not levels.any_random:
        return None
    return impairments.draw(generator, levels, system.n_elements, system.n_antennas)


def draw_scene(
    generator: np.random.Generator,
    system: System,
    installation: Installation | None,
    distribution: SourceDistribution,
    source_model: SourceModel,
    n_sources: int,
    snr_db: float,
    levels: impairments.ImpairmentLevels,
) -> SceneDraw:
    """Draw one scene. `installation` fixes the channel and the departures; None draws them for the scene.

    Amplitudes are unit-power: CN(0, 1) in every snapshot (`independent`), or one unit-modulus pilot of
    uniform phase for all snapshots (`constant`).
    """
    slots = distribution.max_sources
    sources = np.full((slots, 3), np.nan)
    sources[:n_sources, 0] = generator.uniform(*distribution.azimuth, n_sources)
    sources[:n_sources, 1] = generator.uniform(*distribution.elevation, n_sources)
    sources[:n_sources, 2] = 1.0 / generator.uniform(*distribution.range, n_sources)
    power_db = np.full(slots, np.nan)
    power_db[:n_sources] = distribution.power_spread_db * (generator.random(n_sources) - 0.5)
    if distribution.path_loss:
        power_db[:n_sources] += 20.0 * np.log10(system.wavelength * sources[:n_sources, 2] / (4.0 * math.pi))
    amplitudes = np.full((system.n_snapshots, slots), np.nan, dtype=np.complex128)
    if source_model == "independent":
        amplitudes[:, :n_sources] = _complex_normal(generator, (system.n_snapshots, n_sources))
    else:
        amplitudes[:, :n_sources] = np.exp(2j * math.pi * generator.random(n_sources))
    scene_system = draw_system(generator, system) if installation is None else installation.system
    if system.codebook == "random":
        code_levels = random_levels(generator, system.n_snapshots, system.n_elements, system.phase_bits)
    else:
        code_levels = structured_levels(
            system.codebook, system.n_horizontal, system.n_vertical, system.n_snapshots, system.phase_bits
        )
    noise = _complex_normal(generator, (system.n_snapshots, system.n_antennas))
    if installation is None:
        impairment = _draw_impairment(generator, system, levels)
    else:
        impairment = installation.impairment
    return SceneDraw(
        n_sources,
        snr_db,
        sources,
        power_db,
        amplitudes,
        noise,
        code_levels,
        system.phase_bits,
        scene_system,
        impairment,
    )


def observe(
    draws: list[SceneDraw],
    system: System,
    source_model: SourceModel,
    amplitude_minimum: float,
    shared_channel: bool,
) -> Scenes:
    """What the base station receives in a batch of drawn scenes, in complex64 for all scenes at once.

    The snapshots come from the true system (with the impairments of each draw, and elements whose amplitude
    falls to `amplitude_minimum` with their phase); the observation carries the nominal one. With
    `shared_channel` the observation holds one channel for all scenes.
    """
    nominal = system.array()
    elements = nominal.elements
    sources = torch.from_numpy(np.stack([d.sources for d in draws]))
    n_sources = torch.tensor([d.n_sources for d in draws], dtype=torch.int32)
    present = torch.arange(sources.shape[1]) < n_sources[:, None]
    power = torch.pow(10.0, torch.from_numpy(np.stack([d.power_db for d in draws])) / 10.0)
    amplitudes = torch.from_numpy(np.stack([d.amplitudes for d in draws])) * power.sqrt()[:, None, :]

    channel = _channel(draws, system, elements)
    phase_bits = torch.tensor([d.phase_bits for d in draws])
    codes = codes_from_levels(torch.from_numpy(np.stack([d.levels for d in draws])), phase_bits)
    if system.given is not None and system.given.codes is not None:
        codes = system.given.codes.expand(len(draws), -1, -1)
    true_channel, true_codes, array = channel, codes, elements
    noise_gain = torch.ones((len(draws), system.n_antennas))
    background = torch.zeros((len(draws), system.n_antennas), dtype=torch.complex64)
    departures = {scene: d.impairment for scene, d in enumerate(draws) if d.impairment is not None}
    if departures:
        impaired, own = torch.tensor(list(departures)), list(departures.values())
        true_channel = channel.index_add(0, impaired, torch.from_numpy(np.stack([d.channel for d in own])))
        response = torch.ones((len(draws), system.n_elements), dtype=torch.complex64)
        response[impaired] = torch.from_numpy(np.stack([d.response for d in own]))
        true_codes = codes * response[:, None, :]
        array = elements.repeat(len(draws), 1, 1)
        array[impaired] += torch.from_numpy(np.stack([d.position for d in own]))
        noise_gain[impaired] = torch.from_numpy(np.stack([d.noise for d in own]))
        background[impaired] = torch.from_numpy(np.stack([d.background for d in own]))
    if amplitude_minimum < 1.0:
        true_codes = impairments.phase_dependent_amplitude(true_codes, amplitude_minimum)

    wave = steering(sources.nan_to_num(nan=1.0), array, system.wavelength, system.spherical_amplitude)
    field = torch.where(present[:, None, :], amplitudes, 0.0).to(torch.complex64) @ wave.to(torch.complex64)
    signal = (true_codes * field) @ true_channel.transpose(-1, -2)
    snr_db = torch.tensor([d.snr_db for d in draws], dtype=torch.float64)
    signal_power = squared_modulus(signal).mean((1, 2)).double()
    noise_power = torch.where(n_sources > 0, signal_power / torch.pow(10.0, snr_db / 10.0), 1.0)
    scale = noise_power.sqrt()[:, None, None].float() * noise_gain[:, None]
    noise = torch.from_numpy(np.stack([d.noise for d in draws])) * scale
    noise += (signal_power.sqrt().float()[:, None] * background)[:, None]
    observation = Observation(
        snapshots=signal + noise,
        channel=channel[:1] if shared_channel else channel,
        codes=codes[:1] if system.has_fixed_codes else codes,
        array=nominal,
        source_model=source_model,
        noise_power=noise_power,
    )
    return Scenes(n_sources, snr_db, sources, power, observation, amplitudes.to(torch.complex64))


def _channel(
    draws: list[SceneDraw], system: System, elements: Elements
) -> Complex[Tensor, "scene antenna element"]:
    """Channels of the draws, in single precision throughout: this is their definition."""
    if system.given is not None and system.given.channel is not None:
        return system.given.channel.expand(len(draws), -1, -1)
    direct = line_of_sight(
        torch.tensor([d.system.antenna_cosine for d in draws], dtype=torch.float32),
        torch.tensor([d.system.departure for d in draws], dtype=torch.float32),
        system.n_antennas,
        elements,
        system.wavelength,
    )
    k_factor = torch.tensor([d.system.k_factor for d in draws], dtype=torch.float32)
    return rician(k_factor, direct, torch.from_numpy(np.stack([d.system.scattered for d in draws])))
