"""The only place that starts dvc or reads its graph.

dvc.yaml owns the graph and dvc.lock the truth. Reading happens in this process; reproducing is a ``dvc``
process on a leash, because killing dvc alone leaves the stage it started running, and killing this process
alone leaves both.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Literal

from dvc.commands.status import CmdDataStatus
from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.stage import Stage as DvcStage

from flows.arguments import DVC, command_line
from flows.processes import KilledError, OvertimeError, Processes

Outcome = Literal["reproduced", "up to date"]
Metrics = Mapping[str, float | int | str]


class GraphError(ValueError):
    """The graph of dvc.yaml cannot be read, or does not contain what was asked for."""


class StageFailed(RuntimeError):
    """A ``dvc repro`` of one stage ended with an exit code other than zero."""

    def __init__(self, stage: str, exit_code: int, last_lines: tuple[str, ...]) -> None:
        super().__init__(stage, exit_code, last_lines)
        self.stage = stage
        self.exit_code = exit_code
        self.last_lines = last_lines

    @property
    def refused(self) -> bool:
        """The stage said what a person has to put right (exit code 2): it would say the same again."""
        return any(re.search(r"exited with 2\b", line) for line in self.last_lines)

    def __str__(self) -> str:
        said = "\n".join(f"  {line}" for line in self.last_lines) or "  (no output)"
        return f"stage '{self.stage}' failed: dvc ended with exit code {self.exit_code}; last lines:\n{said}"


class StageKilledError(RuntimeError):
    """The checkout was closed while this stage ran, or before it started."""

    def __init__(self, stage: str) -> None:
        super().__init__(stage)
        self.stage = stage

    def __str__(self) -> str:
        return f"stage '{self.stage}' was stopped with the run it belongs to; run again to resume it"


class StageOvertimeError(RuntimeError):
    """A stage reached its time limit."""

    def __init__(self, stage: str, limit_min: float) -> None:
        super().__init__(stage, limit_min)
        self.stage, self.limit_min = stage, limit_min

    def __str__(self) -> str:
        return (
            f"stage '{self.stage}' was stopped at its limit of {self.limit_min:g} min; run again, with a "
            "longer limit, to resume it"
        )


@dataclass(frozen=True)
class Stage:
    """One node of the graph: its name, the stages it depends on, and the files it writes."""

    name: str
    after: tuple[str, ...]
    outputs: tuple[Path, ...]
    metrics: tuple[Path, ...]


def find_root(directory: Path) -> Path:
    """The root of the DVC repository that contains ``directory``.

    Raises:
        GraphError: if there is none.
    """
    try:
        return Path(Repo.find_root(str(directory)))
    except DvcException as error:
        raise GraphError(f"{directory} is not inside a DVC repository; start inside the project") from error


def _name(stage: DvcStage) -> str:
    """The name by which ``dvc repro``, started in the root, knows a stage."""
    return str(stage.name) if stage.path_in_repo == "dvc.yaml" else f"{stage.path_in_repo}:{stage.name}"


def read_stages(root: Path, target: str) -> tuple[Stage, ...]:
    """The stages needed for ``target``, each one after all those it depends on.

    Args:
        root: root of the DVC repository.
        target: a stage, or the name of a ``foreach``/``matrix`` group of stages.

    Raises:
        GraphError: if dvc.yaml or its parameters cannot be read, or ``target`` is not in it.
    """
    try:
        with Repo(str(root)) as repo:
            graph = repo.index.graph
    except DvcException as error:
        raise GraphError(f"the pipeline in {root} cannot be read: {error}") from error

    # A .dvc file is data without a command: nothing to run, and nothing that it depends on.
    names = {stage: _name(stage) for stage in graph if stage.cmd}
    wanted = [stage for stage, name in names.items() if name == target or name.startswith(f"{target}@")]
    if not wanted:
        known = ", ".join(names.values()) or "(none)"
        raise GraphError(f"there is no stage '{target}' in {root}; its stages are {known}")

    # Edge a -> b of DVC's graph: a depends on b.
    after: dict[DvcStage, list[DvcStage]] = {}
    while wanted:
        stage = wanted.pop()
        if stage not in after:
            after[stage] = [dependency for dependency in graph.successors(stage) if dependency in names]
            wanted.extend(after[stage])
    in_file = {stage: place for place, stage in enumerate(names)}
    return tuple(
        Stage(
            name=names[stage],
            after=tuple(names[dependency] for dependency in sorted(after[stage], key=in_file.__getitem__)),
            outputs=tuple(Path(output.fs_path) for output in stage.outs),
            metrics=tuple(Path(output.fs_path) for output in stage.outs if output.metric),
        )
        for generation in _generations(after)
        for stage in sorted(generation, key=in_file.__getitem__)
    )


def read_results(root: Path) -> frozenset[Path]:
    """The outs of every stage of dvc.yaml: files and folders.

    Raises:
        GraphError: if dvc.yaml or its parameters cannot be read.
    """
    try:
        with Repo(str(root)) as repo:
            return frozenset(Path(output.fs_path) for output in repo.index.outs)
    except DvcException as error:
        raise GraphError(f"the pipeline in {root} cannot be read: {error}") from error


def _generations(after: Mapping[DvcStage, Iterable[DvcStage]]) -> Iterator[tuple[DvcStage, ...]]:
    """Stages that depend on nothing, then those that depend on these alone, and so on."""
    sorter = TopologicalSorter(after)
    sorter.prepare()
    while generation := sorter.get_ready():
        yield generation
        sorter.done(*generation)


def read_metrics(root: Path, stages: Iterable[Stage]) -> dict[str, Metrics]:
    """The metrics that ``stages`` declare, as ``dvc metrics show`` reads them: file -> dotted name -> value.

    Raises:
        GraphError: if a declared file is missing or is not readable as metrics.
    """
    files = [str(path) for stage in stages for path in stage.metrics]
    if not files:
        return {}
    with Repo(str(root)) as repo:
        shown = repo.metrics.show(targets=files)[""]
    readings: dict[str, Metrics] = {}
    for file, reading in shown["data"].items():
        if "error" in reading:
            raise GraphError(f"{file} is declared as metrics and cannot be read: {reading['error']}")
        readings[file] = dict(_flatten(reading["data"], ()))
    return readings


def outdated_metrics(root: Path, fresh: Iterable[str]) -> tuple[Path, ...]:
    """Files of metrics that stages other than the fresh ones wrote, from other things than are there now.

    Raises:
        GraphError: if dvc.yaml or its parameters cannot be read.
    """
    names = set(fresh)
    try:
        with Repo(str(root)) as repo, repo.lock:
            others = [stage for stage in repo.index.graph if stage.cmd and _name(stage) not in names]
            return tuple(
                Path(out.fs_path)
                for stage in others
                if any(out.metric for out in stage.outs) and stage.changed(allow_missing=True)
                for out in stage.outs
                if out.metric and out.exists
            )
    except DvcException as error:
        raise GraphError(f"the pipeline in {root} cannot be read: {error}") from error


def _flatten(tree: object, path: tuple[str, ...]) -> Iterable[tuple[str, float | int | str]]:
    if isinstance(tree, Mapping):
        for key, branch in tree.items():
            yield from _flatten(branch, (*path, str(key)))
    elif isinstance(tree, float | int | str):
        yield ".".join(path), tree


class Checkout:
    """A working copy in which stages are reproduced, by processes that a run holds.

    state: the repository that keeps the resumable state of the stages, where that is another one.
    limit_min: minutes after which a stage is stopped; 0: never.
    """

    def __init__(
        self, root: Path, processes: Processes, limit_min: float = 0.0, state: Path | None = None
    ) -> None:
        self.root, self._processes, self._limit_min = root, processes, limit_min
        self._environment = {} if state is None else {"DVC_ROOT": str(state)}

    def reproduce(self, stage: str, on_line: Callable[[str], None]) -> Outcome:
        """Bring one stage up to date, without those it depends on, and wait for it.

        Args:
            stage: name of the stage.
            on_line: called with every line that dvc and the stage write, as they write it.

        Raises:
            StageFailed: if dvc ends with an exit code other than zero.
            StageKilledError: if the processes of the run were killed.
            StageOvertimeError: if the stage reached the limit.
        """
        command = command_line(DVC, "--wait-for-lock", "repro", "--single-item", names=[stage])
        limit_s = 60.0 * self._limit_min or None
        try:
            ended = self._processes.run(command, self.root, self._environment, on_line, limit_s)
        except KilledError:
            raise StageKilledError(stage) from None
        except OvertimeError:
            raise StageOvertimeError(stage, self._limit_min) from None
        if ended.exit_code:
            raise StageFailed(stage, ended.exit_code, ended.last_lines)
        # dvc's own verdict is the last line it writes, whatever the stage wrote before.
        unchanged = ended.last_lines[-1:] == (CmdDataStatus.UP_TO_DATE_MSG,)
        return "up to date" if unchanged else "reproduced"
