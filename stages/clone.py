"""The commands of a clone, about its search and its params.yaml: risolve trials | adopt | set."""

import argparse

from risolve.running.entry import Parser, run
from risolve.running.terminal import print_lines
from stages.adopt import TRIALS, adopt
from stages.params.change import set_values
from stages.params.file import PARAMS
from stages.trials.tables import trial_lines


def main() -> None:
    """python -m stages.clone trials | adopt | set"""

    def command() -> None:
        arguments = parser().parse_args()
        print_lines(arguments.command(arguments))

    run(command, stopped="nothing was written")


def parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    top = Parser(prog="risolve")
    commands = top.add_subparsers(metavar="COMMAND", required=True)
    trials = commands.add_parser("trials", description="List the complete trials of the search, best first.")
    trials.add_argument("--top", type=int, metavar="K", help="so many of them; default all")
    trials.set_defaults(command=_trials)
    adoption = commands.add_parser("adopt", description="Write the best trial into params.yaml.")
    adoption.add_argument("--trial", type=int, metavar="N", help="another trial than the best one")
    adoption.set_defaults(command=_adopt)
    change = commands.add_parser("set", description="Write values into params.yaml, and nothing else.")
    change.add_argument("changes", nargs="+", metavar="KEY=VALUE", help="as train.epochs=4")
    change.set_defaults(command=_set)
    return top


def _trials(arguments: argparse.Namespace) -> list[str]:
    return trial_lines(TRIALS, arguments.top)


def _adopt(arguments: argparse.Namespace) -> list[str]:
    number, difference = adopt(arguments.trial)
    if not difference:
        return [f"params.yaml holds the hyperparameters of trial {number} already"]
    return [
        *difference.splitlines(),
        f"trial {number} adopted: `dvc repro report` brings the results up to date",
    ]


def _set(arguments: argparse.Namespace) -> list[str]:
    difference = set_values(PARAMS, "\n".join(arguments.changes))
    return difference.splitlines() or ["params.yaml holds these values already"]


if __name__ == "__main__":
    main()
