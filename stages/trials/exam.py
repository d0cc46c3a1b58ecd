"""What a trial of a search is scored by: the validation scenes, and the sources that are found in them."""

import time
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from risolve.estimators.contract import Estimate
from risolve.estimators.registry import estimator
from risolve.files import model_grid
from risolve.files.model import network_dictionary
from risolve.metrics.agreement import agreement
from risolve.metrics.localization import found_rate
from risolve.networks.covariance_network import CovarianceNetwork
from risolve.networks.dictionary import Dictionary
from risolve.networks.trained import TrainedNetwork, uncalibrated
from stages.evaluation.splits import SplitScenes, read_split
from stages.params import estimators
from stages.params.model import VALIDATION_SPLITS, Params
from stages.training.split_files import open_split


@dataclass(frozen=True)
class SearchBench:
    """What every trial is scored on: validation scenes that have sources, by source model."""

    exams: tuple[SplitScenes, ...]
    dictionary: Dictionary

    @property
    def n_sources(self) -> Int[Tensor, " scene"]:
        """True number of sources of every scene."""
        return torch.cat([exam.truth.n_sources for exam in self.exams]).long()


def read_bench(params: Params) -> SearchBench:
    """The validation scenes that have sources.

    Raises:
        MeasurementError: files that cannot be read, or do not belong together.
    """
    exams = []
    for split in VALIDATION_SPLITS:
        open_split(params, split, True)  # files that do not belong together are refused
        own = read_split(params, split)
        exams.append(own.select(torch.nonzero(own.truth.n_sources > 0).flatten()))
    return SearchBench(tuple(exams), network_dictionary(params.of_model()))


@dataclass(frozen=True)
class Score:
    """Share of the validation sources that are found, and CPU time (s) a scene."""

    found_rate: float
    seconds: float


def count_found(
    params: Params, bench: SearchBench, network: CovarianceNetwork, is_refined: bool
) -> tuple[Int[np.ndarray, "scenes"], float]:
    """(found sources of every validation scene that has sources, CPU time (s) a scene) with a network."""
    settings, grid = estimators.settings(params), model_grid.grid(params.of_model())
    one = estimator("learned" if is_refined else "learned_peaks", grid, settings)
    trained = TrainedNetwork(network, bench.dictionary, uncalibrated(params.train.blend_beta_end), None)
    tolerance, seconds, n_found = np.deg2rad(params.evaluate.found_tolerance_deg), 0.0, []
    for exam in bench.exams:
        maps = exam.covariances.maps
        started = time.process_time()
        prediction = trained.predict(maps.values, maps.estimated_snr, exam.observation)
        found: Estimate = one.estimate(exam.observation, prediction, exam.truth.n_sources.long())
        seconds += time.process_time() - started
        for truth, places in zip(exam.truth.sources.numpy(), found.sources.numpy(), strict=True):
            true, own = (rows[np.isfinite(rows[:, 0])] for rows in (truth, places))
            n_found.append(agreement(true, own, np.full_like(own, np.nan), tolerance).found.sum())
    return np.array(n_found, int), seconds / len(n_found)


def score(params: Params, bench: SearchBench, network: CovarianceNetwork, is_refined: bool) -> Score:
    """Score of a network on the validation scenes that have sources."""
    n_found, seconds = count_found(params, bench, network, is_refined)
    return Score(found_rate(int(n_found.sum()), int(bench.n_sources.sum())), seconds)
