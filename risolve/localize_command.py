"""The commands `localize` and `plot`: what they are asked, and what they tell."""

import argparse
import os
import time
from dataclasses import replace
from pathlib import Path

from risolve.drawing import count_scenes, draw_array, draw_sources
from risolve.errors import MeasurementError
from risolve.files import sources as sources_file
from risolve.files.calibrated_arrays import is_array
from risolve.files.measurement_stream import first_looks
from risolve.files.sources import document, json_text, write_sources
from risolve.localize import FOUND_TOLERANCE_DEG, Localization, localization_key, localize_files
from risolve.locating_options import add_locating, array_of, options_of
from risolve.naming_options import add_naming, naming_of
from risolve.pictures.kinds import KINDS as PICTURES
from risolve.pictures.view import MOST_SCENES
from risolve.running.progress import duration
from risolve.running.target import check_target, parts
from risolve.telling_options import (
    Outcome,
    Remark,
    add_arranging,
    add_quiet,
    add_telling,
    arranged,
    check_arranging,
)
from risolve.words.sources import detail_lines, source_lines, summary_line, track_lines
from risolve.words.truth import score_lines

LEFT_OUT = 3
"""Exit status where some scenes were used and others left out."""

PICTURE = "picture: .png, .svg, or .html, which turns"


def add_localize(localize: argparse.ArgumentParser) -> None:
    """The arguments of `localize`."""
    localize.description = "Locate the sources of every scene of measurement files (docs/formats.md)."
    localize.add_argument("files", type=Path, nargs="+", metavar="FILE", help="file, or directory of shards")
    localize.add_argument("--out", type=Path, metavar="FILE", help="result: .csv, .json or .h5")
    localize.add_argument(
        "--json", action="store_true", help="print the result, with all remarks, as one JSON document"
    )
    localize.add_argument("--plot", type=Path, metavar="FILE", help=PICTURE)
    add_arranging(localize)
    add_telling(localize)
    add_locating(localize)
    add_naming(localize)
    localize.set_defaults(command=_localize)


def add_plot(plot: argparse.ArgumentParser) -> None:
    """The arguments of `plot`."""
    plot.description = (
        "Locate the sources of one scene, or of the first few, and draw them beside the spectrum of the "
        "snapshots, along range and in space, with the truth where the file holds one; or a calibrated array."
    )
    plot.add_argument("file", type=Path, metavar="FILE", help="file, directory of shards, or an array")
    most = f"number of a scene, from 0; default: all, {MOST_SCENES} at most, in small"
    plot.add_argument("--scene", type=int, metavar="N", help=most)
    plot.add_argument("--out", type=Path, required=True, metavar="FILE", help=PICTURE)
    add_quiet(plot)
    add_locating(plot)
    add_naming(plot)
    plot.set_defaults(command=_plot)


def _localize(arguments: argparse.Namespace, remark: Remark) -> Outcome:
    began = time.monotonic()
    options = options_of(arguments)
    naming = naming_of(arguments)
    check_arranging(arguments)
    if arguments.json and arguments.out is not None:
        raise MeasurementError(
            f"--json prints what --out writes, got --out {arguments.out} beside it: leave one of them out"
        )
    said = list[str]()

    def note(line: str) -> None:
        said.append(line)
        remark(line)

    looks = first_looks(arguments.files, naming, array_of(arguments))
    workers = len(os.sched_getaffinity(0))
    if arguments.plot is not None:
        check_target(arguments.plot, arguments.files, PICTURES)
    lines = list[str]()
    if arguments.out is None:
        found = _arranged(localize_files(arguments.files, looks, options, note, None, workers), arguments)
        lines += [] if arguments.json else [*source_lines(found.sources), summary_line(found.sources)]
    else:
        check_target(arguments.out, arguments.files, sources_file.KINDS)
        key = localization_key(arguments.files, options, naming, arguments.array)
        with parts(arguments.out, key, "[0-9]*-[0-9]*.h5") as work:
            found = localize_files(arguments.files, looks, options, note, work, workers)
            found = _arranged(found, arguments)
            check_target(arguments.out, arguments.files, sources_file.KINDS)
            write_sources(arguments.out, found.sources)
        lines.append(f"{summary_line(found.sources)}: {arguments.out}")
    for line in track_lines(found.sources):
        note(line)
    if arguments.plot is not None:
        n_scenes = len(found.sources.scenes)
        lines.append(draw_sources(arguments.plot, arguments.files, looks, options, found.sources, n_scenes))
    if found.scores:
        lines += ["", *score_lines(found.scores, FOUND_TOLERANCE_DEG)]
    if arguments.verbose:
        for line in detail_lines(found.sources):
            remark(line)
        remark(f"{workers} processes at most, {duration(time.monotonic() - began)}")
    status = LEFT_OUT if found.sources.left_out else 0
    if arguments.json:
        return json_text(document(found.sources) | {"remarks": said}).splitlines(), status
    return lines, status


def _arranged(found: Localization, arguments: argparse.Namespace) -> Localization:
    return replace(found, sources=arranged(found.sources, arguments))


def _plot(arguments: argparse.Namespace, remark: Remark) -> Outcome:
    options, files = options_of(arguments), [arguments.file]
    looks = first_looks(files, naming_of(arguments), array_of(arguments))
    if arguments.file in looks and is_array(arguments.file, looks[arguments.file]):
        if arguments.scene is not None:
            raise MeasurementError(f"--scene: of measurements; {arguments.file} is an array, which has none")
        return [draw_array(arguments.out, arguments.file)], 0
    check_target(arguments.out, files, PICTURES)
    n_scenes, scene = count_scenes(arguments.file, looks), arguments.scene
    if scene is not None and not 0 <= scene < n_scenes:
        law = f"a number from 0 to {n_scenes - 1}, of the {n_scenes} scenes of {arguments.file}"
        raise MeasurementError(f"--scene: {law}; got {scene}")
    scenes = range(min(n_scenes, MOST_SCENES)) if scene is None else range(scene, scene + 1)
    found = localize_files(files, looks, options, remark, None, 1, scenes).sources
    drawn = draw_sources(arguments.out, files, looks, options, found, n_scenes)
    return [*source_lines(found), drawn], LEFT_OUT if found.left_out else 0
