"""Pictures of scenes of files, from what was located in them: for `risolve plot` and `localize --plot`."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from risolve.files.banded_stream import any_stream
from risolve.files.calibrated_arrays import read_array
from risolve.files.contents import Look
from risolve.files.gaps import pieces
from risolve.files.hdf5 import source_paths
from risolve.files.located_sources import LocatedSources
from risolve.files.measurement_stream import MADE_BY
from risolve.localize import FOUND_TOLERANCE_DEG
from risolve.locating import Options, localizer_for
from risolve.pictures.kinds import FLAT, KINDS
from risolve.pictures.view import MOST_SCENES, Shot, View, beside_truth, view_of
from risolve.running.target import check_target
from risolve.shown import shown


def draw_sources(
    out: Path,
    files: Sequence[Path],
    looks: Mapping[Path, Look],
    options: Options,
    sources: LocatedSources,
    n_scenes: int,
) -> str:
    """Draw the first scenes of a result, of `n_scenes` in all; how many they are, and where.

    Raises:
        MeasurementError: a file that something else has taken the place of, or an ending of no picture.
        ChangedFileError: measurements that were changed after the first look.
        StateError: the picture cannot be written.
    """
    # matplotlib takes a second to load, and most commands draw nothing
    from risolve.pictures.written import write_picture

    views = _views(files, looks, options, sources)
    check_target(out, files, KINDS)
    write_picture(out, views, n_scenes)
    return f"{len(views)} of {n_scenes} scenes drawn: {out}"


def draw_array(out: Path, file: Path) -> str:
    """Draw a calibrated array; where.

    Raises:
        MeasurementError: a file that breaks the format, or an ending of no picture.
        StateError: the picture cannot be written.
    """
    from risolve.pictures.array import plot_array
    from risolve.pictures.written import write_figure

    check_target(out, [file], FLAT)
    write_figure(out, plot_array(read_array(file)))
    return f"{file} drawn: {out}"


def count_scenes(file: Path, looks: Mapping[Path, Look]) -> int:
    """Scenes of a file, or of all shards of a directory.

    Raises:
        MeasurementError: a file that cannot be read.
    """
    total = 0
    for path in source_paths(file, MADE_BY):
        with any_stream(path, looks) as stream:
            total += stream.sizes.scenes
    return total


def _views(
    files: Sequence[Path], looks: Mapping[Path, Look], options: Options, sources: LocatedSources
) -> list[View]:
    """The first scenes of a result as they are drawn, beside the truth where a file holds one.

    Raises:
        ChangedFileError: a file that was changed after the first look.
    """
    rows = dict(zip(map(tuple, sources.scenes[:MOST_SCENES, :2].tolist()), sources.of_scenes(), strict=False))
    drawn = []
    for number, file in enumerate(files):
        first_scene = 0
        for path in source_paths(file, MADE_BY):
            with any_stream(path, looks) as stream:
                localizer, truth = localizer_for(stream, options, str(path)), stream.truth()
                for row in range(stream.sizes.scenes):
                    if (number, first_scene + row) not in rows:
                        continue
                    of_row = pieces(stream, range(row, row + 1))
                    [(piece, read)] = [
                        (one, seen) for one in of_row if (seen := one.chunk.observation) is not None
                    ]
                    used = localizer_for(piece.stream, options, str(path)) if piece.gaps else localizer
                    within = replace(read, array=used.array, stated=used.stated)
                    scene, own = rows[number, first_scene + row]
                    shot = Shot(shown(file.name), scene, options.estimator)
                    view = view_of(shot, within, 0, used.searched, own)
                    if truth is not None:
                        true = truth.sources[row, : truth.n_sources[row]]
                        view = beside_truth(view, true, math.radians(FOUND_TOLERANCE_DEG))
                    drawn.append(view)
                first_scene += stream.sizes.scenes
    return drawn
