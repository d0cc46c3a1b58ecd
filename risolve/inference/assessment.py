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
    with L. A coordinate of which F tells less than its limits (`Limits.variances`) is NaN, and so are, where
    F - 2 C is not positive definite, those with the largest share of noise, source by source; the others
    stand beside them as if these were anywhere within their limits, or beside a source of which nothing is
    told as if its place were known.

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


def likelihood_of(observation: Observation, fit: Refinement) -> Likelihood:
    """Likelihood of the sources of a fit, which fill all slots."""
    return Likelihood(
        powers=squared_modulus(fit.amplitudes).mean(1).double(),
        covariance=_own_blocks(_error_covariance(observation, fit)),
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
    """(F - 2 C)^-1 F (F - 2 C)^-1 of the conditional likelihood, NaN of coordinates within their noise; see
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
    limits, n_sources = observation.limits, fit.sources.shape[1]
    is_free, unknown = limits.is_free.repeat(n_sources), limits.variances.reciprocal().repeat(n_sources)
    told = fit.fisher.diagonal(dim1=1, dim2=2)
    share = (by_noise.diagonal(dim1=1, dim2=2) / told).nan_to_num(nan=torch.inf)
    heard = is_free & (told > unknown)
    loudest = share.masked_fill(~is_free, -torch.inf).unflatten(1, (n_sources, 3)).amax(-1)
    identity = torch.eye(3 * n_sources, dtype=torch.float64)
    while True:
        # what is not heard of a source lies anywhere within its limits; one that is not heard at all is known
        both = heard[:, :, None] & heard[:, None, :]
        anywhere = torch.diag_embed(torch.where(heard, 0.0, unknown))
        placed = heard.unflatten(1, (n_sources, 3)).any(-1).repeat_interleave(3, dim=1) & is_free
        free = placed[:, :, None] & placed[:, None, :]
        information = torch.where(free, fit.fisher + anywhere, identity)
        factor, info = torch.linalg.cholesky_ex(information - torch.where(both, by_noise, 0.0))
        lost = (info != 0) & heard.any(1)
        if not bool(lost.any()):
            break
        # one coordinate less: the noisiest of the noisiest source that has one
        of_source = share.masked_fill(~heard, -torch.inf).unflatten(1, (n_sources, 3))
        source = torch.where(of_source.amax(-1) > -torch.inf, loudest, -torch.inf).argmax(1)
        coordinate = of_source[torch.arange(len(source)), source].argmax(1)
        heard[lost, (3 * source + coordinate)[lost]] = False
    inverse = torch.cholesky_inverse(factor)
    covariance = inverse @ torch.where(free, information, 0.0) @ inverse
    beside = torch.where(is_free, torch.where(heard, 0.0, torch.nan), 0.0)
    return torch.where(both, covariance, beside[:, :, None] + beside[:, None, :])


def _own_blocks(
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
