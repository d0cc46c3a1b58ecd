"""Reads files of measurements, with the truth that they hold; returns the array that they show, for `risolve
calibrate-array`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from risolve.calibrating import Asked, calibrated, outlying_lines
from risolve.errors import MeasurementError
from risolve.files.calibrated_array import CalibratedArray
from risolve.files.calibrated_arrays import is_array
from risolve.files.contents import Look
from risolve.files.hdf5 import source_paths
from risolve.files.measurement_stream import MADE_BY, MeasurementStream, measurement_stream
from risolve.physics.observation import Observation
from risolve.placing import COORDINATES
from risolve.running.target import Kinds
from risolve.shown import shown

KINDS: Kinds = {".h5": is_array}


class Calibrated(NamedTuple):
    """The array, whose outlying scenes are (file, scene), and how many scenes were left out."""

    array: CalibratedArray
    n_left_out: int


class _Part(NamedTuple):
    """Scenes of a file with as many sources each: number of the file, theirs in it, what is known of them."""

    file: int
    scenes: tuple[int, ...]
    observation: Observation
    truth: Mapping[str, np.ndarray]


def calibrate_files(
    files: Sequence[Path],
    looks: Mapping[Path, Look],
    asked: Asked,
    known: Sequence[str],
    remark: Callable[[str], None],
) -> Calibrated:
    """The array that all scenes of some files show; all of them are in memory.

    looks: what `first_looks` said of the files. known: coordinates of the truth that are used; none, and no
    truth is read.

    Raises:
        MeasurementError: what cannot be read, no truth where some is used, arrays that differ, or what
            `calibrate` refuses.
    """
    if wrong := [name for name in known if name not in COORDINATES]:
        raise MeasurementError(f"--known: some of {', '.join(COORDINATES)}, or none; got {wrong[0]}")
    parts, n_left_out = list[_Part](), 0
    for number, file in enumerate(files):
        first_scene = 0
        for path in source_paths(file, MADE_BY):
            with measurement_stream(path, looks) as stream:
                for warning in stream.warnings:
                    remark(warning)
                for scenes in stream.chunk_scenes():
                    chunk = stream.read(scenes)
                    for scene, reason in chunk.left_out.items():
                        remark(f"{file}: scene {first_scene + scene} is left out: {reason}")
                    n_left_out += len(chunk.left_out)
                    if chunk.observation is not None:
                        own = _parts(stream, known, chunk.scenes, chunk.observation)
                        parts += [
                            part._replace(file=number, scenes=tuple(first_scene + s for s in part.scenes))
                            for part in own
                        ]
                first_scene += stream.sizes.scenes
    if not parts:
        raise MeasurementError(f"{files[0]}: no scene with a source that an array can be calibrated with")
    try:
        found, doubts = calibrated([p.observation for p in parts], [p.truth for p in parts], asked)
    except ValueError as error:
        raise MeasurementError(f"{', '.join(map(str, files))}: {error}") from error
    outlying = tuple((parts[n].file, parts[n].scenes[scene]) for n, scene in found.outlying)
    for line in (*outlying_lines(outlying, [shown(str(file)) for file in files]), *doubts):
        remark(line)
    left_out, held_out = (_of_files(table, parts) for table in (found.left_out, found.held_out))
    return Calibrated(replace(found, outlying=outlying, left_out=left_out, held_out=held_out), n_left_out)


def _of_files(table: pd.DataFrame | None, parts: Sequence[_Part]) -> pd.DataFrame | None:
    """With files and their scenes in place of parts and theirs."""
    if table is None:
        return None
    rows = list(zip(table.observation, table.scene, strict=True))
    scenes = [parts[n].scenes[scene] for n, scene in rows]
    return table.assign(observation=[parts[n].file for n, _ in rows], scene=scenes)


def _parts(
    stream: MeasurementStream, known: Sequence[str], scenes: Sequence[int], observation: Observation
) -> list[_Part]:
    """Scenes by their number of sources, where a truth is used; those without a source show nothing."""
    if not known:
        return [_Part(0, tuple(scenes), observation, {})]
    truth = stream.truth()
    if truth is None:
        law = f"the places of the sources ({', '.join(known)}), got a file without; `--known none` takes none"
        raise MeasurementError(f"{stream.path}: truth: {law}")
    numbers, parts = np.array(scenes), list[_Part]()
    counts = truth.n_sources[numbers]
    for count in sorted(set(counts.tolist()) - {0}):
        rows = np.flatnonzero(counts == count)
        azimuth, elevation, inverse_range = np.moveaxis(truth.sources[numbers[rows]][:, :count], -1, 0)
        with np.errstate(divide="ignore"):
            places = (np.rad2deg(azimuth), np.rad2deg(elevation), 1.0 / inverse_range)
        own = {name: values for name, values in zip(COORDINATES, places, strict=True) if name in known}
        chosen = observation.select(torch.from_numpy(rows))
        parts.append(_Part(0, tuple(numbers[rows].tolist()), chosen, own))
    return parts
