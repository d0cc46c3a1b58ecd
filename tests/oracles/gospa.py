"""GOSPA by trying every pairing."""

import itertools
import math
from collections.abc import Sequence

Point = Sequence[float]


def gospa(truth: Sequence[Point], estimate: Sequence[Point], cutoff: float, p: int) -> float:
    """(min_pi sum_i min(|x_i - y_pi(i)|, c)^p + c^p / alpha (|Y| - |X|))^(1/p), alpha = 2, |X| <= |Y|.

    Rahmathullah, Garcia-Fernandez, Svensson, FUSION 2017, eq. (1).
    """
    if len(truth) > len(estimate):
        truth, estimate = estimate, truth
    costs = []
    for order in itertools.permutations(range(len(estimate)), len(truth)):
        pairs = zip(truth, (estimate[j] for j in order), strict=True)
        costs.append(sum(min(math.dist(x, y), cutoff) ** p for x, y in pairs))
    return (min(costs) + cutoff**p / 2.0 * (len(estimate) - len(truth))) ** (1.0 / p)
