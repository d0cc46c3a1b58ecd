"""Places that take no part in a calibration, located with it and without it: whether it is better, and by how
much its errors exceed the deviations stated.
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

from risolve.calibration.fit import ArrayFit, fit_array
from risolve.calibration.information import Placed
from risolve.locating import Localizer, localize
from risolve.physics.geometry import turned
from risolve.physics.observation import Observation
from risolve.placing import in_pairs

_MOST = np.deg2rad(5.0)
"""Angle within which a source counts as found: a larger error, or that of what is not found, counts as this
one, so that a single one does not outweigh all others.
"""

_DECIMALS = 9
"""Of coordinates (rad, 1/m) that make places the same."""


class LeftOut(NamedTuple):
    """Errors and stated deviations of (azimuth (rad), elevation (rad), inverse range (1/m)) of true sources.

    NaN of what is not known of them, errors infinite where they are not found. rows: (observation, scene,
    source); outlying: 1 of scenes that do not fit, else 0.
    """

    rows: Int[np.ndarray, "row 3"]
    before: Float[np.ndarray, "row 3"]
    stated_before: Float[np.ndarray, "row 3"]
    after: Float[np.ndarray, "row 3"]
    stated_after: Float[np.ndarray, "row 3"]
    outlying: Int[np.ndarray, " row"]

    @staticmethod
    def typical(errors: Float[np.ndarray, "row 3"]) -> float:
        """Mean over sources of the root of the summed squared errors of both angles (rad), 5 degrees at most;
        median of the errors of inverse ranges (1/m), where no angle is known.
        """
        if np.isnan(errors[:, :2]).all():
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


def left_out(
    placed: Sequence[Placed],
    true: Sequence[Float[Tensor, "scene source 3"]],
    whole: ArrayFit,
    localizer: Callable[[Observation, int], Localizer],
    folds: int,
    n_iterations: int,
) -> LeftOut | None:
    """Every source of which something is known, located through the nominal array, and through the one that
    scenes at other places show; by what `localizer` makes for an observation and a number of sources.

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
    parts: list[LeftOut] = []
    for fold in range(min(folds, len(distinct))):
        rest = [
            Placed(part.observation.select(rows), part.sources[rows], part.is_free[rows])
            for part, own in zip(placed, folded, strict=True)
            if len(rows := torch.nonzero(own != fold).flatten())
        ]
        calibration = fit_array(rest, whole.unknowns, n_iterations).calibration
        for number, (part, own) in enumerate(zip(placed, folded, strict=True)):
            rows = torch.nonzero(own == fold).flatten()
            if not len(rows):
                continue
            target = targets[number][rows]
            seen = calibration.of(part.observation.select(rows))
            errors_after, stated_after = _located(seen, target, localizer)
            scene, source = torch.nonzero(~target.isnan().all(-1)).unbind(1)
            parts.append(
                LeftOut(
                    rows=torch.stack((torch.full_like(scene, number), rows[scene], source), 1).numpy(),
                    before=errors[number][rows[scene], source].numpy(),
                    stated_before=stated[number][rows[scene], source].numpy(),
                    after=errors_after[scene, source].numpy(),
                    stated_after=stated_after[scene, source].numpy(),
                    outlying=np.isin(rows[scene].numpy(), whole.outlying[number]).astype(np.int64),
                )
            )
    return LeftOut(*(np.concatenate(values) for values in zip(*parts, strict=True)))


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
