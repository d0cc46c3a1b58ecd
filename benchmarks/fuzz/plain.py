"""Damaged models and texts of params.yaml by the hundred thousand.

python -m benchmarks.fuzz.plain [--inputs N] [--only READER] -> benchmarks/results/fuzz.csv
"""

import argparse
from pathlib import Path

import torch

from benchmarks.fuzz import _models, _parameters
from benchmarks.fuzz._frame import fuzz, lines, write_row

SUBJECTS = {subject.name: subject for subject in (*_models.SUBJECTS, _parameters.SUBJECT)}


def main() -> None:
    """Print and write the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--only", choices=SUBJECTS)
    parser.add_argument("--keep", type=Path, help="write the first input here, and read nothing")
    parser.add_argument("--seconds", type=float, help="end after so much time for each reader")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for name, subject in SUBJECTS.items():
        if arguments.only not in (None, name):
            continue
        if arguments.keep is not None:
            subject.make(arguments.first, arguments.keep)
            continue
        numbers = range(arguments.first, arguments.first + arguments.inputs)
        outcomes = fuzz(subject, numbers, arguments.seconds)
        print("\n".join(lines(subject, outcomes)), flush=True)
        write_row(subject, outcomes)


if __name__ == "__main__":
    main()
