"""The files of data sets that `simulate` and `normalize` wrote, as what a verb reads."""

from collections.abc import Iterable
from pathlib import Path

from risolve.files.hdf5 import shard_paths
from stages.params.model import Split


def split_files(splits: Iterable[Split]) -> list[Path]:
    """Files of scenes, then of covariances.

    Raises:
        MeasurementError: a split that is not there.
    """
    splits = tuple(splits)
    return [
        path
        for kind, verb in (("scenes", "simulate"), ("covariances", "normalize"))
        for split in splits
        for path in shard_paths(Path("data") / kind / split, f"run `{verb} --split {split}` first")
    ]
