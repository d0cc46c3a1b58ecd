"""One trial of a search: hyperparameters that the sampler chooses, a short training, and its scores."""

from functools import partial

import optuna
import torch

from risolve.files.model import new_network
from risolve.networks.fit import FitState, fit
from risolve.networks.health import TrainingDiverged
from risolve.running.progress import say
from stages.params.model import Params
from stages.params.search import Choices, Interval, Scalar
from stages.running.device import training_device
from stages.running.processes import ALONE
from stages.training.setup import fit_settings, training_feed, validation_examples
from stages.trials.exam import SearchBench, score
from stages.trials.study import record_epochs
from stages.trials.tables import is_whole


def suggested(trial: optuna.Trial, params: Params) -> dict[str, Scalar]:
    """A value of every hyperparameter of the space; whole where that of the parameters is."""
    values: dict[str, Scalar] = {}
    for name, own in params.search.space.ranges():
        whole = is_whole(params, name)
        match own:
            case Choices(choices=choices):
                value = trial.suggest_categorical(name, choices)
                assert value is not None
                values[name] = value
            case Interval(low=low, high=high, log=log) if whole:
                values[name] = trial.suggest_int(name, int(low), int(high), log=log)
            case Interval(low=low, high=high, log=log):
                values[name] = trial.suggest_float(name, low, high, log=log)
    return values


def run_trial(params: Params, bench: SearchBench, trial: optuna.Trial) -> tuple[float, ...]:
    """Values of the objectives of one trial.

    Raises:
        TrialPruned: the trial falls behind, or its training diverges.
    """
    values = suggested(trial, params)
    chosen = params.with_values({**values, "train.epochs": params.search.epochs})
    network = new_network(chosen.of_model(), chosen.train.seed)
    averaged = new_network(chosen.of_model(), chosen.train.seed)
    record_epochs(trial, 0)

    def after_epoch(state: FitState) -> None:
        record_epochs(trial, state["epoch"])
        if params.search.pruner != "none":
            averaged.load_state_dict({name: value.cpu() for name, value in state["average"].items()})
            trial.report(score(chosen, bench, averaged, False).found_rate, state["epoch"])
            if trial.should_prune():
                raise optuna.TrialPruned(f"behind after epoch {state['epoch']}")

    try:
        with training_device(chosen.train.device, ALONE, partial(say, "search")) as device:
            network.to(device)
            state = fit(
                network,
                network,
                training_feed(chosen, params.search.scene_fraction, device, 0, 1),
                validation_examples(chosen).to(device=device),
                bench.dictionary.to(device),
                fit_settings(chosen, device),
                None,
                after_epoch,
                lambda epoch, batch, n_batches: None,
            )
            best = {name: value.cpu() for name, value in state["best"]["network"].items()}
            del state
            network.cpu()
            if device.type == "cuda":
                torch.cuda.empty_cache()  # what waits for the device trains next
    except TrainingDiverged as error:
        raise optuna.TrialPruned(str(error)) from error
    averaged.load_state_dict(best)
    result = score(chosen, bench, averaged, True)
    return tuple(getattr(result, name) for name in params.search.objectives)
