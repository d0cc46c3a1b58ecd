"""Reads params.yaml, data/scenes and data/covariances of train and validation; writes data/search: best.yaml,
trials.csv, importance.csv, history.svg, parallel_coordinate.svg, importance.svg.

Every trial trains a network of hyperparameters that the sampler chooses within search.space, on a share of
the training scenes for search.epochs, in one process, and is scored on the validation scenes: the share of
sources that the learned estimator finds, refined, told their number. After each epoch the bare peaks are
scored, by which a pruner ends a trial early. A training that diverges is pruned, and never scored.
"""

import sys
import time
from multiprocessing.queues import SimpleQueue
from pathlib import Path

import optuna
import torch
from optuna.trial import TrialState

from risolve.errors import ParameterError, StageError, StateError
from risolve.files.atomic import write_text
from risolve.running.progress import Progress, say
from risolve.running.shards import spawning, start_worker
from risolve.running.work import work_key
from stages.params.file import read_params, sections
from stages.params.model import MODEL_READS, TRAINING_SPLITS, VALIDATION_SPLITS, Params
from stages.running.splits import split_files
from stages.running.state import publishing, work_directory
from stages.running.verb import run_verb
from stages.trials import figures as search_figures
from stages.trials.exam import read_bench
from stages.trials.study import at_work, claim, mend_journal, n_finished, open_study, requeue_stale
from stages.trials.tables import importances, trials_table, write_results
from stages.trials.trial import run_trial

READS = (*MODEL_READS, "train", "estimators", "evaluate.found_tolerance_deg", "search")

_SECONDS_BETWEEN_LOOKS = 0.5


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
    inputs = split_files((*TRAINING_SPLITS, *VALIDATION_SPLITS))
    with work_directory("search", work_key("stages.search", reads, inputs)) as directory:
        study = search(params, directory, directory.name)
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
        with publishing(directory, Path("data/search")) as results:
            write_results(results, study, params.search)
            for name, figure in figures.items():
                write_text(results / f"{name}.svg", figure.decode())


if __name__ == "__main__":
    run_verb(main)
