"""Errors over their own bounds, and bootstrap intervals.

Conventions
-----------
NumPy arrays, one value a row; an error and its bound share a unit, range as inverse range (1/m). A value of 1
is an estimator that attains the bound. Nothing measured is an error, never 0: empty input raises. The
interval of a single value is not known: NaN. Intervals are two-sided, of probability `CONFIDENCE`.
"""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from jaxtyping import Float

CONFIDENCE = 0.95


Statistic: TypeAlias = Callable[..., Float[np.ndarray, "..."]]
"""A statistic along an axis, `statistic(samples, axis=-1)`: numpy.mean, numpy.median, `root_mean_square`."""


def root_mean_square(values: Float[np.ndarray, "*sample value"], axis: int) -> Float[np.ndarray, "*sample"]:
    """sqrt(mean(x^2)) along an axis."""
    result: Float[np.ndarray, "*sample"] = np.asarray(np.sqrt(np.mean(np.square(values), axis=axis)))
    return result


def normalized_errors(
    errors: Float[np.ndarray, " value"], bounds: Float[np.ndarray, " value"]
) -> Float[np.ndarray, " value"]:
    """e / sigma, each error over the bound of its own scene and source.

    Raises:
        ValueError: nothing to compare, errors that are not finite, bounds that are not positive and finite.
    """
    if errors.size == 0:
        raise ValueError("a normalized error needs at least one error, got none")
    broken = np.flatnonzero(~np.isfinite(errors))
    if broken.size:
        raise ValueError(f"errors are finite, but rows {broken.tolist()} hold {errors[broken].tolist()}")
    broken = np.flatnonzero(~(np.isfinite(bounds) & (bounds > 0.0)))
    if broken.size:
        raise ValueError(
            f"bounds are positive and finite, but rows {broken.tolist()} hold {bounds[broken].tolist()}"
        )
    ratio: Float[np.ndarray, " value"] = errors / bounds
    return ratio


def normalized_rmse(errors: Float[np.ndarray, " value"], bounds: Float[np.ndarray, " value"]) -> float:
    """Root mean square of the errors over their bounds, sqrt(mean((e / sigma)^2)); efficiency is its inverse.

    Raises:
        ValueError: nothing to compare, errors that are not finite, bounds that are not positive and finite.

    >>> normalized_rmse(np.array([3.0, -4.0]), np.array([3.0, 4.0]))
    1.0
    """
    return float(root_mean_square(normalized_errors(errors, bounds), axis=-1))


def bootstrap_interval(
    values: Float[np.ndarray, " value"], statistic: Statistic, generator: np.random.Generator, n: int
) -> tuple[float, float]:
    """Percentile bootstrap interval (low, high) of a statistic of independent values.

    The statistic is computed on n resamples of the values, drawn with replacement, all in one call
    `statistic(samples, axis=-1)`; the interval runs between its (1 -+ CONFIDENCE) / 2 quantiles. Where values
    of one scene depend on each other, pass one value a scene. Coverage is approximate below about 30 values.

    Raises:
        ValueError: no values, values that are not finite, or fewer than one resample.

    Efron, Tibshirani, "An Introduction to the Bootstrap", 1993, section 13.3.
    """
    if values.size == 0:
        raise ValueError("a bootstrap interval needs values, got none")
    broken = np.flatnonzero(~np.isfinite(values))
    if broken.size:
        raise ValueError(f"values are finite, but rows {broken.tolist()} hold {values[broken].tolist()}")
    if n < 1:
        raise ValueError(f"a bootstrap interval needs at least one resample, got {n}")
    if values.size == 1:
        return float("nan"), float("nan")
    samples = values[generator.integers(0, values.size, (n, values.size))]
    low, high = np.quantile(statistic(samples, axis=-1), ((1.0 - CONFIDENCE) / 2.0, (1.0 + CONFIDENCE) / 2.0))
    return float(low), float(high)
