"""kill -9 in the middle of a stage: the next run gives the same result and repeats one epoch or batch."""

import re
from pathlib import Path
from typing import Any

import h5py
import pandas as pd
import pytest
import torch

from tests.pipeline.working_copy import WorkingCopy

pytestmark = pytest.mark.slow

# An epoch of 36 batches takes about a second: long enough to be hit in the middle.
LONG_TRAINING: dict[str, Any] = {
    "train.batch_size": 1,
    "train.epochs": 3,
    "network.channels": 64,
    "network.blocks": 8,
}
MANY_BATCHES: dict[str, Any] = {"evaluate.batch_size": 1, "estimators.refine_iterations": 41}


def uninterrupted(
    finished: WorkingCopy, folder: Path, stages: list[str], changes: dict[str, Any]
) -> WorkingCopy:
    """A working copy in which the stages have run with the changes, without an interruption."""
    working_copy = finished.copy(folder)
    working_copy.write_params(changes)
    assert working_copy.reproduce(stages[-1]) == stages
    return working_copy


def test_training_goes_on_after_the_last_epoch(
    finished: WorkingCopy, own: WorkingCopy, tmp_path: Path
) -> None:
    stages = ["check", "train"]
    whole = uninterrupted(finished, tmp_path / "whole", stages, LONG_TRAINING).contents("data/models")
    own.write_params(LONG_TRAINING)
    work = own.root / "state/train"
    own.kill_when("train", lambda: any(work.glob("*/state.pt")))
    (state,) = work.glob("*/state.pt")
    assert torch.load(state, weights_only=True)["content"]["epoch"] == 1
    assert not (own.root / "data/models/covariance.pt").exists()
    assert "train: 36 of 108 batches found" in own.succeed("dvc", "repro", "train").stderr
    assert own.contents("data/models") == whole
    assert {"data/models/history.csv", "data/models/covariance.pt"} <= whole.keys()
    assert not state.parent.exists()


def test_evaluation_goes_on_after_the_last_batch(
    finished: WorkingCopy, own: WorkingCopy, tmp_path: Path
) -> None:
    stages = ["check", "calibrate", "evaluate"]
    whole = uninterrupted(finished, tmp_path / "whole", stages, MANY_BATCHES).contents("data/evaluation")
    own.write_params(MANY_BATCHES)
    work = own.root / "state/evaluate"
    own.kill_when("evaluate", lambda: any(work.glob("*/shard-0005.h5")))
    shards = sorted(work.glob("*/shard-*.h5"))
    # Eighteen batches; those of the first three scenes have no source.
    assert 6 <= len(shards) < 18
    # The time that a finished batch took is marked: were it computed again, the mark would be gone.
    with h5py.File(shards[3], "r+") as file:
        file["known/mvdr/cpu_s"][0] = 1e6
    said = own.succeed("dvc", "repro", "evaluate").stderr
    assert re.search(rf"^evaluate: {len(shards)} of 18 batches found finished$", said, re.MULTILINE)
    assert own.contents("data/evaluation") == whole
    assert {"data/evaluation/strata.csv", "data/evaluation/examples.npz"} <= whole.keys()
    kept = sorted((own.root / "state/times/evaluate").iterdir(), key=lambda path: path.stat().st_mtime_ns)
    times = pd.read_csv(kept[-1])
    timing = times[times["count"] == "known"].set_index("method")["cpu_ms_per_scene"]
    assert timing["mvdr"] > 1e7
    assert timing.drop("mvdr").max() < 1e6
