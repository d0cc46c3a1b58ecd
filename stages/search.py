"""Reads params.yaml, data/scenes and data/covariances of train and validation; writes data/search: best.yaml,
trials.csv, importance.csv, history.svg, parallel_coordinate.svg, importance.svg.

Every trial trains a network of hyperparameters that the sampler chooses within search.space, on a share of
the training scenes for search.epochs, in one process, and is scored on the validation scenes: the share of
sources that the learned estimator finds, refined, told their number. After each epoch the bare peaks are
scored, by which a pruner ends a trial early. A training that diverges is pruned, and never scored.
"""

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from multiprocessing.queues import SimpleQueue
from pathlib import Path

import numpy as np
import optuna
import torch
from jaxtyping import Int
from optuna.trial import TrialState
from torch import Tensor

from risolve.errors import ParameterError, StageError, StateError
from risolve.estimators.contract import Estimate
from risolve.estimators.registry import estimator
from risolve.files import model_grid
from risolve.files.atomic import write_text
from risolve.files.covariances import Covariances, read_covariances
from risolve.files.measurements import read_observation, read_truth
from risolve.files.model import network_dictionary, new_network
from risolve.metrics.agreement import agreement
from risolve.metrics.localization import found_rate
from risolve.networks.covariance_network import CovarianceNetwork
from risolve.networks.dictionary import Dictionary
from risolve.networks.fit import FitState, fit
from risolve.networks.health import TrainingDiverged
from risolve.networks.trained import TrainedNetwork, uncalibrated
from risolve.physics.observation import Observation
from risolve.running.progress import Progress, say
from risolve.running.shards import spawning, start_worker
from risolve.running.work import work_key
from risolve.shapes import Sources
from stages.params import estimators
from stages.params.file import read_params, sections
from stages.params.model import MODEL_READS, VALIDATION_SPLITS, Params, Split
from stages.params.search import Choices, Interval, Scalar
from stages.running.device import training_device
from stages.running.processes import ALONE
from stages.running.state import publish, work_directory
from stages.running.verb import run_verb
from stages.training.setup import (
    fit_settings,
    training_feed,
    training_files,
    validation_examples,
)
from stages.training.split_files import open_split
from stages.trials import figures as search_figures
from stages.trials.study import (
    at_work,
    claim,
    mend_journal,
    n_finished,
    open_study,
    record_epochs,
    requeue_stale,
)
from stages.trials.tables import importances, is_whole, trials_table, write_results

READS = (*MODEL_READS, "train", "estimators", "evaluate.found_tolerance_deg", "search")

_SECONDS_BETWEEN_LOOKS = 0.5


@dataclass(frozen=True)
class Exam:
    """Validation scenes that have sources, of one source model: what is known of them, and the truth."""

    observation: Observation
    covariances: Covariances
    sources: Sources
    n_sources: Int[Tensor, " scene"]


@dataclass(frozen=True)
class SearchBench:
    """What every trial is scored on."""

    exams: tuple[Exam, ...]
    dictionary: Dictionary

    @property
    def n_sources(self) -> Int[Tensor, " scene"]:
        """True number of sources of every scene."""
        return torch.cat([exam.n_sources for exam in self.exams])


@dataclass(frozen=True)
class Score:
    """Share of the validation sources that are found, and CPU time (s) a scene."""

    found_rate: float
    seconds: float


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


def with_values(params: Params, values: Mapping[str, Scalar]) -> Params:
    """The parameters with some hyperparameters (SECTION.KEY) replaced.

    Raises:
        ValidationError: they break a law of params.yaml.
    """
    tree = params.model_dump()
    for name, value in values.items():
        section, key = name.split(".")
        tree[section][key] = value
    return Params.model_validate(tree)


def count_found(
    params: Params, bench: SearchBench, network: CovarianceNetwork, is_refined: bool
) -> tuple[Int[np.ndarray, "scenes"], float]:
    """(found sources of every validation scene that has sources, CPU time (s) a scene) with a network."""
    settings, grid = estimators.settings(params), model_grid.grid(params.of_model())
    one = estimator("learned" if is_refined else "learned_peaks", grid, settings)
    trained = TrainedNetwork(network, bench.dictionary, uncalibrated(params.train.blend_beta_end), None)
    tolerance, seconds, n_found = np.deg2rad(params.evaluate.found_tolerance_deg), 0.0, []
    for exam in bench.exams:
        maps = exam.covariances.maps
        started = time.process_time()
        prediction = trained.predict(maps.values, maps.estimated_snr, exam.observation)
        found: Estimate = one.estimate(exam.observation, prediction, exam.n_sources)
        seconds += time.process_time() - started
        for truth, places in zip(exam.sources.numpy(), found.sources.numpy(), strict=True):
            true, own = (rows[np.isfinite(rows[:, 0])] for rows in (truth, places))
            n_found.append(agreement(true, own, np.full_like(own, np.nan), tolerance).found.sum())
    return np.array(n_found, int), seconds / len(n_found)


def score(params: Params, bench: SearchBench, network: CovarianceNetwork, is_refined: bool) -> Score:
    """Score of a network on the validation scenes that have sources."""
    n_found, seconds = count_found(params, bench, network, is_refined)
    return Score(found_rate(int(n_found.sum()), int(bench.n_sources.sum())), seconds)


def run_trial(params: Params, bench: SearchBench, trial: optuna.Trial) -> tuple[float, ...]:
    """Values of the objectives of one trial.

    Raises:
        TrialPruned: the trial falls behind, or its training diverges.
    """
    values = suggested(trial, params)
    chosen = with_values(params, {**values, "train.epochs": params.search.epochs})
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


def read_bench(params: Params) -> SearchBench:
    """The validation scenes that have sources.

    Raises:
        MeasurementError: files that cannot be read, or do not belong together.
    """
    return SearchBench(
        tuple(_exam(params, split) for split in VALIDATION_SPLITS), network_dictionary(params.of_model())
    )


def _exam(params: Params, split: Split) -> Exam:
    open_split(params, split, True)  # files that do not belong together are refused
    scenes, covariances = Path("data/scenes") / split, Path("data/covariances") / split
    truth = read_truth(scenes)
    present = torch.nonzero(truth.n_sources > 0).flatten()
    return Exam(
        read_observation(scenes, params.array.spherical_amplitude).select(present),
        read_covariances(covariances).select(present),
        truth.sources[present],
        truth.n_sources[present].long(),
    )


def work(params: Params, directory: Path, key: str, worker: int) -> None:
    """Trials one after the other until the study has them all; body of a worker process."""
    start_worker()
    torch.use_deterministic_algorithms(True)
    bench = read_bench(params)
    study = open_study(params.search, directory, key, worker)
    while (trial := claim(study, params.search, directory)) is not None:
        try:
            values = run_trial(params, bench, trial)
        except optuna.TrialPruned as reason:
            trial.set_user_attr("reason", str(reason))
            study.tell(trial, state=TrialState.PRUNED)
        else:
            study.tell(trial, list(values))


def _worker(faults: "SimpleQueue[Exception]", params: Params, directory: Path, key: str, number: int) -> None:
    """A worker process, whose expected error the search says in its place."""
    try:
        work(params, directory, key, number)
    except (StageError, OSError) as error:
        faults.put(error)
        sys.exit(1)


def search(params: Params, directory: Path, key: str) -> optuna.Study:
    """Bring the study of a state directory to search.n_trials, by search.workers processes.

    Raises:
        StageError, OSError: what ended a worker process.
        StateError: a worker process died, or another host has not ended its trials.
    """
    own = params.search
    if damage := mend_journal(directory):
        say("search", damage)
    study = open_study(own, directory, key, own.workers)
    requeue_stale(study, own.storage != "journal")
    progress = Progress("search", own.n_trials, "trials", min(n_finished(study), own.n_trials))
    context = spawning()
    n_workers = min(own.workers, max(0, own.n_trials - n_finished(study)))
    faults: SimpleQueue[Exception] = context.SimpleQueue()
    workers = [
        context.Process(target=_worker, args=(faults, params, directory, key, n)) for n in range(n_workers)
    ]
    shown = n_finished(study)
    try:
        for process in workers:
            process.start()
        while any(process.is_alive() for process in workers):
            time.sleep(_SECONDS_BETWEEN_LOOKS)
            done = n_finished(study)
            if done > shown:
                progress.advance(done - shown, note=_note(study))
                shown = done
    finally:
        for process in workers:
            if process.is_alive():
                process.kill()
            if process.pid is not None:
                process.join()
    if not faults.empty():
        raise faults.get()
    if any(process.exitcode for process in workers):
        raise StateError(
            f"{directory}: a worker process died, see above; run again, finished trials are kept"
        )
    if (done := n_finished(study)) < own.n_trials:
        raise StateError(
            f"{done} of search.n_trials = {own.n_trials} trials have ended; at work elsewhere: "
            f"{', '.join(at_work(study))}; run again when they have ended, and end those of a host that is "
            "gone (`optuna tell --state fail`)"
        )
    return study


def _note(study: optuna.Study) -> str:
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return f"best {max(trial.values[0] for trial in complete):.4f}" if complete else "none complete"


def main() -> None:
    """python -m stages.search"""
    params = read_params()
    reads = sections(params, READS)
    for budget in ("n_trials", "workers", "storage"):
        del reads["search"][budget]
    for name, _ in params.search.space.ranges():
        section, key = name.split(".")
        del reads[section][key]
    with work_directory("search", work_key("stages.search", reads, training_files())) as directory:
        study = search(params, directory, directory.name)
        results = directory / "results"
        results.mkdir(exist_ok=True)
        write_results(results, study, params.search)
        table = trials_table(study, params.search)
        if not (table["state"] == "complete").any():
            raise ParameterError(
                f"params.yaml: search.space: all {len(table)} trials were pruned: {table['reason'].iloc[0]}"
            )
        figures = {
            "history": search_figures.history(table, params.search.objectives[0]),
            "parallel_coordinate": search_figures.parallel_coordinates(table, params.search),
            "importance": search_figures.importance(importances(study)),
        }
        for name, figure in figures.items():
            write_text(results / f"{name}.svg", figure.decode())
        publish(results, Path("data/search"))


if __name__ == "__main__":
    run_verb(main)
