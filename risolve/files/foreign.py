"""Files as other programs write them, as measurements: their names, units, signs and axes.

What can be meant in one way alone is taken so: a single scene, one channel or one set of codes without its
first axis, complex numbers as a last axis of two, real codes and channels, one noise power for all scenes,
rows where columns are meant, and an array without a surface. All else is for the laws of measurements to
refuse.
"""

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray

from risolve.files.contents import Contents, MadeField, Refused, StoredField, StoredGroup, Unread, made
from risolve.files.naming import ARRAYS, NUMBERS, PLAIN, Naming
from risolve.files.reader import Reader
from risolve.files.recordings import snapshots_of
from risolve.files.sample_covariance import snapshots_behind
from risolve.files.source import FORMAT, VERSION

_COMPLEX = ("snapshots", "channel", "codes", "noise_covariance")
_ONE_A_SCENE = ("noise_power", "truth/n_sources")
_OF_SOURCES = ("truth/azimuth_deg", "truth/elevation_deg", "truth/range_m")
_REAL = "fiu"
_TOLD_BY = frozenset(("snapshots", "samples", "covariance"))
"""Names of which one says that a file without a format holds measurements."""

_MOST_SCENES = 2**26
"""That one number is meant for."""

Objects: TypeAlias = dict[str, StoredField | StoredGroup | Unread]


def as_measurements(reader: Reader, naming: Naming) -> Reader:
    """An open file under the names and in the forms of the format.

    Raises:
        MeasurementError: a name that is not in the file, or what tells no snapshots or no wavelength.
    """
    attributes, objects = (dict(held) for held in reader.contents())
    own = reader.with_contents(Contents(attributes, objects, reader.is_foreign))
    for name, theirs in naming.names:
        if name in NUMBERS:
            attributes[name] = _number(reader, name, theirs)
        else:
            objects.update(_objects(reader, name, theirs))
    if reader.is_foreign:
        objects |= _in_groups(objects)
    says_nothing = "format" not in attributes and not _TOLD_BY.isdisjoint(objects)
    if reader.is_foreign or naming != PLAIN or says_nothing:
        attributes.setdefault("format", FORMAT)
        attributes.setdefault("version", VERSION)
    _state(own, naming, attributes, objects)
    _make_snapshots(own, naming, objects)
    for name in _fields(objects).keys() & _COMPLEX:
        objects[name] = _as_complex(_fields(objects)[name], name)
    snapshots = objects.get("snapshots")
    if isinstance(snapshots, StoredField) and len(snapshots.shape) == 3:
        if naming.is_conjugate:
            objects["snapshots"] = _turned(snapshots, np.conj, snapshots.dtype)
        n_scenes, _, n_antennas = snapshots.shape
        powers = _fields(objects).get("noise_power")
        if powers is not None and powers.shape == (1, n_scenes) == (1, n_antennas) != (1, 1):
            law = f"[scene] or [scene, antenna], of {n_scenes} scenes and as many antennas; got"
            raise own.fault("noise_power", f"{law} {powers.shape}, which may be either")
        for name in _fields(objects).keys() & {*_ONE_A_SCENE, *_OF_SOURCES}:
            objects[name] = _by_scene(_fields(objects)[name], name, snapshots.shape[0])
        ordinary = _without_surface(*snapshots.shape[1:])
        if "covariance" in objects and "codes" not in objects:
            objects["codes"] = ordinary["codes"]
            objects.setdefault("channel", ordinary["channel"])
        elif not {"channel", "codes"} & objects.keys():
            _require_in_order(own, snapshots, _fields(objects))
            objects |= ordinary
    return own


def _require_in_order(own: Reader, snapshots: StoredField, fields: dict[str, StoredField]) -> None:
    """Refuse antennas in the place of snapshots, beside as many positions."""
    positions = fields.get("element_positions_m")
    n_snapshots, n_antennas = snapshots.shape[1:]
    if positions is not None and positions.shape == (n_snapshots, 3) and n_snapshots != n_antennas:
        law = (
            f"[scene, snapshot, antenna], got {snapshots.shape} beside the positions of {n_snapshots} "
            "elements: the axes snapshot and antenna look swapped"
        )
        raise own.fault("snapshots", law)


def _state(own: Reader, naming: Naming, attributes: dict[str, Any], objects: Objects) -> None:
    """Enter what the user states, and lambda = c / f."""
    if naming.n_snapshots is not None:
        attributes["n_snapshots"] = naming.n_snapshots
    attributes.update(naming.attributes)
    if dict(naming.attributes).get("noise") == "antennas":
        # in place of what the file says of it
        objects.pop("noise_power", None)
        objects.pop("noise_covariance", None)
    if naming.frequency_hz is not None:
        attributes["frequency_hz"] = naming.frequency_hz
    named = dict(naming.names)
    is_told = naming.frequency_hz is not None or ("frequency_hz" in named and "wavelength_m" not in named)
    if is_told or ("frequency_hz" in attributes and "wavelength_m" not in attributes):
        attributes["wavelength_m"] = naming.speed / own.positive("frequency_hz")
    if naming.positions is not None:
        objects["element_positions_m"] = made(np.array(naming.positions))
    if naming.noise_power is not None:
        objects["noise_power"] = made(np.array(naming.noise_power))
    positions = objects.get("element_positions_m")
    if naming.in_wavelengths and isinstance(positions, StoredField):
        wavelength = own.positive("wavelength_m")
        objects["element_positions_m"] = _turned(positions, lambda values: wavelength * values, np.float64)


def _make_snapshots(own: Reader, naming: Naming, objects: Objects) -> None:
    """Enter snapshots of a recording, or that have a covariance, where the file has none of its own."""
    covariance = objects.get("covariance")
    if "snapshots" in objects or not {"samples", "covariance"} & objects.keys():
        if naming.n_snapshots is not None or naming.first:
            law = "of a recording or a covariance; the file holds"
            raise own.fault("--snapshots, --from", f"{law} {own.listed()}")
    elif isinstance(covariance, StoredField):
        objects["snapshots"] = snapshots_behind(own, _as_complex(covariance, "covariance"))
    else:
        objects["snapshots"] = snapshots_of(own, naming)
        if "element_positions_m" not in objects:
            law = "missing; a recording has none; state them, `--positions FILE`, channel by channel"
            raise own.fault("element_positions_m", law)


def _fields(objects: Objects) -> dict[str, StoredField]:
    return {name: field for name, field in objects.items() if isinstance(field, StoredField)}


def _number(reader: Reader, name: str, theirs: str) -> Any:
    """What a file has for an attribute of the format: an attribute, or a data set of one number."""
    if reader.has_attribute(theirs):
        return reader.attribute(theirs)
    _require_held(reader, name, theirs)
    field = reader.dataset(theirs, "of one number")
    if math.prod(field.shape) != 1:
        raise reader.fault(f"--map {name}={theirs}", f"one number, got {field.dtype} {field.shape}")
    return reader.rows(theirs, field, ()).reshape(()).item()


def _objects(reader: Reader, name: str, theirs: str) -> Objects:
    """What a file has for a data set or a group of the format, with what is in it."""
    _require_held(reader, name, theirs)
    _, objects = reader.contents()
    within = {path: one for path, one in objects.items() if f"{path}/".startswith(f"{theirs}/")}
    return {name + path.removeprefix(theirs): one for path, one in within.items()}


def _in_groups(objects: Objects) -> Objects:
    """Data sets of a program whose names have no "/", which is "_" there."""
    flat = {name: name.replace("/", "_") for name in ARRAYS if "/" in name}
    found: Objects = {name: objects[own] for name, own in flat.items() if own in objects}
    return found | {name.partition("/")[0]: StoredGroup() for name in found}


def _require_held(reader: Reader, name: str, theirs: str) -> None:
    if not reader.has(theirs):
        raise reader.fault(f"--map {name}={theirs}", f"no {theirs} here; the file holds {reader.listed()}")


def _as_complex(field: StoredField, name: str) -> StoredField:
    """Complex numbers [scene, ...] of a last axis of two, of real ones, and of one scene without its axis."""
    if field.dtype.kind in _REAL:
        dtype = np.result_type(field.dtype, np.complex64)
        if field.shape[3:] == (2,):
            return _turned(field, lambda pair: pair[..., 0] + 1j * pair[..., 1], dtype, field.shape[:3])
        if name != "snapshots":
            field = _turned(field, _signs if name == "codes" else np.asarray, dtype)
    return _reshaped(field, (1, *field.shape)) if len(field.shape) == 2 else field


def _signs(codes: NDArray[Any]) -> NDArray[Any]:
    """Real codes.

    Raises:
        Refused: other numbers than -1, 0 and 1.
    """
    if not np.isin(codes, (-1, 0, 1)).all():
        law = f"complex, exp(j phase), or real numbers -1, 0 and 1; got {codes.min():g} to {codes.max():g}"
        raise Refused(f"{law}: are they phases?")
    return codes


def _by_scene(field: StoredField, name: str, n_scenes: int) -> StoredField:
    """One number for all scenes, and rows where columns are meant."""
    shape, n_values = field.shape, math.prod(field.shape)
    if field.dtype.kind not in _REAL:
        return field
    if name in _OF_SOURCES:
        if len(shape) < 2 and n_scenes == 1:
            return _reshaped(field, (1, n_values))
        is_row = n_scenes > 1 and shape in ((n_scenes,), (1, n_scenes))
        return _reshaped(field, (n_scenes, 1)) if is_row else field
    if n_values == 1 and n_scenes <= _MOST_SCENES:
        return MadeField(
            field.dtype, (n_scenes,), None, lambda rows: np.full(n_scenes, field.read(()).reshape(()))[rows]
        )
    # a row of as many powers as there are antennas is meant for each of them
    is_vector = len(shape) == 2 and 1 in shape and (name != "noise_power" or n_values == n_scenes)
    return _reshaped(field, (n_values,)) if is_vector else field


def _without_surface(n_snapshots: int, n_elements: int) -> dict[str, MadeField]:
    """Channel and codes of an array whose antennas are the elements."""
    dtype = np.dtype(np.complex64)
    channel, codes = (1, n_elements, n_elements), (1, n_snapshots, n_elements)
    return {
        "channel": MadeField(dtype, channel, None, lambda rows: np.eye(n_elements, dtype=dtype)[None][rows]),
        "codes": MadeField(dtype, codes, None, lambda rows: np.ones(codes, dtype)[rows]),
    }


def _turned(
    field: StoredField,
    change: Callable[[NDArray[Any]], NDArray[Any]],
    dtype: DTypeLike,
    shape: tuple[int, ...] | None = None,
) -> MadeField:
    """What a function makes of rows of a data set; shape: of the whole, None for the same."""
    kind = np.dtype(dtype)
    return MadeField(kind, shape or field.shape, None, lambda rows: change(field.read(rows)).astype(kind))


def _reshaped(field: StoredField, shape: tuple[int, ...]) -> MadeField:
    """The same numbers under another shape; they are read together."""
    return MadeField(field.dtype, shape, None, lambda rows: np.reshape(field.read(()), shape)[rows])
