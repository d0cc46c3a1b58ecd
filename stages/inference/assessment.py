"""What the snapshots say of given sources: their likelihood, powers, and how sure they are of the places."""

import math
from dataclasses import dataclass, fields

import torch
from jaxtyping import Float, Int
from torch import Tensor

from stages.inference.likelihood import Refinement, refine
from stages.inference.unconditional import UnconditionalRefinement
from stages.physics.observation import Observation
from stages.shapes import Powers, Sources


@dataclass(frozen=True)
class Likelihood:
    """Likelihood of sources, NaN in slots without one.

    powers: mean |s_lk|^2 over the snapshots. covariance: inverse Fisher information at the sources, the
    block of (azimuth (rad), elevation (rad), inverse range (1/m)) of each, the others and all amplitudes
    unknown too; NaN where the information is singular. residual: J = sum_l |P_{G_l}^perp y_l|^2.

        log_likelihood = -L M log(pi sigma^2) - J / sigma^2

    with the known noise power, or with J / (L M), which maximizes it.
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


def likelihood_at(observation: Observation, sources: Sources, spherical_amplitude: bool) -> Likelihood:
    """Conditional likelihood of NaN-padded sources, scenes of any number of them; complex128."""
    n_scenes, n_slots = sources.shape[:2]
    present = ~sources[..., 0].isnan()
    counts = present.sum(-1)
    empty = torch.full((n_scenes,), torch.nan, dtype=torch.float64)
    result = Likelihood(
        powers=torch.full((n_scenes, n_slots), torch.nan, dtype=torch.float64),
        covariance=torch.full((n_scenes, n_slots, 3, 3), torch.nan, dtype=torch.float64),
        residual=empty,
        log_likelihood=empty,
    )
    for count in sorted(set(counts.tolist())):
        scenes = torch.nonzero(counts == count).flatten()
        slots = torch.nonzero(present[scenes])[:, 1].reshape(scenes.shape[0], count)
        part = observation.select(scenes)
        fit = refine(part, sources[scenes[:, None], slots], 0, spherical_amplitude)
        result = result.replaced(scenes, slots, likelihood_of(part, fit))
    return result


def likelihood_of(observation: Observation, fit: Refinement) -> Likelihood:
    """Likelihood of the sources of a fit, which fill all slots."""
    return Likelihood(
        powers=fit.amplitudes.abs().square().mean(1).double(),
        covariance=_own_blocks(fit.fisher, fit.sources),
        residual=fit.residual,
        log_likelihood=log_likelihood(observation, fit.residual),
    )


def unconditional_likelihood(
    observation: Observation,
    fits: UnconditionalRefinement,
    rows: Int[Tensor, " scene"],
    spherical_amplitude: bool,
) -> Likelihood:
    """Likelihood of the sources of some fits, one a scene, where the amplitudes are CN(0, p_k).

    powers p_k; the covariance beside unknown powers; residual J of the same sources;

        log_likelihood = -L M log(pi) - sum_g [ log det R_g + y_g^H R_g^-1 y_g ]
    """
    sources = fits.sources[rows]
    conditional = likelihood_at(observation, sources, spherical_amplitude)
    n_numbers = observation.n_snapshots * observation.n_antennas
    return Likelihood(
        powers=fits.powers[rows],
        covariance=_own_blocks(fits.fisher[rows], sources),
        residual=conditional.residual,
        log_likelihood=-n_numbers * math.log(math.pi) - fits.cost[rows],
    )


def _own_blocks(
    fisher: Float[Tensor, "scene coordinate coordinate"], sources: Float[Tensor, "scene source 3"]
) -> Float[Tensor, "scene source 3 3"]:
    """(F^-1)_kk of each source, NaN where F is singular."""
    n_scenes, n_sources = sources.shape[:2]
    inverse, info = torch.linalg.inv_ex(fisher)
    blocks = inverse.reshape(n_scenes, n_sources, 3, n_sources, 3).diagonal(dim1=1, dim2=3)
    return torch.where((info == 0)[:, None, None, None], blocks.permute(0, 3, 1, 2), torch.nan)


def log_likelihood(observation: Observation, residual: Powers) -> Float[Tensor, " scene"]:
    """-L M log(pi sigma^2) - J / sigma^2 of a residual J; see `Likelihood`."""
    n_numbers = observation.n_snapshots * observation.n_antennas
    noise_power = (
        residual / n_numbers if observation.noise_power is None else observation.noise_power.double()
    )
    return -n_numbers * (math.pi * noise_power).log() - residual / noise_power
