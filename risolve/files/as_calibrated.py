"""Measurements through the array that a calibration found, in place of the nominal one of their file."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from risolve.files.calibrated_array import CalibratedArray
from risolve.files.contents import Contents, MadeField
from risolve.files.measurement_laws import check_type
from risolve.files.reader import Reader

_SAME = 1e-6
"""Of a wavelength: places that differ by less are the same."""


def as_calibrated(reader: Reader, array: CalibratedArray) -> Reader:
    """The same measurements with the channel diag(h) H diag(g) (I + c T), and the places of elements.

    Raises:
        MeasurementError: measurements of another array than the one that was calibrated.
    """
    channel, positions = (reader.dataset(name, "") for name in ("channel", "element_positions_m"))
    for name, field in (("channel", channel), ("element_positions_m", positions)):
        check_type(reader, name, field, False)
    nominal = array.calibration.nominal
    sizes = (len(array.antenna_gains), len(array.element_gains))
    if channel.shape[1:] != sizes or positions.shape != (sizes[1], 3):
        law = f"[scene, antenna, element] = [scene, {sizes[0]}, {sizes[1]}] of the array that was calibrated"
        raise reader.fault("channel", f"{law}, got {channel.shape}")
    wavelength = reader.positive("wavelength_m")
    if wavelength != nominal.wavelength:
        law = f"{nominal.wavelength:g}, of the array that was calibrated, got {wavelength:g}"
        raise reader.fault("attribute wavelength_m", law)
    places = np.asarray(reader.rows("element_positions_m", positions, ()), dtype=np.float64)
    off = np.abs(places - nominal.elements.numpy()).max()
    if not off <= _SAME * wavelength:
        law = f"places of the array that was calibrated, got some that are {off:.3g} m beside"
        raise reader.fault("element_positions_m", law)
    gains = array.antenna_gains[:, None] * array.element_gains
    mixing = array.calibration.mixing

    def through(rows: slice | tuple[()]) -> NDArray[Any]:
        gained = np.asarray(channel.read(rows) * gains)
        return gained if mixing is None else gained @ mixing.numpy()

    kind = np.result_type(channel.dtype, gains.dtype)
    found = array.array.elements.numpy()
    held = {
        "channel": MadeField(kind, channel.shape, None, through),
        "element_positions_m": MadeField(found.dtype, found.shape, None, lambda rows: found[rows]),
    }
    attributes, objects = reader.contents()
    return reader.with_contents(Contents(attributes, objects | held, reader.is_foreign))
