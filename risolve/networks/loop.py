"""The sparse covariance fit at the powers that a network predicts: what a further pass of it reads."""

from dataclasses import replace
from typing import NoReturn

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from risolve.inference.sparse_fit import sparse_fit_quotient
from risolve.networks.dictionary import Dictionary
from risolve.networks.examples import by_source_model
from risolve.physics.observation import Observation


@torch.no_grad()
def fit_quotient(
    observation: Observation,
    shared: Bool[Tensor, " scene"],
    dictionary: Dictionary,
    powers: Float[Tensor, "scene point"],
) -> Float[Tensor, "scene point"]:
    """num / den at S_l = c B_l A diag(p) A^H B_l^H + sigma^2 I of scenes of either source model, in float32
    and without gradient; see `sparse_fit_quotient`. NaN where powers are not finite.

    shared: the sources of a scene are `constant`.
    """
    quotient = torch.full_like(powers, torch.nan)
    usable = torch.nonzero(powers.isfinite().all(-1)).flatten()
    with torch.autocast(powers.device.type, enabled=False):
        for own, part in by_source_model(observation.select(usable), shared[usable]):
            scenes = usable[own]
            quotient[scenes] = sparse_fit_quotient(
                part, dictionary.basis.matrix, dictionary.fold, powers[scenes]
            )
    return quotient


def with_noise_of(observation: Observation, estimated_snr: Float[Tensor, " scene"]) -> Observation:
    """What a network with loops reads of scenes, sigma^2 = mean |y|^2 / (1 + SNR)."""
    n_scenes = observation.n_scenes
    power = observation.snapshots.abs().double().square().mean((1, 2))
    return replace(
        observation,
        channel=observation.channel.expand(n_scenes, -1, -1),
        codes=observation.codes.expand(n_scenes, -1, -1),
        noise_power=power / (1.0 + estimated_snr.double()),
    )


def absent_quotient(powers: Float[Tensor, "scene point"]) -> NoReturn:
    """For scenes without snapshots.

    Raises:
        ValueError: always.
    """
    raise ValueError(
        f"a network with loops reads snapshots, channel and codes; the {len(powers)} examples have none"
    )
