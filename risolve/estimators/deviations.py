"""Standard deviations of what is no maximum of a likelihood, and of what does not fit its model."""

from dataclasses import replace

import torch

from risolve.estimators.contract import Estimate
from risolve.inference.assessment import covariance_of_peaks
from risolve.inference.goodness import UNFIT
from risolve.inference.grid import Grid
from risolve.inference.robust import robust_covariance
from risolve.physics.observation import Observation


def with_deviations(observation: Observation, found: Estimate, grid: Grid, n_iterations: int) -> Estimate:
    """The estimate, whose fit is known, with the covariance of its errors.

    Peaks of a spectrum have that of `covariance_of_peaks`, and none in scenes that are not resolved. Maxima
    have, where they do not fit, the covariance of `robust_covariance`.
    """
    covariance = found.likelihood.covariance.clone()
    if found.converged is None:
        sources = found.sources.masked_fill(~found.resolved[:, None, None], torch.nan)
        covariance = covariance_of_peaks(observation, sources, n_iterations)
        found = replace(found, at_edge=grid.at_end(found.sources[..., 2]))
    elif found.goodness is not None:
        robust = found.goodness.fits < UNFIT
        unfit = torch.nonzero(robust).flatten()
        if unfit.numel():
            part = observation.select(unfit)
            covariance[unfit] = robust_covariance(part, found.sources[unfit], covariance[unfit])
        found = replace(found, robust=robust)
    return replace(found, likelihood=replace(found.likelihood, covariance=covariance))
