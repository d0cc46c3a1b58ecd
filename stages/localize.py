"""Reads files of measurements of any array, and for a learned covariance a trained network; returns the
sources of every scene, for `risolve localize`.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.linalg import LinAlgError  # type: ignore[attr-defined]

from stages.artifacts.errors import MeasurementError
from stages.artifacts.hdf5 import source_paths
from stages.artifacts.localization_setup import FieldOfView, Method, Options, method_for
from stages.artifacts.measurement_stream import (
    MADE_BY,
    Chunk,
    TruePlaces,
    measurement_stream,
)
from stages.artifacts.progress import Progress
from stages.artifacts.sources_file import VALUES, LocatedSources
from stages.artifacts.truth_table import SceneScore
from stages.covariance import blend, sample_covariance, sample_factor
from stages.estimators.contract import Covariance, Estimate
from stages.estimators.fitted import fitted_covariance
from stages.estimators.refined import refined
from stages.inference.maps import MapSettings, fit_maps
from stages.metrics.agreement import agreement
from stages.physics.geometry import positions
from stages.physics.observation import Observation, estimated_snr

LS_RIDGE = 1e-3
"""Loading of the least-squares amplitudes where no model brings its own."""

FOUND_TOLERANCE_DEG = 5.0
"""Errors of azimuth and elevation within which a source counts as found."""

_SIGMAS = 5.0
"""Standard errors 1 / sqrt(L M) by which the power received may fall below the noise power by chance."""


@dataclass(frozen=True)
class Localization:
    """Sources of all files, and a score of every located scene whose truth is known."""

    sources: LocatedSources
    scores: tuple[SceneScore, ...]


def localize(observation: Observation, method: Method, n_sources: int | None) -> Estimate:
    """Sources of a batch of scenes; the number of them is counted where it is not given.

    Raises:
        ValueError: more sources than the snapshots determine.
    """
    counts = None if n_sources is None else torch.full((observation.n_scenes,), n_sources)
    found = method.estimator.estimate(observation, covariance_of(observation, counts, method), counts)
    if not method.refines:
        return found
    settings = method.settings
    return refined(observation, found, method.grid, settings.n_iterations, settings.spherical_amplitude)


def covariance_of(
    observation: Observation, n_sources: Int[Tensor, " scene"] | None, method: Method
) -> Covariance | None:
    """The covariance that the estimator reads, by the functions that the pipeline makes it with."""
    kind, model = method.estimator.covariance_kind, method.model
    if kind is None:
        return None
    if kind == "fitted":
        return fitted_covariance(observation, n_sources, method.grid, method.settings)
    if model is None:
        return sample_covariance(sample_factor(observation, LS_RIDGE))
    params = model.params
    maps = MapSettings(method.grid, params.normalize.map_iterations, params.array.spherical_amplitude)
    predicted = model.trained.predict(*fit_maps(observation, maps))
    if kind == "predicted":
        return predicted
    sample = sample_covariance(sample_factor(observation, params.covariance.ls_ridge))
    return blend(predicted, sample, params.covariance.blend_beta, params.covariance.diagonal_loading)


def localize_files(files: Sequence[Path], options: Options, remark: Callable[[str], None]) -> Localization:
    """Sources of every scene of some files, or of directories of shards, in bounded memory.

    What is odd, left out or beyond what was searched goes to `remark`, one line each.

    Raises:
        MeasurementError, CheckpointError: what cannot be read or located, as `method_for`; no scene at all.
    """
    rows, scores = _Rows(), list[SceneScore]()
    for number, file in enumerate(files):
        first_scene = 0
        for path in source_paths(file, MADE_BY):
            with measurement_stream(path) as stream:
                method = method_for(stream, options)
                for warning in stream.warnings:
                    remark(warning)
                if first_scene == 0:
                    remark(f"{file}: {options.estimator} searches {method.field_of_view}")
                truth, doubts = stream.truth(), _Doubts(path, method.field_of_view)
                progress = Progress(f"localize {path.name}", stream.sizes.scenes, "scenes")
                for read in stream.chunks():
                    chunk, estimate = _located(path, read, method, options.n_sources)
                    rows.add(number, first_scene, chunk, estimate)
                    if truth is not None and estimate is not None:
                        scores += _scores(number, first_scene, chunk, estimate, truth)
                    doubts.look(chunk, estimate)
                    progress.advance(len(chunk.scenes) + len(chunk.left_out))
                for doubt in doubts.lines():
                    remark(doubt)
                first_scene += stream.sizes.scenes
    sources = rows.joined(options.estimator, files)
    if not len(sources.scenes):
        file_number, scene, reason = sources.left_out[0]
        raise MeasurementError(f"{files[file_number]}: no scene can be located: scene {scene}: {reason}")
    for file_number, scene, reason in sources.left_out:
        remark(f"{files[file_number]}: scene {scene} is left out: {reason}")
    return Localization(sources, tuple(scores))


def _located(
    path: Path, chunk: Chunk, method: Method, n_sources: int | None
) -> tuple[Chunk, Estimate | None]:
    """Sources of a chunk; a scene that cannot be located although its numbers are sound is left out of it.

    Raises:
        MeasurementError: the scenes together cannot be located, and each alone can.
    """
    if chunk.observation is None:
        return chunk, None
    try:
        return chunk, localize(chunk.observation, method, n_sources)
    except (ValueError, LinAlgError) as error:
        faults: dict[int, str] = {}
        for row, scene in enumerate(chunk.scenes):
            try:
                localize(chunk.observation.select(slice(row, row + 1)), method, n_sources)
            except (ValueError, LinAlgError) as own:
                faults[scene] = " ".join(str(own).split())
        if not faults:
            together = f"{path}: scenes {chunk.scenes[0]} to {chunk.scenes[-1]}"
            raise MeasurementError(f"{together}: {error}") from error
    return _located(path, chunk.without(faults), method, n_sources)


class _Doubts:
    """Scenes whose noise power cannot be right, and sources beyond what was searched."""

    def __init__(self, path: Path, field: FieldOfView) -> None:
        self._path, self._field = path, field
        self._noisy: list[int] = []
        self._outside: list[int] = []

    def look(self, chunk: Chunk, estimate: Estimate | None) -> None:
        """Count those of a chunk."""
        if chunk.observation is None or estimate is None:
            return
        scenes = np.array(chunk.scenes)
        if chunk.observation.noise_power is not None:
            # squares of weak snapshots leave single precision
            received = replace(chunk.observation, snapshots=chunk.observation.snapshots.to(torch.complex128))
            snr = estimated_snr(received).numpy()
            n_numbers = chunk.observation.n_snapshots * chunk.observation.n_antennas
            self._noisy += scenes[snr < -_SIGMAS / math.sqrt(n_numbers)].tolist()
        degrees = torch.rad2deg(estimate.sources[..., :2]).numpy()
        limits = np.array([self._field.azimuth_deg, self._field.elevation_deg])
        beyond = ((degrees < limits[:, 0]) | (degrees > limits[:, 1])).any(-1)
        self._outside += scenes[np.nonzero(beyond)[0]].tolist()

    def lines(self) -> list[str]:
        """What was found, in words."""
        lines = []
        if self._noisy:
            lines.append(
                f"{self._path}: noise_power: sigma^2 is more than the power received, mean |y|^2, in "
                f"{len(self._noisy)} scenes, the first {self._noisy[0]}: is it in the unit of |y|^2?"
            )
        if self._outside:
            lines.append(
                f"{self._path}: {len(self._outside)} sources lie outside the directions searched, the first "
                f"in scene {self._outside[0]}: --field-of-view widens them"
            )
        return lines


class _Rows:
    """Rows of the result, gathered chunk by chunk."""

    def __init__(self) -> None:
        self._places: list[np.ndarray] = []
        self._values: list[np.ndarray] = []
        self._scenes: list[np.ndarray] = []
        self._left_out: list[tuple[int, int, str]] = []

    def add(self, file: int, first_scene: int, chunk: Chunk, estimate: Estimate | None) -> None:
        self._left_out += [(file, first_scene + scene, why) for scene, why in chunk.left_out.items()]
        if estimate is None:
            return
        present = estimate.present
        scenes = first_scene + torch.tensor(chunk.scenes)
        counts = present.sum(-1)
        number = (present.cumsum(-1) - 1)[present]
        scene = scenes[:, None].expand(present.shape)[present]
        self._places.append(torch.stack((torch.full_like(scene, file), scene, number), -1).numpy())
        self._values.append(source_values(estimate)[present].numpy())
        self._scenes.append(torch.stack((torch.full_like(scenes, file), scenes, counts), -1).numpy())

    def joined(self, name: str, files: Sequence[Path]) -> LocatedSources:
        places = np.concatenate([np.empty((0, 3), np.int64), *self._places])
        return LocatedSources(
            estimator=name,
            files=tuple(str(file) for file in files),
            file=places[:, 0],
            scene=places[:, 1],
            source=places[:, 2],
            values=np.concatenate([np.empty((0, len(VALUES))), *self._values]),
            scenes=np.concatenate([np.empty((0, 3), np.int64), *self._scenes]),
            left_out=tuple(self._left_out),
        )


def source_values(estimate: Estimate) -> Float[Tensor, "scene source value"]:
    """The columns `VALUES` of every slot, in their units; NaN in empty slots."""
    azimuth, elevation, inverse_range = estimate.sources.unbind(-1)
    deviations = estimate.standard_deviations()
    log_likelihood = estimate.likelihood.log_likelihood[:, None].expand(azimuth.shape)
    return torch.cat(
        (
            torch.stack((torch.rad2deg(azimuth), torch.rad2deg(elevation), 1.0 / inverse_range), -1),
            positions(estimate.sources),
            10.0 * torch.log10(estimate.likelihood.powers)[..., None],
            torch.rad2deg(deviations[..., :2]),
            deviations[..., 2:],
            log_likelihood[..., None],
        ),
        dim=-1,
    )


def _scores(
    file: int, first_scene: int, chunk: Chunk, estimate: Estimate, truth: TruePlaces
) -> list[SceneScore]:
    spreads, places, present = (
        estimate.standard_deviations().numpy(),
        estimate.sources.numpy(),
        estimate.present,
    )
    scores = []
    for row, scene in enumerate(chunk.scenes):
        true = truth.sources[scene, : truth.n_sources[scene]]
        held = present[row].numpy()
        outcome = agreement(true, places[row, held], spreads[row, held], math.radians(FOUND_TOLERANCE_DEG))
        scores.append(SceneScore(file, first_scene + scene, true, outcome))
    return scores
