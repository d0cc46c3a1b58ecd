"""Files of calibrated arrays, "risolve-array" version 1: what `calibrate` found of one array.

attributes      format, version, wavelength_m, amplitude ("plane" | "spherical"), is_better (0 | 1),
                where they were unknown: heading_deg, truth_azimuth_deg, truth_elevation_deg, truth_range_m,
                truth_range_scale; not_told (lines of text, where there are some)
nominal_positions_m, element_positions_m             float64 [element, 3]
element_gains                                        complex128 [element]
antenna_gains                                        complex128 [antenna]
coupling                                             complex128 [1]          where it was unknown
log_likelihood                                       float64 [2]             nominal, calibrated
excess                                               float64 [3]             rad, rad, 1/m; NaN if not known
outlying                                             float64 [scene, 2]      observation, scene
deviations/NAME                                      float64                 of what was unknown
left_out/NAME                                        float64 [row]           sources that were left out
held_out/NAME                                        float64 [row]           scenes that were left out, blind

NAME of deviations: gain_db, gain_phase_deg [element], antenna_phase_deg, antenna_gain_db [antenna],
position_m [element, 3], coupling [2] (real, imaginary), heading_deg and truth_... [1], as the attributes.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from risolve.calibration.array_calibration import ArrayCalibration
from risolve.errors import MeasurementError
from risolve.files import hdf5
from risolve.files.calibrated_array import CalibratedArray
from risolve.files.contents import Look
from risolve.files.first_look import looked_at
from risolve.files.reader import Reader, opened, reading
from risolve.physics.array import Array

FORMAT = "risolve-array"
VERSION = 1
_MADE_BY = "`risolve calibrate-array` writes such files"

_OF_TRUTH = ("azimuth_deg", "elevation_deg", "range_m", "range_scale")

_DEVIATIONS = {
    "gain_db": "element",
    "gain_phase_deg": "element",
    "antenna_phase_deg": "antenna",
    "antenna_gain_db": "antenna",
    "position_m": "element 3",
    "heading_deg": "1",
    "coupling": "2",
    **dict.fromkeys((f"truth_{name}" for name in _OF_TRUTH), "1"),
}

_WHOLE = ("observation", "scene", "source")
"""Columns of what was left out that are numbers of something."""

_KINDS = ("azimuth_{}_deg", "elevation_{}_deg", "inverse_range_{}_per_m")
_HALVES = (("error_before", "std_before"), ("error_after", "std_after"))
_OF_SOURCES = (*_WHOLE, *(kind.format(one) for half in _HALVES for kind in _KINDS for one in half))

_LIKELIHOODS = ("log_likelihood_before", "log_likelihood_after")
_OF_SCENES = ("observation", "scene", *_LIKELIHOODS)

_FINITE = (*_WHOLE, *_LIKELIHOODS)


def write_array(path: Path | str, calibrated: CalibratedArray) -> None:
    """Write what `calibrate` found, for `read_array`; equal content makes equal bytes. A file of this name is
    replaced.

    Raises:
        TypeError: what is no calibrated array.
        StateError: the file cannot be written.
    """
    if not isinstance(calibrated, CalibratedArray):
        raise TypeError(f"write_array takes what calibrate returns, got {type(calibrated).__name__}")
    own, nominal = calibrated.array, calibrated.calibration.nominal
    attributes: dict[str, str | int | float] = {
        "format": FORMAT,
        "version": VERSION,
        "wavelength_m": own.wavelength,
        "amplitude": "spherical" if own.spherical_amplitude else "plane",
        "is_better": int(calibrated.is_better),
    }
    if calibrated.heading_deg is not None:
        attributes["heading_deg"] = calibrated.heading_deg
    attributes |= {f"truth_{name}": value for name, value in calibrated.truth.items()}
    if calibrated.not_told:
        attributes["not_told"] = "\n".join(calibrated.not_told)
    datasets = {
        "nominal_positions_m": nominal.elements.numpy(),
        "element_positions_m": own.elements.numpy(),
        "element_gains": calibrated.element_gains,
        "antenna_gains": calibrated.antenna_gains,
        "log_likelihood": np.array(calibrated.log_likelihood),
        "excess": calibrated.excess,
    }
    if calibrated.coupling is not None:
        datasets["coupling"] = np.array([calibrated.coupling])
    if calibrated.outlying:
        datasets["outlying"] = np.array(calibrated.outlying, dtype=np.float64)
    datasets |= {f"deviations/{name}": values for name, values in calibrated.deviations.items()}
    for group, table in (("left_out", calibrated.left_out), ("held_out", calibrated.held_out)):
        if table is not None:
            datasets |= {f"{group}/{name}": table[name].to_numpy(np.float64) for name in table}
    hdf5.write(Path(path), attributes, datasets)


def read_array(path: Path | str) -> CalibratedArray:
    """What `write_array` wrote.

    Raises:
        MeasurementError: a missing, foreign or damaged file, or one that breaks the format.
    """
    place = Path(path)
    with reading(place, FORMAT, VERSION, _MADE_BY, looked_at([place])[place]) as reader:
        return array_in(reader)


def is_array(path: Path, look: Look | None = None) -> bool:
    """Whether a file is one of these, whole or not; look: what a first one said, where there was one."""
    try:
        with opened(path, _MADE_BY, look or looked_at([path])[path]) as reader:
            return reader.has_attribute("format") and bool(reader.attribute("format") == FORMAT)
    except MeasurementError:
        return False


def array_in(reader: Reader) -> CalibratedArray:
    """The calibrated array of an open file.

    Raises:
        MeasurementError: a field that is damaged or breaks the format.
    """
    wavelength = reader.positive("wavelength_m")
    is_spherical = reader.choice("amplitude", ("plane", "spherical")) == "spherical"
    nominal, own = (
        Array(torch.from_numpy(reader.array(name, np.float64, "element 3")), wavelength, is_spherical)
        for name in ("nominal_positions_m", "element_positions_m")
    )
    gains = {name: reader.array(f"{name}_gains", np.complex128, name) for name in ("element", "antenna")}
    for name, values in gains.items():
        if not values.all():
            raise reader.fault(f"{name}_gains", f"gains are not 0, got {int((values == 0).sum())} that are")
    heading = _number(reader, "heading_deg")
    truth = {name: _number(reader, f"truth_{name}") for name in _OF_TRUTH}
    coupling = None
    if reader.has("coupling"):
        coupling = complex(reader.array("coupling", np.complex128, "1")[0])
    words = str(reader.attribute("not_told")) if reader.has_attribute("not_told") else ""
    deviations = {}
    for name, shape in _DEVIATIONS.items():
        if reader.has(f"deviations/{name}"):
            deviations[name] = reader.array(f"deviations/{name}", np.float64, shape, finite=False)
            _require_deviations(reader, f"deviations/{name}", deviations[name])
    excess = reader.array("excess", np.float64, "3", finite=False)
    _require_deviations(reader, "excess", excess)
    outlying = np.zeros((0, 2))
    if reader.has("outlying"):
        outlying = reader.array("outlying", np.float64, "outlier 2")
    before, after = reader.array("log_likelihood", np.float64, "2").tolist()
    calibration = ArrayCalibration(
        nominal,
        own,
        torch.from_numpy(gains["element"]),
        torch.from_numpy(gains["antenna"]),
        None if heading is None else float(np.deg2rad(heading)),
        coupling,
    )
    return CalibratedArray(
        array=own,
        element_gains=gains["element"],
        antenna_gains=gains["antenna"],
        heading_deg=heading,
        coupling=coupling,
        truth={name: value for name, value in truth.items() if value is not None},
        deviations=deviations,
        not_told=tuple(words.splitlines()),
        outlying=tuple((int(number), int(scene)) for number, scene in outlying.tolist()),
        log_likelihood=(before, after),
        left_out=_table(reader, "left_out", _OF_SOURCES),
        held_out=_table(reader, "held_out", _OF_SCENES),
        is_better=bool(reader.choice("is_better", (0, 1))),
        excess=excess,
        calibration=calibration,
    )


def _table(reader: Reader, group: str, known: Sequence[str]) -> pd.DataFrame | None:
    """Columns in the order in which `calibrate` makes them."""
    names = [name.removeprefix(f"{group}/") for name, _ in reader.fields() if name.startswith(f"{group}/")]
    if not names:
        return None
    if wrong := sorted(set(names) - set(known)):
        raise reader.fault(f"{group}/{wrong[0]}", f"one of {', '.join(known)}")
    columns = {
        name: reader.array(f"{group}/{name}", np.float64, f"{group}_row", finite=name in _FINITE)
        for name in known
        if name in names
    }
    return pd.DataFrame(
        {name: values.astype(np.int64) if name in _WHOLE else values for name, values in columns.items()}
    )


def _number(reader: Reader, name: str) -> float | None:
    """An attribute that is a finite number, None where there is none."""
    if not reader.has_attribute(name):
        return None
    value = reader.attribute(name)
    if not isinstance(value, float) or not np.isfinite(value):
        raise reader.fault(f"attribute {name}", f"a finite number, got {value!r}")
    return float(value)


def _require_deviations(reader: Reader, name: str, values: np.ndarray) -> None:
    wrong = values[np.isinf(values) | (values < 0.0)]
    if len(wrong):
        law = f"standard deviations are finite and not negative, or NaN if not known; got {wrong[0]:g}"
        raise reader.fault(name, law)
