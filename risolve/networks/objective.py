"""The objective of training: the loss of a batch, part by part, each with its weight."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from risolve.covariance import BlendNorms, LoadedBlend, blend, sample_covariance, true_covariance
from risolve.networks.covariance_network import Outputs, covariance
from risolve.networks.dictionary import Dictionary
from risolve.networks.examples import UNKNOWN, Examples
from risolve.networks.features import network_input
from risolve.networks.likelihood_loss import likelihood_loss
from risolve.networks.loop import absent_quotient, fit_quotient
from risolve.networks.losses import (
    count_loss,
    covariance_loss,
    detection_loss,
    occupancy,
    offset_loss,
    subspace_loss,
)
from risolve.physics.geometry import cosines_from_sources

PARTS = ("detection", "offset", "count", "covariance", "subspace", "likelihood", "pass")
"""Parts of the loss, each the mean over the scenes that it applies to."""

SCENE_PARTS = ("detection", "count", "likelihood", "pass")
"""Parts that apply to every scene; the others to those with sources."""

WITHOUT_TRUTH = ("likelihood",)
"""Parts that read no truth."""


@dataclass(frozen=True)
class LossSettings:
    """Targets, weights by part and blend of the objective; see params.yaml for the meaning of each."""

    target_width_cells: float
    target_width_planes: float
    focal_exponents: tuple[float, float]
    weights: dict[str, float]
    blend_beta: float
    diagonal_loading: float


@dataclass(frozen=True)
class BatchLoss:
    """Loss of a batch, and its parts before their weights.

    `blend` and `norms` cover the scenes that are not known to be without sources.
    """

    total: Float[Tensor, ""]
    parts: dict[str, Float[Tensor, ""]]
    blend: LoadedBlend
    norms: BlendNorms
    measured: Bool[Tensor, " scene"]


def outputs_of(
    network: torch.nn.Module, examples: Examples, dictionary: Dictionary, mixed_precision: bool
) -> Outputs:
    """What the network says of every scene; with mixed precision the convolutions run in bfloat16, all else
    in float32.
    """
    image = network_input(examples.maps, examples.estimated_snr, examples.shared, dictionary.grid.shape)
    observation = examples.observation
    quotient = (
        absent_quotient
        if observation is None
        else partial(fit_quotient, observation, examples.shared, dictionary)
    )
    with torch.autocast(image.device.type, torch.bfloat16, enabled=mixed_precision):
        outputs: Outputs = network(image, quotient)
    return outputs


def batch_loss(
    outputs: Outputs, examples: Examples, dictionary: Dictionary, settings: LossSettings, beta: float
) -> BatchLoss:
    """Loss of one batch, the weighted sum of its parts.

    A part without weight is not computed, nor is the one of earlier passes where there are none. A scene
    without sources has no covariance and no places, and enters `SCENE_PARTS` alone.

    Raises:
        ValueError: a part with a weight reads a truth, or snapshots, that the examples do not hold.
    """
    absent = () if outputs.earlier else ("pass",)
    weights = {
        name: weight for name, weight in settings.weights.items() if weight > 0.0 and name not in absent
    }
    reading = sorted(weights.keys() - set(WITHOUT_TRUTH))
    if reading and bool((examples.n_sources == UNKNOWN).any()):
        raise ValueError(f"{', '.join(reading)} read the sources of every scene; some are not known")
    present = examples.power > 0.0
    sources = torch.where(present[..., None], examples.sources, 1.0)
    cosines = cosines_from_sources(sources).float()
    grid = dictionary.grid
    occupied = occupancy(
        cosines, present, grid.axes, settings.target_width_cells, settings.target_width_planes
    )
    measured = examples.n_sources != 0
    predicted = covariance(outputs, dictionary.basis)
    own = predicted.select(measured)
    blended = blend(own, sample_covariance(examples.factor[measured]), beta, settings.diagonal_loading)
    norms = blended.squared_norms()
    waves = dictionary.array.steering(sources[measured]).to(torch.complex64)

    def detection(logits: Tensor) -> Tensor:
        n_sources = examples.n_sources.float()
        return detection_loss(logits, occupied.target, n_sources, settings.focal_exponents)

    def offset() -> Tensor:
        softness = settings.focal_exponents[1]
        return offset_loss(
            outputs.offsets, cosines, present, grid.coordinates, grid.steps, occupied, softness
        )

    def likelihood() -> Tensor:
        if examples.observation is None:
            raise ValueError("the likelihood loss reads snapshots, channel and codes; the examples have none")
        return likelihood_loss(predicted, examples.observation, examples.shared)

    losses: dict[str, Callable[[], Tensor]] = {
        "detection": lambda: detection(outputs.logits),
        "offset": offset,
        "count": lambda: count_loss(outputs.counts, examples.n_sources),
        "covariance": lambda: covariance_loss(
            blended, norms, true_covariance(waves, examples.power[measured].float())
        ),
        "subspace": lambda: subspace_loss(own, waves * present[measured][..., None]),
        "likelihood": likelihood,
        "pass": lambda: torch.stack([detection(logits) for logits in outputs.earlier]).mean(),
    }
    parts = {name: losses[name]() for name in weights}
    total = torch.stack([weight * parts[name] for name, weight in weights.items()]).sum()
    return BatchLoss(total, parts, blended, norms, measured)


def beta_at(progress: float, start: float, end: float) -> float:
    """Weight of R_samp in the blend: from `start` to `end` in a straight line over the first half of the
    training (progress 0 ... 1), `end` after it.
    """
    return end + (start - end) * max(0.0, 1.0 - 2.0 * progress)
