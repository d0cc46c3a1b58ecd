"""Parameters in the units of the core: degrees become radians and decibels become ratios here, once."""

import math

from stages.params import Params
from stages.physics.impairments import ImpairmentLevels
from stages.physics.scenario import SourceDistribution, System


def system(params: Params) -> System:
    """Surface, base station and codes."""
    return System(
        n_horizontal=params.array.n_horizontal,
        n_vertical=params.array.n_vertical,
        spacing=params.array.spacing_m,
        wavelength=params.array.wavelength_m,
        n_antennas=params.receiver.n_antennas,
        n_snapshots=params.receiver.n_snapshots,
        codebook=params.codebook.kind,
        phase_bits=params.codebook.phase_bits,
        k_factor=params.channel.k_factor,
        spherical_amplitude=params.array.spherical_amplitude,
    )


def source_distribution(params: Params) -> SourceDistribution:
    """Where sources stand and how strong they are."""
    return SourceDistribution(
        azimuth=radians(params.sources.azimuth_deg),
        elevation=radians(params.sources.elevation_deg),
        range=params.sources.range_m,
        power_spread_db=params.sources.power_spread_db,
        path_loss=params.sources.path_loss,
        max_sources=params.sources.max_sources,
    )


def impairment_levels(params: Params) -> ImpairmentLevels:
    """Departures of the true system; an amplitude of x dB has the natural logarithm x ln(10) / 20."""
    return ImpairmentLevels(
        position_jitter=params.impairments.position_jitter_m,
        phase_error=math.radians(params.impairments.phase_error_deg),
        gain_jitter=params.impairments.gain_jitter_db * math.log(10.0) / 20.0,
        dead_fraction=params.impairments.dead_fraction,
        channel_error=params.impairments.channel_error,
        amplitude_minimum=params.impairments.amplitude_minimum,
    )


def radians(pair_deg: tuple[float, float]) -> tuple[float, float]:
    """[lowest, highest] in rad."""
    return math.radians(pair_deg[0]), math.radians(pair_deg[1])
