"""Sources of scenes: the one place that knows defaults, and what each estimator reads.

A network is used only on the array, the receiver and the field of view that it was trained for.
"""

import math
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Int
from torch import Tensor

from risolve.covariance import blend, sample_covariance, sample_factor
from risolve.errors import CheckpointError
from risolve.estimators.comparison import REFINED
from risolve.estimators.contract import CovarianceKind, Estimate, Estimator, Reading, Settings
from risolve.estimators.counted import behind_its_noise
from risolve.estimators.deviations import with_deviations
from risolve.estimators.fitted import fitted_covariance
from risolve.estimators.learned import LearnedEstimator
from risolve.estimators.refined import refined, resumed
from risolve.estimators.registry import estimator as estimator_of
from risolve.field import FieldOfView, Searched, check_field, require_inside, usual_field
from risolve.files import model_grid
from risolve.files.model import Model, read_model
from risolve.files.model_fit import differences
from risolve.files.model_params import ModelParams
from risolve.identifiability import Limit, most_beside_antenna_noise, most_sources
from risolve.inference.counting import CountingRule
from risolve.inference.determinability import require_told, way_out
from risolve.inference.goodness import goodness
from risolve.inference.grid import Grid, grid_for, search_grid
from risolve.inference.maps import MapSettings, fit_maps
from risolve.inference.promising import require_searchable
from risolve.inference.rivals import rivals
from risolve.networks.beyond import beyond_training, mixed_confidence
from risolve.networks.trained import Prediction
from risolve.physics.array import Array
from risolve.physics.geometry import radians
from risolve.physics.limits import Limits, visible
from risolve.physics.observation import Gains, Noise, Observation, SourceModel

CLASSICAL = "ml"
"""The estimator that needs no model: the default, and the offer where a model does not fit."""

_PREDICTED: frozenset[CovarianceKind | None] = frozenset({"predicted", "blend"})

LS_RIDGE = 1e-3
"""Loading of the least-squares amplitudes where no model brings its own."""

LOADING = 1e-3
"""eps of R_samp, tr R_samp = N, where no model brings its own."""

MOST_COUNTED = 8
"""Sources looked for where their number is not given; fewer where the snapshots determine fewer."""

ITERATIONS, FIT_ITERATIONS = 40, 12
"""Steps of a refinement at most, and of a sparse covariance fit."""


@dataclass(frozen=True)
class Options:
    """How sources are located.

    estimator: a name of the registry, with `REFINED` behind it where what it finds is refined.
    n_sources: None to count them in every scene with the false-alarm probability. field_of_view: what is
    stated of the places. model: a trained network, or its file.
    """

    estimator: str
    n_sources: int | None
    field_of_view: FieldOfView
    false_alarm: float
    model: Path | Model


@runtime_checkable
class Described(Protocol):
    """What is known of scenes before their snapshots are read."""

    @property
    def array(self) -> Array:
        """The array."""

    @property
    def source_model(self) -> SourceModel:
        """Whether the amplitudes are free in every snapshot."""

    @property
    def gains(self) -> Gains:
        """Whether all sources have one amplitude."""

    @property
    def noise(self) -> Noise:
        """Whether it is alike at all antennas."""

    @property
    def n_snapshots(self) -> int:
        """L."""

    @property
    def n_antennas(self) -> int:
        """M."""


@dataclass(frozen=True)
class Localizer:
    """An estimator for one array, what it was made with, whether what it finds is refined, where it searches,
    what is stated of the places, the angle that is taken as 0 because the array does not tell it, and the
    model behind the covariance that it reads.
    """

    array: Array
    estimator: Estimator
    settings: Settings
    refines: bool
    grid: Grid
    searched: Searched
    stated: Limits | None
    taken: str | None
    model: Model | None

    @property
    def maximizes(self) -> bool:
        """Whether what it finds is a maximum of a likelihood, for which `fits` holds."""
        own = self.estimator
        return self.refines or own.covariance_kind is None or isinstance(own, LearnedEstimator)


def localize(observation: Observation, localizer: Localizer, n_sources: int | None) -> Estimate:
    """Sources of a batch of scenes, with their rivals and how well they fit; their number is counted where it
    is not given. The confidence of a network in its count is one for scenes beyond its training too.

    Raises:
        ValueError: more sources than the snapshots determine, or none at all behind their channel and codes.
    """
    observation = replace(observation, array=localizer.array, stated=localizer.stated)
    require_told(observation, n_sources)
    counts = None if n_sources is None else torch.full((observation.n_scenes,), n_sources)
    if observation.noise == "antennas":
        observation = behind_its_noise(observation, counts, localizer.grid, localizer.settings)
    reading = covariance_of(observation, counts, localizer)
    found = localizer.estimator.estimate(observation, reading, counts)
    grid, n_iterations = localizer.grid, localizer.settings.n_iterations
    if localizer.refines:
        resume = estimator_of(CLASSICAL, grid, localizer.settings)
        found = refined(observation, resumed(observation, found, counts, resume), grid, n_iterations)
    fit = goodness(observation, found.sources, grid)
    if isinstance(reading, Prediction) and localizer.maximizes:
        beyond = beyond_training(
            observation, found.sources, fit.fits, reading, grid, counted=n_sources is None
        )
        stated = found.count_confidence
        confidence = None if stated is None else mixed_confidence(stated, beyond)
        found = replace(found, beyond_training=beyond, count_confidence=confidence)
    found = replace(found, rivals=rivals(observation, found.sources, grid, n_iterations), goodness=fit)
    return with_deviations(observation, found, grid, n_iterations)


def covariance_of(
    observation: Observation, n_sources: Int[Tensor, " scene"] | None, localizer: Localizer
) -> Reading | None:
    """What the estimator reads, by the functions that the pipeline makes it with."""
    kind, model = localizer.estimator.covariance_kind, localizer.model
    if kind is None:
        return None
    if kind == "fitted":
        return fitted_covariance(observation, n_sources, localizer.grid, localizer.settings)
    if model is None:
        return sample_covariance(sample_factor(observation, LS_RIDGE))
    params = model.params
    maps = MapSettings(localizer.grid, params.normalize.map_iterations)
    prediction = model.trained.predict(*fit_maps(observation, maps), observation)
    if kind == "predicted":
        return prediction
    sample = sample_covariance(sample_factor(observation, params.covariance.ls_ridge))
    beta = prediction.calibration.blend_beta
    return blend(prediction.covariance, sample, beta, params.covariance.diagonal_loading)


def localizer_for(known: Described, options: Options, where: str) -> Localizer:
    """The estimator of a name for an array; where: what the scenes are called in errors.

    Raises:
        ValueError: an impossible field of view, one too fine for the array or that it does not tell, an
            unknown name, another estimator than `ml` of equal gains, or more sources than the snapshots
            determine.
        CheckpointError: a model is needed, and is missing, damaged or made for something else.
    """
    if known.gains == "equal" and options.estimator != CLASSICAL:
        raise ValueError(
            f"{where}: gains = equal is a model of the estimator {CLASSICAL} alone, got {options.estimator}; "
            f"take {CLASSICAL}, or gains = free"
        )
    _check_count(known, options, where)
    _check_bands(known, options, where)
    name, refines = options.estimator.removesuffix(REFINED), options.estimator.endswith(REFINED)
    if needs_model(options.estimator):
        return _learned_localizer(known, options, name, refines, where)
    array, n_antennas = known.array, known.n_antennas
    check_field(options.field_of_view, visible(array, n_antennas))
    field = options.field_of_view.settled(array)
    usual = usual_field(array, n_antennas)
    if not refines and probe(name).covariance_kind is not None:
        # no refinement leads from a peak to a range beyond
        usual = usual._replace(range_m=(usual.range_m[0], math.inf))
    searched = field.searched(usual)
    try:
        stated = field.limits(array, n_antennas)
        azimuth, elevation = radians(searched.azimuth_deg), radians(searched.elevation_deg)
        grid = grid_for(array, azimuth, elevation, searched.range_m).within(stated)
        require_searchable(grid, array, _of_all_points(name, known))
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
    settings = _settings(known, options, LOADING)
    estimator = estimator_of(name, grid, settings)
    taken = _taken(options.field_of_view, field)
    return Localizer(array, estimator, settings, refines, grid, searched, stated, taken, None)


def _of_all_points(name: str, known: Described) -> str | None:
    """What looks at all points of the grid at once."""
    if probe(name).covariance_kind is not None:
        return name
    return "gains = equal" if known.gains == "equal" else None


def _taken(stated: FieldOfView, settled: FieldOfView) -> str | None:
    """The angle that a line of elements was told beside what is stated."""
    if stated.azimuth_deg != settled.azimuth_deg:
        return "azimuth"
    return "elevation" if stated.elevation_deg != settled.elevation_deg else None


def _learned_localizer(known: Described, options: Options, name: str, refines: bool, where: str) -> Localizer:
    accept = partial(_require_same_system, known, options, where)
    if isinstance(options.model, Path):
        if not options.model.exists():
            raise CheckpointError(
                f"{options.model}: there is no such checkpoint; run `train` and `calibrate` first, name "
                f"another model, or take the estimator {CLASSICAL}, which needs none"
            )
        model = read_model(options.model, accept)
    else:
        model = options.model
        accept(model.params)
    params = model.params
    stated = options.field_of_view.limits(known.array, known.n_antennas)
    grid = model_grid.grid(params).within(stated)
    settings = _settings(known, options, params.covariance.diagonal_loading)
    if probe(name).covariance_kind == "predicted":
        # the network counts, and knows no larger number than those it was trained on
        most = min(_most(known, options).n_sources, params.sources.max_sources)
        settings = replace(settings, counting=replace(settings.counting, most=most))
    array = replace(known.array, spherical_amplitude=params.array.spherical_amplitude)
    searched = options.field_of_view.searched(model_field(params))
    estimator = estimator_of(name, grid, settings)
    return Localizer(array, estimator, settings, refines, grid, searched, stated, None, model)


def model_field(params: ModelParams) -> Searched:
    """Where the sources were that a network was trained with."""
    return Searched(params.sources.azimuth_deg, params.sources.elevation_deg, params.sources.range_m)


def _require_same_system(known: Described, options: Options, where: str, params: ModelParams) -> None:
    """Refuse a model that was trained for another system or field of view than that of some scenes.

    Raises:
        CheckpointError: everything that differs.
    """
    faults = differences(params, known.array, known.n_antennas, known.n_snapshots)
    if known.array.spherical_amplitude and not params.array.spherical_amplitude:
        faults.append("the amplitude is spherical, and was plane in training")
    try:
        require_inside(options.field_of_view, model_field(params))
    except ValueError as error:
        faults.append(str(error))
    if faults:
        model = options.model if isinstance(options.model, Path) else "the model"
        raise CheckpointError(
            f"{model}: {options.estimator} is valid for what it was trained with alone; of {where}, "
            f"{'; '.join(faults)}: train for this system, or take the estimator {CLASSICAL}, which needs no "
            "model"
        )


def needs_model(name: str) -> bool:
    """Whether an estimator, refined or not, reads what a network predicts.

    Raises:
        ValueError: an unknown name.
    """
    return probe(name.removesuffix(REFINED)).covariance_kind in _PREDICTED


def probe(name: str) -> Estimator:
    """An estimator by name for a grid of no array, to be asked what it is.

    Raises:
        ValueError: an unknown name.
    """
    counting = CountingRule("glrt", 0.01, 1)
    settings = Settings(LOADING, counting, ITERATIONS, FIT_ITERATIONS)
    return estimator_of(name, search_grid(3, 3, 2, (-1.0, 1.0), (-1.0, 1.0), (1.0, 2.0)), settings)


def _settings(known: Described, options: Options, loading: float) -> Settings:
    most = min(MOST_COUNTED, _most(known, options).n_sources)
    counting = CountingRule("glrt", options.false_alarm, most)
    return Settings(loading, counting, ITERATIONS, FIT_ITERATIONS)


def _most(known: Described, options: Options) -> Limit:
    L, M, N = known.n_snapshots, known.n_antennas, known.array.n_coherent
    n_free = options.field_of_view.settled(known.array).n_free
    most = most_sources(known.source_model, L, M, N, n_free, known.gains)
    is_told = known.noise == "equal" or known.source_model == "constant"
    return most if is_told else most_beside_antenna_noise(most, M)


def _check_bands(known: Described, options: Options, where: str) -> None:
    n_bands = known.array.n_bands
    if n_bands > 1 and probe(options.estimator.removesuffix(REFINED)).covariance_kind is not None:
        raise ValueError(
            f"{where}: {options.estimator} reads one covariance of a field of one wavelength, and there are "
            f"{n_bands}; take the estimator {CLASSICAL}, ml_unconditional, nomp or sbl, or one band"
        )


def _check_count(known: Described, options: Options, where: str) -> None:
    L, M, N = known.n_snapshots, known.n_antennas, known.array.n_coherent
    most, law = _most(known, options)
    if most < 1:
        raise ValueError(
            f"{where}: {known.source_model} sources need {law}: L = {L} snapshots, M = {M} antennas and "
            f"N = {N} elements determine none{way_out(known.source_model, M, M)}"
        )
    if options.n_sources is not None and not 0 <= options.n_sources <= most:
        raise ValueError(
            f"{where}: {known.source_model} sources need {law}: L = {L} snapshots, M = {M} antennas and "
            f"N = {N} elements allow 0 to {most} sources, got {options.n_sources}"
        )
    if not 0.0 < options.false_alarm < 1.0:
        raise ValueError(f"false alarm: a probability between 0 and 1, got {options.false_alarm:g}")
