"""Covariance of the error of places where the model does not fit.

At a maximum of the likelihood sum_m g_m = 0, g_m the slope of J that the numbers of antenna m make. What a
model lacks of an antenna or of its channel is the same in all snapshots, and no number of them averages it:
the g_m, not the slopes of single numbers, are then independent, and with c unknown coordinates

    C = M / (M - c) H^-1 (sum_m g_m g_m^T) H^-1,   g_m = sum_l Re{V_lm^H (y - G s)_lm},   H of `Projection`

Of fewer antennas than 2 c the numbers count one by one.

References:
    White, "Maximum likelihood estimation of misspecified models", Econometrica 50 (1982), theorem 3.2; Liang
    and Zeger, "Longitudinal data analysis using generalized linear models", Biometrika 73 (1986), eq. (5):
    sums over what is not independent.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from risolve.inference.assessment import own_blocks
from risolve.inference.likelihood import pieces
from risolve.inference.projection import (
    beside,
    columns_of,
    grouped_snapshots,
    least_squares,
    source_responses,
)
from risolve.inference.scaling import unit_scale
from risolve.physics.observation import Observation
from risolve.shapes import Sources


def robust_covariance(
    observation: Observation, sources: Sources, stated: Float[Tensor, "scene source 3 3"]
) -> Float[Tensor, "scene source 3 3"]:
    """Blocks of C of NaN-padded sources, in no direction less than what is `stated`.

    A coordinate that is not known, or has no deviation, stays as it is. Valid at a maximum of the
    likelihood. On lines of 8 antennas with phases of 20 degrees errors are 1.2 to 1.8 times these deviations
    (one or two sources, rms), and 3 to 4 times those of a true model.

    Raises:
        ValueError: as `unit_scale`.
    """
    result = stated.clone()
    present = ~sources[..., 0].isnan()
    counts = present.sum(-1)
    for count in sorted(set(counts.tolist()) - {0}):
        scenes = torch.nonzero(counts == count).flatten()
        slots = torch.nonzero(present[scenes])[:, 1].reshape(len(scenes), count)
        part, placed = observation.select(scenes), sources[scenes[:, None], slots].double()
        own = torch.cat([_sandwich(part.select(piece), placed[piece]) for piece in pieces(part, 4 * count)])
        rows = scenes[:, None], slots
        result[rows] = _no_less(stated[rows], own, observation.limits.is_free)
    return result


def _sandwich(
    observation: Observation, sources: Float[Tensor, "scene source 3"]
) -> Float[Tensor, "scene source 3 3"]:
    """Blocks of C, 0 of coordinates that are known."""
    unit = unit_scale(observation)
    L, M = unit.snapshots.shape[1:]
    n_scenes, n_sources = sources.shape[:2]
    by_source = source_responses(unit, sources)
    columns, derivatives = columns_of(unit, by_source[..., 0, :]), by_source[..., 1:, :]
    fit = least_squares(columns, grouped_snapshots(unit))
    free = torch.nonzero(unit.limits.is_free.repeat(n_sources)).flatten()
    slopes = (derivatives * fit.amplitudes[..., None, None]).flatten(2, 3)[:, :, free]
    slopes = beside(torch.linalg.qr(columns.mT).Q, slopes)
    by_number = (slopes.conj() * fit.misfit[:, :, None]).real.transpose(1, 2).reshape(n_scenes, -1, L, M)
    of_antennas = 2 * len(free) <= M
    own = by_number.sum(2) if of_antennas else by_number.flatten(2)
    n = own.shape[-1]
    inverse = torch.linalg.pinv((slopes.conj() @ slopes.mT).real.sum(1), hermitian=True)
    of_free = inverse @ (own @ own.mT) @ inverse * (n / max(n - len(free), 1))
    whole = torch.zeros((n_scenes, 3 * n_sources, 3 * n_sources), dtype=torch.float64)
    whole[:, free[:, None], free] = of_free
    return own_blocks(whole)


def _no_less(
    stated: Float[Tensor, "scene source 3 3"], own: Float[Tensor, "scene source 3 3"], is_free: Tensor
) -> Float[Tensor, "scene source 3 3"]:
    """The least covariance that is no less than two of them in the directions in which they differ.

    F max(F^-1 C F^-T, I) F^T,   F F^T = the first
    """
    usable = is_free & stated.diagonal(dim1=-2, dim2=-1).isfinite()
    both = usable[..., :, None] & usable[..., None, :]
    identity = torch.eye(3, dtype=torch.float64)
    factor, fault = torch.linalg.cholesky_ex(torch.where(both, stated, identity))
    is_told = (fault == 0) & own.isfinite().all(-1).all(-1)
    factor = torch.where(is_told[..., None, None], factor, identity)
    left = torch.linalg.solve_triangular(factor, torch.where(both, own, identity).nan_to_num(), upper=False)
    relative = torch.linalg.solve_triangular(factor, left.mT, upper=False)
    values, vectors = torch.linalg.eigh((relative + relative.mT) / 2.0)
    whole = factor @ (vectors * values.clamp_min(1.0)[..., None, :]) @ vectors.mT @ factor.mT
    return torch.where(both & is_told[..., None, None], whole, stated)
