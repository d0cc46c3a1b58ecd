"""What the readers make of damaged and of odd files, by the hundred thousand.

`python -m benchmarks.fuzz [--inputs N] [--only READER]` reads N inputs with every reader and puts the counts
into benchmarks/results/fuzz.csv; `--first N --only READER --keep FILE` writes input N to look at it.
"""

import argparse
from pathlib import Path

import torch

from benchmarks.fuzz import _hdf5, _models, _parameters
from benchmarks.fuzz._frame import fuzz, lines, write_row


def main() -> None:
    """Print and write the counts."""
    subjects = {
        subject.name: subject for subject in (*_hdf5.subjects(), *_models.SUBJECTS, _parameters.SUBJECT)
    }
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--only", choices=subjects)
    parser.add_argument("--keep", type=Path, help="write the first input here, and read nothing")
    parser.add_argument("--seconds", type=float, help="end after so much time for each reader")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for subject in [subjects[arguments.only]] if arguments.only else subjects.values():
        if arguments.keep is not None:
            subject.make(arguments.first, arguments.keep)
            continue
        numbers = range(arguments.first, arguments.first + arguments.inputs)
        outcomes = fuzz(subject, numbers, arguments.seconds)
        print("\n".join(lines(subject, outcomes)), flush=True)
        for text, count in outcomes.refused.most_common(12):
            print(f"    refused {count}: {text}")
        write_row(subject, outcomes)


if __name__ == "__main__":
    main()
