"""Files of evidence, "risolve-evidence" version 1: what speaks for each number of sources of some scenes.

attributes          format, version
log_probabilities   float32 [scene, count]    log P_net(K), K = 0, 1, ...
cost                float64 [scene, count]    V_K of the likelihood; infinite for a count not determined
estimated_snr       float32 [scene]           a power ratio
shared              bool [scene]              amplitudes shared by all snapshots (`constant` sources)
n_sources           int32 [scene]             the truth
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from stages.artifacts import hdf5
from stages.networks.counting import Evidence

FORMAT = "risolve-evidence"
VERSION = 1


class KnownCounts(NamedTuple):
    """Evidence, and the true number of sources of every scene."""

    evidence: Evidence
    n_sources: Int[Tensor, " scene"]


def write_evidence(path: Path, known: KnownCounts) -> None:
    """Write one file."""
    evidence = known.evidence
    datasets = {
        "log_probabilities": evidence.log_probabilities.numpy(),
        "cost": evidence.cost.numpy(),
        "estimated_snr": evidence.estimated_snr.numpy(),
        "shared": evidence.shared.numpy(),
        "n_sources": known.n_sources.numpy(),
    }
    hdf5.write(path, {"format": FORMAT, "version": VERSION}, datasets)


def read_evidence(paths: list[Path]) -> KnownCounts:
    """The evidence of several files, one after another.

    Raises:
        MeasurementError: a missing, foreign or damaged file.
    """
    parts = []
    for path in paths:
        with hdf5.reading(path, FORMAT, VERSION, "remove it and run `calibrate` again") as reader:
            parts.append(
                (
                    reader.array("log_probabilities", np.float32, "scene count"),
                    reader.array("cost", np.float64, "scene count", finite=False),
                    reader.array("estimated_snr", np.float32, "scene"),
                    reader.array("shared", np.bool_, "scene"),
                    reader.array("n_sources", np.int32, "scene"),
                )
            )
    *evidence, n_sources = (torch.from_numpy(np.concatenate(values)) for values in zip(*parts, strict=True))
    return KnownCounts(Evidence(*evidence), n_sources)
