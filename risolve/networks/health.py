"""The gates: laws that training may not break, measured on every batch and recorded every epoch.

For a Hermitian positive semidefinite R with tr R = N: sqrt(N) <= ||R||_F <= N. The law holds for R_samp,
R_pred and their blend before loading; the trace of the loaded blend is N (1 + eps). A broken law or a number
that is not finite stops the training with `TrainingDiverged`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from risolve.covariance import BlendNorms, LoadedBlend

RELATIVE_TOLERANCE = 1e-5

INCIDENT: Mapping[str, object] = {
    "description": "training with raw least-squares covariances: the log, and what it should have read",
    "r_samp_norm": {"measured": 2.85e-4, "expected": [30.0, 60.0]},
    "r_pred_norm": {"measured": 65.1, "expected": [65.0, 65.0]},
    "r_blend_norm": {"measured": 3.46e12, "expected": [50.0, 100.0]},
    "loss": {"measured": 1.7e25, "expected": [1.0, 1000.0]},
    "gradient_norm": {"measured": None, "expected": "finite"},
}
"""Readings of the incident's log at the default settings; a measured None was NaN."""


class TrainingDiverged(RuntimeError):
    """A law is broken or a quantity is not finite; the last good checkpoint is kept."""


@dataclass(frozen=True)
class Place:
    """Where in the training a measurement was made: epoch, batch, and the scene numbers of the batch."""

    epoch: int
    batch: int
    scenes: Int[Tensor, " scene"]


@dataclass
class EpochReadings:
    """Measurements of one epoch, one tensor a batch and quantity."""

    values: dict[str, list[Tensor]] = field(default_factory=dict)

    def add(self, quantity: str, value: Tensor) -> None:
        """Record one batch of a quantity."""
        self.values.setdefault(quantity, []).append(value.detach().reshape(-1).double().cpu())

    def summary(self) -> dict[str, dict[str, float]]:
        """Minimum, median, maximum and mean of every quantity that has a value: an epoch without sources has
        no norm.
        """
        joined = {quantity: torch.cat(parts) for quantity, parts in self.values.items()}
        return {quantity: _statistics(values) for quantity, values in joined.items() if len(values)}


def _statistics(values: Float[Tensor, " value"]) -> dict[str, float]:
    return {
        "min": float(values.min()),
        "median": float(values.median()),
        "max": float(values.max()),
        "mean": float(values.mean()),
    }


def measure_blend(blend: LoadedBlend, norms: BlendNorms, readings: EpochReadings, place: Place) -> None:
    """Record and gate the norms and traces of R_samp, R_pred and R_blend.

    Raises:
        TrainingDiverged: a norm outside [sqrt(N), N] or a trace off its law by more than 1e-5 relative.
    """
    n = blend.n_elements
    with torch.no_grad():
        for name, squared_norm, trace, expected in (
            ("r_samp", norms.sample, blend.sample.trace(), float(n)),
            ("r_pred", norms.predicted, blend.predicted.trace(), float(n)),
            ("r_blend", norms.blend, blend.trace(), n * (1.0 + blend.loading)),
        ):
            norm = squared_norm.sqrt()
            error = (trace / expected - 1.0).abs()
            readings.add(f"{name}_norm", norm)
            readings.add(f"{name}_trace_error", error)
            _gate(f"||{name}||_F", norm, math.sqrt(n), float(n), place)
            _gate(f"|tr {name} / {expected:g} - 1|", error, 0.0, RELATIVE_TOLERANCE, place)


def _gate(quantity: str, values: Float[Tensor, " scene"], low: float, high: float, place: Place) -> None:
    """low <= values <= high, to 1e-5 relative; NaN fails."""
    inside = (values >= low * (1.0 - RELATIVE_TOLERANCE)) & (values <= high * (1.0 + RELATIVE_TOLERANCE))
    if not bool(inside.all()):
        bad = ~inside.cpu()
        raise TrainingDiverged(
            f"{quantity} lies in [{low:g}, {high:g}]; epoch {place.epoch}, batch {place.batch}: "
            f"{values.detach().cpu()[bad].tolist()} in scenes {place.scenes.cpu()[bad].tolist()}"
        )


def require_finite(quantity: str, value: float, place: Place) -> None:
    """Stop where a loss or gradient norm is not finite.

    Raises:
        TrainingDiverged: the value is NaN or infinite.
    """
    if not math.isfinite(value):
        raise TrainingDiverged(
            f"{quantity} is finite; epoch {place.epoch}, batch {place.batch}: {value} on scenes "
            f"{place.scenes.tolist()}"
        )


def require_finite_scenes(quantity: str, values: Float[Tensor, "scene value"], place: Place) -> None:
    """Stop where a quantity of some scenes is not finite.

    Raises:
        TrainingDiverged: NaN or infinite values, naming their scenes.
    """
    bad = ~torch.isfinite(values.detach()).all(-1).cpu()
    if bool(bad.any()):
        raise TrainingDiverged(
            f"{quantity} are finite; epoch {place.epoch}, batch {place.batch}: not so in scenes "
            f"{place.scenes.cpu()[bad].tolist()}"
        )


def gates(
    epochs: Sequence[Mapping[str, Any]],
    losses: Sequence[tuple[float, float]],
    n_elements: int,
) -> dict[str, bool]:
    """What must be true of a finished training: laws held in every epoch, training loss fell, validation of
    the same order.

    `epochs` are the summaries, beside the number of each epoch; `losses` its (training, validation) loss.
    """
    first, last = losses[0], losses[-1]

    def measured(quantity: str) -> list[Mapping[str, float]]:
        names = [f"{name}_{quantity}" for name in ("r_samp", "r_pred", "r_blend")]
        return [epoch[name] for epoch in epochs for name in names if name in epoch]

    return {
        "trace_law": all(error["max"] <= RELATIVE_TOLERANCE for error in measured("trace_error")),
        "norm_law": all(
            norm["max"] <= n_elements * (1.0 + RELATIVE_TOLERANCE)
            and norm["min"] >= math.sqrt(n_elements) * (1.0 - RELATIVE_TOLERANCE)
            for norm in measured("norm")
        ),
        "gradients_finite": all(math.isfinite(epoch["gradient_norm"]["max"]) for epoch in epochs),
        "losses_finite": all(math.isfinite(value) for pair in losses for value in pair),
        "training_loss_fell": len(losses) == 1 or last[0] < first[0],
        "validation_same_order": all(0.1 <= validation / training <= 10.0 for training, validation in losses),
    }
