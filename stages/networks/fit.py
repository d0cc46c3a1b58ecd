"""The training loop: one for every use. Warm-up and cosine decay per optimizer step, clipped gradients, EMA
weights.

The scored weights are the saved weights: validation runs on the exponential moving average, and that is what
is kept. Shuffles and mirrors are functions of (seed, epoch), so a resumed training repeats the uninterrupted
one exactly.
"""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Complex, Float, Int
from torch import Tensor, nn

from stages import seeds
from stages.covariance import BlendNorms, LoadedBlend, blend, sample_covariance, true_covariance
from stages.networks.covariance_network import CovarianceNetwork, covariance
from stages.networks.dictionary import Dictionary
from stages.networks.features import Mirror, mirror_points, network_input
from stages.networks.health import EpochReadings, Place, measure_blend, require_finite, require_finite_scenes
from stages.networks.losses import covariance_loss, detection_loss, occupancy_target
from stages.physics.geometry import cosines_from_sources
from stages.physics.steering import steering
from stages.shapes import Sources


@dataclass(frozen=True)
class FitSettings:
    """Optimization, losses and blend of one training; see params.yaml for the meaning of each."""

    seed: int
    epochs: int
    batch_size: int
    lr: float
    warmup_fraction: float
    weight_decay: float
    clip_norm: float
    ema_decay: float
    flips: bool
    mixed_precision: bool
    target_width_cells: float
    target_width_planes: float
    focal_exponents: tuple[float, float]
    detection_weight: float
    covariance_weight: float
    blend_beta: float
    diagonal_loading: float


@dataclass(frozen=True)
class Examples:
    """Scenes to learn from: what normalize stored, and the truth (NaN-padded slots, power 0 where empty)."""

    maps: Float[Tensor, "scene map point"]
    estimated_snr: Float[Tensor, " scene"]
    factor: Complex[Tensor, "scene rank element"]
    sources: Sources
    power: Float[Tensor, "scene source"]
    n_sources: Int[Tensor, " scene"]

    def __len__(self) -> int:
        return self.maps.shape[0]

    def batch(self, scenes: Int[Tensor, " chosen"]) -> "Examples":
        """The examples of some scenes."""
        return Examples(*(getattr(self, name)[scenes] for name in self.__dataclass_fields__))

    def to(self, device: torch.device) -> "Examples":
        """The same examples on another device."""
        return Examples(*(getattr(self, name).to(device) for name in self.__dataclass_fields__))

    def mirrored(self, dictionary: Dictionary, mirror: Mirror) -> "Examples":
        """The same scenes seen in a mirror."""
        return Examples(
            mirror_points(self.maps, dictionary.shape, mirror),
            self.estimated_snr,
            dictionary.mirror_elements(self.factor, mirror),
            dictionary.mirror_sources(self.sources, mirror),
            self.power,
            self.n_sources,
        )


@dataclass(frozen=True)
class BatchLoss:
    """Loss of a batch and its parts; `blend` and `norms` cover the scenes that have sources."""

    total: Float[Tensor, ""]
    detection: Float[Tensor, ""]
    covariance: Float[Tensor, ""]
    blend: LoadedBlend
    norms: BlendNorms
    measured: Bool[Tensor, " scene"]


STATE_PARTS = ("epoch", "network", "average", "optimizer", "scheduler", "best", "history", "readings")
FitState = dict[str, Any]
"""`STATE_PARTS`: all that a training needs to go on, in tensors, numbers, strings, lists and mappings."""


def logits_of(
    network: CovarianceNetwork, examples: Examples, dictionary: Dictionary, mixed_precision: bool
) -> Float[Tensor, "scene point"]:
    """Logits of every scene; with mixed precision on a GPU the convolutions run in bfloat16, all else in
    float32.
    """
    device = examples.maps.device
    with torch.autocast(device.type, torch.bfloat16, enabled=mixed_precision and device.type == "cuda"):
        logits: Tensor = network(network_input(examples.maps, examples.estimated_snr, dictionary.shape))
    return logits.float()


def batch_loss(
    logits: Float[Tensor, "scene point"], examples: Examples, dictionary: Dictionary, settings: FitSettings
) -> BatchLoss:
    """Loss of one batch.

        loss = w_d detection + w_c covariance

    A scene without sources has no covariance and enters the detection loss only.
    """
    present = examples.power > 0.0
    sources = torch.where(present[..., None], examples.sources, 1.0)
    target = occupancy_target(
        cosines_from_sources(sources).float(),
        present.float(),
        dictionary.axes,
        settings.target_width_cells,
        settings.target_width_planes,
    )
    detection = detection_loss(logits, target, examples.n_sources.float(), settings.focal_exponents)
    measured = examples.n_sources > 0
    blended = blend(
        covariance(logits[measured], dictionary.basis),
        sample_covariance(examples.factor[measured]),
        settings.blend_beta,
        settings.diagonal_loading,
    )
    waves = steering(
        sources[measured], dictionary.elements, dictionary.wavelength, dictionary.spherical_amplitude
    )
    truth = true_covariance(waves.to(torch.complex64), examples.power[measured].float())
    norms = blended.squared_norms()
    mismatch = covariance_loss(blended, norms, truth)
    total = settings.detection_weight * detection + settings.covariance_weight * mismatch
    return BatchLoss(total, detection, mismatch, blended, norms, measured)


def fit(
    network: CovarianceNetwork,
    training: Examples,
    validation: Examples,
    dictionary: Dictionary,
    settings: FitSettings,
    state: FitState | None,
    after_epoch: Callable[[FitState], None],
    after_batch: Callable[[int, int, int], None],
) -> FitState:
    """Train until `settings.epochs`, from the start or from a state; returns the last state.

    `after_epoch(state)` is called with the state of each finished epoch, `after_batch(epoch, batch,
    n_batches)` for progress. state["best"] holds the EMA weights of least validation loss, state["history"]
    one record an epoch and state["readings"] one health summary an epoch.

    Raises:
        TrainingDiverged: a law is broken or a number is not finite.
    """
    n_batches = math.ceil(len(training) / settings.batch_size)
    optimizer = torch.optim.AdamW(_parameter_groups(network, settings.weight_decay), lr=settings.lr)
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimizer, _warmup_cosine(settings.epochs * n_batches, settings.warmup_fraction)
    )
    average = copy.deepcopy(network).requires_grad_(False)
    if state is None:
        state = {"epoch": 0, "history": [], "readings": [], "best": None}
    else:
        network.load_state_dict(state["network"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        scheduler.load_state_dict(state["scheduler"])

    for epoch in range(state["epoch"] + 1, settings.epochs + 1):
        generator = seeds.generator(settings.seed, "shuffle", epoch)
        order = torch.from_numpy(generator.permutation(len(training)))
        flips = generator.random((n_batches, 2)) < 0.5
        readings = EpochReadings()
        network.train()
        for number in range(n_batches):
            scenes = order[number * settings.batch_size : (number + 1) * settings.batch_size]
            mirror = Mirror(*(bool(f) for f in flips[number])) if settings.flips else Mirror(False, False)
            examples = training.batch(scenes).mirrored(dictionary, mirror)
            _step(network, optimizer, examples, dictionary, settings, readings, Place(epoch, number, scenes))
            scheduler.step()
            with torch.no_grad():
                for averaged, current in zip(average.parameters(), network.parameters(), strict=True):
                    averaged.lerp_(
                        current, 1.0 - _ema_decay(settings.ema_decay, (epoch - 1) * n_batches + number)
                    )
            after_batch(epoch, number + 1, n_batches)
        summary = readings.summary()
        scores = _validate(average, validation, dictionary, settings, epoch)
        record = {
            "epoch": epoch,
            "step": epoch * n_batches,
            "lr": float(scheduler.get_last_lr()[0]),
            **{f"train_{part}": summary[part]["mean"] for part in ("loss", "detection", "covariance")},
            **{f"validation_{part}": scores[part] for part in ("loss", "detection", "covariance")},
            "gradient_norm": summary["gradient_norm"]["median"],
        }
        weights = copy.deepcopy(average.state_dict())
        best = state["best"]
        if best is None or scores["loss"] < best["validation_loss"]:
            best = {"epoch": epoch, "validation_loss": scores["loss"], "network": weights}
        state = {
            "epoch": epoch,
            "network": copy.deepcopy(network.state_dict()),
            "average": weights,
            "optimizer": copy.deepcopy(optimizer.state_dict()),
            "scheduler": scheduler.state_dict(),
            "best": best,
            "history": [*state["history"], record],
            "readings": [*state["readings"], {"epoch": epoch, **summary}],
        }
        after_epoch(state)
    return state


def _step(
    network: CovarianceNetwork,
    optimizer: torch.optim.Optimizer,
    examples: Examples,
    dictionary: Dictionary,
    settings: FitSettings,
    readings: EpochReadings,
    place: Place,
) -> None:
    """One optimizer step with its measurements and gates."""
    optimizer.zero_grad(set_to_none=True)
    logits = logits_of(network, examples, dictionary, settings.mixed_precision)
    require_finite_scenes("logits", logits, place)
    loss = batch_loss(logits, examples, dictionary, settings)
    measure_blend(
        loss.blend, loss.norms, readings, Place(place.epoch, place.batch, place.scenes[loss.measured.cpu()])
    )
    for name, value in (("loss", loss.total), ("detection", loss.detection), ("covariance", loss.covariance)):
        require_finite(name, float(value.detach()), place)
        if name != "covariance" or bool(loss.measured.any()):
            readings.add(name, value)
    loss.total.backward()
    for part, module in network.named_children():
        norm = nn.utils.get_total_norm(p.grad for p in module.parameters() if p.grad is not None)
        require_finite(f"gradient norm of {part}", float(norm), place)
        readings.add(f"gradient_norm_{part}", norm)
    total = nn.utils.clip_grad_norm_(network.parameters(), settings.clip_norm)
    readings.add("gradient_norm", total)
    optimizer.step()


@torch.no_grad()
def _validate(
    network: CovarianceNetwork,
    validation: Examples,
    dictionary: Dictionary,
    settings: FitSettings,
    epoch: int,
) -> dict[str, float]:
    """Mean losses of a network on the validation scenes, in float32: as it is saved and evaluated.

    The covariance loss is a mean over the scenes with sources.
    """
    network.eval()
    detection = covariance_error = 0.0
    for first in range(0, len(validation), settings.batch_size):
        scenes = torch.arange(first, min(first + settings.batch_size, len(validation)))
        examples = validation.batch(scenes)
        logits = logits_of(network, examples, dictionary, False)
        require_finite_scenes("validation logits", logits, Place(epoch, first // settings.batch_size, scenes))
        loss = batch_loss(logits, examples, dictionary, settings)
        for name, value in (
            ("loss", loss.total),
            ("detection", loss.detection),
            ("covariance", loss.covariance),
        ):
            require_finite(
                f"validation {name}", float(value), Place(epoch, first // settings.batch_size, scenes)
            )
        detection += float(loss.detection) * len(scenes)
        covariance_error += float(loss.covariance) * int(loss.measured.sum())
    n_measured = int((validation.n_sources > 0).sum())
    means = {"detection": detection / len(validation), "covariance": covariance_error / max(n_measured, 1)}
    total = settings.detection_weight * means["detection"] + settings.covariance_weight * means["covariance"]
    return {"loss": total, **means}


def _parameter_groups(network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Weight decay on kernels only: biases and normalization gains are not shrunk."""
    kernels = [p for p in network.parameters() if p.ndim > 1]
    others = [p for p in network.parameters() if p.ndim <= 1]
    return [{"params": kernels, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


def _warmup_cosine(n_steps: int, warmup_fraction: float) -> Callable[[int], float]:
    """Linear rise over the first steps, then half a cosine that ends at zero with the last optimizer step."""
    n_warmup = max(1, round(warmup_fraction * n_steps))

    def factor(step: int) -> float:
        if step >= n_steps:
            return 0.0
        if step < n_warmup:
            return (step + 1) / n_warmup
        return 0.5 * (1.0 + math.cos(math.pi * (step - n_warmup) / max(1, n_steps - n_warmup)))

    return factor


def _ema_decay(decay: float, step: int) -> float:
    """Decay that starts small, min(d, (1 + t) / (10 + t)), so that the average forgets the initialization."""
    return min(decay, (1.0 + step) / (10.0 + step))
