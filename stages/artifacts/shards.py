"""A data set made shard by shard, by one process or several, resumable at the cost of the shards in work."""

import multiprocessing
import multiprocessing.context
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path

import torch

from stages.artifacts.errors import StateError
from stages.artifacts.hdf5 import shard_name
from stages.artifacts.progress import Progress


def make_shards(
    make: Callable[[int, Path], None],
    n_shards: int,
    directory: Path,
    workers: int,
    least: int,
    label: str,
    unit: str,
) -> None:
    """Call `make(number, path)` for every shard that the directory does not hold yet.

    A file under its final name is complete (`atomic`). Up to `workers` processes share the rest, as long as
    each has at least `least` shards: starting one takes seconds. Each runs torch on one thread, so a result
    does not depend on their number.

    Raises:
        StateError: a worker process died, or a finished shard is gone.
    """
    missing = [number for number in range(n_shards) if not (directory / shard_name(number)).exists()]
    progress = Progress(label, n_shards, unit, done=n_shards - len(missing))
    processes = min(workers, len(missing) // least)
    with one_thread():
        if processes <= 1:
            for number in missing:
                make(number, directory / shard_name(number))
                progress.advance()
        else:
            for _ in _in_processes(make, missing, directory, processes):
                progress.advance()
    for number in range(n_shards):
        if not (directory / shard_name(number)).exists():
            raise StateError(f"{directory / shard_name(number)}: was removed meanwhile; run again")


@contextmanager
def one_thread() -> Iterator[None]:
    """One torch thread until the block ends: the matrices of a scene are too small to be shared out."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _in_processes(
    make: Callable[[int, Path], None], numbers: list[int], directory: Path, processes: int
) -> Iterator[None]:
    """One None a finished shard."""
    pool = ProcessPoolExecutor(processes, mp_context=spawning(), initializer=start_worker)
    try:
        with _interrupt_held():
            pending: set[Future[None]] = {pool.submit(make, n, directory / shard_name(n)) for n in numbers}
        while pending:
            finished, pending = wait(pending, return_when=FIRST_COMPLETED)
            for future in finished:
                future.result()
                yield
    except BrokenProcessPool as error:
        raise StateError(
            f"{directory}: a worker process died (killed, or out of memory); run again, finished shards are "
            f"kept, and fewer workers need less memory"
        ) from error
    except KeyboardInterrupt:
        for worker in multiprocessing.active_children():
            worker.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _interrupt_held() -> Iterator[None]:
    """Ctrl-C waits until the block ends; processes started in it never get it, this one ends them."""
    earlier = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, earlier)


def spawning() -> multiprocessing.context.SpawnContext:
    """How processes start that take functions: on their own, and with no code of the current folder.

    `python -c`, which multiprocessing starts them by, would import a pickle.py that lies there.
    """
    os.environ["PYTHONSAFEPATH"] = "1"
    return multiprocessing.get_context("spawn")


def start_worker() -> None:
    """One torch thread; and a worker ends with its parent, also when the parent is killed."""
    torch.set_num_threads(1)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_after, args=(parent,), daemon=True).start()


def _end_after(parent: multiprocessing.process.BaseProcess) -> None:
    parent.join()
    os._exit(1)
