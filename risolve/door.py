"""The door: sources of an observation, and the bound of given places, in degrees and metres."""

import math
import operator
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Shaped
from numpy.typing import ArrayLike

from risolve.bounds.cramer_rao import Bound, conditional_bound, constant_bound, unconditional_bound
from risolve.errors import CheckpointError
from risolve.estimators.registry import REGISTRY
from risolve.field import CoordinateLike, FieldOfView, Searched, check_angles, coordinate_of
from risolve.files.calibrated_array import CalibratedArray
from risolve.files.located_sources import LocatedSources, joined
from risolve.files.measurement_laws import lossy_codes
from risolve.files.model import Model, read_model
from risolve.files.source import Chunk, Unit
from risolve.inference.scaling import require_usable
from risolve.located import located_sources
from risolve.locating import CLASSICAL, Options, localize, localizer_for, needs_model
from risolve.physics.limits import Limits
from risolve.physics.observation import Observation
from risolve.pictures.view import MOST_SCENES, Shot, view_of
from risolve.words.doubts import Doubts

if TYPE_CHECKING:
    import matplotlib.figure

_SCENES_AT_ONCE = 256
"""Scenes that `locate` looks at together."""

_WHERE = "the observation"


@dataclass(frozen=True, repr=False, eq=False, kw_only=True)
class FoundSources(LocatedSources):
    """What `locate` found, with the observation in which, and where it searched: what a figure is made of."""

    observation: Observation
    searched: Searched

    def plot(self, scene: int | None = None) -> "matplotlib.figure.Figure":
        """A figure of one scene, or of the first 12 of several where none is named; its `savefig` writes it.

        The spectrum over the unknown coordinates with the sources and the ellipses of two standard
        deviations; of one scene also each source from near by and along range, and all of it in space.

        Raises:
            TypeError: a scene that is no whole number.
            ValueError: a scene that was not located.
        """
        # matplotlib takes a second to load, and most results are never drawn
        from risolve.pictures.figure import figure_of

        n_scenes = self.observation.n_scenes
        first, n_drawn = (0, min(n_scenes, MOST_SCENES)) if scene is None else (operator.index(scene), 1)
        if not 0 <= first < n_scenes:
            raise ValueError(f"scene is a number from 0 to {n_scenes - 1}, of {n_scenes} scenes; got {first}")
        located = list(self.of_scenes())[first : first + n_drawn]
        views = [
            view_of(Shot("", number, self.estimator), self.observation, number, self.searched, rows)
            for number, rows in located
        ]
        return figure_of(views, n_scenes)


def locate(
    observation: Observation,
    *,
    sources: int | None = None,
    azimuth: CoordinateLike = None,
    elevation: CoordinateLike = None,
    range: CoordinateLike = None,
    estimator: str = CLASSICAL,
    false_alarm: float = 0.01,
    model: Model | Path | str | None = None,
    calibration: CalibratedArray | None = None,
) -> FoundSources:
    """Sources of every scene of an observation.

    sources: how many every scene has; None to count them, at most 8. azimuth, elevation (degrees), range (m):
    what is known of the places. (lowest, highest) binds search, refinement and answer; a number is known, so
    that it is no unknown and has no standard deviation (range = inf: plane waves); None states nothing: -60
    to 60, -30 to 30 (all round, where the antennas see that) and, of ranges, a fifth of the aperture to the
    Fraunhofer distance (with a common delay of bands, to where it comes again) are searched, or what a model
    that is needed was trained on, and the answer may lie beside, which is a warning. A line of elements does
    not tell elevation, a vertical one azimuth: what is not stated of it is taken as 0.
    estimator: a name of `estimator_names`, with `+ml` behind it to refine what it finds. false_alarm:
    probability that counting takes noise for a source. model: a trained network, or its file, for an
    estimator that reads one. calibration: what `calibrate` found of the array, which is applied; deviations
    are more by what its errors at places left out exceeded theirs.

    The result has a row a source, with azimuth_deg, elevation_deg, range_m and their standard deviations,
    power_db in the unit of |snapshot|^2 and more (`LocatedSources`); `plot` draws it. What cannot be right
    about a scene, as sources beside the limits or more than was counted up to, is a `UserWarning`.

    Raises:
        TypeError: what is no observation, no number and no limits.
        ValueError: numbers that are not finite or all zero, elements at one place, more sources than the
            snapshots determine, limits that are none, an unknown estimator, or another one than `ml` of equal
            gains, a model that is not needed.
        CheckpointError: a model that is missing, damaged, or was made for something else.
    """
    _require(observation, "locate")
    if not isinstance(calibration, CalibratedArray | None):
        raise TypeError(f"calibration is what calibrate returns, got {type(calibration).__name__}")
    observation = observation if calibration is None else calibration.apply(observation)
    if not isinstance(estimator, str):
        raise TypeError(f"estimator is a name (risolve.estimator_names), got {estimator!r}")
    count = None if sources is None else _count(sources)
    if needs_model(estimator) != (model is not None):
        law = "reads a trained network: give model=" if model is None else "reads no network: leave model out"
        raise ValueError(f"{estimator} {law}, or take another estimator (risolve.estimator_names)")
    network = _network(model, observation)
    field = FieldOfView(
        coordinate_of("azimuth", azimuth),
        coordinate_of("elevation", elevation),
        coordinate_of("range", range),
    )
    options = Options(estimator, count, field, false_alarm, network or Path())
    localizer = localizer_for(observation, options, _WHERE)
    require_usable(observation)
    observation = _detached(observation)
    codes = observation.codes if observation.array.n_bands == 1 else observation.codes[observation.codes != 0]
    if lossy := lossy_codes(codes.numpy()):
        warnings.warn(lossy, stacklevel=2)
    parts, doubts = [], Doubts(Path(_WHERE), count)
    for scenes in torch.arange(observation.n_scenes).split(_SCENES_AT_ONCE):
        part = replace(observation.select(scenes), stated=localizer.stated)
        rows = located_sources(estimator, (_WHERE,), 0, scenes, part, localize(part, localizer, count))
        chunk = Chunk(tuple(scenes.tolist()), (Unit(0, 0),) * len(scenes), part, {})
        doubts.look(0, chunk, rows, localizer)
        parts.append(rows)
    for line in doubts.lines():
        warnings.warn(line, stacklevel=2)
    within = replace(observation, array=localizer.array, stated=localizer.stated)
    found = FoundSources(**vars(joined(parts)), observation=within, searched=localizer.searched)
    return found if calibration is None else replace(found, values=calibration.widened(found.values))


def estimator_names() -> list[str]:
    """Names for `locate`, each also with `+ml` behind it, which refines what it finds."""
    return list(REGISTRY)


def _network(model: Model | Path | str | None, observation: Observation) -> Model | None:
    """The trained network, of an array of the same amplitude law.

    Raises:
        TypeError: what is neither.
        CheckpointError: missing or damaged, or of another amplitude law.
    """
    if model is None:
        return None
    if not isinstance(model, Model | Path | str):
        raise TypeError(f"model is a file or what load_model returns, got {type(model).__name__}")
    network = model if isinstance(model, Model) else read_model(Path(model))
    law = network.params.array.spherical_amplitude
    if law != observation.array.spherical_amplitude:
        raise CheckpointError(
            f"the model was trained with spherical_amplitude = {law}, the array of the observation has "
            f"{observation.array.spherical_amplitude}: train for this system"
        )
    return network


def _require(observation: object, name: str) -> None:
    if not isinstance(observation, Observation):
        raise TypeError(f"{name} takes a risolve.Observation, got {type(observation).__name__}")


def _detached(observation: Observation) -> Observation:
    """Without the gradients that tensors may carry."""
    return replace(
        observation,
        snapshots=observation.snapshots.detach(),
        channel=observation.channel.detach(),
        codes=observation.codes.detach(),
        noise_power=None if observation.noise_power is None else observation.noise_power.detach(),
    )


def _count(sources: object) -> int:
    if isinstance(sources, bool) or not hasattr(sources, "__index__"):
        raise TypeError(f"sources is a whole number, or None to count them; got {sources!r}")
    return operator.index(sources)


@dataclass(frozen=True, eq=False)
class PlaceBound:
    """Least standard deviations of an unbiased estimator, a row a scene and a column a source.

    position_std_m: root mean square distance from the true place; infinite for a plane wave, as range_std_m.
    """

    azimuth_std_deg: Float[np.ndarray, "scene source"]
    elevation_std_deg: Float[np.ndarray, "scene source"]
    range_std_m: Float[np.ndarray, "scene source"]
    position_std_m: Float[np.ndarray, "scene source"]

    def to_pandas(self) -> pd.DataFrame:
        """A row a source, with the columns scene and source before these."""
        n_scenes, n_sources = self.azimuth_std_deg.shape
        places = {
            "scene": np.repeat(np.arange(n_scenes), n_sources),
            "source": np.tile(np.arange(n_sources), n_scenes),
        }
        return pd.DataFrame(places | {one.name: getattr(self, one.name).ravel() for one in fields(self)})


def bound(
    observation: Observation,
    *,
    azimuth: ArrayLike,
    elevation: ArrayLike,
    range: ArrayLike,
    power: ArrayLike | None = None,
    amplitude: ArrayLike | None = None,
    known: Sequence[str] = (),
) -> PlaceBound:
    """Cramer-Rao bound of sources at given places, seen as an observation says; its snapshots are not read.

    azimuth, elevation: degrees, range: m (infinity allowed but with a common delay); each one number a
    source, or [scene, source].
    Of `independent` sources power: |s|^2, in the unit of |snapshot|^2 at the surface, or amplitude: s of
    every snapshot, complex, [snapshot, source] or [scene, snapshot, source]; of `constant` ones amplitude: s,
    one a source, because phases matter, or one number of all sources where gains are equal; of those in
    several bands one a source in each, [band, source]; with a common delay one a source of all, which has the
    phase of its source at the mean wavenumber of the bands. The noise power is that of the observation.
    known: those of azimuth, elevation and range that an estimator would be told, as numbers are to `locate`;
    they have no deviation. A line of elements needs one.

    power: Gaussian amplitudes of unknown powers, noise power unknown (`unconditional_bound`). amplitude:
    unknown amplitudes, free in every snapshot (`conditional_bound`) or not (`constant_bound`). Valid for the
    exact spherical wave.

    Raises:
        TypeError: what is no observation, or no numbers.
        ValueError: a known coordinate that is none, shapes that do not agree, no noise power, places or
            powers that are impossible, or sources that the snapshots do not determine.
    """
    _require(observation, "bound")
    if observation.noise_power is None:
        raise ValueError("a bound is of a known noise power; give noise_power to the observation")
    is_constant = observation.source_model == "constant"
    strength, name = (power, "power") if amplitude is None else (amplitude, "amplitude")
    if strength is None or (amplitude is not None and power is not None) or (is_constant and name == "power"):
        takes = "amplitude, and not power" if is_constant else "power or amplitude, one of them"
        raise ValueError(f"of {observation.source_model} sources a bound takes {takes}")
    given = {
        "azimuth": _numbers("azimuth", azimuth, "fiu"),
        "elevation": _numbers("elevation", elevation, "fiu"),
        "range": _numbers("range", range, "fiu"),
        name: _numbers(name, strength, "fciu" if name == "amplitude" else "fiu"),
    }
    for angle in ("azimuth", "elevation"):
        check_angles(angle, given[angle].ravel().tolist(), observation.limits)
    for positive in ("range", *(("power",) if name == "power" else ())):
        if not (given[positive] > 0.0).all():
            raise ValueError(f"{positive} is positive, got {given[positive].min():g}")
    if np.isinf(given["range"]).any() and math.isfinite(observation.array.unambiguous_range):
        raise ValueError("range is finite with a common delay, of which infinity has none; got inf")
    if not np.isfinite(given[name]).all():
        raise ValueError(f"{name} is finite, got {given[name][~np.isfinite(given[name])][0]}")
    shapes = {key: list(values.shape) for key, values in given.items()}
    n_scenes, by_snapshot = observation.n_scenes, name == "amplitude" and not is_constant
    law = f"places are [source] or [{n_scenes}, source]"
    if by_snapshot:
        law += f", amplitudes [{observation.n_snapshots}, source] or with scenes before"
    try:
        if by_snapshot and given[name].ndim < 2:
            raise ValueError(law)
        sizes = [values.shape[-1:] if by_snapshot else values.shape for values in given.values()]
        n_sources = np.broadcast_shapes(*sizes, (1,))[-1]
        rows = [(n_scenes,)] * 3 + [(n_scenes, observation.n_snapshots) if by_snapshot else (n_scenes,)]
        full = [
            np.broadcast_to(values, (*own, n_sources))
            for values, own in zip(given.values(), rows, strict=True)
        ]
    except ValueError as error:
        raise ValueError(f"{law}, got {shapes}") from error
    places = np.stack((np.deg2rad(full[0]), np.deg2rad(full[1]), 1.0 / full[2]), -1)
    double = replace(observation.to(torch.complex128), stated=_told(known))
    function: Callable[..., Bound] = unconditional_bound
    if name == "amplitude":
        function = constant_bound if is_constant else conditional_bound
    assert double.noise_power is not None
    found = function(double, torch.from_numpy(places), torch.from_numpy(full[3].copy()), double.noise_power)
    unknown = torch.where(double.limits.is_free, 0.0, torch.nan)
    deviations = found.standard_deviations() + unknown
    return PlaceBound(
        azimuth_std_deg=torch.rad2deg(deviations[..., 0]).numpy(),
        elevation_std_deg=torch.rad2deg(deviations[..., 1]).numpy(),
        range_std_m=(found.range_deviation() + unknown[2]).numpy(),
        position_std_m=found.position_deviation().numpy(),
    )


def _told(known: Sequence[str]) -> Limits:
    """Limits between which nothing but some coordinates is known.

    Raises:
        TypeError: a name alone.
        ValueError: names that are none of a coordinate.
    """
    names = ("azimuth", "elevation", "range")
    if isinstance(known, str):
        raise TypeError(f"known is a list of names, got {known!r} alone")
    wrong = [name for name in known if name not in names]
    if wrong:
        raise ValueError(f"known are some of {', '.join(names)}; got {wrong[0]!r}")
    ends = torch.tensor([0.0 if name in known else 1.0 for name in names], dtype=torch.float64)
    return Limits(-ends, ends)


def _numbers(name: str, values: ArrayLike, kinds: str) -> Shaped[np.ndarray, "..."]:
    held = np.asarray(values)
    if held.dtype.kind not in kinds or np.ma.is_masked(values):
        what = "masked numbers" if np.ma.is_masked(values) else str(held.dtype)
        raise TypeError(f"{name} are {'complex' if 'c' in kinds else 'real'} numbers, got {what}")
    cast: Shaped[np.ndarray, ...] = held.astype(np.complex128 if "c" in kinds else np.float64)
    return cast
