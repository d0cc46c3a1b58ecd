"""How much a matrix of snapshots and antennas looks like white noise, by draws of white noise of its size.

Draws are not of the matrix but of its measures: of the sphericity by the bidiagonal form, of the energies by
gamma variables, as if they were independent. Their dependence makes 1 and 5 % of false alarms no more than
they say.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Complex, Float
from torch import Tensor

from risolve.modulus import squared_modulus
from risolve.seeds import generator
from risolve.shapes import Powers

DRAWS = 10_000
"""Of white noise, which say how extreme a measure is."""

_MANY = 1000
"""Energies whose sums are normal."""


def whiteness(
    matrix: Complex[Tensor, "scene row antenna"],
    strength: Float[Tensor, "scene row"],
    n_snapshots: int,
    by_snapshot: bool,
) -> Powers:
    """Probability that the most extreme of five measures of a matrix X is as extreme in white noise.

    Each over its deviation in white noise, on a logarithmic scale; E the energies of antennas or snapshots:

        sphericity      tr (X^H X)^2 / (sum E)^2
        antennas        sum_m E_m^2 / (sum E)^2
        snapshots       sum_l E_l^2 / (sum E)^2
        following       sum_l c_l E_l / sum E,   c_l by the rank of the strength of snapshot l
        static          |sum_l x_l|^2 / (L sum E),   what is the same in all snapshots

    by_snapshot: whether the rows are the snapshots; else the first two measures alone are taken, of any rows
    with X^H X that of n snapshots. The least probability is 1 / (1 + `DRAWS`).

    References:
        John, "Some optimal multivariate tests", Biometrika 58 (1971): sphericity; Dwass, "Modified
        randomization tests for nonparametric hypotheses", Ann. Math. Statist. 28 (1957): the law by draws.
    """
    n_rows, M = matrix.shape[1:]
    energies = squared_modulus(matrix)
    gram = matrix @ matrix.mH if n_rows < M else matrix.mH @ matrix
    ranked = energies.sum(2).gather(1, strength.argsort(dim=1, stable=True))
    squares = squared_modulus(gram).sum((1, 2))
    static = squared_modulus(matrix.sum(1)).sum(1) / n_rows
    law = _law(n_snapshots, M, by_snapshot)
    reached = DRAWS - torch.searchsorted(
        law.extremes, law.extreme(_measures(squares, _sums(energies.sum(1)), _sums(ranked), static))
    )
    return (1.0 + reached.double()) / (1.0 + DRAWS)


class _Sums(NamedTuple):
    """sum E, sum E^2 and sum c E of energies in the order of their scores."""

    total: Powers
    squares: Powers
    scored: Powers


def _sums(energies: Float[Tensor, "scene energy"]) -> _Sums:
    return _Sums(energies.sum(1), energies.square().sum(1), energies @ _scores(energies.shape[1]))


def _scores(n: int) -> Float[Tensor, " energy"]:
    """Expected order statistics of n exponential variables, 1 on average."""
    return (1.0 / torch.arange(n, 0, -1, dtype=torch.float64)).cumsum(0)


def _measures(squares: Powers, antennas: _Sums, snapshots: _Sums, static: Powers) -> Float[Tensor, "scene 5"]:
    """Logarithms of the measures, of tr (X^H X)^2 and the energies."""
    measures = (
        squares / antennas.total.square(),
        antennas.squares / antennas.total.square(),
        snapshots.squares / snapshots.total.square(),
        snapshots.scored / snapshots.total,
        static / antennas.total,
    )
    return torch.stack(measures, -1).log()


class _Law(NamedTuple):
    """Means of measures in white noise, infinite of those that say nothing; deviations; extremes in order."""

    mean: Float[Tensor, " measure"]
    deviation: Float[Tensor, " measure"]
    extremes: Float[Tensor, " draw"]

    def extreme(self, measures: Float[Tensor, "scene measure"]) -> Powers:
        return ((measures - self.mean) / self.deviation).amax(1)


@lru_cache(maxsize=64)
def _law(n_snapshots: int, n_antennas: int, by_snapshot: bool) -> _Law:
    random = generator(0, "goodness", 1)
    L, M = n_snapshots, n_antennas
    p, n = min(L, M), max(L, M)
    # tr (X^H X)^2 by the bidiagonal form of a complex Gaussian matrix
    diagonal = random.standard_gamma(np.arange(n, n - p, -1.0), (DRAWS, p))
    beside = random.standard_gamma(np.arange(p - 1, 0, -1.0), (DRAWS, p - 1))
    own = diagonal + np.pad(beside, ((0, 0), (1, 0)))
    squares = (own**2).sum(1) + 2.0 * (diagonal[:, :-1] * beside).sum(1)
    own_snapshots = L if by_snapshot else 1
    antennas, snapshots = _drawn_sums(random, M, L), _drawn_sums(random, own_snapshots, M)
    static = random.standard_gamma(M, DRAWS)
    static /= static + random.standard_gamma((own_snapshots - 1) * M, DRAWS)
    # both as if sum E were that of the antennas
    sphericity = torch.from_numpy(squares / own.sum(1) ** 2) * antennas.total.square()
    measures = _measures(sphericity, antennas, snapshots, torch.from_numpy(static) * antennas.total)
    mean, deviation = measures.mean(0), measures.std(0)
    says = deviation > 1e-9
    law = _Law(torch.where(says, mean, torch.inf), torch.where(says, deviation, 1.0), measures[:, 0])
    return law._replace(extremes=law.extreme(measures).sort().values)


def _drawn_sums(random: np.random.Generator, n: int, shape: int) -> _Sums:
    """Of n energies of gamma variables of a shape; many of them by the covariance of the sums."""
    if n <= _MANY:
        return _sums(torch.from_numpy(random.standard_gamma(shape, (DRAWS, n))))
    moments = np.cumprod(shape + np.arange(4.0))
    square = float(_scores(n).square().sum())
    cross = n * (moments[2] - moments[0] * moments[1])
    covariance = (
        (n * shape, cross, n * shape),
        (cross, n * (moments[3] - moments[1] ** 2), cross),
        (n * shape, cross, square * shape),
    )
    means = (n * shape, n * moments[1], n * shape)
    drawn = random.multivariate_normal(means, covariance, DRAWS, method="cholesky")
    return _Sums(*torch.from_numpy(drawn).unbind(1))
