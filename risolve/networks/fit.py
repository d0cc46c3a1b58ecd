"""The training loop: one for every use. Warm-up and cosine decay per optimizer step, clipped gradients, EMA
weights.

The scored weights are the saved weights: validation runs on the exponential moving average, and that is what
is kept. Batches, mirrors and blend weights are functions of (seed, epoch), so a resumed training repeats the
uninterrupted one exactly.
"""

import copy
import math
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from risolve import seeds
from risolve.networks.covariance_network import CovarianceNetwork
from risolve.networks.dictionary import Dictionary
from risolve.networks.examples import Examples, Feed
from risolve.networks.features import Mirror
from risolve.networks.health import EpochReadings, Place, measure_blend, require_finite, require_finite_scenes
from risolve.networks.objective import (
    SCENE_PARTS,
    BatchLoss,
    LossSettings,
    batch_loss,
    beta_at,
    outputs_of,
)


@dataclass(frozen=True)
class FitSettings:
    """Optimization of one training; see params.yaml for the meaning of each.

    batch_size is that of the validation; the batches of training are those of their feed.
    """

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
    blend_beta_start: float
    blend_beta_jitter: float
    loss: LossSettings


STATE_PARTS = ("epoch", "network", "average", "optimizer", "scheduler", "best", "history", "readings")
FitState = dict[str, Any]
"""`STATE_PARTS`: all that a training needs to go on, in tensors, numbers, strings, lists and mappings."""


def fit(
    network: CovarianceNetwork,
    forward: nn.Module,
    training: Feed,
    validation: Examples,
    dictionary: Dictionary,
    settings: FitSettings,
    state: FitState | None,
    after_epoch: Callable[[FitState], None],
    after_batch: Callable[[int, int, int], None],
) -> FitState:
    """Train until `settings.epochs`, from the start or from a state; returns the last state.

    forward: the network itself, or what runs it in several processes and averages their gradients
    (DistributedDataParallel); each then has a feed of its own, and all reach the same weights.
    `after_epoch(state)` is called with the state of each finished epoch, `after_batch(epoch, batch,
    n_batches)` for progress. state["best"] holds the EMA weights of least validation loss, state["history"]
    one record an epoch and state["readings"] one health summary an epoch, of the scenes of this process: what
    has sources alone is NaN in a record, and absent from a summary, where none of them has any.

    Raises:
        TrainingDiverged: a law is broken or a number is not finite.
    """
    n_batches = training.n_batches
    n_steps = settings.epochs * n_batches
    optimizer, scheduler = optimization(network, settings, n_steps)
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
        flips = generator.random((n_batches, 2)) < 0.5
        jitter = settings.blend_beta_jitter * (2.0 * generator.random(n_batches) - 1.0)
        readings = EpochReadings()
        network.train()
        with closing(training.batches(epoch)) as batches:
            for number, batch in enumerate(batches):
                mirror = Mirror(*(bool(f) for f in flips[number])) if settings.flips else Mirror(False, False)
                step = (epoch - 1) * n_batches + number
                beta = beta_at(step / n_steps, settings.blend_beta_start, settings.loss.blend_beta)
                beta = min(1.0, max(0.0, beta + float(jitter[number])))
                place = Place(epoch, number, batch.scenes)
                mirrored = batch.examples.mirrored(dictionary, mirror)
                _step(network, forward, optimizer, mirrored, dictionary, settings, beta, readings, place)
                scheduler.step()
                with torch.no_grad():
                    for averaged, current in zip(average.parameters(), network.parameters(), strict=True):
                        averaged.lerp_(current, 1.0 - _ema_decay(settings.ema_decay, step))
                after_batch(epoch, number + 1, n_batches)
        summary = readings.summary()
        scores = validate(average, validation, dictionary, settings, epoch)
        record = {
            "epoch": epoch,
            "step": epoch * n_batches,
            "lr": float(scheduler.get_last_lr()[0]),
            **{f"train_{part}": summary[part]["mean"] if part in summary else math.nan for part in scores},
            **{f"validation_{part}": score for part, score in scores.items()},
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


def optimization(
    network: CovarianceNetwork, settings: FitSettings, n_steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """The optimizer of a network, and the course of its learning rate over a number of steps."""
    optimizer = torch.optim.AdamW(_parameter_groups(network, settings.weight_decay), lr=settings.lr)
    course = _warmup_cosine(n_steps, settings.warmup_fraction)
    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, course)


def _step(
    network: CovarianceNetwork,
    forward: nn.Module,
    optimizer: torch.optim.Optimizer,
    examples: Examples,
    dictionary: Dictionary,
    settings: FitSettings,
    beta: float,
    readings: EpochReadings,
    place: Place,
) -> None:
    """One optimizer step with its measurements and gates."""
    optimizer.zero_grad(set_to_none=True)
    outputs = outputs_of(forward, examples, dictionary, settings.mixed_precision)
    require_finite_scenes("logits", outputs.logits, place)
    loss = batch_loss(outputs, examples, dictionary, settings.loss, beta)
    own = Place(place.epoch, place.batch, place.scenes[loss.measured.cpu()])
    measure_blend(loss.blend, loss.norms, readings, own)
    shared = examples.shared[loss.measured]
    for source_model, scenes in (("independent", ~shared), ("constant", shared)):
        if bool(scenes.any()):
            readings.add(f"r_samp_norm_{source_model}", loss.norms.sample[scenes].sqrt())
    for name, value in (("loss", loss.total), *loss.parts.items()):
        require_finite(name, float(value.detach()), place)
        if name == "loss" or name in SCENE_PARTS or bool(loss.measured.any()):
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
def validate(
    network: CovarianceNetwork,
    validation: Examples,
    dictionary: Dictionary,
    settings: FitSettings,
    epoch: int,
) -> dict[str, float]:
    """Mean losses of a network on the validation scenes, in float32: as it is saved and evaluated.

    Each part is a mean over the scenes that it applies to; `loss` is their weighted sum.

    Raises:
        TrainingDiverged: a number is not finite.
    """
    network.eval()
    sums: dict[str, float] = {}
    for first in range(0, len(validation), settings.batch_size):
        scenes = torch.arange(first, min(first + settings.batch_size, len(validation)))
        place = Place(epoch, first // settings.batch_size, scenes)
        loss = validation_loss(network, validation.select(scenes), dictionary, settings.loss, place)
        for name, value in loss.parts.items():
            n_scenes = len(scenes) if name in SCENE_PARTS else int(loss.measured.sum())
            sums[name] = sums.get(name, 0.0) + float(value) * n_scenes
    n_measured = int((validation.n_sources != 0).sum())
    means = {
        name: value / (len(validation) if name in SCENE_PARTS else max(n_measured, 1))
        for name, value in sums.items()
    }
    total = sum(settings.loss.weights[name] * value for name, value in means.items())
    return {"loss": total, **means}


def validation_loss(
    network: CovarianceNetwork,
    examples: Examples,
    dictionary: Dictionary,
    settings: LossSettings,
    place: Place,
) -> BatchLoss:
    """Loss of a batch of validation scenes, whose blend has the weight that it is evaluated with.

    Raises:
        TrainingDiverged: a number is not finite.
    """
    outputs = outputs_of(network, examples, dictionary, mixed_precision=False)
    require_finite_scenes("validation logits", outputs.logits, place)
    loss = batch_loss(outputs, examples, dictionary, settings, settings.blend_beta)
    for name, value in (("loss", loss.total), *loss.parts.items()):
        require_finite(f"validation {name}", float(value), place)
    return loss


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
