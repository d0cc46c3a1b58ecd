"""Departures of the true system from the nominal one; each is off at its neutral value."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Complex
from numpy.typing import NDArray
from torch import Tensor

RANDOM_LEVELS = ("position_jitter", "phase_error", "gain_jitter", "dead_fraction", "channel_error")
"""Levels of the random impairments of surface and channel; the phase-dependent amplitude is not random."""

RECEIVER_LEVELS = ("background", "noise_spread")
"""Levels of the random impairments of the receiver."""


@dataclass(frozen=True)
class ImpairmentLevels:
    """position_jitter (m, standard deviation per axis in the plane of the surface), phase_error (rad,
    standard deviation), gain_jitter (standard deviation of the natural logarithm of the amplitude),
    dead_fraction (probability that an element reflects nothing), channel_error (root mean square error of the
    known channel relative to the channel), amplitude_minimum (smallest reflection amplitude of a
    phase-dependent element; 1 is lossless), background (root mean square of a constant at every antenna
    relative to what the sources of a scene bring there), noise_spread (natural logarithm of the largest ratio
    of noise powers of antennas).
    """

    position_jitter: float
    phase_error: float
    gain_jitter: float
    dead_fraction: float
    channel_error: float
    amplitude_minimum: float
    background: float
    noise_spread: float

    @property
    def any_random(self) -> bool:
        """True where a random impairment is on."""
        return any(getattr(self, name) > 0.0 for name in (*RANDOM_LEVELS, *RECEIVER_LEVELS))


@dataclass(frozen=True)
class ImpairmentDraw:
    """Random departures of one scene; background relative to the sources, noise amplitude to its mean."""

    position: NDArray[np.float64]
    response: NDArray[np.complex64]
    channel: NDArray[np.complex64]
    background: NDArray[np.complex64]
    noise: NDArray[np.float32]


def draw(
    generator: np.random.Generator, levels: ImpairmentLevels, n_elements: int, n_antennas: int
) -> ImpairmentDraw:
    """Position offsets (m), complex element responses, channel offsets, background and noise of one scene.

    Element response g_n = alive_n exp(gain_jitter z_n + j phase_error z'_n), z ~ N(0, 1); the channel offset
    is channel_error CN(0, 1), the background at an antenna background CN(0, 1); noise powers are
    exp(noise_spread u), u uniform in +- 1/2, over their mean. All are drawn if one is on, so that a sweep of
    levels changes one thing only.
    """
    offset = np.zeros((n_elements, 3))
    offset[:, :2] = levels.position_jitter * generator.standard_normal((n_elements, 2))
    gain, phase = generator.standard_normal((2, n_elements))
    alive = generator.random(n_elements) >= levels.dead_fraction
    response = alive * np.exp(levels.gain_jitter * gain + 1j * levels.phase_error * phase)
    real, imaginary = generator.standard_normal((2, n_antennas, n_elements)) * (
        levels.channel_error / math.sqrt(2.0)
    )
    static = generator.standard_normal((2, n_antennas)) * (levels.background / math.sqrt(2.0))
    power = np.exp(levels.noise_spread * (generator.random(n_antennas) - 0.5))
    return ImpairmentDraw(
        offset,
        response.astype(np.complex64),
        (real + 1j * imaginary).astype(np.complex64),
        (static[0] + 1j * static[1]).astype(np.complex64),
        np.sqrt(power / power.mean()).astype(np.float32),
    )


def phase_dependent_amplitude(
    codes: Complex[Tensor, "*scene snapshot element"], amplitude_minimum: float
) -> Complex[Tensor, "*scene snapshot element"]:
    """Reflection whose amplitude depends on its phase.

        |c| = (1 - a) ((sin(arg c - 0.43 pi) + 1) / 2)^1.6 + a,   a = amplitude_minimum

    Abeywickrama et al., "Intelligent Reflecting Surface: Practical Phase Shift Model and Beamforming
    Optimization", IEEE Trans. Commun. 68 (2020), eq. (5), with the constants of its Fig. 2.
    """
    dip = ((torch.sin(torch.angle(codes) - 0.43 * math.pi) + 1.0) / 2.0).clamp_min(0.0) ** 1.6
    return codes * ((1.0 - amplitude_minimum) * dip + amplitude_minimum)
