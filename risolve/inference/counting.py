"""How many sources there are.

The code changes with every snapshot, so the snapshots have no common signal subspace, and the eigenvalues of
their sample covariance do not show the number of sources (`eigenvalue_count`, kept as a baseline). What one
more source explains of the snapshots does:

    T = J_K - J_{K+1},   J_K = min sum_g |P_{G_g}^perp y_g|^2

Without a further source, J_K sums n squared moduli of noise: L M less those that K sources take, a = L
(`independent`) or 1 (`constant`) by the amplitudes and 3/2 by the three real coordinates of each, or 1/2 for
each that is unknown. Of these T explains a at a given place, and a + 3/2 at the best place near it:

    known sigma^2, given place   2 T / sigma^2 ~ chi^2_{2 a}
    unknown, best place near     T / J_K ~ Beta(a + 3/2, n - a - 3/2),   n = L M - (a + 3/2) K

Sources of equal gains have one amplitude together, and more of them are another model, which may leave more.
At given places y = g b + noise of K sources, b' of more of them and the part w of b' outside b, |w| = 1,

    T = |b'^H y|^2 / |b'|^2 - |b^H y|^2 / |b|^2 <= |w^H noise|^2,

so that T is no more than it is for a = 1.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.special import betainc, gammaincc
from torch import Tensor

from risolve.modulus import squared_modulus
from risolve.physics.observation import Observation
from risolve.shapes import Powers

_BETWEEN = 2.0
"""Places that count as independent for each point of a grid of half a beam along each unknown coordinate, in
noise alone: 8 where all three are unknown.

What lies between the points is searched too. Measured: T of `independent` empty scenes has as extreme values
as 5 places a point have, that of `constant` ones as 6.
"""

_MOVED = 2.0
"""The same for each unknown coordinate of every source already there, 6 of a whole source: its position gives
way to the new one, which lowers J further.

Measured beside 1, 2 and 3 `independent` sources: as extreme as 9 to 15, 12 to 20, and 22 places have; beside
`constant` ones, which leave the noise nearly all of its dimensions, as 3 to 6.
"""

_COORDINATE = 0.5
"""Squared moduli of noise that a real coordinate of a source takes."""

_ROUNDING = 2.0**-23
"""Digits of the snapshots, which are stored in single precision: below them nothing is a source."""


@dataclass(frozen=True)
class CountingRule:
    """glrt: a source is one whose T noise alone reaches in a share `false_alarm` of scenes at most. bic: one
    that lowers the Bayesian information criterion. most: sources looked for at most.
    """

    rule: Literal["glrt", "bic"]
    false_alarm: float
    most: int


def is_source(
    rule: CountingRule,
    observation: Observation,
    n_sources: int,
    before: Powers,
    after: Powers,
    n_points: int,
    n_added: int = 1,
) -> Bool[Tensor, " scene"]:
    """True where the step from J_K (`before`) to J_{K+1} (`after`) is a source and not noise; of equal gains
    to J of any `n_added` sources more.

    `glrt`: the probability of T at one place, times the number of places (8 + 6 K for each of the `n_points`
    of a grid of half a beam, fewer where coordinates are known, see `_BETWEEN`), is at most the false-alarm
    probability: a union bound, for J_K at its minimum. The noise power is used where it is known. `bic`, with
    2 a + 3 unknowns a source, or as many less as are known, and no amplitude more of equal gains:

        2 T / sigma^2 > (2 a + 3) log(2 L M)   or   2 n log(J_K / J_{K+1}) > (2 a + 3) log(2 L M)

    Nothing is a source where K + 1 of them leave no dimension for a noise power that is not known, or what
    they leave is the rounding of the snapshots.

    References:
        Kay, "Fundamentals of Statistical Signal Processing: Detection Theory", 1998, chapter 9 (unknown noise
        power); Stoica and Selen, "Model-order selection", IEEE Signal Process. Mag. 21 (2004), on BIC.
    """
    n_numbers = observation.n_recorded * observation.n_antennas
    n_groups = observation.n_recorded if observation.source_model == "independent" else 1
    coordinates = observation.limits.n_free
    place = _COORDINATE * coordinates
    taken = observation.n_amplitudes(n_sources)
    free = n_numbers - n_groups * taken - place * n_sources
    noise_power = observation.noise_power
    own = n_groups if noise_power is not None else n_groups + place * n_added
    if free <= own:
        return torch.zeros(before.shape, dtype=torch.bool)
    explained = (before - after).clamp_min(0.0)
    rounding = squared_modulus(observation.snapshots.to(torch.complex128)).sum((1, 2)) * _ROUNDING**2
    kept = ((after + rounding) / (before + rounding)).clamp_max(1.0).nan_to_num(nan=1.0)
    if rule.rule == "glrt":
        if noise_power is None:
            chance = betainc(free - own, own, kept.numpy())
        else:
            chance = gammaincc(n_groups, (explained / noise_power.double()).numpy())
        beside = range(n_sources, n_sources + n_added)
        places = math.prod(n_points * (_BETWEEN**coordinates + _MOVED * coordinates * k) for k in beside)
        return torch.from_numpy(np.asarray(chance)) * places <= rule.false_alarm
    amplitudes = n_groups * (observation.n_amplitudes(n_sources + n_added) - taken)
    penalty = (2 * amplitudes + coordinates * n_added) * float(np.log(2.0 * n_numbers))
    if noise_power is None:
        return -2.0 * free * kept.log() > penalty
    return 2.0 * explained / noise_power.double() > penalty


def eigenvalue_count(observation: Observation, rule: Literal["aic", "mdl"]) -> Int[Tensor, " scene"]:
    """Number of sources by an information criterion on the eigenvalues of (1/L) sum_l y_l y_l^H.

        L (p - k) log(arithmetic / geometric mean of the p - k smallest) + penalty(k),   p = min(M, L)
        penalty = k (2 p - k) (AIC),   k (2 p - k) log(L) / 2 (MDL)

    Valid for an array whose snapshots share their steering vectors. Under codes that change with the
    snapshot every source spreads over all eigenvalues, and the count is wrong at any SNR: a baseline.

    References:
        Wax and Kailath, "Detection of signals by information theoretic criteria", IEEE Trans. Acoust.,
        Speech, Signal Process. 33 (1985).
    """
    snapshots = observation.snapshots.to(torch.complex128)
    L, p = observation.n_snapshots, min(observation.n_antennas, observation.n_snapshots)
    values = torch.linalg.svdvals(snapshots)[:, :p].square()
    values = values.clamp_min(torch.finfo(torch.float64).eps * values[:, :1])
    k = torch.arange(p)
    smallest = [values[:, i:] for i in range(p)]
    log_ratio: Float[Tensor, "scene order"] = torch.stack(
        [(part.mean(-1).log() - part.log().mean(-1)) * (p - i) for i, part in enumerate(smallest)], dim=-1
    )
    penalty = (k * (2 * p - k)).double() * (1.0 if rule == "aic" else 0.5 * float(np.log(L)))
    return (L * log_ratio + penalty).argmin(-1)
