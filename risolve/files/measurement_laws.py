"""What a file of measurements is checked for before any scene is read: types, axes, units.

Sizes are inferred from all data sets together, so that a message says which axis looks swapped.
"""

import itertools
import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Complex
from numpy.typing import NDArray

from risolve.errors import MeasurementError
from risolve.files.contents import StoredField
from risolve.files.precision import Single
from risolve.files.reader import Reader
from risolve.physics.array import Array
from risolve.physics.geometry import aperture, nearest_spacing

_UNIT_MODULUS = 1e-3
"""Deviation of |c| from 1 beyond which elements lose power, and not digits."""

_SPACING = (0.05, 5.0)
"""Wavelengths between neighbouring elements that occur: beyond, one of the two is in another unit."""

_SPARSE, _IN_WAVELENGTHS = 1.2, (0.2, 1.0)
"""Wavelengths between neighbours from which metres of so many are doubted: they may be wavelengths."""

_UNITS = (("millimetres", 1e-3), ("centimetres", 1e-2))
_FREQUENCIES = (("hertz", 1.0), ("megahertz", 1e6), ("gigahertz", 1e9))
_IN_HERTZ = (("kilohertz", 1e3), ("megahertz", 1e6), ("gigahertz", 1e9))
"""Of a frequency that was taken for hertz."""

_LIGHT = 299_792_458.0
"""m/s"""

AXES: Mapping[str, tuple[str, ...]] = {
    "snapshots": ("scene", "snapshot", "antenna"),
    "channel": ("scene or 1", "antenna", "element"),
    "codes": ("scene or 1", "snapshot", "element"),
    "element_positions_m": ("element", "3"),
}
COMPLEX = ("snapshots", "channel", "codes")

_WAVELENGTHS = (1e-9, 1e15)
"""m, or any other unit that is then guessed."""

_FARTHEST = 1e15
"""Of a coordinate (m)."""

MOST_VALUES = 2**26
"""Complex numbers of one scene, which are read at once: 1 GB."""


class Sizes(NamedTuple):
    """Scenes S, snapshots L, antennas M and elements N of a file."""

    scenes: int
    snapshots: int
    antennas: int
    elements: int


def check_sizes(reader: Reader, shapes: Mapping[str, tuple[int, ...]]) -> Sizes:
    """Sizes of a file in which every axis is where the format has it.

    Raises:
        MeasurementError: a data set with too many or too few axes, in another order, or of a size that does
            not agree with the others.
    """
    for name, axes in AXES.items():
        if len(shapes[name]) != len(axes):
            law = f"{len(axes)} axes [{', '.join(axes)}], got {len(shapes[name])}: {shapes[name]}"
            rest = {"scene or 1": "one for all scenes", "scene": "a single scene"}
            hint = f"; {rest[axes[0]]} has an axis of length 1 in front" if axes[0] in rest else ""
            raise reader.fault(name, law + hint)
        for axis, size in zip(axes, shapes[name], strict=True):
            if size < 1:
                word = axis.removesuffix(" or 1")
                raise reader.fault(name, f"at least one {word}, got {shapes[name]}")
    agreed = _agreed(shapes, AXES)
    if agreed is None:
        raise _disagreement(reader, shapes)
    sizes = Sizes(*(agreed[word] for word in ("scene", "snapshot", "antenna", "element")))
    _, L, M, N = sizes
    if L * M + M * N + L * N > MOST_VALUES:
        raise reader.fault(
            "snapshots",
            f"a scene is in memory at once, L M + M N + L N at most {MOST_VALUES} complex numbers, got "
            f"L = {L} snapshots, M = {M} antennas, N = {N} elements",
        )
    return sizes


def _agreed(
    shapes: Mapping[str, tuple[int, ...]], orders: Mapping[str, tuple[str, ...]]
) -> dict[str, int] | None:
    """Axis -> size, if data sets whose axes stand in these orders agree; else None."""
    sizes = {"3": 3}
    rows = {1}
    for name, axes in orders.items():
        for axis, size in zip(axes, shapes[name], strict=True):
            if axis == "scene or 1":
                rows.add(size)
            elif sizes.setdefault(axis, size) != size:
                return None
    return sizes if "scene" not in sizes or rows <= {1, sizes["scene"]} else None


def _disagreement(reader: Reader, shapes: Mapping[str, tuple[int, ...]]) -> MeasurementError:
    """The error for the fewest data sets that, with other axes or left out, make the rest agree."""
    every = itertools.product(*(itertools.permutations(axes) for axes in AXES.values()))
    orders = [dict(zip(AXES, order, strict=True)) for order in every]
    orders.sort(key=lambda order: sum(order[name] != AXES[name] for name in AXES))
    for order in orders:
        if _agreed(shapes, order) is not None:
            name, *others = (name for name in AXES if order[name] != AXES[name])
            also = f"; so do axes of {', '.join(others)}" if others else ""
            moved = [a.removesuffix(" or 1") for a, b in zip(AXES[name], order[name], strict=True) if a != b]
            return reader.fault(
                name,
                f"[{', '.join(AXES[name])}], got {shapes[name]}: the axes {' and '.join(moved)} look "
                f"swapped, this is [{', '.join(order[name])}]{also}",
            )
    for name in reversed(list(AXES)):
        rest = {other: axes for other, axes in AXES.items() if other != name}
        sizes = _agreed(shapes, rest)
        if sizes is not None:
            expected = _expected(AXES[name], sizes)
            beside = ", ".join(f"{other} {shapes[other]}" for other in rest)
            return reader.fault(
                name, f"[{', '.join(AXES[name])}] = ({expected}) beside {beside}; got {shapes[name]}"
            )
    found = "; ".join(f"{name} [{', '.join(axes)}] = {shapes[name]}" for name, axes in AXES.items())
    return reader.fault("snapshots", f"one number of snapshots, antennas and elements a file, got {found}")


def _expected(axes: tuple[str, ...], sizes: Mapping[str, int]) -> str:
    def size(axis: str) -> str:
        if axis == "scene or 1":
            return f"{sizes['scene']} or 1" if "scene" in sizes else axis
        return str(sizes[axis]) if axis in sizes else axis

    return ", ".join(map(size, axes))


def check_type(reader: Reader, name: str, field: StoredField, is_exact: bool) -> None:
    """Complex numbers of single or double precision, or real numbers or integers, as the data set needs;
    where types are exact, complex64 and float64 alone.

    Raises:
        MeasurementError: another type.
    """
    dtype = field.dtype
    named = np.dtype(np.complex64 if name in COMPLEX else np.float64)
    if is_exact and dtype != named:
        raise reader.fault(name, f"{named} here, got {dtype}")
    if name in COMPLEX:
        if dtype.kind == "c":
            return
        hint = ""
        if dtype.kind in "fiu" and field.shape[-1:] == (2,):
            hint = ": real and imaginary part on a last axis, where HDF5 has complex numbers"
        elif dtype.kind in "fiu":
            hint = ": real numbers, the imaginary part is missing"
        elif dtype.names is not None:
            hint = f": a compound of {', '.join(dtype.names)}, where HDF5 has complex numbers as r, i"
        raise reader.fault(name, f"complex64 (or complex128), got {dtype}{hint}")
    if dtype.kind not in "fiu":
        hint = ": complex numbers" if dtype.kind == "c" else ""
        raise reader.fault(name, f"real numbers (float64), got {dtype}{hint}")


def lossy_codes(codes: Complex[np.ndarray, "..."]) -> str | None:
    """That elements lose power, in words; None where all |c| that are finite are 1, or codes are sums of
    codes, larger than 1.
    """
    modulus = np.abs(codes[np.isfinite(codes)])
    if (
        not modulus.size
        or np.abs(modulus - 1.0).max() <= _UNIT_MODULUS
        or modulus.max() > 1.0 + _UNIT_MODULUS
    ):
        return None
    between = f"|c| from {modulus.min():.3g} to {modulus.max():.3g}"
    return f"codes: {between}, not 1: taken as elements that lose power"


def check_units(reader: Reader, array: Array) -> list[str]:
    """What is odd about the array, in words.

    Raises:
        MeasurementError: a single element, elements at one place, a number that is no length, or a spacing
            outside lambda/20 to 5 lambda.
    """
    elements, wavelength = array.elements, array.wavelength
    shortest, longest = _WAVELENGTHS
    if not shortest <= wavelength <= longest:
        law = f"a wavelength is {shortest:g} to {longest:g} m, got {wavelength:g}"
        raise reader.fault("attribute wavelength_m", law)
    farthest = float(elements.abs().max())
    if farthest > _FARTHEST:
        raise reader.fault("element_positions_m", f"at most {_FARTHEST:g} m, got {farthest:g}")
    if elements.shape[0] < 2:
        raise reader.fault("element_positions_m", "2 elements or more, one alone tells no direction; got 1")
    distinct = np.unique(elements.numpy(), axis=0).shape[0]
    if distinct < elements.shape[0]:
        raise reader.fault(
            "element_positions_m",
            f"every element has a place of its own, got {distinct} places of {elements.shape[0]} elements",
        )
    spacing = nearest_spacing(elements)
    low, high = _SPACING
    if not low <= spacing / wavelength <= high:
        guess = _guess(spacing, wavelength)
        raise reader.fault(
            "attribute wavelength_m",
            f"neighbouring elements are {low:g} to {high:g} wavelengths apart; wavelength_m = {wavelength:g} "
            f"with elements {spacing:g} m apart{guess}",
        )
    centre, odd = elements.mean(0), []
    if float(centre.norm()) > 0.05 * aperture(elements):
        where = ", ".join(f"{value:.4g}" for value in centre.tolist())
        odd.append(
            f"{reader.path}: element_positions_m: the array is centred at ({where}) m; azimuth, elevation "
            "and range are seen from the origin"
        )
    shortest, longest = _IN_WAVELENGTHS
    if spacing > _SPARSE * wavelength and shortest <= spacing <= longest:
        odd.append(
            f"{reader.path}: element_positions_m: neighbours are {spacing / wavelength:.3g} wavelengths, or "
            f"{spacing:.3g} m, apart: are these in wavelengths (--positions-in wavelengths)?"
        )
    return odd


def _guess(spacing: float, wavelength: float) -> str:
    """The unit that would explain a spacing so many wavelengths wide: nearest to half a wavelength."""
    low, high = _SPACING
    if not 1e-30 < spacing / wavelength:
        return ""
    guesses = {f": element_positions_m in {unit}?": spacing * size / wavelength for unit, size in _UNITS}
    guesses |= {f": {unit}?": spacing / (wavelength * size) for unit, size in _UNITS}
    for unit, size in _FREQUENCIES:
        length = _LIGHT / (wavelength * size)
        guesses[f": {unit}? lambda = c / f = {length:.4g} m"] = spacing / length
    guesses |= {f": a frequency in {unit}?": spacing * size / wavelength for unit, size in _IN_HERTZ}
    best = min(guesses, key=lambda guess: abs(math.log(guesses[guess] / 0.5)))
    return best if low <= guesses[best] <= high else ""


def broken_codes(codes: Single) -> dict[int, str]:
    """Row -> how its codes break the law that elements neither amplify nor extinguish all they reflect."""
    return {
        row: f"codes: |c| about 1, or less where elements lose power, got 2^{exponent}"
        for row, exponent in enumerate(codes.exponents.tolist())
        if exponent
    }


def unusable(values: Mapping[str, Single], noise_power: NDArray[np.float64] | None) -> dict[int, str]:
    """Scene of a batch -> why it cannot be located, from data sets that have one row a scene."""
    reasons: dict[int, str] = {}
    for name, held in values.items():
        flat = held.values.reshape(len(held.values), -1)
        wrong = (~np.isfinite(flat)).sum(1)
        with np.errstate(invalid="ignore"):
            nothing = (flat == 0).all(1)
        for scene in np.flatnonzero((wrong > 0) | nothing).tolist():
            said = f"{wrong[scene]} of {flat.shape[1]} numbers are not finite" if wrong[scene] else "all zero"
            reasons.setdefault(scene, f"{name}: {said}")
        if name == "codes":
            reasons = broken_codes(held) | reasons
    if noise_power is not None:
        for scene in np.flatnonzero(~(np.isfinite(noise_power) & (noise_power > 0.0))).tolist():
            decibels = ": decibels?" if noise_power[scene] < 0.0 else ""
            reasons.setdefault(
                scene, f"noise_power: positive and finite, got {noise_power[scene]:g}{decibels}"
            )
    return reasons
