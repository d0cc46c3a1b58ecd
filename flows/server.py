"""A Prefect server on this machine, in a session of its own, for as long as a context lasts."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from prefect.client.orchestration import get_client
from prefect.events.worker import EventsWorker
from prefect.logging.handlers import APILogWorker
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_HOME,
    PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS,
    temporary_settings,
)

from flows.leash import LEASH

HOST = "127.0.0.1"
_STOP_SECONDS = 15.0
_SHORT_LIFE_SECONDS = 20.0


class ServerError(RuntimeError):
    """The Prefect server cannot be started."""


def require_free(port: int) -> None:
    """Raise unless a server can listen on ``port`` of this machine.

    Raises:
        ServerError: if something listens there.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As the server does it: a port in TIME_WAIT after an earlier server is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise ServerError(
                f"the Prefect server needs port {port} of {HOST}, and it cannot be had ({error.strerror}); "
                "stop what listens there, or choose another (make serve PORT=..., --port)"
            ) from error


def free_port() -> int:
    """A port of this machine on which nothing listens now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


@contextmanager
def server(port: int) -> Iterator[str]:
    """A Prefect server on ``port``, from ready to stopped; gives the address of its API.

    It has a session of its own: Ctrl-C in the terminal does not reach it, so that a flow stopped by the same
    Ctrl-C can still report how it ended. It is on a leash: killing this process alone ends it too. One that
    dies is started again, and runs under way go on; one that does not live long interrupts this process.

    Raises:
        ServerError: if the port is taken, or the server does not answer in time.
    """
    require_free(port)
    api = f"http://{HOST}:{port}/api"
    log = PREFECT_HOME.value() / "server.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    # PREFECT_API_URL as well as --port, because the user interface talks to port 4200 without it.
    with temporary_settings({PREFECT_API_URL: api}), log.open("wb") as sink:
        kept = _Kept(port, api, sink)
        try:
            _await_ready(kept, log)
            yield api
        finally:
            # What Prefect has still to send would otherwise be tried in vain for a minute at exit.
            APILogWorker.drain_all(timeout=_STOP_SECONDS)
            EventsWorker.drain_all(timeout=_STOP_SECONDS)
            kept.stop()


class _Kept:
    """A server process that is started again when it dies, until it is stopped."""

    def __init__(self, port: int, api: str, sink: BinaryIO) -> None:
        self._command = ("server", "start", "--host", HOST, "--port", str(port))
        self._api, self._sink = api, sink
        self._lock, self._is_stopping, self.is_ready = threading.Lock(), False, False
        self.process = self._start()
        threading.Thread(target=self._watch, daemon=True).start()

    def stop(self) -> None:
        """Let it end, or kill it when it takes too long."""
        with self._lock:
            self._is_stopping = True
            process = self.process
        assert process.stdin is not None
        process.send_signal(signal.SIGTERM)
        with process.stdin, suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_SECONDS)
        process.wait()

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [*LEASH, sys.executable, "-m", "prefect", *self._command],
            env={**os.environ, "PREFECT_API_URL": self._api},
            stdin=subprocess.PIPE,
            stdout=self._sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def _watch(self) -> None:
        while True:
            started = time.monotonic()
            exit_code = self.process.wait()
            with self._lock:
                # before it was ready, whoever waits for that says what is wrong
                if self._is_stopping or not self.is_ready:
                    return
                print(f"the Prefect server ended with exit code {exit_code}", file=sys.stderr)
                if time.monotonic() - started < _SHORT_LIFE_SECONDS:
                    os.kill(os.getpid(), signal.SIGINT)
                    return
                self.process = self._start()
                print("and is started again; runs under way go on", file=sys.stderr)


def _await_ready(kept: _Kept, log: Path) -> None:
    limit_s = float(PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS.value())
    deadline = time.monotonic() + limit_s
    with get_client(sync_client=True) as client:
        while client.api_healthcheck() is not None:
            exit_code = kept.process.poll()
            if exit_code is not None:
                raise ServerError(f"the Prefect server ended with exit code {exit_code}; see {log}")
            if time.monotonic() > deadline:
                raise ServerError(f"the Prefect server did not answer within {limit_s:.0f} s; see {log}")
            time.sleep(0.2)
    kept.is_ready = True


def interrupt_on_signals() -> None:
    """Let SIGTERM and SIGINT end this process as Ctrl-C does, through every context.

    By default SIGTERM passes them by, and what a script starts in the background ignores SIGINT.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
