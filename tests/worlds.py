"""Worlds that the tests share: systems, source ranges, and scenes of any count, SNR and source model.

SMALL is the fixture world: surface 3 x 5 (not square, so that swapped axes show), 2 antennas, 7 snapshots.
Two antennas tell one `independent` source from noise, so scenes of several sources use WIDE (5 x 8, 6
antennas, 9 snapshots) or DEFAULT, the system of params.yaml.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Complex, Float
from ruamel.yaml import YAML
from torch import Tensor

from risolve.physics.array import Array
from risolve.physics.geometry import planar_array
from risolve.physics.impairments import ImpairmentLevels
from risolve.physics.observation import Observation, SourceModel, respond
from risolve.physics.scenario import (
    SceneDraw,
    Scenes,
    SourceDistribution,
    System,
    draw_installation,
    draw_scene,
    observe,
)
from risolve.physics.steering import steering
from risolve.seeds import generator
from stages.params.model import Params

SMALL = System(
    n_horizontal=3,
    n_vertical=5,
    spacing=0.15,
    wavelength=0.3,
    n_antennas=2,
    n_snapshots=7,
    codebook="random",
    phase_bits=3,
    k_factor=(0.5, 10.0),
    spherical_amplitude=False,
)
WIDE = replace(SMALL, n_horizontal=5, n_vertical=8, n_antennas=6, n_snapshots=9)
DEFAULT = replace(SMALL, n_horizontal=12, n_vertical=12, n_antennas=16, n_snapshots=16)

FIELD_OF_VIEW = SourceDistribution(
    azimuth=(-math.pi / 3, math.pi / 3),
    elevation=(-math.pi / 6, math.pi / 6),
    range=(0.5, 10.0),
    power_spread_db=0.0,
    path_loss=False,
    max_sources=5,
)
NEUTRAL = ImpairmentLevels(
    position_jitter=0.0,
    phase_error=0.0,
    gain_jitter=0.0,
    dead_fraction=0.0,
    channel_error=0.0,
    amplitude_minimum=1.0,
    background=0.0,
    noise_spread=0.0,
)

SPREAD_SOURCES = ((-0.5, 0.2, 1 / 2.0), (0.35, -0.3, 1 / 3.0), (0.9, 0.1, 1 / 1.5))
"""Three well separated off-axis sources (azimuth rad, elevation rad, inverse range 1/m)."""


def draw_scenes(
    system: System,
    n_sources: int,
    snr_db: float,
    n_scenes: int,
    source_model: SourceModel = "independent",
    *,
    seed: int = 1,
    distribution: SourceDistribution = FIELD_OF_VIEW,
    levels: ImpairmentLevels = NEUTRAL,
    shared_channel: bool = False,
) -> list[SceneDraw]:
    """Drawn scenes of K sources at one SNR; scene i is the same for any `n_scenes`."""
    installation = (
        draw_installation(generator(seed, "installation"), system, levels) if shared_channel else None
    )
    arguments = (system, installation, distribution, source_model, n_sources, snr_db, levels)
    return [draw_scene(generator(seed, "train", scene), *arguments) for scene in range(n_scenes)]


def make_scenes(
    system: System,
    n_sources: int,
    snr_db: float,
    n_scenes: int,
    source_model: SourceModel = "independent",
    *,
    seed: int = 1,
    distribution: SourceDistribution = FIELD_OF_VIEW,
    levels: ImpairmentLevels = NEUTRAL,
    shared_channel: bool = False,
    sources: Sequence[tuple[float, float, float]] | None = None,
) -> Scenes:
    """Random scenes of K sources at one SNR; `sources` places the same K sources in every scene."""
    draws = draw_scenes(
        system,
        n_sources,
        snr_db,
        n_scenes,
        source_model,
        seed=seed,
        distribution=distribution,
        levels=levels,
        shared_channel=shared_channel,
    )
    if sources is not None:
        for draw in draws:
            draw.sources[:n_sources] = sources
    return observe(draws, system, source_model, levels.amplitude_minimum, shared_channel)


def make_observation(
    system: System = SMALL,
    n_sources: int = 1,
    snr_db: float = 10.0,
    n_scenes: int = 3,
    source_model: SourceModel = "independent",
    *,
    seed: int = 1,
) -> Observation:
    """Observation of random scenes."""
    return make_scenes(system, n_sources, snr_db, n_scenes, source_model, seed=seed).observation


def direct_array(
    sources: Sequence[tuple[float, float, float]],
    snr_db: float,
    n_scenes: int,
    n_snapshots: int = 9,
    *,
    seed: int = 1,
    n_horizontal: int = 5,
    n_vertical: int = 3,
) -> Scenes:
    """An ordinary antenna array: channel = identity, codes = 1, `independent` sources of power 1."""
    elements = planar_array(n_horizontal, n_vertical, 0.15)
    n_elements, n_sources = elements.shape[0], len(sources)
    random = torch.Generator().manual_seed(seed)
    placed = torch.tensor(sources, dtype=torch.float64).expand(n_scenes, n_sources, 3)
    amplitudes = torch.randn((n_scenes, n_snapshots, n_sources), dtype=torch.complex128, generator=random)
    signal = amplitudes @ steering(placed, elements, 0.3, False)
    noise_power = signal.abs().square().mean((1, 2)) / 10.0 ** (snr_db / 10.0)
    noise = (
        torch.randn(signal.shape, dtype=torch.complex128, generator=random)
        * noise_power.sqrt()[:, None, None]
    )
    observation = Observation(
        snapshots=(signal + noise).to(torch.complex64),
        channel=torch.eye(n_elements, dtype=torch.complex64)[None],
        codes=torch.ones((1, n_snapshots, n_elements), dtype=torch.complex64),
        array=Array(elements, 0.3, spherical_amplitude=False),
        source_model="independent",
        noise_power=noise_power,
    )
    return Scenes(
        observation=observation,
        n_sources=torch.full((n_scenes,), n_sources, dtype=torch.int32),
        snr_db=torch.full((n_scenes,), snr_db, dtype=torch.float64),
        sources=placed.clone(),
        power=torch.ones((n_scenes, n_sources), dtype=torch.float64),
        amplitudes=amplitudes.to(torch.complex64),
    )


def with_amplitude(observation: Observation, spherical_amplitude: bool) -> Observation:
    """The same snapshots, said to be of an array of another amplitude law."""
    return replace(observation, array=replace(observation.array, spherical_amplitude=spherical_amplitude))


def signal_of(scenes: Scenes) -> Complex[Tensor, "scene snapshot antenna"]:
    """B_l A s_l of the true sources through the nominal system, complex128."""
    observation = scenes.observation.to(torch.complex128)
    present = ~scenes.sources[..., 0].isnan()
    wave = observation.array.steering(scenes.sources.nan_to_num(nan=1.0))
    wave = torch.where(present[..., None], wave, 0.0)
    amplitudes = torch.where(present[:, None, :], scenes.amplitudes.to(torch.complex128), 0.0)
    return (respond(observation, wave.mT) @ amplitudes[..., None])[..., 0]


def noiseless(scenes: Scenes) -> Scenes:
    """The same scenes with y_l = B_l A s_l to the precision of complex128; the stated noise power stays."""
    exact = replace(scenes.observation.to(torch.complex128), snapshots=signal_of(scenes))
    return replace(scenes, observation=exact)


def scaled(observation: Observation, factor: complex) -> Observation:
    """y -> c y, sigma^2 -> |c|^2 sigma^2."""
    noise_power = observation.noise_power
    return replace(
        observation,
        snapshots=observation.snapshots * factor,
        noise_power=None if noise_power is None else noise_power * abs(factor) ** 2,
    )


def separations(sources: Float[Tensor, "scene source 3"]) -> Float[Tensor, " scene"]:
    """Smallest angle (rad) between two sources of each scene."""
    azimuth, elevation = sources[..., 0], sources[..., 1]
    cosine = torch.cos(elevation)
    q = torch.stack((torch.sin(azimuth) * cosine, torch.sin(elevation), torch.cos(azimuth) * cosine), -1)
    angles = torch.arccos((q @ q.mT).clamp(-1.0, 1.0))
    own = torch.eye(sources.shape[1], dtype=torch.bool)
    return angles.masked_fill(own, math.pi).amin((1, 2))


def parsed(values: dict[str, Any]) -> Params:
    """Parameters of plain values, where a list stands for a tuple as in a file."""
    return Params.model_validate_json(json.dumps(values))


def default_parameters() -> dict[str, Any]:
    """params.yaml as plain values of the caller's own, lists where it has lists."""
    values: dict[str, Any] = json.loads(_default_parameters())
    return values


@cache
def _default_parameters() -> str:
    file = Path(__file__).resolve().parents[1] / "params.yaml"
    values = YAML(typ="safe", pure=True).load(file.read_text("utf-8"))
    assert isinstance(values, dict)
    return json.dumps(values)
