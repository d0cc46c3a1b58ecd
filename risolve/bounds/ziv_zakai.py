"""Ziv-Zakai bound on one `independent` source: what no estimator beats on average over the prior.

For each component of the source, an azimuth, elevation, inverse range or range estimated with error e,

    E e^2 >= integral_0^T h V{ max_g integral min(p(x), p(g(x)) |det dg/dx|) P(x, g(x)) dx } dh

where g moves the component by h and the other coordinates as it likes, P is the least probability of error in
telling the two places apart (`pairwise_error`), and V{f}(h) = max_{h' >= h} f(h') fills valleys. Two maps
compete (`pairings`):

    straight    g(x) = x + h e_i
    ridge       g(x) = x + h d(x), along which the measurement tells least (`local_information`)
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from risolve.bounds.local_information import inverse, pieces, received, survey
from risolve.bounds.pairings import (
    COMPONENTS,
    Pairs,
    lattice,
    places,
    prior_deviations,
    ridge_pairs,
    straight_pairs,
    width,
)
from risolve.bounds.pairwise_error import minimum_error, pair_geometry
from risolve.physics.observation import Observation
from risolve.physics.scenario import SourceDistribution

_SMALLEST_SHIFT = 0.05
"""First h over the least deviation: P has lost 2 % of 1/2 there, and the integral up to it is below 0.1 %."""

_NODES_A_FOLD = 3.5
"""Gauss-Legendre nodes for each factor e of h: over ln h the integrand is a bump about 1 wide."""


@dataclass(frozen=True)
class ZivZakaiBound:
    """Root-mean-square bounds at each SNR on azimuth (rad), elevation (rad), inverse range (1/m), range (m).

    deviations: the Ziv-Zakai bound. expected: root of the unconditional Cramer-Rao bound (p and sigma^2
    known) averaged over the same scenes and places; of itself no bound for an estimator that knows the prior.
    prior: standard deviation before any measurement.
    """

    deviations: Float[Tensor, "snr 4"]
    expected: Float[Tensor, "snr 4"]
    prior: Float[Tensor, " 4"]


def ziv_zakai_bound(
    observation: Observation,
    prior: SourceDistribution,
    snr: Float[Tensor, " snr"],
    n_draws: int,
    generator: torch.Generator,
) -> ZivZakaiBound:
    """Bounds for the channels, codes and array of given scenes at each SNR (a power ratio).

    The source has amplitudes CN(0, p) free in every snapshot; p and sigma^2 are known to the estimator, and
    tell nothing of the place. Of the observation only the system is read, not snapshots and noise power.

        SNR = (p / sigma^2) mean |B_l a|^2 over prior, l and m, of each scene

    The integral over x is a mean over `n_draws` places a scene, on a lattice that `generator` shifts for each
    scene. The maximum over g and the filling of valleys act on the mean over scenes: that is a bound too, and
    chance has less part in it.

    Notes:
        For low SNR the bound tends to the standard deviation of the prior in azimuth, elevation and range; in
        inverse range w, whose density falls, to sqrt(E (w - w_min)^2 / 4), the most that the inequality
        gives (0.19 of 0.32 /m for ranges of 0.5 to 10 m).

        For high SNR its square tends to the mean over places and amplitudes of 1 / (d^T F(s) d), with the
        Fisher information F(s) of `conditional_bound`. That is at least `expected` squared (Jensen), where s
        is averaged within F, and at most the mean conditional bound, where d follows s: 4 % above the one and
        below the other, in the root, for 16 snapshots.

        In between, hypotheses two at a time count one wrong place where an estimator meets many, so that the
        threshold comes some 5 dB below that of the best estimator (default system, posterior mean).

        Approximate are P (see `minimum_error`), the integral (a mean over draws; over h within 0.3 %), and
        the ridge, in that g being one-to-one is ensured between neighbours, not between places far apart.

        Computed on the CPU, in float64, with bounded memory.

    Raises:
        ValueError: `constant` sources, path loss, an SNR that is not positive and finite, no draw, an empty
            range of the prior, or a measurement that does not resolve all three coordinates, naming scenes.

    References:
        Bell, Steinberg, Ephraim, Van Trees, "Extended Ziv-Zakai lower bound for vector parameter estimation",
        IEEE Trans. Inf. Theory 43 (1997); here with maps g in place of constant shifts.
    """
    _check(observation, prior, snr, n_draws)
    observation, snr = observation.to(torch.complex128), snr.double()
    cube = lattice(observation.n_scenes, n_draws, generator)
    drawn = places(cube, prior)
    statistics, ridge = survey(observation, drawn)
    # p / sigma^2 of each scene and SNR
    ratio = snr * observation.n_antennas / statistics.power.mean((1, 2))[:, None]
    variances = torch.stack([_variances(statistics.information(q), drawn) for q in ratio.unbind(-1)])
    bounds = []
    for component, smallest in enumerate(variances.amin((0, 1, 2)).sqrt().tolist()):
        shifts, weights = _nodes(_SMALLEST_SHIFT * smallest, width(prior, component))
        maps = (
            straight_pairs(cube, prior, component, shifts),
            ridge_pairs(drawn, ridge, prior, component, shifts),
        )
        errors = [_mean_error(observation, pairs, ratio) for pairs in maps]
        bounds.append(_integral(torch.maximum(*errors), shifts, weights))
    return ZivZakaiBound(
        deviations=torch.stack(bounds, dim=-1).sqrt(),
        expected=variances.mean((1, 2)).sqrt(),
        prior=prior_deviations(prior),
    )


def _check(
    observation: Observation, prior: SourceDistribution, snr: Float[Tensor, " snr"], n_draws: int
) -> None:
    if observation.source_model != "independent":
        raise ValueError(
            "the Ziv-Zakai bound is one of amplitudes free in every snapshot, `independent`; got "
            f"`{observation.source_model}`"
        )
    if prior.path_loss:
        raise ValueError("the Ziv-Zakai bound takes one power p at every range; the prior has path loss")
    if n_draws < 1:
        raise ValueError(f"a mean over the prior takes 1 draw or more a scene; got {n_draws}")
    usable = torch.isfinite(snr) & (snr > 0.0)
    if not bool(usable.all()):
        raise ValueError(f"an SNR is a power ratio, positive and finite; got {snr[~usable].tolist()}")
    for component, name in enumerate(COMPONENTS):
        if not width(prior, component) > 0.0:
            raise ValueError(
                f"a uniform prior has low < high; its {name} has a width of {width(prior, component):g}"
            )


def _variances(
    information: Float[Tensor, "scene draw 3 3"], drawn: Float[Tensor, "scene draw 3"]
) -> Float[Tensor, "scene draw 4"]:
    """Diagonal of F^-1, and sigma_r^2 = sigma_w^2 / w^4."""
    found = inverse(information).diagonal(dim1=-2, dim2=-1)
    return torch.cat((found, found[..., 2:] / drawn[..., 2:].pow(4)), dim=-1)


def _nodes(smallest: float, largest: float) -> tuple[Float[Tensor, " node"], Float[Tensor, " node"]]:
    """Nodes h and the weights of an integral over ln h, from the smallest or 0.01 of the largest on."""
    first = min(smallest, 0.01 * largest)
    folds = math.log(largest / first)
    x, weights = np.polynomial.legendre.leggauss(math.ceil(_NODES_A_FOLD * folds))
    return torch.from_numpy(first * np.exp(0.5 * folds * (x + 1.0))), torch.from_numpy(0.5 * folds * weights)


def _integral(
    error: Float[Tensor, "node snr"], shifts: Float[Tensor, " node"], weights: Float[Tensor, " node"]
) -> Float[Tensor, " snr"]:
    """Integral of h V dh = h^2 V dln h; below the first node V >= V(h_1)."""
    filled = error.flip(0).cummax(0).values.flip(0)
    return 0.5 * shifts[0].square() * filled[0] + (weights * shifts.square()) @ filled


def _mean_error(
    observation: Observation,
    pairs: Pairs,
    ratio: Float[Tensor, "scene snr"],
) -> Float[Tensor, "node snr"]:
    """Mean of weight times P over scenes and draws."""
    n_scenes, n_draws, n_nodes = pairs.weight.shape
    total = ratio.new_zeros((n_nodes, ratio.shape[1]))
    for scenes, draws in pieces(observation, n_draws, 2 * n_nodes):
        part = observation.select(scenes)
        first, second = (
            received(part, part.array.steering(x[scenes, draws])) for x in (pairs.first, pairs.second)
        )
        geometry = pair_geometry(first, second)
        for number, q in enumerate(ratio[scenes].unbind(-1)):
            error = minimum_error(geometry, q[:, None, None, None])
            total[:, number] += (pairs.weight[scenes, draws] * error).sum((0, 1))
    return total / (n_scenes * n_draws)
