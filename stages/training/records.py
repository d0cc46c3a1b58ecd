"""What is recorded of a training beside its weights: health.json, history.csv, metrics.json."""

import json
from collections import Counter
from pathlib import Path

import pandas as pd

from risolve.files.atomic import write_text
from risolve.networks import health
from risolve.networks.fit import FitState


def health_record(state: FitState, caught: list[str], n_elements: int) -> dict[str, object]:
    """health.json: readings of every epoch beside those of the incident, the gates, and the warnings of the
    training.
    """
    losses = [(record["train_loss"], record["validation_loss"]) for record in state["history"]]
    epochs = [
        {**readings, "loss": {**readings["loss"], "train": train_loss, "validation": validation_loss}}
        for readings, (train_loss, validation_loss) in zip(state["readings"], losses, strict=True)
    ]
    first = state["readings"][0]
    return {
        "incident": health.INCIDENT,
        "training_split": {
            name: first[name]
            for name in first
            if name.startswith("r_samp_norm_") or name == "r_samp_trace_error"
        },
        "epochs": epochs,
        "gates": {**health.gates(state["readings"], losses, n_elements), "no_warnings": not caught},
        "warnings": dict(Counter(caught)),
    }


def metrics(state: FitState) -> dict[str, int | float]:
    """metrics.json: the epoch whose weights are used, and its validation loss, whole and of the detection
    alone, which trainings of other weights of the loss have in common.
    """
    epoch = state["best"]["epoch"]
    record = state["history"][epoch - 1]
    return {
        "best_epoch": epoch,
        **{name: float(f"{record[name]:.6g}") for name in ("validation_loss", "validation_detection")},
    }


def write_records(directory: Path, state: FitState, caught: list[str], n_elements: int) -> None:
    """The records of a finished training, and the warnings that it caught, into a directory."""
    record = health_record(state, caught, n_elements)
    write_text(directory / "health.json", json.dumps(record, indent=1) + "\n")
    history = pd.DataFrame(state["history"]).to_csv(index=False, float_format="%.6g", lineterminator="\n")
    write_text(directory / "history.csv", history)
    write_text(directory / "metrics.json", json.dumps(metrics(state), indent=2) + "\n")
