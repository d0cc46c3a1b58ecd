"""What takes no part in a calibration: whether it is better there, and what its deviations lack.

Where places are known they are located with the calibration and without it, and errors beside deviations say
both. Where none is known, the likelihood of scenes says whether it is better; what an array that is not known
well makes of the places is what its own deviations state.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.optimize import brentq
from torch import Tensor

from risolve.calibration.array_calibration import ArrayCalibration
from risolve.calibration.fit import ArrayFit, fit_array
from risolve.calibration.information import Placed, values_of
from risolve.inference.likelihood import refine
from risolve.locating import Localizer, localize
from risolve.physics.geometry import turned
from risolve.physics.observation import Observation
from risolve.placing import in_pairs

_MOST = np.deg2rad(5.0)
"""Angle within which a source counts as found: a larger error, or that of what is not found, counts as this
one, so that a single one does not outweigh all others.
"""

_MOVED = 1e-6
"""rad or 1/m for each unit of theta: places that what is not told moves by less do not move."""

_DECIMALS = 9
"""Of coordinates (rad, 1/m) that make places the same."""


class LeftOut(NamedTuple):
    """Errors and stated deviations of (azimuth (rad), elevation (rad), inverse range (1/m)) of true sources.

    NaN of what is not known of them, errors infinite where they are not found. rows: (observation, scene,
    source); outlying: 1 of scenes that do not fit, else 0. of_ranges: whether ranges alone say if it is
    better, for no angle is known, or what is unknown is of the ranges of the truth.
    """

    rows: Int[np.ndarray, "row 3"]
    before: Float[np.ndarray, "row 3"]
    stated_before: Float[np.ndarray, "row 3"]
    after: Float[np.ndarray, "row 3"]
    stated_after: Float[np.ndarray, "row 3"]
    outlying: Int[np.ndarray, " row"]
    of_ranges: bool

    def typical(self, errors: Float[np.ndarray, "row 3"]) -> float:
        """Mean over sources of the root of the summed squared errors of both angles (rad), 5 degrees at most;
        median of the errors of inverse ranges (1/m) where these alone count.
        """
        if self.of_ranges:
            return float(np.nanmedian(np.abs(errors[:, 2])))
        return float(np.minimum(np.sqrt(np.nansum(errors[:, :2] ** 2, axis=1)), _MOST).mean())

    @property
    def is_better(self) -> bool:
        """Whether the calibration locates better what took no part in it."""
        return self.typical(self.after) < self.typical(self.before)

    def excess(self) -> Float[np.ndarray, "3"]:
        """tau with mean e^2 / (s^2 + tau^2) = 1 of each coordinate, scenes that do not fit aside; 0 where the
        mean of e^2 / s^2 is less, NaN where no error or deviation is known.
        """
        errors, stated = self.before, self.stated_before
        if self.is_better:
            errors, stated = self.after, self.stated_after
        found = np.full(3, np.nan)
        for index in range(3):
            known = np.isfinite(errors[:, index]) & np.isfinite(stated[:, index]) & (self.outlying == 0)
            e, s = errors[known, index], stated[known, index]
            if len(e):
                found[index] = _beside(e, s)
        return found


class HeldOut(NamedTuple):
    """Log-likelihoods -f_s of scenes at unknown places, beside the same constant; rows: (observation, scene).

    of_array: typical standard deviation of (azimuth (rad), elevation (rad), inverse range (1/m)) by the
    deviations of the array; NaN of what is known of all sources, or moves with what is not told.
    """

    rows: Int[np.ndarray, "row 2"]
    before: Float[np.ndarray, " row"]
    after: Float[np.ndarray, " row"]
    of_array: Float[np.ndarray, "3"]

    @property
    def is_better(self) -> bool:
        """Whether the calibration explains better what took no part in it."""
        return float(self.after.sum()) > float(self.before.sum())

    def excess(self) -> Float[np.ndarray, "3"]:
        """What the deviations of places lack: `of_array`, of a nominal array not known."""
        return self.of_array if self.is_better else np.full(3, np.nan)


def held_out(
    placed: Sequence[Placed],
    true: Sequence[Float[Tensor, "scene source 3"]],
    whole: ArrayFit,
    folds: int,
    n_iterations: int,
) -> HeldOut | None:
    """Every scene of which no place is known, as likely as the nominal array makes it, and the one that the
    other scenes show; its places of highest likelihood with either.

    Scenes are left out in at most so many folds. None where fewer than two are blind, or no fold is wanted.

    Raises:
        ValueError: the other scenes do not determine the unknowns.
    """
    is_blind = [own.isnan().flatten(1).all(1) for own in true]
    n_blind = sum(int(own.sum()) for own in is_blind)
    if not folds or n_blind < 2:
        return None
    numbers = torch.arange(n_blind).split([int(own.sum()) for own in is_blind])
    folded = [torch.full_like(own, -1, dtype=torch.long) for own in is_blind]
    for own, blind, number in zip(folded, is_blind, numbers, strict=True):
        own[blind] = number % folds
    nominal = whole.unknowns.calibration(whole.unknowns.nothing())
    parts: list[tuple[np.ndarray, ...]] = []
    for fold in range(min(folds, n_blind)):
        others = _rest(placed, folded, fold)
        calibration = fit_array(others, whole.unknowns, n_iterations).calibration
        for number, (part, own) in enumerate(zip(placed, folded, strict=True)):
            rows = torch.nonzero(own == fold).flatten()
            if len(rows):
                scenes = Placed(part.observation.select(rows), part.sources[rows], part.is_free[rows])
                likely = [_log_likelihood(scenes, array, n_iterations) for array in (nominal, calibration)]
                parts.append((torch.stack((torch.full_like(rows, number), rows), 1).numpy(), *likely))
    pairs, before, after = (np.concatenate(values) for values in zip(*parts, strict=True))
    return HeldOut(pairs, before, after, _of_array(whole))


def _log_likelihood(
    placed: Placed, array: ArrayCalibration, n_iterations: int
) -> Float[np.ndarray, " scene"]:
    sources = refine(array.of(placed.observation), placed.sources, n_iterations).sources
    likely: np.ndarray = -values_of(replace(placed, sources=sources), array).numpy()
    return likely


def _of_array(whole: ArrayFit) -> Float[np.ndarray, "3"]:
    """Root of the median variance (C^-1 B) cov(theta) (C^-1 B)^T of each coordinate of free sources."""
    found = np.full(3, np.nan)
    for index in range(3):
        told = torch.cat(
            [
                own.unflatten(1, (-1, 3))[:, :, index][part.is_free[..., index]]
                for part, own in zip(whole.placed, whole.told, strict=True)
            ]
        )
        lost = told @ whole.null_space.total
        if len(told) and not bool((lost.abs() > _MOVED).any()):
            found[index] = math.sqrt(float(((told @ whole.covariance) * told).sum(1).median().clamp_min(0.0)))
    return found


def left_out(
    placed: Sequence[Placed],
    true: Sequence[Float[Tensor, "scene source 3"]],
    whole: ArrayFit,
    localizer: Callable[[Observation, int], Localizer],
    folds: int,
    n_iterations: int,
) -> LeftOut | None:
    """Every source of which something is known, located through the nominal array, and through the one that
    scenes at other places show, beside the places that it takes the truth to mean; by what `localizer` makes
    for an observation and a number of sources.

    Places are left out in at most so many folds. None where fewer than two places are known, or no fold is
    wanted.

    Raises:
        ValueError: scenes at other places that do not determine the unknowns.
    """
    known = [~own.isnan() & part.observation.limits.is_free for part, own in zip(placed, true, strict=True)]
    keys = [
        [tuple(row) if bool(some.any()) else None for row, some in zip(_rounded(own), held, strict=True)]
        for own, held in zip(true, known, strict=True)
    ]
    distinct = sorted({key for part in keys for key in part if key is not None})
    if not folds or len(distinct) < 2:
        return None
    fold_of = {key: number % folds for number, key in enumerate(distinct)}
    folded = [torch.tensor([-1 if key is None else fold_of[key] for key in part]) for part in keys]
    targets = [torch.where(some, own, torch.nan) for some, own in zip(known, true, strict=True)]
    errors, stated = zip(
        *(_located(part.observation, own, localizer) for part, own in zip(placed, targets, strict=True)),
        strict=True,
    )
    parts: list[tuple[np.ndarray, ...]] = []
    for fold in range(min(folds, len(distinct))):
        others = _rest(placed, folded, fold)
        found = fit_array(others, whole.unknowns, n_iterations)
        for number, (part, own) in enumerate(zip(placed, folded, strict=True)):
            rows = torch.nonzero(own == fold).flatten()
            if not len(rows):
                continue
            known_here = targets[number][rows]
            target, _ = whole.unknowns.true_places(found.theta, known_here, ~known_here.isnan())
            seen = found.calibration.of(part.observation.select(rows))
            errors_after, stated_after = _located(seen, target, localizer)
            scene, source = torch.nonzero(~target.isnan().all(-1)).unbind(1)
            parts.append(
                (
                    torch.stack((torch.full_like(scene, number), rows[scene], source), 1).numpy(),
                    errors[number][rows[scene], source].numpy(),
                    stated[number][rows[scene], source].numpy(),
                    errors_after[scene, source].numpy(),
                    stated_after[scene, source].numpy(),
                    np.isin(rows[scene].numpy(), whole.outlying[number]).astype(np.int64),
                )
            )
    pairs, before, stated_before, after, stated_behind, outlying = (
        np.concatenate(values) for values in zip(*parts, strict=True)
    )
    of_ranges = set(whole.unknowns.names) <= {"truth_range", "truth_scale"}
    of_ranges |= bool(np.isnan(before[:, :2]).all())
    return LeftOut(pairs, before, stated_before, after, stated_behind, outlying, of_ranges)


def _rest(placed: Sequence[Placed], folded: Sequence[Int[Tensor, " scene"]], fold: int) -> list[Placed]:
    """The scenes of other folds."""
    return [
        Placed(part.observation.select(rows), part.sources[rows], part.is_free[rows])
        for part, own in zip(placed, folded, strict=True)
        if len(rows := torch.nonzero(own != fold).flatten())
    ]


def _rounded(places: Float[Tensor, "scene source 3"]) -> list[list[float]]:
    return places.nan_to_num(nan=torch.inf).flatten(1).round(decimals=_DECIMALS).tolist()


def _located(
    observation: Observation,
    target: Float[Tensor, "scene source 3"],
    localizer: Callable[[Observation, int], Localizer],
) -> tuple[Float[Tensor, "scene source 3"], Float[Tensor, "scene source 3"]]:
    """Errors and their deviations, in the order of what is known of the sources."""
    count, observation = target.shape[1], replace(observation, stated=None)
    estimate = localize(observation, localizer(observation, count), count)
    covariance = estimate.likelihood.covariance.diagonal(dim1=-2, dim2=-1)
    order = in_pairs(target, estimate.sources)
    apart = turned(estimate.sources.take_along_dim(order, 1) - target)
    # what is not found is as wrong as can be
    errors = torch.where(target.isnan(), torch.nan, apart.nan_to_num(nan=torch.inf))
    return errors, covariance.sqrt().take_along_dim(order, 1)


def _beside(errors: Float[np.ndarray, " row"], stated: Float[np.ndarray, " row"]) -> float:
    """tau >= 0 with mean e^2 / (s^2 + tau^2) = 1."""

    def surplus(variance: float) -> float:
        return float(np.mean(errors**2 / (stated**2 + variance)) - 1.0)

    most = float(np.mean(errors**2))
    if most == 0.0 or surplus(0.0) <= 0.0:
        return 0.0
    return math.sqrt(brentq(surplus, 0.0, most))
