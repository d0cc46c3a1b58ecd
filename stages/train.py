"""Reads params.yaml, data/scenes and data/covariances of the training and validation data sets; writes
data/models: covariance.pt (EMA weights of least validation loss), history.csv, health.json, metrics.json.

Of the scenes the truth is read, and the snapshots where the likelihood has a weight or the network has loops.
With train.processes above 1 the verb starts itself that many times under torchrun.
"""

import os
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from risolve.files.checkpoint import save_checkpoint
from risolve.files.model import network_dictionary, new_network, write_network
from risolve.files.training_state import is_number, read_training_state
from risolve.networks import health
from risolve.networks.examples import Examples, Feed
from risolve.networks.fit import FitState, fit
from risolve.networks.trained import uncalibrated
from risolve.running.progress import Progress, say
from risolve.running.work import work_key
from stages.params.file import read_params, sections
from stages.params.model import MODEL_READS, TRAINING_SPLITS, VALIDATION_SPLITS, Params
from stages.running import processes
from stages.running.device import training_device
from stages.running.durations import keep_durations
from stages.running.processes import Team
from stages.running.splits import split_files
from stages.running.state import discard, publishing, work_directory
from stages.running.verb import run_verb
from stages.training.records import write_records
from stages.training.setup import fit_settings, training_feed, validation_examples

READS = (*MODEL_READS, "train")

_STATE = "state.pt"
_KEPT = {
    "warnings": lambda value: isinstance(value, list) and all(isinstance(text, str) for text in value),
    "seconds": is_number,
    "waited_s": is_number,
    "spent_s": is_number,
}
"""What the state file holds beside `STATE_PARTS`: warnings, time, and the times of the feed."""


def train(
    params: Params,
    training: Feed,
    validation: Examples,
    team: Team,
    device: torch.device,
    state: FitState | None,
    after_epoch: Callable[[FitState], None],
    after_batch: Callable[[int, int, int], None],
) -> FitState:
    """Train the covariance network, from the start or from the state of an epoch; see
    `risolve.networks.fit.fit`. The batches of the feed come on the device, and are the share of this process.
    """
    network = new_network(params.of_model(), params.train.seed).to(device)
    return fit(
        network,
        team.averaging(network, device),
        training,
        validation.to(device=device),
        network_dictionary(params.of_model()).to(device),
        fit_settings(params, device),
        state,
        after_epoch,
        after_batch,
    )


def main() -> None:
    """python -m stages.train"""
    started = time.monotonic()
    params = read_params()
    if params.train.processes > 1 and not processes.is_started():
        processes.start("stages.train", params.train.processes)
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    team = processes.team_of(params.train.processes)
    with (
        processes.connected(team),
        training_device(params.train.device, team, partial(say, "train")) as device,
    ):
        if team.rank == 0:
            _lead(params, team, device, started)
        else:
            _follow(params, team, device)


def _lead(params: Params, team: Team, device: torch.device, started: float) -> None:
    """The first process: keeps the state of every epoch, says how far the training is, and writes the model.

    The others begin when it has found everything that it needs.
    """
    reads = sections(params, READS)
    inputs = split_files((*TRAINING_SPLITS, *VALIDATION_SPLITS))
    with work_directory("train", work_key("stages.train", reads, inputs)) as work:
        state = None
        if (work / _STATE).exists():
            settings = fit_settings(params, device)
            state = read_training_state(work / _STATE, reads, params.of_model(), settings, _KEPT)
        feed = training_feed(params, 1.0, device, team.rank, team.world)
        validation = validation_examples(params)
        team.shared(state)
        done = 0 if state is None else state["epoch"] * feed.n_batches
        progress = Progress("train", params.train.epochs * feed.n_batches, "batches", done)
        loss = [] if state is None else [f"validation loss {state['history'][-1]['validation_loss']:.4g}"]

        warned = [] if state is None else list(state["warnings"])
        earlier_s = 0.0 if state is None else float(state["seconds"])
        if state is not None:
            feed.waited_s, feed.spent_s = float(state["waited_s"]), float(state["spent_s"])

        def kept() -> dict[str, Any]:
            return {
                "warnings": [*warned, *(str(warning.message) for warning in caught)],
                "seconds": earlier_s + time.monotonic() - started,
                "waited_s": feed.waited_s,
                "spent_s": feed.spent_s,
            }

        def keep(state: FitState) -> None:
            save_checkpoint(work / _STATE, {**state, **kept()}, reads)
            loss[:] = [f"validation loss {state['history'][-1]['validation_loss']:.4g}"]

        def show(epoch: int, batch: int, n_batches: int) -> None:
            progress.advance(note=", ".join([f"epoch {epoch} of {params.train.epochs}", *loss]))

        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            state = train(params, feed, validation, team, device, state, keep, show)
        timing = {
            "device": device.type,
            "processes": team.world,
            "seconds": f"{kept()['seconds']:.1f}",
            "epochs": state["epoch"],
            "data_wait_share": f"{feed.waited_s / feed.spent_s:.4f}",
        }
        with publishing(work, Path("data/models")) as models:
            calibration = uncalibrated(params.train.blend_beta_end)
            write_network(models / "covariance.pt", state["best"]["network"], calibration, params.of_model())
            write_records(models, state, kept()["warnings"], params.array.n_elements)
            keep_durations("train", models / "covariance.pt", pd.DataFrame([timing]))
        discard(work)


def _follow(params: Params, team: Team, device: torch.device) -> None:
    """Another process: takes the same steps on scenes of its own."""
    state = team.shared(None)
    feed = training_feed(params, 1.0, device, team.rank, team.world)
    validation = validation_examples(params)
    train(params, feed, validation, team, device, state, lambda state: None, lambda *place: None)


if __name__ == "__main__":
    run_verb(main, health.TrainingDiverged)
