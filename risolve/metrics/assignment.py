"""Which estimate stands for which source.

Conventions
-----------
Sources are rows (azimuth (rad), elevation (rad), inverse range (1/m)), NumPy float64, one scene a call; at
infinity the inverse range is 0. As many pairs are made as the smaller set holds. A true source without a
partner is missed, an estimate without one is false. Either set may be empty: then nothing is paired and all
of the other set is missed or false. Sources that are not finite (empty slots) are refused.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.optimize import linear_sum_assignment

from risolve.metrics.localization import angles, found

_ROUNDING = 1e-12
"""rad: sums of the same angles in another order differ by less, and what is told apart by more."""


@dataclass(frozen=True)
class Matching:
    """Row numbers: matched true sources and their estimates, pair by pair; missed sources; false ones."""

    truth: Int[np.ndarray, " pair"]
    estimate: Int[np.ndarray, " pair"]
    missed: Int[np.ndarray, " missed"]
    false: Int[np.ndarray, " false"]


def pair(
    truth: Float[np.ndarray, "truth 3"], estimate: Float[np.ndarray, "estimate 3"], tolerance: float
) -> Matching:
    """The pairing by which most sources are found, as `found` has it with the tolerance (rad) of both angles.

    Of several, the one of least total angle between the directions of its pairs, those that are not found
    included; of pairings with equal angles (within rounding, 1e-12 rad) that of least total |1/r - 1/r^|. A
    range has no other say, an infinite one neither. The order of the rows has none.

    Raises:
        ValueError: values that are not finite, or a tolerance that is not positive.

    The laws are nested: the second chooses among the pairs that pairings which are best by the first are
    made of, and so on; any pairing made of these is best by the laws before. Assignment of least cost:
    Crouse, "On implementing 2D rectangular assignment algorithms", IEEE Trans. Aerosp. Electron. Syst. 52
    (2016).

    >>> rows = np.array([[0.0, 0.0, 0.5], [0.2, 0.0, 0.5], [0.4, 0.0, 0.5]])
    >>> pair(rows[:2], rows[[2, 1, 0]], tolerance=0.1).estimate.tolist()
    [2, 1]
    """
    true_rows, estimated_rows = (np.lexsort(rows.T[::-1]) for rows in (truth, estimate))
    true, located = truth[true_rows], estimate[estimated_rows]
    n_true, n_located = len(true), len(located)
    every = np.repeat(true, n_located, axis=0), np.tile(located, (n_true, 1))
    lost = ~found(*every, tolerance).reshape(n_true, n_located)
    # beside fewer sources stand partners that cost nothing
    by_count, by_angle, by_range = np.zeros((3, *[max(n_true, n_located)] * 2))
    by_count[:n_true, :n_located] = lost
    by_angle[:n_true, :n_located] = angles(true, located)
    by_range[:n_true, :n_located] = np.abs(true[:, None, 2] - located[None, :, 2])
    best = _on_best_pairings(by_count, 0.0)
    best = _on_best_pairings(np.where(best, by_angle, np.inf), _ROUNDING)
    rows, columns = linear_sum_assignment(np.where(best, by_range, np.inf))
    real = (rows < n_true) & (columns < n_located)
    rows, columns = true_rows[rows[real]], estimated_rows[columns[real]]
    order = rows.argsort()
    return Matching(
        truth=rows[order],
        estimate=columns[order],
        missed=np.delete(np.arange(n_true), rows),
        false=np.delete(np.arange(n_located), columns),
    )


def _on_best_pairings(cost: Float[np.ndarray, "n n"], rounding: float) -> Bool[np.ndarray, "n n"]:
    """Pairs (row, column) of the pairings whose total cost is at most `rounding` above the least.

    In the pairing of least cost row k has the column k'. Of those in which row i has k', the least costs
    c_ik' - c_ii' more, and what the shortest chain costs by which row k, and who is displaced by it, come to
    take i' (Floyd, Comm. ACM 5 (1962), algorithm 97).
    """
    rows, columns = linear_sum_assignment(cost)
    ordered = cost[:, columns]
    more = ordered - ordered[rows, rows][:, None]
    chain = more.copy()
    for k in rows:
        chain = np.minimum(chain, chain[:, [k]] + chain[[k]])
    best = np.empty(cost.shape, dtype=bool)
    best[:, columns] = more + chain.T <= rounding
    return best
