"""The truth of measurements: where the sources of every scene are, and of simulated ones how strong."""

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from risolve.files.precision import as_double
from risolve.files.reader import Reader
from risolve.files.source import TruePlaces
from risolve.physics.scenario import Truth

_LIMITS = {"azimuth_deg": (-180.0, 180.0), "elevation_deg": (-90.0, 90.0), "range_m": (1e-9, math.inf)}
"""Where a true source may stand."""


def true_places(reader: Reader, n_scenes: int | None) -> TruePlaces | None:
    """The true sources of a file, or None where it holds no truth. n_scenes: None for as many as it is of.

    Raises:
        MeasurementError: a truth that is not complete, or breaks the format.
    """
    if not reader.has("truth"):
        return None
    stated = column(reader, "truth/n_sources", ("scene",), n_scenes)
    whole = np.isfinite(stated) & (np.abs(stated) < 2**31)
    n_sources = np.where(whole, stated, -1.0).astype(np.int64)
    if (n_sources != stated).any():
        wrong = stated[n_sources != stated][0]
        raise reader.fault("truth/n_sources", f"whole numbers [scene], got {wrong:g}")
    columns = {name: column(reader, f"truth/{name}", ("scene", "source"), len(stated)) for name in _LIMITS}
    slots = columns["range_m"].shape[1]
    if not (n_sources.min() >= 0 and n_sources.max() <= slots):
        law = f"0 to {slots} (the slots of truth/range_m), got {n_sources.min()} to {n_sources.max()}"
        raise reader.fault("truth/n_sources", law)
    present = np.arange(slots) < n_sources[:, None]
    for name, (low, high) in _LIMITS.items():
        values = columns[name]
        if values.shape[1] != slots:
            law = f"real numbers [scene, source] with {slots} slots as truth/range_m, got {values.shape}"
            raise reader.fault(f"truth/{name}", law)
        wrong = present & ~((values >= low) & (values <= high))
        if wrong.any():
            scene, slot = (int(i) for i in np.argwhere(wrong)[0])
            raise reader.fault(
                f"truth/{name}",
                f"{low:g} to {high:g} in the first n_sources slots, got {values[scene, slot]:g} in scene "
                f"{scene}, slot {slot}",
            )
    places = np.stack(
        (
            np.deg2rad(columns["azimuth_deg"]),
            np.deg2rad(columns["elevation_deg"]),
            1.0 / np.where(present, columns["range_m"], np.nan),
        ),
        axis=-1,
    )
    return TruePlaces(n_sources, np.where(present[..., None], places, np.nan))


def truth_in(reader: Reader, n_scenes: int | None) -> Truth:
    """The whole truth of a file of `simulate`; n_scenes: None for as many as it is of.

    Raises:
        MeasurementError: missing, not complete, or one that breaks the format.
    """
    places = true_places(reader, n_scenes)
    if places is None:
        raise reader.fault("truth/n_sources", "missing; the file holds no truth")
    n_scenes, slots = places.sources.shape[:2]
    power = column(reader, "truth/power", ("scene", "source"), n_scenes)
    if power.shape[1] != slots:
        raise reader.fault("truth/power", f"{slots} slots as truth/range_m, got {power.shape[1]}")
    present = np.arange(slots) < places.n_sources[:, None]
    wrong = np.where(present, ~((power > 0.0) & (power < np.inf)), np.isfinite(power))
    if wrong.any():
        scene, slot = (int(i) for i in np.argwhere(wrong)[0])
        law = "positive where a source is" if present[scene, slot] else "NaN beyond the first n_sources slots"
        raise reader.fault("truth/power", f"{law}, got {power[scene].tolist()} in scene {scene}")
    snr_db = column(reader, "truth/snr_db", ("scene",), n_scenes)
    reader.require_finite("truth/snr_db", snr_db)
    return Truth(
        torch.from_numpy(places.n_sources.astype(np.int32)),
        torch.from_numpy(snr_db),
        torch.from_numpy(places.sources),
        torch.from_numpy(power),
    )


def column(reader: Reader, name: str, axes: tuple[str, ...], n_scenes: int | None) -> NDArray[np.float64]:
    """A small data set of real numbers with one row a scene; n_scenes: None for as many as it has.

    Raises:
        MeasurementError: missing, damaged, or of another type or shape.
    """
    law = f"real numbers [{', '.join(axes)}]"
    field = reader.dataset(name, law)
    if field.dtype.kind not in "fiu" or len(field.shape) != len(axes):
        raise reader.fault(name, f"{law}, got {field.dtype} {field.shape}")
    if n_scenes not in (None, field.shape[0]):
        raise reader.fault(name, f"{law} with scene = {n_scenes}, got {field.shape}")
    return doubles(reader, name, reader.rows(name, field, ()))


def doubles(reader: Reader, name: str, values: NDArray[Any]) -> NDArray[np.float64]:
    """Real numbers of any type in double precision.

    Raises:
        MeasurementError: one that it cannot hold.
    """
    double, lost = as_double(values)
    if lost.any():
        raise reader.fault(name, f"numbers of double precision, got {values[lost][0]!s}")
    return double
