"""What the snapshots say of given sources: their likelihood, powers, and how sure they are of the places."""

import math
from dataclasses import dataclass, fields

import torch
from jaxtyping import Float, Int
from torch import Tensor

from risolve.inference.likelihood import Refinement, pieces, refine
from risolve.inference.projection import amplitude_noise
from risolve.inference.unconditional import UnconditionalRefinement
from risolve.modulus import squared_modulus
from risolve.physics.geometry import turned
from risolve.physics.observation import Observation
from risolve.shapes import Powers, Sources


@dataclass(frozen=True)
class Likelihood:
    """Likelihood of sources, NaN in slots without one.

    powers: mean |s_lk|^2 over the snapshots. covariance: that of the error of a maximum of the likelihood,
    the block of (azimuth (rad), elevation (rad), inverse range (1/m)) of each source, the others and all
    amplitudes unknown too; 0 of a coordinate that is known. residual: J = sum_l |P_{G_l}^perp y_l|^2.

        log_likelihood = -L M log(pi sigma^2) - J / sigma^2

    with the known noise power, or with J / (L M), which maximizes it. From the Fisher information F at the
    sources and their amplitudes (`Refinement`), and the share 2 C of it that noise in the amplitudes makes
    (`amplitude_noise`):

        covariance = (F - 2 C)^-1 F (F - 2 C)^-1

    F - 2 C estimates the information at the true amplitudes, the expected curvature of J; F is the
    covariance of its slope, to which noise in the amplitudes adds. The inverse of either alone is less than
    the covariance of the error. Both approach the Cramer-Rao bound with the SNR or, of `constant` sources,
    with L. Where F - 2 C is not positive definite, the sources whose amplitudes have most noise are NaN, and
    the others stand beside them as if their places were known. So is, and do, a coordinate of which F tells
    less than its limits (`Limits.variances`): stated ones, or those of antennas without a surface.

    Valid where 2 C is a small part of F. Where it is not (two antennas, or several sources at 0 dB), errors
    exceed it by half and more.

    References:
        Stoica and Nehorai, "Performance study of conditional and unconditional direction-of-arrival
        estimation", IEEE Trans. Acoust., Speech, Signal Process. 38 (1990): the error covariance of the
        conditional maximum, for few snapshots above its bound.
    """

    powers: Float[Tensor, "scene source"]
    covariance: Float[Tensor, "scene source 3 3"]
    residual: Float[Tensor, " scene"]
    log_likelihood: Float[Tensor, " scene"]

    def replaced(
        self, scenes: Int[Tensor, " other"], slots: Int[Tensor, "other slot"], other: "Likelihood"
    ) -> "Likelihood":
        """This likelihood, with that of some scenes in some of their slots."""
        values = {field.name: getattr(self, field.name).clone() for field in fields(self)}
        for name in ("powers", "covariance"):
            values[name][scenes[:, None], slots] = getattr(other, name)
        for name in ("residual", "log_likelihood"):
            values[name][scenes] = getattr(other, name)
        return Likelihood(**values)


def no_likelihood(n_scenes: int, n_slots: int) -> Likelihood:
    """NaN in every slot of every scene."""
    of_scene = torch.full((n_scenes,), torch.nan, dtype=torch.float64)
    return Likelihood(
        powers=torch.full((n_scenes, n_slots), torch.nan, dtype=torch.float64),
        covariance=torch.full((n_scenes, n_slots, 3, 3), torch.nan, dtype=torch.float64),
        residual=of_scene,
        log_likelihood=of_scene,
    )


def likelihood_at(observation: Observation, sources: Sources) -> Likelihood:
    """Conditional likelihood of NaN-padded sources, scenes of any number of them; complex128."""
    present = ~sources[..., 0].isnan()
    counts = present.sum(-1)
    result = no_likelihood(*sources.shape[:2])
    for count in sorted(set(counts.tolist())):
        scenes = torch.nonzero(counts == count).flatten()
        slots = torch.nonzero(present[scenes])[:, 1].reshape(scenes.shape[0], count)
        part = observation.select(scenes)
        fit = refine(part, sources[scenes[:, None], slots], 0)
        result = result.replaced(scenes, slots, likelihood_of(part, fit))
    return result


def covariance_of_peaks(
    observation: Observation, sources: Sources, n_iterations: int
) -> Float[Tensor, "scene source 3 3"]:
    """Blocks of the error of NaN-padded places that are no maximum of the likelihood, but d from one.

        C + d d^T,   C the covariance of the error of that maximum

    d is found by `refine`, from the places themselves.
    """
    present = ~sources[..., 0].isnan()
    counts = present.sum(-1)
    covariance = torch.full((*sources.shape, 3), torch.nan, dtype=torch.float64)
    for count in sorted(set(counts.tolist()) - {0}):
        scenes = torch.nonzero(counts == count).flatten()
        rows = scenes[:, None], torch.nonzero(present[scenes])[:, 1].reshape(len(scenes), count)
        part = observation.select(scenes)
        fit = refine(part, sources[rows], n_iterations)
        d = turned(fit.sources - sources[rows])
        covariance[rows] = likelihood_of(part, fit).covariance + d[..., :, None] * d[..., None, :]
    return covariance


def likelihood_of(observation: Observation, fit: Refinement) -> Likelihood:
    """Likelihood of the sources of a fit, which fill all slots."""
    return Likelihood(
        powers=squared_modulus(fit.amplitudes).mean(1).double(),
        covariance=own_blocks(_error_covariance(observation, fit)),
        residual=fit.residual,
        log_likelihood=log_likelihood(observation, fit.residual),
    )


def unconditional_likelihood(
    observation: Observation,
    fits: UnconditionalRefinement,
    rows: Int[Tensor, " scene"],
) -> Likelihood:
    """Likelihood of the sources of some fits, one a scene, where the amplitudes are CN(0, p_k).

    powers p_k; residual and covariance those of the conditional likelihood at the same sources, no less than
    the covariance of their error; NaN for a source of power 0, which has no place;

        log_likelihood = -L M log(pi) - sum_g [ log det R_g + y_g^H R_g^-1 y_g ]
    """
    powers = fits.powers[rows]
    present = powers > 0.0
    sources = fits.sources[rows].masked_fill(~present[..., None], torch.nan)
    conditional = likelihood_at(observation, sources)
    n_numbers = observation.n_snapshots * observation.n_antennas
    return Likelihood(
        powers=torch.where(present, powers, torch.nan),
        covariance=conditional.covariance,
        residual=conditional.residual,
        log_likelihood=-n_numbers * math.log(math.pi) - fits.cost[rows],
    )


def _error_covariance(
    observation: Observation, fit: Refinement
) -> Float[Tensor, "scene coordinate coordinate"]:
    """(F - 2 C)^-1 F (F - 2 C)^-1 of the conditional likelihood, NaN for what is within its noise; see
    `Likelihood`.
    """
    if fit.sources.shape[1] == 0:
        return fit.fisher
    by_noise = 2.0 * torch.cat(
        [
            amplitude_noise(observation.select(part).to(torch.complex128), fit.sources[part])
            for part in pieces(observation, 4 * fit.sources.shape[1])
        ]
    )
    limits = observation.limits
    shares = (by_noise / fit.fisher).diagonal(dim1=1, dim2=2).unflatten(1, (-1, 3)).nan_to_num(nan=torch.inf)
    share = torch.where(limits.is_free, shares, 0.0).amax(-1)
    placed = torch.ones_like(share, dtype=torch.bool)
    told = limits.is_free.expand_as(shares)
    if observation.stated is not None or observation.array.is_received_by(observation.n_antennas):
        # through the codes of a surface all is told, but at the horizon
        told = told & (fit.fisher.diagonal(dim1=1, dim2=2).unflatten(1, (-1, 3)) * limits.variances > 1.0)
    identity = torch.eye(fit.fisher.shape[-1], dtype=torch.float64)
    while True:
        heard = (placed[..., None] & told).flatten(1)
        both = heard[:, :, None] & heard[:, None, :]
        factor, info = torch.linalg.cholesky_ex(torch.where(both, fit.fisher - by_noise, identity))
        lost = (info != 0) & placed.any(1)
        if not bool(lost.any()):
            break
        # one source less: the one with the largest share of noise
        noisiest = share.masked_fill(~placed, -torch.inf).argmax(1)
        placed[lost, noisiest[lost]] = False
    inverse = torch.cholesky_inverse(factor)
    covariance = inverse @ torch.where(both, fit.fisher, 0.0) @ inverse
    unknown = (~placed[..., None] | (limits.is_free & ~told)).flatten(1)
    beside = torch.where(unknown[:, :, None] | unknown[:, None, :], torch.nan, 0.0)
    return torch.where(both, covariance, beside)


def own_blocks(
    covariance: Float[Tensor, "scene coordinate coordinate"],
) -> Float[Tensor, "scene source 3 3"]:
    """Covariance of the coordinates of each source."""
    n_scenes, n_sources = covariance.shape[0], covariance.shape[1] // 3
    blocks = covariance.reshape(n_scenes, n_sources, 3, n_sources, 3).diagonal(dim1=1, dim2=3)
    return blocks.permute(0, 3, 1, 2)


def log_likelihood(observation: Observation, residual: Powers) -> Float[Tensor, " scene"]:
    """-L M log(pi sigma^2) - J / sigma^2 of a residual J; see `Likelihood`."""
    n_numbers = observation.n_snapshots * observation.n_antennas
    noise_power = (
        residual / n_numbers if observation.noise_power is None else observation.noise_power.double()
    )
    return -n_numbers * (math.pi * noise_power).log() - residual / noise_power
