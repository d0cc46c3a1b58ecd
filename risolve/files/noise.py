"""Noise of files that is not alike at all antennas: a power of each, or a covariance.

noise_power         real numbers [scene or 1, antenna]
noise_covariance    complex numbers [scene or 1, antenna, antenna], Hermitian and positive definite
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from risolve.files.measurement_laws import Sizes
from risolve.files.reader import Reader
from risolve.files.truth import doubles
from risolve.physics.reception import whitening

_POWER, _COVARIANCE = "noise_power", "noise_covariance"


def is_by_antenna(reader: Reader) -> bool:
    """Whether a file states the noise of each antenna, or its covariance.

    Raises:
        MeasurementError: it states both.
    """
    powers = reader.has(_POWER) and len(reader.dataset(_POWER, "of real numbers").shape) == 2
    if reader.has(_COVARIANCE) and reader.has(_POWER):
        raise reader.fault(_COVARIANCE, f"{_POWER} or this, got both")
    return powers or reader.has(_COVARIANCE)


def noise_covariance(reader: Reader, sizes: Sizes) -> NDArray[np.complex128]:
    """Covariance of the noise of every scene, or of all, [scene or 1, antenna, antenna].

    Raises:
        MeasurementError: another shape or type, or no covariance of noise.
    """
    name = _COVARIANCE if reader.has(_COVARIANCE) else _POWER
    axes = (sizes.antennas,) * (2 if name == _COVARIANCE else 1)
    law = f"[scene or 1{', antenna' * len(axes)}] = [{sizes.scenes} or 1{f', {sizes.antennas}' * len(axes)}]"
    field = reader.dataset(name, law)
    kinds = "fiuc" if name == _COVARIANCE else "fiu"
    if field.dtype.kind not in kinds or field.shape not in ((1, *axes), (sizes.scenes, *axes)):
        raise reader.fault(name, f"{law}, got {field.dtype} {field.shape}")
    values: NDArray[Any] = reader.rows(name, field, ())
    if name == _POWER:
        powers = doubles(reader, name, values)
        values = powers[:, :, None] * np.eye(sizes.antennas)
    held = values.astype(np.complex128)
    try:
        whitening(torch.from_numpy(held))
    except ValueError as error:
        raise reader.fault(name, str(error).removeprefix("noise_power: ")) from error
    return held
