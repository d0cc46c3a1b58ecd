"""The sparse covariance fit at the powers that a network predicts: what a further pass of it reads."""

from typing import NoReturn

import torch
from jaxtyping import Float
from torch import Tensor

from risolve.inference.sparse_fit import sparse_fit_quotient
from risolve.networks.dictionary import Dictionary
from risolve.networks.likelihood_loss import Received
from risolve.physics.observation import Observation, SourceModel


@torch.no_grad()
def fit_quotient(
    received: Received, dictionary: Dictionary, powers: Float[Tensor, "scene point"]
) -> Float[Tensor, "scene point"]:
    """num / den at S_l = c B_l A diag(p) A^H B_l^H + sigma^2 I of scenes of either source model, in float32
    and without gradient; see `sparse_fit_quotient`. NaN where powers are not finite.
    """
    quotient = torch.full_like(powers, torch.nan)
    usable = powers.isfinite().all(-1)
    models: tuple[tuple[SourceModel, Tensor], ...] = (
        ("independent", usable & ~received.shared),
        ("constant", usable & received.shared),
    )
    with torch.autocast(powers.device.type, enabled=False):
        for source_model, scenes in models:
            if bool(scenes.any()):
                observation = _observation(received.select(scenes), dictionary, source_model)
                quotient[scenes] = sparse_fit_quotient(
                    observation, dictionary.basis.matrix, dictionary.fold, powers[scenes]
                )
    return quotient


def received_of(observation: Observation, estimated_snr: Float[Tensor, " scene"]) -> Received:
    """What a network with loops reads of scenes, sigma^2 = mean |y|^2 / (1 + SNR)."""
    n_scenes = observation.n_scenes
    power = observation.snapshots.abs().double().square().mean((1, 2))
    return Received(
        observation.snapshots,
        observation.channel.expand(n_scenes, -1, -1),
        observation.codes.expand(n_scenes, -1, -1),
        power / (1.0 + estimated_snr.double()),
        torch.full((n_scenes,), observation.source_model == "constant"),
    )


def absent_quotient(powers: Float[Tensor, "scene point"]) -> NoReturn:
    """For scenes without snapshots.

    Raises:
        ValueError: always.
    """
    raise ValueError(
        f"a network with loops reads snapshots, channel and codes; the {len(powers)} examples have none"
    )


def _observation(received: Received, dictionary: Dictionary, source_model: SourceModel) -> Observation:
    return Observation(
        snapshots=received.snapshots,
        array=dictionary.array,
        channel=received.channel,
        codes=received.codes,
        source_model=source_model,
        noise_power=received.noise_power,
    )
