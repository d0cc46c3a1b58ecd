"""Several estimators on the same scenes, told the number of sources or not, beside the genie."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor

from risolve.covariance import NormalizedCovariance, blend
from risolve.estimators.contract import CovarianceKind, Estimate, Estimator, Reading, Settings
from risolve.estimators.fitted import fitted_covariance
from risolve.estimators.genie import genie
from risolve.estimators.refined import refined
from risolve.estimators.searching import Found, Locate, SearchEstimator
from risolve.inference.grid import Grid
from risolve.networks.trained import Prediction
from risolve.physics.observation import Observation

REFINED = "+ml"

Count: TypeAlias = Literal["known", "estimated"]


@dataclass(frozen=True)
class Method:
    """A way to estimate: the number of sources told or not, and the name of what then runs."""

    count: Count
    name: str

    @property
    def label(self) -> str:
        """COUNT/NAME."""
        return f"{self.count}/{self.name}"


class Timed(NamedTuple):
    """An estimate, and the CPU time (s) that it took."""

    estimate: Estimate
    seconds: float


class Made(NamedTuple):
    """A covariance, and the CPU time (s) that it took."""

    covariance: Reading
    seconds: float


class SearchResult(NamedTuple):
    """What the search of some estimators found, and the CPU time (s) that it took."""

    found: list[Found]
    seconds: float


@dataclass(frozen=True)
class Comparison:
    """Estimators on one grid, and how they run.

    blind: names of those that also run without being told the number of sources and the noise power. refine:
    without (False) and with (True) the refinement, where an estimator looks for no maximum of the likelihood
    itself. genie_starts: random starts of the genie, 0 for no genie.
    """

    estimators: tuple[Estimator, ...]
    grid: Grid
    settings: Settings
    blind: tuple[str, ...]
    refine: tuple[bool, ...]
    genie_starts: int

    def run(
        self,
        observation: Observation,
        truth: Float[Tensor, "scene source 3"],
        made: Mapping[Count, Mapping[CovarianceKind, Made]],
        random: torch.Generator,
    ) -> dict[Method, Timed]:
        """Method -> estimate on scenes of K = truth.shape[1] sources.

        In scenes without sources an estimator that is told so is left out. The truth is for the genie alone.
        made: what estimators read where they are told, and what blind ones read, see `made`.
        """
        told = torch.full((observation.n_scenes,), truth.shape[1])
        unknown = replace(observation, noise_power=None)
        results: dict[Method, Timed] = {}
        searches: dict[tuple[Count, Locate], SearchResult] = {}
        for one in self.estimators:
            if truth.shape[1]:
                results |= self._runs("known", one, observation, made["known"], told, searches)
            if one.name in self.blind:
                results |= self._runs("estimated", one, unknown, made["estimated"], None, searches)
        if truth.shape[1] and self.genie_starts:
            started = time.process_time()
            found = _complete(results, truth)
            limit = genie(observation, truth, found, self.grid, self.settings, self.genie_starts, random)
            seconds = time.process_time() - started
            results[Method("known", "genie")] = Timed(limit.conditional, seconds)
            results[Method("known", "genie_unconditional")] = Timed(limit.unconditional, seconds)
        return results

    def _runs(
        self,
        count: Count,
        one: Estimator,
        observation: Observation,
        made: Mapping[CovarianceKind, Made],
        n_sources: Int[Tensor, " scene"] | None,
        searches: dict[tuple[Count, Locate], SearchResult],
    ) -> Iterator[tuple[Method, Timed]]:
        """One estimator alone, and refined where that is asked for and it did not refine.

        A search that several estimators finish is made once; its time counts for each.
        """
        covariance, spent = None, 0.0
        if one.covariance_kind is not None:
            covariance, spent = made[one.covariance_kind]
        started = time.process_time()
        if isinstance(one, SearchEstimator):
            key = (count, one.locate)
            if key not in searches:
                found = one.search(observation, n_sources)
                searches[key] = SearchResult(found, time.process_time() - started)
            spent += searches[key].seconds
            started = time.process_time()
            start = one.finished(observation, searches[key].found, n_sources)
        else:
            start = one.estimate(observation, covariance, n_sources)
        seconds = spent + time.process_time() - started
        if False in self.refine or start.converged is not None:
            yield Method(count, one.name), Timed(start, seconds)
        if True in self.refine and start.converged is None:
            started = time.process_time()
            best = refined(observation, start, self.grid, self.settings.n_iterations)
            yield (
                Method(count, one.name + REFINED),
                Timed(best, seconds + time.process_time() - started),
            )

    def made(
        self,
        observation: Observation,
        n_sources: Int[Tensor, " scene"] | None,
        sample: NormalizedCovariance,
        prediction: Prediction | None,
        predicting: float,
    ) -> dict[CovarianceKind, Made]:
        """R_samp, R_fit where an estimator reads it, and R_pred with R_blend where a network made one.

        Of an observation and a number of sources as the estimators know them: for those that are blind
        without the noise power, n_sources None. predicting: the CPU time (s) of R_pred.
        """
        covariances: dict[CovarianceKind, Made] = {"sample": Made(sample, 0.0)}
        reading = [one for one in self.estimators if n_sources is not None or one.name in self.blind]
        if any(one.covariance_kind == "fitted" for one in reading):
            started = time.process_time()
            fitted = fitted_covariance(observation, n_sources, self.grid, self.settings)
            covariances["fitted"] = Made(fitted, time.process_time() - started)
        if prediction is not None:
            beta = prediction.calibration.blend_beta
            mixed = blend(prediction.covariance, sample, beta, self.settings.diagonal_loading)
            covariances |= {"predicted": Made(prediction, predicting), "blend": Made(mixed, predicting)}
        return covariances


def _complete(
    results: Mapping[Method, Timed], truth: Float[Tensor, "scene source 3"]
) -> Float[Tensor, "scene other source 3"]:
    """Sources at maxima of J or V, of methods that were told their number; NaN where some are missing."""
    n_scenes, n_sources = truth.shape[:2]
    starts = [torch.full((n_scenes, 0, n_sources, 3), torch.nan, dtype=torch.float64)]
    for method, (estimate, _) in results.items():
        if method.count == "known" and estimate.converged is not None:
            missing = n_sources - estimate.sources.shape[1]
            padded = torch.nn.functional.pad(estimate.sources, (0, 0, 0, missing), value=torch.nan)
            starts.append(padded[:, None])
    return torch.cat(starts, dim=1)
