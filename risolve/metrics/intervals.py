"""Interval of a share of independent cases."""

import math

from scipy.special import ndtri

from risolve.metrics.normalized import CONFIDENCE


def wilson(share: float, n_cases: float) -> tuple[float, float]:
    """Interval of a binomial share p of n cases, at 95 %.

        (p + z^2 / 2n -+ z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n)

    Wilson, J. Am. Stat. Assoc. 22 (1927), p. 209.

    Raises:
        ValueError: no cases.

    >>> [round(end, 4) for end in wilson(0.5, 100.0)]
    [0.4038, 0.5962]
    """
    if n_cases <= 0.0:
        raise ValueError(f"a share is one of at least one case, got {n_cases}")
    z = float(ndtri((1.0 + CONFIDENCE) / 2.0))
    centre = (share + z**2 / (2.0 * n_cases)) / (1.0 + z**2 / n_cases)
    spread = math.sqrt(share * (1.0 - share) / n_cases + z**2 / (4.0 * n_cases**2))
    half = z / (1.0 + z**2 / n_cases) * spread
    return max(centre - half, 0.0), min(centre + half, 1.0)
