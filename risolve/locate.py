"""How a file of measurements is localized: the estimator, the grid of its array, the model if one is needed.

A network is used only on the array, the receiver and the field of view that it was trained for.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from risolve.errors import CheckpointError, MeasurementError
from risolve.estimators.comparison import REFINED
from risolve.estimators.contract import CovarianceKind, Estimator, Settings
from risolve.estimators.registry import estimator
from risolve.files import model_grid
from risolve.files.hdf5 import source_paths
from risolve.files.measurement_stream import MADE_BY, MeasurementStream
from risolve.files.model import Model, read_model
from risolve.files.model_fit import differences
from risolve.files.model_params import ModelParams
from risolve.identifiability import Limit, most_sources
from risolve.inference.counting import CountingRule
from risolve.inference.grid import Grid, grid_for, search_grid
from risolve.physics.array import Array
from risolve.physics.geometry import aperture, fraunhofer_distance, radians
from risolve.running.work import work_key

CLASSICAL = "ml"
"""The estimator that needs no model: the default, and the offer where a model does not fit."""

_PREDICTED: frozenset[CovarianceKind | None] = frozenset({"predicted", "blend"})

LOADING = 1e-3
"""eps of R_samp, tr R_samp = N, where no model brings its own."""

MOST_COUNTED = 8
"""Sources looked for where their number is not given; fewer where the snapshots determine fewer."""

ITERATIONS, FIT_ITERATIONS = 40, 12
"""Steps of a refinement at most, and of a sparse covariance fit."""

_AZIMUTH_DEG, _ELEVATION_DEG = (-60.0, 60.0), (-30.0, 30.0)
"""Field of view where none is given."""

_MOST_STEERING = 100_000_000
"""Complex numbers of all steering vectors of a grid, G N, which are in memory at once: 1.8 GB in all."""

_NEAREST_M = 1e-9
"""Nearest range that a field of view may begin with, as the law of a true range."""

_NEAREST = 0.2
"""Nearest range searched, in apertures, where none is given; the farthest is the Fraunhofer distance."""


@dataclass(frozen=True)
class FieldOfView:
    """Azimuth, elevation (degrees) and range (m) in which sources are looked for."""

    azimuth_deg: tuple[float, float]
    elevation_deg: tuple[float, float]
    range_m: tuple[float, float]

    def __str__(self) -> str:
        sides = ((self.azimuth_deg, "degrees"), (self.elevation_deg, "degrees"), (self.range_m, "m"))
        texts = [f"{low:.4g} to {high:.4g} {unit}" for (low, high), unit in sides]
        return f"azimuth {texts[0]}, elevation {texts[1]}, range {texts[2]}"


@dataclass(frozen=True)
class Options:
    """How sources are located.

    estimator: a name of the registry, with `REFINED` behind it where what it finds is refined.
    n_sources: None to count them in every scene with the false-alarm probability. field_of_view: None for
    that of the model, or of the array. model: the file of a trained network.
    """

    estimator: str
    n_sources: int | None
    field_of_view: FieldOfView | None
    false_alarm: float
    model: Path


@dataclass(frozen=True)
class Method:
    """An estimator for one array, what it was made with, whether what it finds is refined, and the model
    behind the covariance it reads.
    """

    array: Array
    estimator: Estimator
    settings: Settings
    refines: bool
    grid: Grid
    field_of_view: FieldOfView
    model: Model | None


def method_for(stream: MeasurementStream, options: Options) -> Method:
    """The estimator of a name for the array of a file.

    Raises:
        MeasurementError: an impossible field of view, one too fine for the array, an unknown name, or more
            sources than the snapshots determine.
        CheckpointError: a model is needed, and is missing, damaged or made for something else.
    """
    _check_count(stream, options)
    name, refines = options.estimator.removesuffix(REFINED), options.estimator.endswith(REFINED)
    if needs_model(options.estimator):
        return _learned_method(stream, options, name, refines)
    field = options.field_of_view
    if field is None:
        nearest = max(_NEAREST * aperture(stream.array.elements), stream.array.wavelength / 2.0)
        farthest = fraunhofer_distance(aperture(stream.array.elements), stream.array.wavelength)
        field = FieldOfView(_AZIMUTH_DEG, _ELEVATION_DEG, (nearest, max(farthest, 10.0 * nearest)))
    _check_field(field)
    try:
        grid = grid_for(
            stream.array,
            radians(field.azimuth_deg),
            radians(field.elevation_deg),
            field.range_m,
        )
    except ValueError as error:
        raise MeasurementError(f"{stream.path}: {error} (--field-of-view)") from error
    n_points, n_elements = grid.n_points, stream.sizes.elements
    if n_points * n_elements > _MOST_STEERING:
        raise MeasurementError(
            f"{stream.path}: steering vectors of all points are in memory at once, G N at most "
            f"{_MOST_STEERING}, got G = {n_points} points, N = {n_elements} elements; narrow --field-of-view"
        )
    settings = _settings(stream, options, LOADING)
    return Method(stream.array, estimator(name, grid, settings), settings, refines, grid, field, None)


def _learned_method(stream: MeasurementStream, options: Options, name: str, refines: bool) -> Method:
    if not options.model.exists():
        raise CheckpointError(
            f"{options.model}: there is no such checkpoint; run `train` and `calibrate` first, name another "
            f"with --model, or take --estimator {CLASSICAL}, which needs none"
        )
    model = read_model(options.model, partial(_require_same_system, stream, options))
    params = model.params
    field = _field_of(params)
    grid = model_grid.grid(params)
    settings = _settings(stream, options, params.covariance.diagonal_loading)
    if probe(name).covariance_kind == "predicted":
        # the network counts, and knows no larger number than those it was trained on
        most = min(_most(stream).n_sources, params.sources.max_sources)
        settings = replace(settings, counting=replace(settings.counting, most=most))
    array = replace(stream.array, spherical_amplitude=params.array.spherical_amplitude)
    return Method(array, estimator(name, grid, settings), settings, refines, grid, field, model)


def _field_of(params: ModelParams) -> FieldOfView:
    return FieldOfView(params.sources.azimuth_deg, params.sources.elevation_deg, params.sources.range_m)


def _require_same_system(stream: MeasurementStream, options: Options, params: ModelParams) -> None:
    """Refuse a model that was trained for another system or field of view than that of a file.

    Raises:
        CheckpointError: everything that differs.
    """
    faults = differences(params, stream.sizes, stream.array)
    field = _field_of(params)
    if options.field_of_view not in (None, field):
        faults.append(f"--field-of-view is {options.field_of_view}, the model's {field}")
    if faults:
        raise CheckpointError(
            f"{options.model}: {options.estimator} is valid for what it was trained with alone; of "
            f"{stream.path}, {'; '.join(faults)}: train for this system, or take --estimator {CLASSICAL}, "
            "which needs no model"
        )


def localization_key(files: Sequence[Path], options: Options) -> str:
    """Digest of what the sources of some files depend on: the files, the options, the model, the code.

    Raises:
        MeasurementError: a file that is missing, or an unknown estimator.
    """
    inputs = [path for file in files for path in source_paths(file, MADE_BY)]
    if needs_model(options.estimator) and options.model.is_file():
        inputs.append(options.model)
    parameters = asdict(options) | {"model": None, "files": [str(file) for file in files]}
    return work_key("risolve.localize", parameters, inputs)


def needs_model(name: str) -> bool:
    """Whether an estimator, refined or not, reads what a network predicts.

    Raises:
        MeasurementError: an unknown name.
    """
    return probe(name.removesuffix(REFINED)).covariance_kind in _PREDICTED


def probe(name: str) -> Estimator:
    """An estimator by name for a grid of no array, to be asked what it is.

    Raises:
        MeasurementError: an unknown name.
    """
    counting = CountingRule("glrt", 0.01, 1)
    settings = Settings(LOADING, counting, ITERATIONS, FIT_ITERATIONS)
    try:
        return estimator(name, search_grid(3, 3, 2, (-1.0, 1.0), (-1.0, 1.0), (1.0, 2.0)), settings)
    except ValueError as error:
        raise MeasurementError(f"--estimator: {error}; `risolve estimators` explains them") from error


def _settings(stream: MeasurementStream, options: Options, loading: float) -> Settings:
    most = min(MOST_COUNTED, _most(stream).n_sources)
    counting = CountingRule("glrt", options.false_alarm, most)
    return Settings(loading, counting, ITERATIONS, FIT_ITERATIONS)


def _most(stream: MeasurementStream) -> Limit:
    sizes = stream.sizes
    return most_sources(stream.source_model, sizes.snapshots, sizes.antennas, sizes.elements)


def _check_count(stream: MeasurementStream, options: Options) -> None:
    sizes = stream.sizes
    most, law = _most(stream)
    if most < 1:
        raise MeasurementError(
            f"{stream.path}: {stream.source_model} sources need {law}: L = {sizes.snapshots} snapshots, M = "
            f"{sizes.antennas} antennas and N = {sizes.elements} elements determine none; record more of them"
        )
    if options.n_sources is not None and not 0 <= options.n_sources <= most:
        raise MeasurementError(
            f"{stream.path}: {stream.source_model} sources need {law}: L = {sizes.snapshots} snapshots, M = "
            f"{sizes.antennas} antennas and N = {sizes.elements} elements allow 0 to {most} sources, got "
            f"--sources {options.n_sources}"
        )
    if not 0.0 < options.false_alarm < 1.0:
        raise MeasurementError(f"--false-alarm: a probability between 0 and 1, got {options.false_alarm:g}")


def _check_field(field: FieldOfView) -> None:
    for name, (low, high) in (("azimuth", field.azimuth_deg), ("elevation", field.elevation_deg)):
        if not -90.0 < low < high < 90.0:
            law = f"{name} is lowest < highest within +-90 degrees, in front of the array"
            raise MeasurementError(f"--field-of-view: {law}; got {low:g} to {high:g}")
    nearest, farthest = field.range_m
    if not _NEAREST_M <= nearest < farthest:
        raise MeasurementError(
            f"--field-of-view: range is {_NEAREST_M:g} <= nearest < farthest (m, inf allowed), got "
            f"{nearest:g} to {farthest:g}"
        )
