"""What people get wrong in measurements, tried: what of it explains the first scene better, with numbers."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from risolve.errors import MeasurementError
from risolve.field import FieldOfView
from risolve.files.measurement_stream import MeasurementStream
from risolve.located import located_sources
from risolve.locating import CLASSICAL, Options, localize, localizer_for
from risolve.physics.array import Array
from risolve.physics.geometry import nearest_spacing
from risolve.physics.observation import Observation

_OPTIONS = Options(CLASSICAL, 1, FieldOfView(), 0.01, Path())

_BETTER = 0.8
"""Share of what is left as it is, below which something else fits better."""

_GOOD = 50.0
"""What is left (%) of what explains a scene, where nothing can be looked for as it is."""

_SPACING = (0.05, 5.0)
"""Wavelengths between neighbouring elements that are tried."""


class _Trial(NamedTuple):
    """What one source leaves of the power of a scene (%), and where it is."""

    left: float
    place: str


def tried_lines(stream: MeasurementStream) -> list[str]:
    """What one source leaves of the first scene that can be located, as it is, and with what fits better.

    A mirror of array and sources together explains the snapshots as well: antennas in the reverse order of a
    symmetric array, or the conjugate of plane waves, are not told by any likelihood.
    """
    chunk = stream.chunk(0, min(stream.chunk_size, stream.sizes.scenes))
    if chunk.observation is None:
        return []
    seen = replace(chunk.observation.select(slice(0, 1)), noise_power=None)
    lines, as_it_is = [], _tried(seen)
    if as_it_is is not None:
        lines.append(f"one source leaves {as_it_is.left:.3g} % of the power of a scene: {as_it_is.place}")
    bound = _GOOD if as_it_is is None else _BETTER * as_it_is.left
    for what, other in _others(seen):
        found = _tried(other)
        if found is not None and found.left < bound:
            lines.append(f"{what} fits better, {found.left:.3g} % is left: {found.place}")
    return lines


def _tried(observation: Observation) -> _Trial | None:
    """One source in a scene, None where none can be located."""
    try:
        estimate = localize(observation, localizer_for(observation, _OPTIONS, ""), 1)
    except (ValueError, MeasurementError):
        return None
    first = torch.zeros(1, dtype=torch.int64)
    rows = list(located_sources(CLASSICAL, ("",), 0, first, observation, estimate).rows())
    power = float(observation.snapshots.abs().double().square().sum())
    place = "azimuth {azimuth_deg:.1f} deg, elevation {elevation_deg:.1f} deg, range {range_m:.3g} m"
    return _Trial(100.0 * float(estimate.likelihood.residual[0]) / power, place.format(**rows[0]))


def _others(seen: Observation) -> Iterator[tuple[str, Observation]]:
    """What may be meant, in words, and the observation that it would be."""
    array = seen.array
    yield "the conjugate of the snapshots (--conjugate)", replace(seen, snapshots=seen.snapshots.conj())
    if bool((seen.channel.imag != 0).any()):
        yield "the conjugate of the channel", replace(seen, channel=seen.channel.conj())
    if bool((seen.codes.imag != 0).any()):
        yield "the conjugate of the codes", replace(seen, codes=seen.codes.conj())
    yield "the antennas in the reverse order", replace(seen, snapshots=seen.snapshots.flip(-1))
    order = _other_order(array.elements)
    if order is not None:
        yield "the elements column by column", replace(seen, array=_with(array, array.elements[order]))
    low, high = _SPACING
    if low <= nearest_spacing(array.elements) <= high:
        scaled = _with(array, array.elements * array.wavelength)
        yield (
            "positions as multiples of the wavelength (--positions-in wavelengths)",
            replace(seen, array=scaled),
        )


def _with(array: Array, elements: Tensor) -> Array:
    return Array(elements, array.wavelength)


def _other_order(elements: Tensor) -> Tensor | None:
    """Elements column by column where they stand row by row, or the other way; None of any other order."""
    x, y = elements[:, :2].numpy().T
    orders = [np.lexsort((x, y)), np.lexsort((y, x))]
    stands = [bool((order == np.arange(len(x))).all()) for order in orders]
    if stands[0] == stands[1]:
        return None
    return torch.from_numpy(orders[1] if stands[0] else orders[0])
