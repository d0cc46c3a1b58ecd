"""Sources that send the same waveform: what they leave of many snapshots is one.

y_l = B a w_l + n_l,   a = sum_k a_k g_k   ->   z = sum_l w_l^* y_l = B a + n',   |w| = 1
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Bool, Complex, Float
from scipy.special import betainc, gammaincc
from torch import Tensor

from risolve.shapes import Codes, Powers, Snapshots

_SAME = 1e-6
"""Difference of codes, relative to the largest, that is rounding."""

_TRACY_WIDOM = (-1.7710868, 0.8131948)
"""Mean and variance of the Tracy-Widom law of complex numbers."""

_BY_CHANCE = 1e-3
"""Probability that noise alone reaches s_1, above which it is taken for noise."""


class OneWaveform(NamedTuple):
    """One snapshot, its code, and the power of its noise; None where one snapshot or antenna shows none."""

    snapshots: Complex[Tensor, "scene one antenna"]
    codes: Complex[Tensor, "#scene one element"]
    noise_power: Float[Tensor, " scene"] | None


def of_one_waveform(snapshots: Snapshots, codes: Codes, noise_power: Powers | None) -> OneWaveform:
    """One snapshot z in place of those of sources that send the same waveform, under one code for all.

    w is the left singular vector of the largest singular value s_1 of the snapshots, which is the waveform of
    largest likelihood where nothing is known of the places. A factor that all g_k share is not told. A noise
    power that is not known is

        sigma^2 = (sum |y|^2 - s_1^2) / ((L - 1) (M - 1)).

    The unknown w turns z away from B a as more noise would, and z has the noise power

        sigma^2 (1 + 1 / l)^2,   s_1^2 / (L sigma^2) = (1 + l) (1 + c / l),   c = (M - 1) / L,

    l the SNR of all antennas together, at least sqrt(c), where noise alone begins: within 5 % for l above 1
    and 16 snapshots or more, and more than there is below. Where noise alone may reach s_1 (`_is_chance`), z
    is noise: s_1^2 / M.

    References:
        Benaych-Georges and Nadakuditi, "The singular values and vectors of low rank perturbations of large
        rectangular random matrices", J. Multivariate Anal. 111 (2012), the angle between v and B a.

    Raises:
        ValueError: codes that change.
    """
    change = float((codes - codes[:, :1]).abs().amax())
    if change > _SAME * float(codes.abs().amax()):
        raise ValueError(
            f"`coherent` sources need one code for all snapshots; got codes that differ by {change:.3g}"
        )
    _, s, v = torch.linalg.svd(snapshots.to(torch.complex128), full_matrices=False)
    L, M = snapshots.shape[1:]
    one = (s[:, :1, None] * v[:, :1]).to(snapshots.dtype), codes[:, :1]
    if min(L, M) == 1:
        return OneWaveform(*one, noise_power)
    energies = s.square()
    rest = energies[:, 1:].sum(-1) / ((L - 1) * (M - 1))
    sigma2 = rest if noise_power is None else noise_power.double()
    c = (M - 1) / L
    twice = energies[:, 0] / (L * sigma2) - 1.0 - c
    snr = ((twice + (twice.square() - 4.0 * c).clamp_min(0.0).sqrt()) / 2.0).clamp_min(math.sqrt(c))
    power = sigma2 * (1.0 + 1.0 / snr).square()
    is_noise = _is_chance(energies, L, M, noise_power)
    return OneWaveform(*one, torch.where(is_noise, torch.maximum(power, energies[:, 0] / M), power))


def _is_chance(
    energies: Float[Tensor, "scene value"], n_snapshots: int, n_antennas: int, noise_power: Powers | None
) -> Bool[Tensor, " scene"]:
    """True where noise alone reaches s_1 with the probability `_BY_CHANCE` or more.

    s_1^2 / sigma^2 is taken for a Gamma variable with the mean m and the variance v of its limit law,

        m = a^2 + E a (1/sqrt(L) + 1/sqrt(M))^(1/3),   a = sqrt(L) + sqrt(M),   v likewise,

    and where sigma^2 is not known s_1^2 / sum |y|^2, which does not depend on sum |y|^2, for a Beta variable
    with the mean m / (L M) and the second moment (v + m^2) / (L M (L M + 1)). Simulated for 4 to 16 antennas
    and 2 to 100 snapshots: noise is taken for a signal in at most 2e-3 of scenes.

    References:
        Johnstone, "On the distribution of the largest eigenvalue in principal components analysis", Ann.
        Statist. 29 (2001), for the limit law.
    """
    L, M = n_snapshots, n_antennas
    a, third = math.sqrt(L) + math.sqrt(M), (L**-0.5 + M**-0.5) ** (1.0 / 3.0)
    mean, variance = a**2 + _TRACY_WIDOM[0] * a * third, _TRACY_WIDOM[1] * (a * third) ** 2
    if noise_power is not None:
        reached = (energies[:, 0] / noise_power.double()).cpu().numpy()
        chance = gammaincc(mean**2 / variance, reached * mean / variance)
    else:
        share = mean / (L * M)
        spread = (variance + mean**2) / (L * M * (L * M + 1)) - share**2
        weight = share * (1.0 - share) / spread - 1.0
        rest = (energies[:, 1:].sum(-1) / energies.sum(-1)).cpu().numpy()
        chance = betainc((1.0 - share) * weight, share * weight, rest)
    return torch.from_numpy(chance).to(energies.device) >= _BY_CHANCE
