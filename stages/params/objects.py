"""Parameters in the units of the core: degrees become radians and decibels become ratios here, once."""

import math
from dataclasses import replace

from risolve.files.given_system import read_system
from risolve.physics.augmentation import Augmentation
from risolve.physics.geometry import radians
from risolve.physics.impairments import ImpairmentLevels
from risolve.physics.scenario import SourceDistribution, System
from stages.params.file import SYSTEM
from stages.params.model import FileParams, Params


def system(params: Params) -> System:
    """Surface, base station and codes.

    Raises:
        MeasurementError: the array is that of a file, and what `check` read of it is damaged.
    """
    given = read_system(SYSTEM) if isinstance(params, FileParams) else None
    if given is not None:
        given = replace(
            given, array=replace(given.array, spherical_amplitude=params.array.spherical_amplitude)
        )
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
        given=given,
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
    """Departures of the true system."""
    return ImpairmentLevels(
        position_jitter=params.impairments.position_jitter_m,
        phase_error=math.radians(params.impairments.phase_error_deg),
        gain_jitter=_log_amplitude(params.impairments.gain_jitter_db),
        dead_fraction=params.impairments.dead_fraction,
        channel_error=params.impairments.channel_error,
        amplitude_minimum=params.impairments.amplitude_minimum,
        background=params.impairments.background,
        noise_spread=2.0 * _log_amplitude(params.impairments.noise_spread_db),
    )


def augmentation(params: Params) -> Augmentation:
    """Departures of the scenes of the splits that are `augmented`.

    A fixed installation keeps its hardware: its phase bits and its impairments are those of the installation
    in every scene, and only the powers of the sources vary.
    """
    own, levels = params.simulate.augmentation, impairment_levels(params)

    def end(at: int) -> ImpairmentLevels:
        return replace(
            levels,
            position_jitter=own.position_jitter_m[at],
            phase_error=math.radians(own.phase_error_deg[at]),
            gain_jitter=_log_amplitude(own.gain_jitter_db[at]),
            dead_fraction=own.dead_fraction[at],
            channel_error=own.channel_error[at],
        )

    return Augmentation(
        spread_share=own.spread_share,
        power_spread_db=own.power_spread_db,
        impaired_share=own.impaired_share if params.channel.per_scene else 0.0,
        phase_bits=own.phase_bits,
        lowest=end(0),
        highest=end(1),
    )


def _log_amplitude(decibels: float) -> float:
    """Natural logarithm of an amplitude of x dB, x ln(10) / 20."""
    return decibels * math.log(10.0) / 20.0
