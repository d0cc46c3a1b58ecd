"""Files of estimates, "risolve-estimates" version 3: what several methods found in one batch of scenes.

attributes                    format, version, methods (COUNT/NAME, separated by blanks)
COUNT/NAME/sources            float64 [scene, source, 3]    azimuth, elevation (rad), inverse range (1/m)
COUNT/NAME/deviations         float64 [scene, source, 3]    standard deviations of the same
COUNT/NAME/log_likelihood     float64 [scene]
COUNT/NAME/count_confidence   float64 [scene]               stated probability that the count is right
COUNT/NAME/resolved           bool [scene]
COUNT/NAME/cpu_s              float64 [1]                   CPU time of the batch

COUNT is `known` or `estimated`. Slots without an estimate are NaN, and so is a confidence that is not
stated.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from risolve.estimators.comparison import Method, Timed
from risolve.files import hdf5
from risolve.files.reader import Reader, reading

FORMAT = "risolve-estimates"
VERSION = 3


@dataclass(frozen=True)
class BatchEstimates:
    """Estimates of one method on a batch of scenes, and the CPU time (s) that they took."""

    sources: Float[np.ndarray, "scene source 3"]
    deviations: Float[np.ndarray, "scene source 3"]
    log_likelihood: Float[np.ndarray, " scene"]
    count_confidence: Float[np.ndarray, " scene"]
    resolved: Bool[np.ndarray, " scene"]
    cpu_seconds: float


def write_estimates(path: Path, methods: Mapping[Method, Timed]) -> None:
    """Write one file; all methods have as many slots as the widest needs."""
    width = max((timed.estimate.sources.shape[1] for timed in methods.values()), default=0)
    arrays: dict[str, np.ndarray] = {}
    for method, (estimate, seconds) in methods.items():
        more = ((0, 0), (0, width - estimate.sources.shape[1]), (0, 0))
        variances = estimate.likelihood.covariance.diagonal(dim1=-2, dim2=-1)
        group = method.label
        arrays[f"{group}/sources"] = np.pad(estimate.sources.numpy(), more, constant_values=np.nan)
        arrays[f"{group}/deviations"] = np.pad(variances.sqrt().numpy(), more, constant_values=np.nan)
        arrays[f"{group}/log_likelihood"] = estimate.likelihood.log_likelihood.numpy()
        stated = estimate.count_confidence
        arrays[f"{group}/count_confidence"] = (
            np.full(len(estimate.resolved), np.nan) if stated is None else stated.numpy()
        )
        arrays[f"{group}/resolved"] = estimate.resolved.numpy()
        arrays[f"{group}/cpu_s"] = np.array([seconds])
    labels = " ".join(method.label for method in methods)
    hdf5.write(path, {"format": FORMAT, "version": VERSION, "methods": labels}, arrays)


def read_estimates(path: Path) -> dict[Method, BatchEstimates]:
    """Method -> estimates.

    Raises:
        MeasurementError: a missing, foreign or damaged file.
    """
    with reading(path, FORMAT, VERSION, "remove it and run `evaluate` again") as reader:
        return estimates_in(reader)


def estimates_in(reader: Reader) -> dict[Method, BatchEstimates]:
    """Method -> estimates of an open file.

    Raises:
        MeasurementError: a field that is damaged or breaks the format.
    """
    estimates = {}
    for group in str(reader.attribute("methods")).split():
        count, _, name = group.partition("/")
        if count not in ("known", "estimated") or not name:
            raise reader.fault("attribute methods", f"known/NAME or estimated/NAME, got {group!r}")
        method = Method("known" if count == "known" else "estimated", name)
        estimates[method] = BatchEstimates(
            reader.array(f"{group}/sources", np.float64, "scene source 3", finite=False),
            reader.array(f"{group}/deviations", np.float64, "scene source 3", finite=False),
            reader.array(f"{group}/log_likelihood", np.float64, "scene", finite=False),
            reader.array(f"{group}/count_confidence", np.float64, "scene", finite=False),
            reader.array(f"{group}/resolved", np.bool_, "scene"),
            float(reader.array(f"{group}/cpu_s", np.float64, "1")[0]),
        )
    return estimates
