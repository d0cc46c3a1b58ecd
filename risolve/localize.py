"""Reads files of measurements of any array, and for a learned covariance a trained network; returns the
sources of every scene, for `risolve localize`.
"""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from risolve.errors import CheckpointError, MeasurementError
from risolve.estimators.contract import Estimate
from risolve.files.banded_stream import any_stream
from risolve.files.contents import Look
from risolve.files.first_look import looked_at
from risolve.files.gaps import Gap, Piece, pieces
from risolve.files.hdf5 import source_paths
from risolve.files.located_sources import VALUES, LocatedSources, joined, no_sources
from risolve.files.measurement_stream import MADE_BY
from risolve.files.naming import PLAIN, Naming
from risolve.files.registry import with_beside
from risolve.files.source import Chunk, Source, TruePlaces, computed
from risolve.files.sources import read_sources, write_sources
from risolve.located import in_order, located_sources, of_scenes
from risolve.locating import Localizer, Options, localize, localizer_for, needs_model
from risolve.metrics.agreement import agreement
from risolve.running.progress import Progress
from risolve.running.shards import shared_out
from risolve.running.work import work_key
from risolve.shown import shown
from risolve.words.doubts import Doubts
from risolve.words.gaps import gap_words
from risolve.words.truth import SceneScore

FOUND_TOLERANCE_DEG = 5.0
"""Errors of azimuth and elevation within which a source counts as found."""

LEAST_CHUNKS = 4
"""Of each process that locates: starting one takes seconds."""


@dataclass(frozen=True)
class Localization:
    """Sources of all files, and a score of every located scene whose truth is known."""

    sources: LocatedSources
    scores: tuple[SceneScore, ...]


def localize_files(
    files: Sequence[Path],
    looks: Mapping[Path, Look],
    options: Options,
    remark: Callable[[str], None],
    work: Path | None,
    workers: int,
    wanted: range | None = None,
) -> Localization:
    """Sources of every scene of some files, or of directories of shards, in bounded memory.

    looks: what `first_looks` said of the files, before anything else was done with them. What is odd, left
    out or beyond what was searched goes to `remark`, one line each. work: a directory that keeps what is
    located, so that a later call of the same goes on with it. workers: processes, at most, that share the
    scenes where there are enough of them; their number changes no result. wanted: the numbers of the scenes
    that are located of each file, None for all.

    Raises:
        StateError: a worker process died.
        MeasurementError, CheckpointError: what cannot be read or located; no scene at all.
        ChangedFileError: a file that was changed after the first look; nothing of it is kept since.
    """
    for file in files:
        _check(file, looks, options, remark)
    parts, scores = list[LocatedSources](), list[SceneScore]()
    for number, file in enumerate(files):
        first_scene = 0
        for path in source_paths(file, MADE_BY):
            with any_stream(path, looks) as stream:
                localizer = _localizer(stream, options)
                if first_scene == 0:
                    remark(f"{file}: {options.estimator} searches {localizer.searched}")
                truth, doubts = stream.truth(), Doubts(path, options.n_sources)
                chunks = _asked(stream, first_scene, wanted)
                kept = [_kept(work, number, first_scene + scenes.start) for scenes in chunks]
                finished = _finished(kept)
                asked = [own for own in zip(chunks, kept, strict=True) if own[1] not in finished]
                locator = _Locator(path, looks, options, tuple(files), number, first_scene)
                located = shared_out(locator, asked, min(workers, len(asked) // LEAST_CHUNKS))
                total = sum(map(len, chunks))
                done = total - sum(len(scenes) for scenes, _ in asked)
                progress = Progress(f"localize {path.name}", total, "scenes", done)
                gaps = dict[int, Gap]()
                for scenes, place in zip(chunks, kept, strict=True):
                    if place in finished:
                        part = finished[place]
                    else:
                        part = next(located)
                        progress.advance(len(scenes))
                    parts.append(part)
                    if truth is not None:
                        scores += _scores(number, first_scene, part, truth)
                    for piece in pieces(stream, scenes):
                        own = of_scenes(part, [first_scene + scene for scene in piece.chunk.scenes])
                        if own.scenes.size:
                            used = _localizer(piece.stream, options) if piece.gaps else localizer
                            doubts.look(first_scene, piece.chunk, own, used)
                            numbers = (own.scenes[:, 1] - first_scene).tolist()
                            gaps |= {scene: piece.gaps[scene] for scene in numbers if scene in piece.gaps}
                if gaps:
                    remark(f"{path}: {gap_words(gaps, stream.sizes)}")
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


def localization_key(
    files: Sequence[Path], options: Options, naming: Naming = PLAIN, array: Path | None = None
) -> str:
    """Digest of what the sources of some files depend on: the files, what is said of them, the options, the
    model, the file of a calibrated array, the code.

    Raises:
        MeasurementError: a file that is missing.
        ValueError: an unknown estimator.
    """
    inputs = with_beside([path for file in files for path in source_paths(file, MADE_BY)])
    if needs_model(options.estimator) and isinstance(options.model, Path) and options.model.is_file():
        inputs.append(options.model)
    if array is not None:
        inputs.append(array)
    named = {"model": None, "files": [str(file) for file in files], "naming": asdict(naming)}
    parameters = asdict(options) | named
    return work_key("risolve.localize", parameters, inputs)


def _asked(stream: Source, first_scene: int, scenes: range | None) -> list[range]:
    """The scenes of a stream that are located, chunk by chunk; first_scene: number of its first."""
    chunks = stream.chunk_scenes()
    if scenes is None:
        return chunks
    start, stop = scenes.start - first_scene, scenes.stop - first_scene
    within = [range(max(own.start, start), min(own.stop, stop)) for own in chunks]
    return [own for own in within if own]


def _finished(kept: Sequence[Path | None]) -> dict[Path | None, LocatedSources]:
    """The sources that are kept; a file that is damaged counts as not finished."""
    looks = looked_at([place for place in kept if place is not None and place.exists()])
    finished: dict[Path | None, LocatedSources] = {}
    for place, look in looks.items():
        with suppress(MeasurementError):
            finished[place] = read_sources(place, look)
    return finished


def _check(file: Path, looks: Mapping[Path, Look], options: Options, remark: Callable[[str], None]) -> None:
    """Remark what is odd, and refuse before any work what cannot be located or scored, or shards that are not
    of one array.
    """
    first = None
    for path in source_paths(file, MADE_BY):
        with any_stream(path, looks) as stream:
            for warning in stream.warnings:
                remark(warning)
            _localizer(stream, options)
            stream.truth()
            wavelengths = np.unique(np.asarray(stream.array.wavelengths)).tolist()
            system = (stream.sizes[1:], wavelengths, stream.source_model)
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
    def _localizer(self) -> Localizer:
        with any_stream(self.path, self.looks) as stream:
            return _localizer(stream, self.options)

    def __call__(self, asked: tuple[range, Path | None]) -> LocatedSources:
        """Sources of a chunk; where it has a place, they are kept there."""
        scenes, place = asked
        with any_stream(self.path, self.looks) as stream:
            read = pieces(stream, scenes)
        part = in_order([self._located(piece) for piece in read])
        if place is not None:
            write_sources(place, part)
        return part

    def _located(self, piece: Piece) -> LocatedSources:
        """Sources of scenes of one size; of another one than the file has, what locates them may be none."""
        try:
            localizer = _localizer(piece.stream, self.options) if piece.gaps else self._localizer
        except (MeasurementError, CheckpointError) as error:
            if not piece.gaps:
                raise
            reason = str(error).removeprefix(f"{self.path}: ")
            chunk, estimate = piece.chunk.without(dict.fromkeys(piece.chunk.scenes, reason)), None
        else:
            locate = partial(localize, localizer=localizer, n_sources=self.options.n_sources)
            chunk, estimate = computed(self.path, piece.chunk, locate)
            if chunk.observation is not None:
                within = replace(chunk.observation, stated=localizer.stated)
                chunk = replace(chunk, observation=within)
        reasons = {
            scene: f"snapshots: numbers are not finite, and without {piece.gaps[scene]}: {reason}"
            if scene in piece.gaps
            else reason
            for scene, reason in chunk.left_out.items()
        }
        chunk = replace(chunk, left_out=reasons)
        part = _part(self.options.estimator, self.files, self.number, self.first_scene, chunk, estimate)
        array = self.looks[self.path].array
        return part if array is None else replace(part, values=array.widened(part.values))


def _localizer(stream: Source, options: Options) -> Localizer:
    """As `localizer_for`.

    Raises:
        MeasurementError: what `localizer_for` refuses.
        CheckpointError: as `localizer_for`.
    """
    try:
        return localizer_for(stream, options, str(stream.path))
    except ValueError as error:
        raise MeasurementError(str(error)) from error


def _part(
    estimator: str,
    files: Sequence[Path],
    number: int,
    first_scene: int,
    chunk: Chunk,
    estimate: Estimate | None,
) -> LocatedSources:
    """Sources of the scenes of a chunk; scenes are counted through all shards of a file."""
    names = tuple(shown(str(file)) for file in files)
    scenes = first_scene + torch.tensor(chunk.scenes, dtype=torch.int64)
    if estimate is None or chunk.observation is None:
        found = no_sources(estimator, names)
    else:
        found = located_sources(estimator, names, number, scenes, chunk.observation, estimate)
        found = replace(found, values=_in_unit_of_file(found, first_scene, chunk))
    left_out = tuple((number, first_scene + scene, why) for scene, why in chunk.left_out.items())
    return replace(found, left_out=left_out)


def _in_unit_of_file(found: LocatedSources, first_scene: int, chunk: Chunk) -> Float[np.ndarray, "row value"]:
    """Columns `VALUES` in the unit of the snapshots and the channel that the file has.

    y = 2^e y', H = 2^f H':   |s|^2 = 4^(e - f) |s'|^2,   p(y) = 4^(-e L M) p(y')
    """
    values = found.values
    units = np.array(chunk.units, dtype=np.float64)
    if chunk.observation is not None and units.any():
        n_numbers = chunk.observation.n_snapshots * chunk.observation.n_antennas
        snapshots, channel = units[np.searchsorted(chunk.scenes, found.scene - first_scene)].T
        values[:, VALUES.index("power_db")] += 10.0 * math.log10(4.0) * (snapshots - channel)
        for name in ("log_likelihood", "rival_log_likelihood"):
            values[:, VALUES.index(name)] -= math.log(4.0) * n_numbers * snapshots
    return values


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
