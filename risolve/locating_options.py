"""How sources are located, as options of a command."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from risolve.errors import MeasurementError
from risolve.field import FieldOfView, Interval
from risolve.files.calibrated_array import CalibratedArray
from risolve.files.calibrated_arrays import read_array
from risolve.locating import CLASSICAL, Options, needs_model

MODEL = Path("data/calibration/learned.pt")
"""What `calibrate` writes."""

_COORDINATES = (
    ("azimuth", "DEGREES", "-60 to 60, or all round"),
    ("elevation", "DEGREES", "-30 to 30, or all"),
    ("range", "M", "up to the Fraunhofer distance"),
)
"""What may be stated of a place: name, unit, and what is searched where nothing is."""


def add_locating(command: argparse.ArgumentParser) -> None:
    """The options that say how a command locates sources."""
    command.add_argument(
        "--estimator",
        default=CLASSICAL,
        metavar="NAME",
        help=f"`risolve estimators`, or NAME+ml to refine what it finds; default {CLASSICAL}",
    )
    command.add_argument("--sources", type=int, metavar="K", help="sources of every scene; default: counted")
    add_places(command)
    command.add_argument(
        "--false-alarm",
        type=float,
        default=0.01,
        metavar="P",
        help="probability that counting takes noise for a source; default 0.01",
    )
    command.add_argument(
        "--model",
        type=Path,
        metavar="FILE",
        help=f"network, for an estimator that reads one; default {MODEL}",
    )
    command.add_argument(
        "--array", type=Path, metavar="FILE", help="calibrated array, which `calibrate-array` writes"
    )


def add_places(command: argparse.ArgumentParser) -> None:
    """The options that say what is known of the places of all sources."""
    command.add_argument(
        "--field-of-view",
        type=float,
        nargs=6,
        metavar=("AZ_LOW", "AZ_HIGH", "EL_LOW", "EL_HIGH", "R_LOW", "R_HIGH"),
        help="all six limits at once: degrees and m",
    )
    for name, unit, usual in _COORDINATES:
        command.add_argument(
            f"--{name}",
            type=_limit,
            nargs="+",
            metavar=unit,
            help=f"LOW HIGH, or one number that is known; {usual} searched where nothing is stated",
        )


def array_of(arguments: argparse.Namespace) -> CalibratedArray | None:
    """The calibrated array that the options name.

    Raises:
        MeasurementError: as `read_array`.
    """
    return None if arguments.array is None else read_array(arguments.array)


def options_of(arguments: argparse.Namespace) -> Options:
    """How sources are located.

    Raises:
        MeasurementError: an unknown estimator, a model that it does not read, or places that are none.
    """
    reads_model = _needs_model(arguments.estimator)
    if arguments.model is not None and not reads_model:
        raise MeasurementError(
            f"--model: {arguments.estimator} reads no network; leave --model out, or take an estimator that "
            "reads one (`risolve estimators`)"
        )
    return Options(
        estimator=arguments.estimator,
        n_sources=arguments.sources,
        field_of_view=field_of_view_of(arguments),
        false_alarm=arguments.false_alarm,
        model=arguments.model or MODEL,
    )


def _needs_model(estimator: str) -> bool:
    try:
        return needs_model(estimator)
    except ValueError as error:
        raise MeasurementError(f"--estimator: {error}; `risolve estimators` explains them") from error


def field_of_view_of(arguments: argparse.Namespace) -> FieldOfView:
    """What the options state of the places.

    Raises:
        MeasurementError: a coordinate that is no interval and no number, or is stated twice.
    """
    stated = {name: getattr(arguments, name) for name, _, _ in _COORDINATES}
    limits = arguments.field_of_view
    if limits is not None:
        twice = [f"--{name}" for name, values in stated.items() if values is not None]
        if twice:
            raise MeasurementError(f"--field-of-view states all limits: leave it or {twice[0]} out")
        stated = {name: limits[2 * i : 2 * i + 2] for i, name in enumerate(stated)}
    return FieldOfView(*(_coordinate(f"--{name}", values) for name, values in stated.items()))


def _limit(text: str) -> float:
    """A number of a coordinate.

    Raises:
        ArgumentTypeError: none.
    """
    try:
        return float(text)
    except ValueError:
        law = f"LOW HIGH or one number, got {text!r}; name files before it, or behind --"
        raise argparse.ArgumentTypeError(law) from None


def _coordinate(option: str, values: Sequence[float] | None) -> Interval | float | None:
    if values is None:
        return None
    if len(values) > 2:
        raise MeasurementError(f"{option}: LOW HIGH or one number, got {len(values)} numbers")
    return values[0] if len(values) == 1 else (values[0], values[1])
