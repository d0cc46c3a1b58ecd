"""Files of estimates, "risolve-estimates" version 1: what several methods found in one batch of scenes.

attributes          format, version, methods (names, separated by blanks)
METHOD/sources      float64 [scene, source, 3]     azimuth (rad), elevation (rad), inverse range (1/m)
METHOD/resolved     bool [scene]
METHOD/cpu_s        float64 [1]                    CPU time of the batch

Slots without an estimate are NaN.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from stages.artifacts import hdf5

FORMAT = "risolve-estimates"
VERSION = 1


@dataclass(frozen=True)
class BatchEstimates:
    """Estimates of one method on a batch of scenes, and the CPU time (s) that they took."""

    sources: Float[np.ndarray, "scene source 3"]
    resolved: Bool[np.ndarray, " scene"]
    cpu_seconds: float


def write_estimates(path: Path, methods: Mapping[str, BatchEstimates]) -> None:
    """Write one file."""
    arrays: dict[str, np.ndarray] = {}
    for method, estimates in methods.items():
        arrays[f"{method}/sources"] = estimates.sources
        arrays[f"{method}/resolved"] = estimates.resolved
        arrays[f"{method}/cpu_s"] = np.array([estimates.cpu_seconds])
    hdf5.write(path, {"format": FORMAT, "version": VERSION, "methods": " ".join(methods)}, arrays)


def read_estimates(path: Path) -> dict[str, BatchEstimates]:
    """Method -> estimates.

    Raises:
        MeasurementError: a missing, foreign or damaged file.
    """
    with hdf5.reading(path, FORMAT, VERSION, "remove it and run `evaluate` again") as reader:
        return {
            method: BatchEstimates(
                reader.array(f"{method}/sources", np.float64, "scene source 3", finite=False),
                reader.array(f"{method}/resolved", np.bool_, "scene"),
                float(reader.array(f"{method}/cpu_s", np.float64, "1")[0]),
            )
            for method in str(reader.attribute("methods")).split()
        }
