"""The command line: risolve localize | inspect | trials | adopt | estimators."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TypeAlias

from stages.adopt import TRIALS, adopt
from stages.artifacts.entry import run
from stages.artifacts.inspection import inspect_lines
from stages.artifacts.localization_setup import CLASSICAL, FieldOfView, Options, localization_key
from stages.artifacts.search_tables import trial_lines
from stages.artifacts.sources_file import check_target, parts_directory, write_sources
from stages.artifacts.sources_text import estimator_lines, source_lines, summary_line
from stages.artifacts.state import discard, held
from stages.artifacts.truth_table import score_lines
from stages.localize import FOUND_TOLERANCE_DEG, localize_files

FAULTY = 2
"""Exit status of an error, and of a file that `inspect` finds fault with."""

LEFT_OUT = 3
"""Exit status where some scenes were located and others left out."""

Outcome: TypeAlias = tuple[list[str], int]
"""Lines for standard output, and the exit status."""

Remark: TypeAlias = Callable[[str], None]
"""Takes a line for standard error."""


def main() -> None:
    """risolve localize | inspect | trials | adopt | estimators"""
    arguments = parser().parse_args()

    def remark(line: str) -> None:
        print(line, file=sys.stderr)

    def command() -> None:
        lines, status = arguments.command(arguments, remark)
        try:
            print("\n".join(lines), flush=True)
        except BrokenPipeError:
            # whoever read has enough; the interpreter would complain again when it ends
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(status)

    out = arguments.out
    kept = (
        "nothing was written"
        if out is None
        else f"run again to resume; {parts_directory(out)} holds the rest"
    )
    run(command, stopped=f"stopped; {kept}")


def parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    top = argparse.ArgumentParser(
        prog="risolve",
        description="Locate near-field radio sources through a reconfigurable surface.",
        epilog=f"Exit status: 0; {FAULTY} an error; {LEFT_OUT} some scenes left out, the others located.",
    )
    top.add_argument("--version", action="version", version=f"risolve {version('risolve')}")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_localize(commands.add_parser("localize", help="locate the sources of measurement files"))
    inspect = commands.add_parser("inspect", help="explain a file")
    held = "measurements, covariances, bounds, estimates, sources or a model"
    inspect.add_argument("file", type=Path, help=held)
    inspect.set_defaults(command=_inspect, out=None)
    trials = commands.add_parser("trials", help="list the complete trials of the search, best first")
    trials.add_argument("--top", type=int, metavar="K", help="so many of them; default all")
    trials.set_defaults(command=_trials, out=None)
    adopt = commands.add_parser("adopt", help="write the best trial of the search into params.yaml")
    adopt.add_argument("--trial", type=int, metavar="N", help="another trial than the best one")
    adopt.set_defaults(command=_adopt, out=None)
    estimators = commands.add_parser("estimators", help="list the estimators")
    estimators.set_defaults(command=_estimators, out=None)
    return top


def _add_localize(localize: argparse.ArgumentParser) -> None:
    localize.description = "Locate the sources of every scene of measurement files (docs/formats.md)."
    localize.add_argument("files", type=Path, nargs="+", metavar="FILE", help="file, or directory of shards")
    localize.add_argument(
        "--estimator",
        default=CLASSICAL,
        metavar="NAME",
        help=f"`risolve estimators`, or NAME+ml to refine what it finds; default {CLASSICAL}",
    )
    localize.add_argument("--sources", type=int, metavar="K", help="sources of every scene; default: counted")
    localize.add_argument(
        "--field-of-view",
        type=float,
        nargs=6,
        metavar=("AZ_LOW", "AZ_HIGH", "EL_LOW", "EL_HIGH", "R_LOW", "R_HIGH"),
        help="degrees and m; default -60 60 -30 30, and ranges up to the Fraunhofer distance of the array",
    )
    localize.add_argument(
        "--false-alarm",
        type=float,
        default=0.01,
        metavar="P",
        help="probability that counting takes noise for a source; default 0.01",
    )
    localize.add_argument("--out", type=Path, metavar="FILE", help="result: .csv, .json or .h5")
    localize.add_argument(
        "--model",
        type=Path,
        default=Path("data/calibration/learned.pt"),
        metavar="FILE",
        help="network of a learned estimator; default data/calibration/learned.pt",
    )
    localize.set_defaults(command=_localize)


def _localize(arguments: argparse.Namespace, remark: Remark) -> Outcome:
    options = Options(
        estimator=arguments.estimator,
        n_sources=arguments.sources,
        field_of_view=_field_of_view(arguments.field_of_view),
        false_alarm=arguments.false_alarm,
        model=arguments.model,
    )
    if arguments.out is None:
        found = localize_files(arguments.files, options, remark, None)
        lines = [*source_lines(found.sources), summary_line(found.sources)]
    else:
        check_target(arguments.out, arguments.files)
        kept = parts_directory(arguments.out)
        with held(kept / localization_key(arguments.files, options)) as work:
            found = localize_files(arguments.files, options, remark, work)
            write_sources(arguments.out, found.sources)
        discard(kept)
        lines = [f"{summary_line(found.sources)}: {arguments.out}"]
    if found.scores:
        lines += ["", *score_lines(found.scores, FOUND_TOLERANCE_DEG)]
    return lines, LEFT_OUT if found.sources.left_out else 0


def _field_of_view(limits: Sequence[float] | None) -> FieldOfView | None:
    if limits is None:
        return None
    return FieldOfView((limits[0], limits[1]), (limits[2], limits[3]), (limits[4], limits[5]))


def _inspect(arguments: argparse.Namespace, remark: Remark) -> Outcome:
    lines, fault = inspect_lines(arguments.file)
    if fault is None:
        return lines, 0
    remark(f"error: {fault}")
    return lines, FAULTY


def _trials(arguments: argparse.Namespace, remark: Remark) -> Outcome:
    return trial_lines(TRIALS, arguments.top), 0


def _adopt(arguments: argparse.Namespace, remark: Remark) -> Outcome:
    number, difference = adopt(arguments.trial)
    if not difference:
        return [f"params.yaml holds the hyperparameters of trial {number} already"], 0
    return [
        *difference.splitlines(),
        f"trial {number} adopted: `dvc repro report` brings the results up to date",
    ], 0


def _estimators(arguments: argparse.Namespace, remark: Remark) -> Outcome:
    return estimator_lines(), 0


if __name__ == "__main__":
    main()
