"""Estimates of every method, joined from the files of batches, and the CPU time that they took."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from risolve.estimators.comparison import Method
from risolve.files.estimates import BatchEstimates, read_estimates
from stages.evaluation.cells import Done, SceneBatch
from stages.evaluation.truth import SplitTruth


@dataclass(frozen=True)
class MethodEstimates:
    """Estimates of one method on every scene of a split; slots without an estimate are NaN.

    deviations: standard deviations of the sources. count_confidence: stated probability that their number is
    right. asked: the method was given the scene; one told that there
    is no source is not.
    """

    method: Method
    sources: Float[np.ndarray, "scene estimate 3"]
    deviations: Float[np.ndarray, "scene estimate 3"]
    log_likelihood: Float[np.ndarray, " scene"]
    count_confidence: Float[np.ndarray, " scene"]
    resolved: Bool[np.ndarray, " scene"]
    asked: Bool[np.ndarray, " scene"]


def joined_estimates(truth: SplitTruth, done: Done[Any]) -> list[MethodEstimates]:
    """Estimates of every method on the scenes of a split, from batches that hold each of these once.

    A method that is told the number of sources is not asked about a scene that has none. An estimate may hold
    more sources than there are.
    """
    parts: dict[Method, list[tuple[SceneBatch[Any], BatchEstimates]]] = {}
    for batch, path in done:
        for method, found in read_estimates(path).items():
            parts.setdefault(method, []).append((batch, found))
    return [_joined(method, own, *truth.sources.shape[:2]) for method, own in parts.items()]


def _joined(
    method: Method, parts: list[tuple[SceneBatch[Any], BatchEstimates]], n_scenes: int, n_slots: int
) -> MethodEstimates:
    n_slots = max(n_slots, *(found.sources.shape[1] for _, found in parts))
    empty, unsaid = np.full((n_scenes, n_slots, 3), np.nan), np.full(n_scenes, np.nan)
    never = np.zeros(n_scenes, dtype=bool)
    every = MethodEstimates(method, empty, empty.copy(), unsaid, unsaid.copy(), never, never.copy())
    for batch, found in parts:
        scenes, slots = list(batch.scenes), found.sources.shape[1]
        every.sources[scenes, :slots] = found.sources
        every.deviations[scenes, :slots] = found.deviations
        every.log_likelihood[scenes] = found.log_likelihood
        every.count_confidence[scenes] = found.count_confidence
        every.resolved[scenes] = found.resolved
        every.asked[scenes] = True
    return every


def timing_table(done: Done[Any]) -> pd.DataFrame:
    """CPU time a scene of each method."""
    seconds: dict[Method, float] = {}
    n_scenes: dict[Method, int] = {}
    for batch, path in done:
        for method, found in read_estimates(path).items():
            seconds[method] = seconds.get(method, 0.0) + found.cpu_seconds
            n_scenes[method] = n_scenes.get(method, 0) + len(batch.scenes)
    rows = [
        (method.count, method.name, 1e3 * total / n_scenes[method], n_scenes[method])
        for method, total in seconds.items()
    ]
    return pd.DataFrame(rows, columns=["count", "method", "cpu_ms_per_scene", "n_scenes"])
