"""The command line: demo | localize | plot | convert | finetune | calibrate-array | inspect | estimators,
and of a clone trials | adopt | set.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import NoReturn, TypeAlias

from risolve import calibrate_array as calibrate_setup
from risolve import convert as convert_setup
from risolve import tune as tuning_setup
from risolve.calibrating import Asked
from risolve.calibration.unknowns import NAMES as UNKNOWN
from risolve.demo import demonstrate
from risolve.drawing import count_scenes, draw_array, draw_sources
from risolve.errors import MeasurementError, StateError
from risolve.files import sources as sources_file
from risolve.files.calibrated_arrays import is_array, write_array
from risolve.files.measurement_stream import first_looks
from risolve.files.model import Tuning, write_model
from risolve.files.sources import write_sources
from risolve.finetune import finetune_files
from risolve.localize import FOUND_TOLERANCE_DEG, localization_key, localize_files
from risolve.locating_options import MODEL, add_locating, add_places, array_of, field_of_view_of, options_of
from risolve.naming_options import add_naming, naming_of
from risolve.networks.health import TrainingDiverged
from risolve.pictures.kinds import KINDS as PICTURES
from risolve.pictures.view import MOST_SCENES
from risolve.running.entry import Parser, run
from risolve.running.target import check_target, parts
from risolve.running.terminal import print_lines, tell
from risolve.tune import TuningOptions, checked, tuning_key
from risolve.words.inspection import inspect_lines
from risolve.words.sources import estimator_lines, source_lines, summary_line
from risolve.words.tried import tried_lines
from risolve.words.truth import score_lines

FAULTY = 2
"""Exit status of an error, and of a file that `inspect` finds fault with."""

LEFT_OUT = 3
"""Exit status where some scenes were used and others left out."""

OF_CLONE = {
    "trials": "list the complete trials of the search, best first",
    "adopt": "write the best trial of the search into params.yaml",
    "set": "write values into params.yaml, and nothing else",
}
"""Commands about the pipeline -> what each does."""

_PICTURE = "picture: .png, .svg, or .html, which turns"

DEMO = Path("risolve-demo.html")

Outcome: TypeAlias = tuple[list[str], int]
"""Lines for standard output, and the exit status."""

Remark: TypeAlias = Callable[[str], None]
"""Takes a line for standard error."""


def main() -> None:
    """risolve COMMAND ..."""

    def command() -> None:
        if sys.argv[1:2] and sys.argv[1] in OF_CLONE:
            _go_on_in_clone(sys.argv[1:])
        arguments = parser().parse_args()
        lines, status = arguments.command(arguments, tell)
        print_lines(lines)
        sys.exit(status)

    run(command, TrainingDiverged, stopped="nothing was written")


def parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    top = Parser(
        prog="risolve",
        description="Locate near-field radio sources through a reconfigurable surface.",
        epilog=f"Exit status: 0; {FAULTY} an error; {LEFT_OUT} some scenes left out, the others used.",
    )
    top.add_argument("--version", action="version", version=f"risolve {version('risolve')}")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_demo(commands.add_parser("demo", help="locate the example that the package brings"))
    _add_localize(commands.add_parser("localize", help="locate the sources of measurement files"))
    _add_plot(commands.add_parser("plot", help="draw scenes of measurements and their sources, or an array"))
    _add_convert(commands.add_parser("convert", help="write files of other programs as measurements"))
    _add_finetune(
        commands.add_parser("finetune", help="tune a trained network on measurements without truth")
    )
    _add_calibrate_array(
        commands.add_parser("calibrate-array", help="find what an array is from its measurements")
    )
    inspect = commands.add_parser("inspect", help="explain a file")
    held = "measurements, covariances, bounds, estimates, sources, an array or a model"
    inspect.add_argument("file", type=Path, help=held)
    add_naming(inspect)
    inspect.set_defaults(command=_inspect)
    for name, what in OF_CLONE.items():
        commands.add_parser(name, help=f"{what} (in a clone)")
    estimators = commands.add_parser("estimators", help="list the estimators")
    estimators.set_defaults(command=_estimators)
    return top


def _add_demo(demo: argparse.ArgumentParser) -> None:
    demo.description = "Locate the example that the package brings, and draw it."
    demo.add_argument("--out", type=Path, default=DEMO, metavar="FILE", help=f"{_PICTURE}; default {DEMO}")
    demo.set_defaults(command=_demo)


def _add_localize(localize: argparse.ArgumentParser) -> None:
    localize.description = "Locate the sources of every scene of measurement files (docs/formats.md)."
    localize.add_argument("files", type=Path, nargs="+", metavar="FILE", help="file, or directory of shards")
    localize.add_argument("--out", type=Path, metavar="FILE", help="result: .csv, .json or .h5")
    localize.add_argument("--plot", type=Path, metavar="FILE", help=_PICTURE)
    add_locating(localize)
    add_naming(localize)
    localize.set_defaults(command=_localize)


def _add_plot(plot: argparse.ArgumentParser) -> None:
    plot.description = (
        "Locate the sources of one scene, or of the first few, and draw them beside the spectrum of the "
        "snapshots, along range and in space, with the truth where the file holds one; or a calibrated array."
    )
    plot.add_argument("file", type=Path, metavar="FILE", help="file, directory of shards, or an array")
    most = f"number of a scene, from 0; default: all, {MOST_SCENES} at most, in small"
    plot.add_argument("--scene", type=int, metavar="N", help=most)
    plot.add_argument("--out", type=Path, required=True, metavar="FILE", help=_PICTURE)
    add_locating(plot)
    add_naming(plot)
    plot.set_defaults(command=_plot)


def _add_convert(convert: argparse.ArgumentParser) -> None:
    convert.description = "Write a file of another program as measurements (docs/files.md)."
    convert.add_argument(
        "files", type=Path, nargs="+", metavar="IN", help="a file, or recordings made together, in order"
    )
    convert.add_argument(
        "out", type=Path, metavar="OUT", help=f"a new file: {', '.join(convert_setup.KINDS)}"
    )
    add_naming(convert)
    convert.set_defaults(command=_convert)


def _add_finetune(finetune: argparse.ArgumentParser) -> None:
    finetune.description = (
        "Tune the covariance that a trained network predicts by the likelihood of measurements "
        "(docs/formats.md); no truth is read."
    )
    finetune.add_argument("files", type=Path, nargs="+", metavar="FILE", help="file, or directory of shards")
    finetune.add_argument(
        "--model", type=Path, default=MODEL, metavar="FILE", help=f"network to tune; default {MODEL}"
    )
    finetune.add_argument("--out", type=Path, required=True, metavar="FILE", help="the tuned network: .pt")
    finetune.add_argument(
        "--epochs", type=int, default=4, metavar="E", help="times that each scene is seen; default 4"
    )
    finetune.add_argument(
        "--lr", type=float, default=5e-4, metavar="RATE", help="largest learning rate; default 0.0005"
    )
    finetune.add_argument(
        "--held-back",
        type=float,
        default=0.2,
        metavar="SHARE",
        help="scenes that no step is taken on and that choose the epoch; default 0.2",
    )
    finetune.add_argument(
        "--seed", type=int, default=1, metavar="N", help="of the order of the scenes; default 1"
    )
    finetune.set_defaults(command=_finetune)


def _add_calibrate_array(calibrate: argparse.ArgumentParser) -> None:
    calibrate.description = (
        "Find gains, phases, positions, heading and coupling of an array from measurements with sources at "
        "known places, or blind (docs/localize.md)."
    )
    calibrate.add_argument("files", type=Path, nargs="+", metavar="FILE", help="file, or directory of shards")
    calibrate.add_argument(
        "--unknown",
        type=_names,
        required=True,
        metavar="NAME,...",
        help=", ".join(UNKNOWN),
    )
    calibrate.add_argument(
        "--known",
        type=_names,
        default=("azimuth", "elevation", "range"),
        metavar="NAME,...",
        help="coordinates of the truth that are used; none: blind; default azimuth,elevation,range",
    )
    calibrate.add_argument("--sources", type=int, metavar="K", help="of every scene, where no truth is used")
    add_places(calibrate)
    for name, unit, what in (
        ("gain-deviation", "DB", "standard deviation of the gains from 1, dB"),
        ("phase-deviation", "DEGREES", "the same of their phases"),
        ("position-deviation", "M", "of each coordinate of an element; positions need it"),
    ):
        calibrate.add_argument(f"--{name}", type=float, metavar=unit, help=what)
    folds = "parts of places, or of blind scenes, left out; 0: none; default 10"
    calibrate.add_argument("--folds", type=int, default=10, metavar="N", help=folds)
    calibrate.add_argument("--out", type=Path, required=True, metavar="FILE", help="the array: .h5")
    add_naming(calibrate)
    calibrate.set_defaults(command=_calibrate_array)


def _names(text: str) -> tuple[str, ...]:
    return () if text == "none" else tuple(text.split(","))


def _calibrate_array(arguments: argparse.Namespace, remark: Remark) -> Outcome:
    asked = Asked(
        unknown=arguments.unknown,
        field=field_of_view_of(arguments),
        sources=arguments.sources,
        gain_deviation_db=arguments.gain_deviation,
        phase_deviation_deg=arguments.phase_deviation,
        position_deviation=arguments.position_deviation,
        folds=arguments.folds,
    )
    looks = first_looks(arguments.files, naming_of(arguments))
    check_target(arguments.out, arguments.files, calibrate_setup.KINDS)
    found = calibrate_setup.calibrate_files(arguments.files, looks, asked, arguments.known, remark)
    check_target(arguments.out, arguments.files, calibrate_setup.KINDS)
    write_array(arguments.out, found.array)
    return [*repr(found.array).splitlines(), str(arguments.out)], LEFT_OUT if found.n_left_out else 0


def _demo(arguments: argparse.Namespace, remark: Remark) -> Outcome:
    check_target(arguments.out, [], PICTURES)
    return demonstrate(arguments.out), 0


def _localize(arguments: argparse.Namespace, remark: Remark) -> Outcome:
    options = options_of(arguments)
    naming = naming_of(arguments)
    looks = first_looks(arguments.files, naming, array_of(arguments))
    workers = len(os.sched_getaffinity(0))
    if arguments.plot is not None:
        check_target(arguments.plot, arguments.files, PICTURES)
    if arguments.out is None:
        found = localize_files(arguments.files, looks, options, remark, None, workers)
        lines = [*source_lines(found.sources), summary_line(found.sources)]
    else:
        check_target(arguments.out, arguments.files, sources_file.KINDS)
        key = localization_key(arguments.files, options, naming, arguments.array)
        with parts(arguments.out, key, "[0-9]*-[0-9]*.h5") as work:
            found = localize_files(arguments.files, looks, options, remark, work, workers)
            check_target(arguments.out, arguments.files, sources_file.KINDS)
            write_sources(arguments.out, found.sources)
        lines = [f"{summary_line(found.sources)}: {arguments.out}"]
    if arguments.plot is not None:
        n_scenes = len(found.sources.scenes)
        lines.append(draw_sources(arguments.plot, arguments.files, looks, options, found.sources, n_scenes))
    if found.scores:
        lines += ["", *score_lines(found.scores, FOUND_TOLERANCE_DEG)]
    return lines, LEFT_OUT if found.sources.left_out else 0


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


def _convert(arguments: argparse.Namespace, remark: Remark) -> Outcome:
    check_target(arguments.out, arguments.files, convert_setup.KINDS)
    done = convert_setup.convert_files(arguments.files, arguments.out, naming_of(arguments), remark)
    return [f"{done}: {arguments.out}"], 0


def _finetune(arguments: argparse.Namespace, remark: Remark) -> Outcome:
    options = TuningOptions(
        model=arguments.model,
        epochs=arguments.epochs,
        lr=arguments.lr,
        held_back=arguments.held_back,
        seed=arguments.seed,
    )
    inputs = [*arguments.files, options.model]
    check_target(arguments.out, inputs, tuning_setup.KINDS)
    subject = checked(arguments.files, options)
    with parts(arguments.out, tuning_key(arguments.files, options), "state.pt") as work:
        tuned = finetune_files(arguments.files, options, subject, remark, work)
        check_target(arguments.out, inputs, tuning_setup.KINDS)
        write_model(arguments.out, tuned.model)
    return [f"{_outcome(tuned.model.tunings[-1])}: {arguments.out}"], LEFT_OUT if tuned.n_left_out else 0


def _outcome(tuning: Tuning) -> str:
    scenes = f"{tuning.n_scenes} scenes, {tuning.n_held_back} of them held back"
    if tuning.best_epoch == 0:
        return (
            f"{scenes}: no epoch lowers the likelihood loss of {tuning.loss_before:.5f}; the covariance "
            "stays as it is"
        )
    change = f"likelihood loss {tuning.loss_before:.5f}, then {tuning.loss_after:.5f}"
    return f"{scenes}: {change} in epoch {tuning.best_epoch} of {tuning.epochs}"


def _inspect(arguments: argparse.Namespace, remark: Remark) -> Outcome:
    lines, fault = inspect_lines(arguments.file, naming_of(arguments), tried_lines)
    if fault is None:
        return lines, 0
    remark(f"error: {fault}")
    return lines, FAULTY


def _go_on_in_clone(words: Sequence[str]) -> NoReturn:
    """Become the command of the clone in the current folder, which this package knows nothing of.

    Raises:
        StateError: the current folder is no clone.
    """
    if not Path("dvc.yaml").is_file() or not Path("stages/clone.py").is_file():
        law = f"a command of a clone of risolve, and {Path.cwd()} is none; go to one"
        raise StateError(f"risolve {words[0]}: {law}")
    os.execv(sys.executable, [sys.executable, "-P", "-m", "stages.clone", *words])


def _estimators(arguments: argparse.Namespace, remark: Remark) -> Outcome:
    return estimator_lines(), 0


if __name__ == "__main__":
    main()
