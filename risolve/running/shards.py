"""A data set made shard by shard, by one process or several, resumable at the cost of the shards in work."""

import functools
import multiprocessing
import multiprocessing.context
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch

from risolve.errors import StateError
from risolve.files.hdf5 import shard_name
from risolve.running.progress import Progress

Item = TypeVar("Item")
Result = TypeVar("Result")


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
    places = [(number, directory / shard_name(number)) for number in missing]
    for _ in shared_out(functools.partial(_make, make), places, min(workers, len(missing) // least)):
        progress.advance()
    for number in range(n_shards):
        if not (directory / shard_name(number)).exists():
            raise StateError(f"{directory / shard_name(number)}: was removed meanwhile; run again")


def _make(make: Callable[[int, Path], None], shard: tuple[int, Path]) -> None:
    make(*shard)


def shared_out(
    work: Callable[[Item], Result], items: Sequence[Item], processes: int
) -> Generator[Result, None, None]:
    """What `work` makes of every item, in their order, by this process or by several, each on one thread.

    `work` is sent to each process once. Results wait until they are taken.

    Raises:
        StateError: a worker process died.
    """
    if processes <= 1:
        with one_thread():
            yield from map(work, items)
        return
    pool = ProcessPoolExecutor(processes, mp_context=spawning(), initializer=_start_sharing, initargs=(work,))
    try:
        with _interrupt_held():
            futures: list[Future[Result]] = [pool.submit(_share, item) for item in items]
        for future in futures:
            yield future.result()
    except BrokenProcessPool as error:
        raise StateError(
            "a worker process died (killed, or out of memory); run again, what is finished is kept, and "
            "fewer workers need less memory"
        ) from error
    except KeyboardInterrupt:
        for worker in multiprocessing.active_children():
            worker.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def one_thread() -> Iterator[None]:
    """One torch thread until the block ends: the matrices of a scene are too small to be shared out."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


_shared: list[Callable[[Any], Any]] = []
"""In a process of `shared_out`: the work."""


def _start_sharing(work: Callable[[Any], Any]) -> None:
    start_worker()
    _shared.append(work)


def _share(item: Any) -> Any:
    return _shared[0](item)


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
