"""What a command tells, and how it arranges what was located, as options."""

import argparse
import contextlib
import io
from collections.abc import Callable, Iterator
from typing import TypeAlias

from risolve.errors import MeasurementError
from risolve.files.located_sources import GAP, GATE, ORDERS, TRACK, LocatedSources
from risolve.inference.tracking import require_tracking

Outcome: TypeAlias = tuple[list[str], int]
"""Lines for standard output, and the exit status."""

Remark: TypeAlias = Callable[[str], None]
"""Takes a line for standard error."""

_QUIET = "say nothing but errors, and print nothing of what --out writes"


def add_quiet(command: argparse.ArgumentParser) -> None:
    """The option of a command that writes a file to say nothing but errors."""
    command.add_argument("--quiet", action="store_true", help=_QUIET)


def add_telling(command: argparse.ArgumentParser) -> None:
    """The options that say how much is told."""
    either = command.add_mutually_exclusive_group()
    either.add_argument("--quiet", action="store_true", help=_QUIET)
    either.add_argument(
        "-v", "--verbose", action="store_true", help="say more: counts, fit, processes and time"
    )


def add_arranging(command: argparse.ArgumentParser) -> None:
    """The options that say in what order sources stand, and whether they are tracked."""
    command.add_argument(
        "--sort", choices=ORDERS, help="order of the sources of a scene; default: as they were found"
    )
    command.add_argument(
        "--track", action="store_true", help="say which sources of the scenes of a file are one that moves"
    )
    command.add_argument(
        "--track-gap",
        type=int,
        metavar="N",
        help=f"scenes in a row without its source that a track survives; default {GAP}",
    )
    command.add_argument(
        "--track-gate",
        type=float,
        metavar="P",
        help=f"probability that a track loses a source that is its own; default {GATE}",
    )


def check_arranging(arguments: argparse.Namespace) -> None:
    """Refuse, before any work, what cannot be arranged.

    Raises:
        MeasurementError: numbers that are none of tracks, or without --track, or an order by tracks without.
    """
    stated = {"--track-gap": arguments.track_gap, "--track-gate": arguments.track_gate}
    asked = [f"{name} {value}" for name, value in stated.items() if value is not None]
    asked += [f"--sort {TRACK}"] if arguments.sort == TRACK else []
    if asked and not arguments.track:
        raise MeasurementError(f"{asked[0]}: of what is tracked; give --track too, or leave it out")
    try:
        require_tracking(*_tracking(arguments))
    except ValueError as error:
        raise MeasurementError(f"--track-{error}") from error


def arranged(sources: LocatedSources, arguments: argparse.Namespace) -> LocatedSources:
    """Sources tracked and ordered as the options say."""
    if arguments.track:
        sources = sources.tracked(*_tracking(arguments))
    return sources if arguments.sort is None else sources.ordered(arguments.sort)


def _tracking(arguments: argparse.Namespace) -> tuple[int, float]:
    gap, gate = arguments.track_gap, arguments.track_gate
    return GAP if gap is None else gap, GATE if gate is None else gate


@contextlib.contextmanager
def hushed(arguments: argparse.Namespace) -> Iterator[None]:
    """Standard error takes nothing where a command is to be quiet; the error that ends it is told later."""
    with contextlib.redirect_stderr(io.StringIO()) if _is_quiet(arguments) else contextlib.nullcontext():
        yield


def printed(arguments: argparse.Namespace, lines: list[str]) -> list[str]:
    """Lines of a command for standard output; none about a file where it is to be quiet."""
    return [] if _is_quiet(arguments) and arguments.out is not None else lines


def _is_quiet(arguments: argparse.Namespace) -> bool:
    return "quiet" in arguments and bool(arguments.quiet)
