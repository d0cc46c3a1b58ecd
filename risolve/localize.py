"""Reads files of measurements of any array, and for a learned covariance a trained network; returns the
sources of every scene, for `risolve localize`.
"""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from risolve.covariance import blend, sample_covariance, sample_factor
from risolve.errors import MeasurementError
from risolve.estimators.contract import Estimate, Reading
from risolve.estimators.fitted import fitted_covariance
from risolve.estimators.refined import refined
from risolve.files.first_look import looked_at
from risolve.files.hdf5 import source_paths
from risolve.files.hdf5_objects import Look
from risolve.files.measurement_stream import (
    MADE_BY,
    Chunk,
    TruePlaces,
    computed,
    measurement_stream,
)
from risolve.files.sources import VALUES, LocatedSources, joined, read_sources, write_sources
from risolve.inference.maps import MapSettings, fit_maps
from risolve.locate import Method, Options, method_for
from risolve.metrics.agreement import agreement
from risolve.physics.geometry import positions
from risolve.physics.observation import Observation
from risolve.running.progress import Progress
from risolve.running.shards import shared_out
from risolve.shown import shown
from risolve.words.doubts import Doubts
from risolve.words.truth import SceneScore

LS_RIDGE = 1e-3
"""Loading of the least-squares amplitudes where no model brings its own."""

FOUND_TOLERANCE_DEG = 5.0
"""Errors of azimuth and elevation within which a source counts as found."""

_LEAST_CHUNKS = 4
"""Of each process that locates: starting one takes seconds."""


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
    observation = replace(observation, array=method.array)
    counts = None if n_sources is None else torch.full((observation.n_scenes,), n_sources)
    found = method.estimator.estimate(observation, covariance_of(observation, counts, method), counts)
    if not method.refines:
        return found
    return refined(observation, found, method.grid, method.settings.n_iterations)


def covariance_of(
    observation: Observation, n_sources: Int[Tensor, " scene"] | None, method: Method
) -> Reading | None:
    """What the estimator reads, by the functions that the pipeline makes it with."""
    kind, model = method.estimator.covariance_kind, method.model
    if kind is None:
        return None
    if kind == "fitted":
        return fitted_covariance(observation, n_sources, method.grid, method.settings)
    if model is None:
        return sample_covariance(sample_factor(observation, LS_RIDGE))
    params = model.params
    maps = MapSettings(method.grid, params.normalize.map_iterations)
    prediction = model.trained.predict(*fit_maps(observation, maps), observation)
    if kind == "predicted":
        return prediction
    sample = sample_covariance(sample_factor(observation, params.covariance.ls_ridge))
    beta = prediction.calibration.blend_beta
    return blend(prediction.covariance, sample, beta, params.covariance.diagonal_loading)


def localize_files(
    files: Sequence[Path],
    looks: Mapping[Path, Look],
    options: Options,
    remark: Callable[[str], None],
    work: Path | None,
    workers: int,
) -> Localization:
    """Sources of every scene of some files, or of directories of shards, in bounded memory.

    looks: what `first_looks` said of the files, before anything else was done with them. What is odd, left
    out or beyond what was searched goes to `remark`, one line each. work: a directory that keeps what is
    located, so that a later call of the same goes on with it. workers: processes, at most, that share the
    scenes where there are enough of them; their number changes no result.

    Raises:
        StateError: a worker process died.
        MeasurementError, CheckpointError: what cannot be read or located, as `method_for`; no scene at all.
        ChangedFileError: a file that was changed after the first look; nothing of it is kept since.
    """
    for file in files:
        _check(file, looks, options)
    parts, scores = list[LocatedSources](), list[SceneScore]()
    for number, file in enumerate(files):
        first_scene = 0
        for path in source_paths(file, MADE_BY):
            with measurement_stream(path, looks) as stream:
                method = method_for(stream, options)
                for warning in stream.warnings:
                    remark(warning)
                if first_scene == 0:
                    remark(f"{file}: {options.estimator} searches {method.field_of_view}")
                truth, doubts = stream.truth(), Doubts(path, method, options.n_sources)
                chunks = stream.chunk_scenes()
                kept = [_kept(work, number, first_scene + scenes.start) for scenes in chunks]
                finished = _finished(kept)
                asked = [own for own in zip(chunks, kept, strict=True) if own[1] not in finished]
                locator = _Locator(path, looks, options, tuple(files), number, first_scene)
                located = shared_out(locator, asked, min(workers, len(asked) // _LEAST_CHUNKS))
                done = stream.sizes.scenes - sum(len(scenes) for scenes, _ in asked)
                progress = Progress(f"localize {path.name}", stream.sizes.scenes, "scenes", done)
                for scenes, place in zip(chunks, kept, strict=True):
                    if place in finished:
                        part = finished[place]
                    else:
                        part = next(located)
                        progress.advance(len(scenes))
                    parts.append(part)
                    if truth is not None:
                        scores += _scores(number, first_scene, part, truth)
                    doubts.look(first_scene, stream.readable(scenes), part)
                for doubt in doubts.lines():
                    remark(doubt)
                first_scene += stream.sizes.scenes
    sources = joined(parts)
    if not len(sources.scenes):
        file_number, scene, reason = sources.left_out[0]
        raise MeasurementError(f"{files[file_number]}: no scene can be located: scene {scene}: {reason}")
    for file_number, scene, reason in sources.left_out:
        remark(f"{files[file_number]}: scene {scene} is left out: {reason}")
    return Localization(sources, tuple(scores))


def _finished(kept: Sequence[Path | None]) -> dict[Path | None, LocatedSources]:
    """The sources that are kept; a file that is damaged counts as not finished."""
    looks = looked_at([place for place in kept if place is not None and place.exists()])
    finished: dict[Path | None, LocatedSources] = {}
    for place, look in looks.items():
        with suppress(MeasurementError):
            finished[place] = read_sources(place, look)
    return finished


def _check(file: Path, looks: Mapping[Path, Look], options: Options) -> None:
    """Refuse before any work what cannot be located or scored, or shards that are not of one array."""
    first = None
    for path in source_paths(file, MADE_BY):
        with measurement_stream(path, looks) as stream:
            method_for(stream, options)
            stream.truth()
            system = (stream.sizes[1:], stream.array.wavelength, stream.source_model)
            first = first or (system, stream.array.elements)
            if system != first[0] or not torch.equal(stream.array.elements, first[1]):
                law = "the shards of a directory are of one array, source model, L and M"
                raise MeasurementError(f"{path}: {law}, and this one differs from the first; give it alone")


def _kept(work: Path | None, file: int, first_scene: int) -> Path | None:
    """Where the sources of a chunk are kept."""
    return None if work is None else work / f"{file:06d}-{first_scene:09d}.h5"


@dataclass(frozen=True)
class _Locator:
    """Locates the scenes of one file, in whatever process it is sent to; first_scene: number of its first."""

    path: Path
    looks: Mapping[Path, Look]
    options: Options
    files: tuple[Path, ...]
    number: int
    first_scene: int

    @functools.cached_property
    def _method(self) -> Method:
        with measurement_stream(self.path, self.looks) as stream:
            return method_for(stream, self.options)

    def __call__(self, asked: tuple[range, Path | None]) -> LocatedSources:
        """Sources of a chunk; where it has a place, they are kept there."""
        scenes, place = asked
        with measurement_stream(self.path, self.looks) as stream:
            read = stream.readable(scenes)
        locate = partial(localize, method=self._method, n_sources=self.options.n_sources)
        chunk, estimate = computed(self.path, read, locate)
        part = _part(self.options.estimator, self.files, self.number, self.first_scene, chunk, estimate)
        if place is not None:
            write_sources(place, part)
        return part


def _part(
    estimator: str,
    files: Sequence[Path],
    number: int,
    first_scene: int,
    chunk: Chunk,
    estimate: Estimate | None,
) -> LocatedSources:
    """Sources of the scenes of a chunk; scenes are counted through all shards of a file."""
    scenes = first_scene + torch.tensor(chunk.scenes, dtype=torch.int64)
    present = torch.zeros((len(scenes), 0), dtype=torch.bool)
    values = torch.empty((0, len(VALUES)), dtype=torch.float64)
    confidence = torch.full((len(scenes),), torch.nan, dtype=torch.float64)
    if estimate is not None and chunk.observation is not None:
        present = estimate.present
        values = in_unit_of_file(source_values(chunk.observation, estimate), chunk)[present]
        if estimate.count_confidence is not None:
            confidence = estimate.count_confidence
    scene = scenes[:, None].expand(present.shape)[present]
    return LocatedSources(
        estimator=estimator,
        files=tuple(shown(str(file)) for file in files),
        file=torch.full_like(scene, number).numpy(),
        scene=scene.numpy(),
        source=(present.cumsum(-1) - 1)[present].numpy(),
        values=values.numpy(),
        scenes=torch.stack((torch.full_like(scenes, number), scenes, present.sum(-1)), -1).numpy(),
        count_confidence=confidence.numpy(),
        left_out=tuple((number, first_scene + scene, why) for scene, why in chunk.left_out.items()),
    )


def source_values(observation: Observation, estimate: Estimate) -> Float[Tensor, "scene source value"]:
    """The columns `VALUES` of every slot, in their units; NaN in empty slots."""
    azimuth, elevation, inverse_range = estimate.sources.unbind(-1)
    deviations = estimate.standard_deviations()
    # at infinity there is a direction and no place
    places = positions(estimate.sources).masked_fill(inverse_range[..., None] == 0.0, torch.nan)
    of_scene = torch.stack((estimate.likelihood.log_likelihood, misfit(observation, estimate)), -1)
    return torch.cat(
        (
            torch.stack((torch.rad2deg(azimuth), torch.rad2deg(elevation), 1.0 / inverse_range), -1),
            places,
            10.0 * torch.log10(estimate.likelihood.powers)[..., None],
            torch.rad2deg(deviations[..., :2]),
            deviations[..., 2:],
            inverse_range[..., None],
            estimate.likelihood.covariance[..., 2, 2].sqrt()[..., None],
            of_scene[:, None].expand(-1, azimuth.shape[1], -1),
        ),
        dim=-1,
    )


def in_unit_of_file(
    values: Float[Tensor, "scene source value"], chunk: Chunk
) -> Float[Tensor, "scene source value"]:
    """Columns `VALUES` in the unit of the snapshots and the channel that the file has.

    y = 2^e y', H = 2^f H':   |s|^2 = 4^(e - f) |s'|^2,   p(y) = 4^(-e L M) p(y')
    """
    snapshots, channel = torch.tensor(chunk.units, dtype=torch.float64).unbind(-1)
    if chunk.observation is not None and bool((snapshots.abs() + channel.abs()).any()):
        n_numbers = chunk.observation.n_snapshots * chunk.observation.n_antennas
        values[..., VALUES.index("power_db")] += (10.0 * math.log10(4.0) * (snapshots - channel))[:, None]
        values[..., VALUES.index("log_likelihood")] -= (math.log(4.0) * n_numbers * snapshots)[:, None]
    return values


def misfit(observation: Observation, estimate: Estimate) -> Float[Tensor, " scene"]:
    """J / (sigma^2 (L M - (a + 3/2) K)), see `VALUES`; NaN where the noise power is not given, or the sources
    leave no dimension to noise.
    """
    if observation.noise_power is None:
        return torch.full((observation.n_scenes,), torch.nan, dtype=torch.float64)
    amplitudes = observation.n_snapshots if observation.source_model == "independent" else 1
    n_numbers = observation.n_snapshots * observation.n_antennas
    left = n_numbers - (amplitudes + 1.5) * estimate.n_sources
    ratio = estimate.likelihood.residual / (observation.noise_power.double() * left)
    return torch.where(left > 0.0, ratio, torch.nan)


def _scores(file: int, first_scene: int, part: LocatedSources, truth: TruePlaces) -> list[SceneScore]:
    azimuth, elevation, reach, *spread = (
        VALUES.index(name)
        for name in (
            *("azimuth_deg", "elevation_deg", "range_m"),
            *("azimuth_std_deg", "elevation_std_deg", "range_std_m"),
        )
    )
    degree = math.radians(1.0)
    scores = []
    for scene, own in part.of_scenes():
        row = scene - first_scene
        true = truth.sources[row, : truth.n_sources[row]]
        places = np.stack((degree * own[:, azimuth], degree * own[:, elevation], 1.0 / own[:, reach]), -1)
        spreads = own[:, spread] * (degree, degree, 1.0)
        outcome = agreement(true, places, spreads, math.radians(FOUND_TOLERANCE_DEG))
        scores.append(SceneScore(file, scene, true, outcome))
    return scores
