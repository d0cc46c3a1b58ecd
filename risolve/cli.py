"""The command line: demo | localize | plot | convert | finetune | calibrate-array | inspect | estimators,
and of a clone trials | adopt | set.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import NoReturn

from risolve import calibrate_array as calibrate_setup
from risolve import convert as convert_setup
from risolve import tune as tuning_setup
from risolve.calibrating import Asked
from risolve.calibration.unknowns import NAMES as UNKNOWN
from risolve.demo import demonstrate
from risolve.errors import StateError
from risolve.files.calibrated_arrays import write_array
from risolve.files.measurement_stream import first_looks
from risolve.files.model import Tuning, write_model
from risolve.finetune import finetune_files
from risolve.localize_command import LEFT_OUT, PICTURE, add_localize, add_plot
from risolve.locating_options import MODEL, add_places, field_of_view_of
from risolve.naming_options import add_naming, naming_of
from risolve.networks.health import TrainingDiverged
from risolve.pictures.kinds import KINDS as PICTURES
from risolve.running.entry import Parser, run
from risolve.running.target import check_target, parts
from risolve.running.terminal import print_lines, tell
from risolve.telling_options import Outcome, Remark, add_quiet, hushed, printed
from risolve.tune import TuningOptions, checked, tuning_key
from risolve.words.inspection import inspect_lines
from risolve.words.sources import estimator_lines
from risolve.words.tried import tried_lines

FAULTY = 2
"""Exit status of an error, and of a file that `inspect` finds fault with."""

OF_CLONE = {
    "trials": "list the complete trials of the search, best first",
    "adopt": "write the best trial of the search into params.yaml",
    "set": "write values into params.yaml, and nothing else",
}
"""Commands about the pipeline -> what each does."""

DEMO = Path("risolve-demo.html")


def main() -> None:
    """risolve COMMAND ..."""

    def command() -> None:
        if sys.argv[1:2] and sys.argv[1] in OF_CLONE:
            _go_on_in_clone(sys.argv[1:])
        arguments = parser().parse_args()
        with hushed(arguments):
            lines, status = arguments.command(arguments, tell)
        print_lines(printed(arguments, lines))
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
    add_localize(commands.add_parser("localize", help="locate the sources of measurement files"))
    add_plot(commands.add_parser("plot", help="draw scenes of measurements and their sources, or an array"))
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
    demo.add_argument("--out", type=Path, default=DEMO, metavar="FILE", help=f"{PICTURE}; default {DEMO}")
    demo.set_defaults(command=_demo)


def _add_convert(convert: argparse.ArgumentParser) -> None:
    convert.description = "Write a file of another program as measurements (docs/files.md)."
    convert.add_argument(
        "files", type=Path, nargs="+", metavar="IN", help="a file, or recordings made together, in order"
    )
    convert.add_argument(
        "out", type=Path, metavar="OUT", help=f"a new file: {', '.join(convert_setup.KINDS)}"
    )
    add_naming(convert)
    add_quiet(convert)
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
    add_quiet(finetune)
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
    add_quiet(calibrate)
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
