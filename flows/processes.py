"""Processes on a leash: they end, with all they started, when the run that they belong to does."""

import os
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from flows.arguments import CommandLine
from flows.leash import LEASH
from risolve.shown import shown

_TAIL_LINES = 20
_SAYS_WHY = "error: "
_SECONDS_BETWEEN_LOOKS = 0.5
_REPORT_SECONDS = 5.0
_RUN_OF_A_RUNNER = "PREFECT__FLOW_RUN_ID"
"""Environment variable of a process that a worker of Prefect, or what serves a flow, runs a flow in."""

RUNNER = "RISOLVE_RUNNER"
"""Environment variable: the process that serves the flows."""

_PARENT = os.getppid()


class KilledError(RuntimeError):
    """The processes were killed while this one ran, or before it started."""


class OvertimeError(RuntimeError):
    """A process reached its time limit and was killed, with all it started."""


class CommandError(RuntimeError):
    """A command ended with an exit status other than zero; its last line."""


@dataclass(frozen=True)
class Ended:
    """How a process ended, and the last lines that it wrote."""

    exit_code: int
    last_lines: tuple[str, ...]

    @property
    def reason(self) -> str:
        """Why it failed: the last line that says so, or the last of all."""
        said = [line for line in self.last_lines if line.startswith(_SAYS_WHY)]
        last = [*self.last_lines, *said][-1:] or ["no output"]
        return f"{last[0].removeprefix(_SAYS_WHY)} (exit status {self.exit_code})"


class Processes:
    """The processes of one run.

    Threads that wait for one cannot be interrupted. The thread that waits for *them* therefore holds this as
    a context: when an exception, or a cancellation, leaves the context, every process started here is killed
    with all it started, each waiting thread gets `KilledError`, and no process starts. The same happens when
    what Prefect started this run with is gone: nobody could cancel the run any more, and another may start.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[str]] = set()
        self._closed = False

    def __enter__(self) -> Self:
        if _RUN_OF_A_RUNNER in os.environ:
            runner = int(os.environ.get(RUNNER, _PARENT))
            threading.Thread(target=self._end_with, args=(runner,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.kill()

    def kill(self) -> None:
        """Kill every process started here, with all it started, and refuse to start another."""
        with self._lock:
            self._closed = True
            for process in self._running:
                _let_go(process)

    def _end_with(self, parent: int) -> None:
        while os.getppid() == parent:
            time.sleep(_SECONDS_BETWEEN_LOOKS)
        self.kill()
        # Prefect reports how the run ended, for ever where the server is gone as well.
        time.sleep(_REPORT_SECONDS)
        os._exit(1)

    def run(
        self,
        command: CommandLine,
        directory: Path,
        environment: Mapping[str, str],
        on_line: Callable[[str], None],
        limit_s: float | None = None,
    ) -> Ended:
        """Run a command in a directory, with more environment, and wait for it.

        Args:
            on_line: called with every line that the command writes, as it writes it.
            limit_s: seconds after which it is killed.

        Raises:
            KilledError: if the processes were killed.
            OvertimeError: if it reached its limit.
        """
        process = self._start(command, directory, environment)
        last_lines: deque[str] = deque(maxlen=_TAIL_LINES)
        with process, _killed_after(process, limit_s) as is_overtime:
            try:
                assert process.stdout is not None
                for raw in process.stdout:
                    if line := shown(raw.rstrip().expandtabs()):
                        last_lines.append(line)
                        on_line(line)
                exit_code = process.wait()
            except BaseException:
                _let_go(process)
                process.wait()
                raise
            finally:
                with self._lock:
                    self._running.discard(process)
        if exit_code and self._closed:
            raise KilledError
        if exit_code and is_overtime.is_set():
            raise OvertimeError
        return Ended(exit_code, tuple(last_lines))

    def _start(
        self, command: CommandLine, directory: Path, environment: Mapping[str, str]
    ) -> subprocess.Popen[str]:
        with self._lock:
            if self._closed:
                raise KilledError
            process = subprocess.Popen(
                [*LEASH, *command],
                cwd=directory,
                # Unbuffered, or the lines of dvc and of a Python stage arrive late and out of order.
                env={**os.environ, "PYTHONUNBUFFERED": "1", **search_paths(), **environment},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                encoding="utf-8",
                errors="replace",
                start_new_session=True,
            )
            self._running.add(process)
            return process


def search_paths() -> dict[str, str]:
    """Where a child looks for programs, and a Python one for code: first where this process has them.

    The commands of dvc.yaml name `python`, and with -P the folder that a child runs in holds no code for it.
    """
    code, inherited = str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH")
    return {
        "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath))),
        "PYTHONPATH": os.pathsep.join((code, inherited)) if inherited else code,
    }


@contextmanager
def _killed_after(process: subprocess.Popen[str], limit_s: float | None) -> Iterator[threading.Event]:
    """Kills the process at its limit; the event says that this happened."""
    happened = threading.Event()
    if limit_s is None:
        yield happened
        return

    def kill() -> None:
        happened.set()
        _let_go(process)

    timer = threading.Timer(limit_s, kill)
    timer.start()
    try:
        yield happened
    finally:
        timer.cancel()


def _let_go(process: subprocess.Popen[str]) -> None:
    """Have the leash kill a process and all it started; stages resume after SIGKILL."""
    assert process.stdin is not None
    process.stdin.close()
