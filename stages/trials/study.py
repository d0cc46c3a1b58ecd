"""The Optuna study of a search: opened, freed of what a killed process left, and shared by its workers.

The journal lies in the state directory of the search, which one process holds at a time: whatever an earlier
process left running there runs no more. A study on PostgreSQL is shared by the searches of several hosts:
there, a trial is stale when the process of this host that ran it is gone.
"""

import contextlib
import fcntl
import itertools
import json
import os
import shutil
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import optuna
import psutil
from optuna.exceptions import OptunaError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import BaseJournalBackend, JournalFileBackend, JournalFileOpenLock
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from risolve.errors import StateError, unwritable
from risolve.seeds import integer_seed
from stages.params.search import Search

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
"""States of a trial that count for search.n_trials."""

_OWNER, _RETRY_OF, _EPOCHS = "owner", "retry_of", "epochs"
_DIRECTIONS = {"found_rate": StudyDirection.MAXIMIZE, "seconds": StudyDirection.MINIMIZE}
_JOURNAL = "journal.log"
_GAUSSIAN_PROCESS_START = 10
"""Random trials before the Gaussian process chooses."""


def open_study(search: Search, work: Path, key: str, worker: int) -> optuna.Study:
    """The study of a piece of work, made where it does not exist.

    The sampler of a worker continues no earlier one: it is seeded by the trials that are there, so that no
    trial is drawn twice.

    Raises:
        StateError: the storage cannot be reached.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        storage = _storage(search, work)
        study = optuna.create_study(
            storage=storage,
            study_name=key,
            directions=[_DIRECTIONS[name] for name in search.objectives],
            load_if_exists=True,
            pruner=_pruner(search),
        )
        study.sampler = _sampler(search, len(study.get_trials(deepcopy=False)), worker)
    except (SQLAlchemyError, ImportError) as error:
        first = str(error).strip().splitlines()[0]
        raise StateError(
            f"params.yaml: search.storage: {search.storage}: cannot be reached: {first}"
        ) from error
    return study


def mend_journal(work: Path) -> str | None:
    """Cut a journal back to the lines that a study reads.

    A kill cuts the last one, a fault of the disk any. Lines after a damaged one count trials of before it:
    they go with it.

    Returns:
        What is damaged, and where the journal lies as it was; None where at most the last line is cut.
    """
    path = work / _JOURNAL
    if not path.exists():
        return None
    *lines, _ = path.read_bytes().split(b"\n")
    n_read = _n_read(lines)
    remark = None
    if n_read < len(lines):
        kept = next(own for n in itertools.count(1) if not (own := work / f"{_JOURNAL}.damaged-{n}").exists())
        shutil.copyfile(path, kept)
        remark = (
            f"{path}: line {n_read + 1} of {len(lines)} is damaged: the trials before it go on, those "
            f"after it are drawn anew; the journal as it was is {kept.name}"
        )
    os.truncate(path, sum(len(line) + 1 for line in lines[:n_read]))
    for leftover in work.glob(f"{_JOURNAL}.lock*"):
        leftover.unlink()
    return remark


class _Journal(JournalFileBackend):
    """A journal whose entries are whole or absent, also on a full disk: a cut one would end it there."""

    def __init__(self, path: Path) -> None:
        self._path, self._turn = path, JournalFileOpenLock(str(path))
        super().__init__(str(path), self._turn)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append entries.

        Raises:
            StateError: there is no room for them.
        """
        rest = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs).encode()
        with contextlib.ExitStack() as stack:
            self._turn.acquire()
            stack.callback(self._turn.release)
            file = stack.enter_context(self._path.open("ab", buffering=0))
            length = file.tell()
            try:
                while rest:
                    rest = rest[file.write(rest) :]
                os.fsync(file.fileno())
            except OSError as error:
                file.truncate(length)
                raise unwritable(self._path, error) from error


class _Lines(BaseJournalBackend):
    """The lines of a journal in memory; knows how many were read."""

    def __init__(self, lines: Sequence[bytes]) -> None:
        self._lines, self.n_read = lines, 0

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        """The entries from one on."""
        for line in self._lines[log_number_from:]:
            yield json.loads(line)
            self.n_read += 1

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Nothing: an entry is looked at, and none made."""


def _n_read(lines: Sequence[bytes]) -> int:
    """Lines before the first that Optuna does not read; it says so by whatever goes wrong first."""
    own = _Lines(lines)
    try:
        JournalStorage(own)
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RuntimeError, OptunaError):
        return own.n_read
    return len(lines)


def requeue_stale(study: optuna.Study, is_shared: bool) -> int:
    """Fail the trials that no process runs any more, and queue their hyperparameters; how many those were."""
    stale = [
        trial
        for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        if not is_shared or _is_gone(trial)
    ]
    for trial in stale:
        study.tell(trial.number, state=TrialState.FAIL)
        study.enqueue_trial(trial.params, user_attrs={_RETRY_OF: trial.number})
    return len(stale)


@contextlib.contextmanager
def _alone(work: Path) -> Iterator[None]:
    """One worker of this host at a time."""
    with (work / "claim.lock").open("a", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def claim(study: optuna.Study, search: Search, work: Path) -> optuna.Trial | None:
    """The next trial, None where the study has or runs search.n_trials already."""
    with _alone(work):
        trials = study.get_trials(deepcopy=False)
        counted = sum(trial.state in (*FINISHED, TrialState.RUNNING) for trial in trials)
        if counted >= search.n_trials:
            return None
        trial = study.ask()
        trial.set_user_attr(_OWNER, _process())
        return trial


def record_epochs(trial: optuna.Trial, n_epochs: int) -> None:
    """Keep with a trial for how many epochs it has trained."""
    trial.set_user_attr(_EPOCHS, n_epochs)


def n_epochs(trial: FrozenTrial) -> int | None:
    """Epochs for which a trial has trained, where that is recorded."""
    return trial.user_attrs.get(_EPOCHS)


def n_finished(study: optuna.Study) -> int:
    """Trials that count for search.n_trials."""
    return len(study.get_trials(deepcopy=False, states=FINISHED))


def at_work(study: optuna.Study) -> list[str]:
    """Trials that run, and the processes that run them."""
    trials = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    return [f"trial {trial.number} ({trial.user_attrs.get(_OWNER)})" for trial in trials]


def _storage(search: Search, work: Path) -> BaseStorage:
    if search.storage != "journal":
        return RDBStorage(search.storage)
    return JournalStorage(_Journal(work / _JOURNAL))


def _sampler(search: Search, n_trials: int, worker: int) -> optuna.samplers.BaseSampler:
    seed = integer_seed(search.seed, "search", 1000 * n_trials + worker) % 2**32
    match search.sampler:
        case "tpe":
            return optuna.samplers.TPESampler(seed=seed)
        case "gp":
            return optuna.samplers.GPSampler(seed=seed, n_startup_trials=_GAUSSIAN_PROCESS_START)
        case "random":
            return optuna.samplers.RandomSampler(seed=seed)


def _pruner(search: Search) -> optuna.pruners.BasePruner:
    match search.pruner:
        case "hyperband":
            return optuna.pruners.HyperbandPruner(min_resource=1, max_resource=search.epochs)
        case "median":
            return optuna.pruners.MedianPruner()
        case "none":
            return optuna.pruners.NopPruner()


def _process() -> str:
    """HOST PROCESS-ID TIME-OF-ITS-START: a number is given again after the process ends."""
    return f"{socket.gethostname()} {os.getpid()} {psutil.Process().create_time()}"


def _is_gone(trial: FrozenTrial) -> bool:
    """Whether a process of this host ran the trial and runs no more."""
    host, _, rest = str(trial.user_attrs.get(_OWNER, "")).partition(" ")
    if host != socket.gethostname():
        return False
    number, _, started = rest.partition(" ")
    try:
        return bool(psutil.Process(int(number)).create_time() != float(started))
    except psutil.NoSuchProcess:
        return True
