"""Several wavelengths: what is seen of the same sources in every band, as one observation of one array.

    y_fl = H_f diag(c_fl) A_f s_fl + n_fl,   A_f the steering matrix at the wavelength of band f

The elements of all bands, each with its wavelength, are those of one array, and what a band does not see has
code 0. Free amplitudes then stay free in every band, and likelihoods, curvatures and bounds of bands add up.

    y_fl = H_f diag(c_fl) A_f diag(exp(-j k_f r)) s_l + n_fl   with a common delay

Amplitudes of bands that have one clock are tied by the delay r / c of each source: the antennas of all bands
are then those of one array with elements of several wavelengths (`DelayedArray`), which tells range by
bandwidth too.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from itertools import pairwise
from typing import Literal, NamedTuple, TypeAlias, get_args

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from risolve.physics.array import Array
from risolve.physics.banded_array import BandedArray, DelayedArray
from risolve.physics.observation import Gains, Noise, Observation, SourceModel, sensing
from risolve.shapes import Powers

Delay: TypeAlias = Literal["free", "common"]
"""Phases between bands: free, or those of one delay a source."""

_SAME = 1e-6
"""Of a wavelength: places that differ by less are the same."""

MOST_SPREAD = 1e12
"""Noise power of a band over that of another: beyond, nothing of one is left in single precision."""


class Band(NamedTuple):
    """What is known of a band, and agrees with others, before its snapshots are read."""

    array: Array
    n_scenes: int
    n_snapshots: int
    n_antennas: int
    source_model: SourceModel
    noise: Noise
    gains: Gains
    knows_noise_power: bool
    is_coherent: bool


class BandSizes(NamedTuple):
    """Snapshots and antennas that bands have together, and the array that they make."""

    n_snapshots: int
    n_antennas: int
    array: BandedArray


def bands(observations: Sequence[Observation], delay: str = "free") -> Observation:
    """What several observations, each at a wavelength of its own, show of the same sources.

    observations: of the same scenes, elements and source model. Amplitudes are free in every band: those of
    `independent` sources in all snapshots, those of `constant` and `coherent` ones once in each band, which
    then counts as one snapshot of L M antennas. A noise power that is stated, in all bands, may differ
    between them: snapshots and channel of each are scaled to that of the first. One that is not is taken as
    the same in all.

    delay: "common" where bands have one clock, and what is sent is the same in all of them or divided out:
    their antennas then stand side by side in as many snapshots as one band has, amplitudes of a source are
    the same in all bands, and its range is told by its delay too, up to `DelayedArray.unambiguous_range`.

    F bands hold F^2 times the codes and F times the channel of one, with a common delay F times the codes and
    F^2 times the channel. One observation is returned as it is.

    Raises:
        TypeError: what is no sequence of observations.
        ValueError: bands that do not agree, or that cannot be put together, or an unknown delay.
    """
    if delay not in get_args(Delay):
        raise ValueError(f"delay is {' or '.join(get_args(Delay))}, got {delay!r}")
    held = [] if isinstance(observations, Observation) else list(observations)
    if not held or not all(isinstance(one, Observation) for one in held):
        kinds = ", ".join(type(one).__name__ for one in held) or "none in a list"
        raise TypeError(f"bands are a list of observations, one a wavelength; got {kinds}")
    if len(held) == 1 and delay == "free":
        return held[0]
    for band, own in enumerate(held):
        if own.stated is not None or own.recorded is not None:
            raise ValueError(f"bands are observations as they were made; band {band} was worked on")
        power = own.noise_power
        if power is not None and not bool(((power > 0.0) & power.isfinite()).all()):
            raise ValueError(f"noise_power is positive and finite; band {band} has {power.tolist()[:8]}")
    array = together([_described(one) for one in held], delay).array
    dtype = reduce(torch.promote_types, [one.snapshots.dtype for one in held])
    if not bool((noise_spread(held) <= MOST_SPREAD).all()):
        spread = float(noise_spread(held).nan_to_num(nan=math.inf).max())
        raise ValueError(f"noise_power of bands: no more than {MOST_SPREAD:g} apart, got {spread:.3g}")
    power = held[0].noise_power
    parts = [_of_noise(one, power) for one in held]
    if delay == "common":
        codes = [one.codes.to(dtype) for one in parts]
        n_rows = max(len(own) for own in codes)
        return Observation(
            torch.cat([one.snapshots for one in parts], dim=2).to(dtype),
            array,
            _apart([one.channel.to(dtype) for one in parts]),
            torch.cat([own.expand(n_rows, -1, -1) for own in codes], dim=2),
            held[0].source_model,
            noise_power=power,
        )
    parts = [_of_one_amplitude(one) for one in parts]
    n_rows = max(one.channel.shape[0] for one in parts)
    return Observation(
        torch.cat([one.snapshots for one in parts], dim=1).to(dtype),
        array,
        torch.cat([one.channel.expand(n_rows, -1, -1).to(dtype) for one in parts], dim=-1),
        _apart([one.codes.to(dtype) for one in parts]),
        noise_power=power,
    )


def _described(own: Observation) -> Band:
    knows_noise_power = own.noise_power is not None
    sizes = (own.n_scenes, own.n_snapshots, own.n_antennas)
    return Band(own.array, *sizes, own.source_model, own.noise, own.gains, knows_noise_power, own.is_coherent)


def together(held: Sequence[Band], delay: str) -> BandSizes:
    """Several bands as one observation has them.

    Raises:
        ValueError: bands that do not agree, with the law and the numbers.
    """
    first, is_tied = held[0], delay == "common"
    if is_tied:
        _check_delay(held)
    for band, own in enumerate(held):
        if own.array.n_bands > 1:
            raise ValueError(f"a band has one wavelength; band {band} holds {own.array.n_bands} bands")
        if own.noise == "antennas":
            raise ValueError(
                f"bands take noise alike at all antennas; band {band} has noise = antennas: state the "
                "noise_power of each antenna, [1, antenna]"
            )
        if own.gains == "equal":
            raise ValueError(f"bands take an amplitude of every source; band {band} has gains = equal")
        laws = {
            "scenes": (own.n_scenes, first.n_scenes),
            "elements": (own.array.n_elements, first.array.n_elements),
            "spherical_amplitude": (own.array.spherical_amplitude, first.array.spherical_amplitude),
            "source_model": (own.source_model, first.source_model),
            "noise_power stated": (own.knows_noise_power, first.knows_noise_power),
            "antennas": (own.n_antennas, first.n_antennas),
        }
        if own.source_model == "constant" or is_tied:
            # which groups of L M numbers share an amplitude
            laws["snapshots"] = (own.n_snapshots, first.n_snapshots)
        for what, (its, expected) in laws.items():
            if its != expected:
                raise ValueError(f"bands agree in {what}: band 0 has {expected}, band {band} has {its}")
        off = float((own.array.elements - first.array.elements).norm(dim=-1).max())
        if off > _SAME * min(own.array.wavelength, first.array.wavelength):
            raise ValueError(f"bands have the same elements; those of band {band} are {off:.3g} m off")
    is_constant, n_antennas = first.source_model == "constant", first.n_antennas
    has_surface = not first.array.is_received_by(n_antennas)
    if is_tied:
        array: BandedArray = DelayedArray([own.array for own in held], has_surface)
        return BandSizes(first.n_snapshots, len(held) * n_antennas, array)
    array = BandedArray([own.array for own in held], has_surface)
    if is_constant:
        return BandSizes(len(held), first.n_snapshots * n_antennas, array)
    return BandSizes(sum(own.n_snapshots for own in held), n_antennas, array)


def _check_delay(held: Sequence[Band]) -> None:
    """Refuse bands that do not tell a delay.

    Raises:
        ValueError: one band, two of one wavelength, or sources whose phase between bands is lost.
    """
    if len(held) < 2:
        raise ValueError(f"delay = common is of 2 bands or more, got {len(held)}")
    for band, own in enumerate(held):
        if own.is_coherent:
            raise ValueError(
                "delay = common needs phases between bands, which the unknown waveform of `coherent` sources "
                f"takes away; band {band} is of them: divide the waveform out and state "
                "source_model = constant, or take delay = free"
            )
    lengths = sorted(own.array.wavelength for own in held)
    for one, other in pairwise(lengths):
        if other - one <= _SAME * one:
            raise ValueError(f"delay = common: a wavelength for each band; two have {one:.6g} m")


def noise_spread(held: Sequence[Observation]) -> Float[Tensor, " scene"]:
    """Largest noise power of the bands over the least; 1 where they are not known."""
    powers = [one.noise_power for one in held if one.noise_power is not None]
    if not powers:
        return torch.ones(held[0].n_scenes, dtype=torch.float64)
    every = torch.stack(powers).double()
    return every.amax(0) / every.amin(0)


def _of_noise(observation: Observation, power: Powers | None) -> Observation:
    """y and H times p / sigma, of noise of another power p^2; itself where sigma is not known."""
    own = observation.noise_power
    if own is None or power is None:
        return observation
    scale = (power / own).sqrt()[:, None, None]
    y, H = observation.snapshots, observation.channel
    return replace(
        observation,
        snapshots=(y * scale).to(y.dtype),
        channel=(H * scale).to(H.dtype) if bool((scale != 1.0).any()) else H,
        noise_power=power,
    )


def _of_one_amplitude(observation: Observation) -> Observation:
    """Of `constant` sources one snapshot of all L M numbers, whose channel is the stacked B; others as they
    are.
    """
    if observation.source_model == "independent":
        return observation
    B = sensing(observation).flatten(1, 2)
    return Observation(
        observation.snapshots.flatten(1)[:, None],
        observation.array,
        B,
        torch.ones((1, 1, B.shape[2]), dtype=B.dtype, device=B.device),
    )


def _apart(
    values: Sequence[Complex[Tensor, "#scene row element"]],
) -> Complex[Tensor, "#scene rows own"]:
    """Codes, or channels, of all bands, each for its own elements and 0 for those of the others."""
    n_rows = max(len(own) for own in values)
    n_elements = values[0].shape[2]
    rows = []
    for band, own in enumerate(values):
        beside = (band * n_elements, (len(values) - 1 - band) * n_elements)
        rows.append(torch.nn.functional.pad(own, beside).expand(n_rows, -1, -1))
    return torch.cat(rows, dim=1)
