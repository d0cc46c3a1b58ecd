"""A first result: the scene that the package brings, located with and without a network, beside its bound."""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Float

from risolve.door import FoundSources, bound, locate
from risolve.files.measurements import read_measurements, read_truth
from risolve.files.model import load_model
from risolve.files.shipped import example
from risolve.localize import FOUND_TOLERANCE_DEG
from risolve.metrics.assignment import pair
from risolve.pictures.view import Shot, beside_truth, view_of

_ESTIMATORS = ("ml", "learned")
_COLUMNS = ("azimuth", "elevation", "range")


def demonstrate(out: Path) -> list[str]:
    """Locate the example, write its picture, and give its table.

    Raises:
        StateError: the picture cannot be written.
    """
    # matplotlib takes a second to load, and most commands draw nothing
    from risolve.pictures.written import write_picture

    seen, truth = read_measurements(example()), read_truth(example())
    n_sources = int(truth.n_sources[0])
    true, power = truth.sources[0, :n_sources].numpy(), truth.power[0, :n_sources].numpy()
    places = _shown(true)
    azimuth, elevation, away = places.T
    least = bound(seen, azimuth=azimuth, elevation=elevation, range=away, power=power)
    model = load_model()
    found = {
        name: locate(seen, estimator=name, model=model if name == "learned" else None) for name in _ESTIMATORS
    }
    ml = found[_ESTIMATORS[0]]
    [(_, rows)] = ml.of_scenes()
    view = view_of(Shot(example().name, 0, ml.estimator), ml.observation, 0, ml.searched, rows)
    write_picture(out, [beside_truth(view, true, math.radians(FOUND_TOLERANCE_DEG))], 1)
    deviations = np.stack([getattr(least, f"{name}_std_{unit}")[0] for name, unit in _units()], axis=-1)
    L, M, N = seen.n_snapshots, seen.n_antennas, seen.n_elements
    return [
        f"{len(true)} sources before a surface of {N} elements, seen by {M} antennas in {L} coded snapshots "
        f"at {float(truth.snr_db[0]):g} dB; their number is not told.",
        "",
        f"{'source':8}{'':12}" + "".join(f"{f'{name} ({unit})':>24}" for name, unit in _units()),
        *_lines(true, places, deviations, found),
        "",
        f"Picture, which turns: {out}",
        f"The file: {example()}; `risolve localize` takes one of your own (docs/formats.md).",
    ]


def _units() -> Iterator[tuple[str, str]]:
    yield from zip(_COLUMNS, ("deg", "deg", "m"), strict=True)


def _lines(
    true: Float[np.ndarray, "source 3"],
    places: Float[np.ndarray, "source 3"],
    least: Float[np.ndarray, "source 3"],
    found: dict[str, FoundSources],
) -> Iterator[str]:
    """The truth with its bound, and what each estimator found of it."""
    for source, place in enumerate(places):
        yield f"{source:<8}{'truth, bound':12}" + _cells(place, least[source])
        for name, located in found.items():
            columns = ("azimuth_deg", "elevation_deg", "inverse_range_per_m")
            own = np.stack([located[column] for column in columns], axis=-1)
            own[:, :2] = np.deg2rad(own[:, :2])
            pairs = pair(true, own, math.radians(FOUND_TOLERANCE_DEG))
            match = pairs.estimate[pairs.truth == source]
            if match.size:
                spread = [located[f"{column}_std_{unit}"][match[0]] for column, unit in _units()]
                yield f"{'':8}{name:12}" + _cells(_shown(own[match])[0], np.array(spread))
            else:
                yield f"{'':8}{name:12}missed"


def _shown(sources: Float[np.ndarray, "source 3"]) -> Float[np.ndarray, "source 3"]:
    """Degrees, degrees and m."""
    return np.concatenate((np.rad2deg(sources[:, :2]), 1.0 / sources[:, 2:]), axis=-1)


def _cells(place: Float[np.ndarray, " 3"], deviation: Float[np.ndarray, " 3"]) -> str:
    return "".join(f"{f'{a:.3f} ± {b:.2g}':>24}" for a, b in zip(place, deviation, strict=True))
