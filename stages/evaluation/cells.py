"""Scenes estimated batch by batch: one plan, one way to make and one to gather, for `evaluate`, `sweep`,
`calibrate` and the benchmarks.

A cell is what the scenes of a batch have in common, such as a split and a number of sources, or a level of a
departure. Batches are made in any order by any number of processes, and each result is a file of its own.
"""

import contextlib
import functools
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeAlias, TypeVar

from risolve.files.hdf5 import shard_name
from risolve.running.shards import make_shards
from stages.running.state import work_directory

Cell = TypeVar("Cell", bound=Hashable)
Key = TypeVar("Key", bound=Hashable)
Bench = TypeVar("Bench")

_FEWEST_BATCHES = 2
"""For which another process is started."""


@dataclass(frozen=True)
class SceneBatch(Generic[Cell]):
    """Some scenes of one cell; its number is that of its file, and of random streams of its own."""

    number: int
    cell: Cell
    scenes: tuple[int, ...]


Make: TypeAlias = Callable[[SceneBatch[Cell], Path], None]
"""(batch, path): writes what is made of a batch into a file."""

Done: TypeAlias = Sequence[tuple[SceneBatch[Cell], Path]]
"""Batches, and the file that was made of each."""


def plan(cells: Iterable[tuple[Cell, Sequence[int]]], size: int) -> tuple[SceneBatch[Cell], ...]:
    """Batches of at most `size` scenes of one cell, in the order of the cells and of their scenes."""
    parts = [
        (cell, tuple(scenes[first : first + size]))
        for cell, scenes in cells
        for first in range(0, len(scenes), size)
    ]
    return tuple(SceneBatch(number, cell, scenes) for number, (cell, scenes) in enumerate(parts))


class Once(Generic[Bench]):
    """What batches are made with, read once by every process: to another it is sent as how to read it."""

    def __init__(self, read: Callable[[], Bench]) -> None:
        self._read = read

    def __reduce__(self) -> tuple[type["Once[Bench]"], tuple[Callable[[], Bench]]]:
        return type(self), (self._read,)

    def __call__(self) -> Bench:
        return self._held

    @functools.cached_property
    def _held(self) -> Bench:
        return self._read()


@contextlib.contextmanager
def made(
    name: str, key: str, make: Make[Cell], batches: Sequence[SceneBatch[Cell]], workers: int
) -> Iterator[tuple[Path, Done[Cell]]]:
    """The directory `state/NAME/KEY`, held until the block ends, and all batches with their files in it;
    those that are missing are made.

    Raises:
        StateError: as `work_directory` and `make_shards`.
    """
    with work_directory(name, key) as work:
        one = functools.partial(_make, make, batches)
        make_shards(one, len(batches), work, workers, _FEWEST_BATCHES, name, "batches")
        yield work, [(batch, work / shard_name(batch.number)) for batch in batches]


def _make(make: Make[Cell], batches: Sequence[SceneBatch[Cell]], number: int, path: Path) -> None:
    make(batches[number], path)


def gathered(done: Done[Cell], key: Callable[[Cell], Key]) -> dict[Key, list[tuple[SceneBatch[Cell], Path]]]:
    """Batches and files whose cells have the same key, in their order."""
    groups: dict[Key, list[tuple[SceneBatch[Cell], Path]]] = {}
    for batch, path in done:
        groups.setdefault(key(batch.cell), []).append((batch, path))
    return groups
