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
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import httpx
from prefect.events.worker import EventsWorker
from prefect.logging.handlers import APILogWorker
from prefect.settings import (
    PREFECT_API_AUTH_STRING,
    PREFECT_API_URL,
    PREFECT_CLIENT_CSRF_SUPPORT_ENABLED,
    PREFECT_HOME,
    PREFECT_RUNNER_SERVER_ENABLE,
    PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS,
    temporary_settings,
)

from flows.arguments import command_line, python
from flows.key import Key
from flows.leash import LEASH
from flows.processes import search_paths

HOST = "127.0.0.1"
_STOP_SECONDS = 15.0
_SHORT_LIFE_SECONDS = 20.0
_ANSWER_SECONDS = 2.0


class ServerError(RuntimeError):
    """The Prefect server cannot be started."""


@dataclass(frozen=True)
class Address:
    """Where a server answers, and what opens it."""

    key: Key

    @property
    def origin(self) -> str:
        """That of its pages."""
        return f"http://{HOST}:{self.key.port}"

    @property
    def api(self) -> str:
        """PREFECT_API_URL."""
        return f"{self.origin}/api"

    @property
    def environment(self) -> dict[str, str]:
        """What lets a program use it."""
        return {"PREFECT_API_URL": self.api, "PREFECT_API_AUTH_STRING": self.key.secret}

    @property
    def entrance(self) -> str:
        """What opens the user interface in a browser."""
        return f"{self.origin}/?token={self.key.token}"


def listening(port: int) -> socket.socket:
    """A socket that listens on a port of this machine.

    Raises:
        ServerError: if something else does.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    # A port in TIME_WAIT after an earlier server is free.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
        listener.listen()
    except OSError as error:
        listener.close()
        raise ServerError(
            f"a server here needs port {port} of {HOST}, and it cannot be had ({error.strerror}); "
            "stop what listens there, or choose another (make ... PORT=..., --port)"
        ) from error
    return listener


def free_port() -> int:
    """A port of this machine on which nothing listens now."""
    with listening(0) as probe:
        return int(probe.getsockname()[1])


@contextmanager
def server(port: int) -> Iterator[Address]:
    """A Prefect server on ``port``, from ready to stopped, and this process as one that may use it.

    It answers whoever holds its secret, which is drawn here (`flows.gate`). The port stays with this process
    while the server starts again: who listens there is sent the secret, and says what runs.

    It has a session of its own: Ctrl-C in the terminal does not reach it, so that a flow stopped by the same
    Ctrl-C can still report how it ended. It is on a leash: killing this process alone ends it too. One that
    dies is started again, and runs under way go on; one that does not live long interrupts this process.

    Raises:
        ServerError: if the port is taken, or the server does not answer in time.
    """
    address = Address(Key(port))
    log = PREFECT_HOME.value() / "server.log"
    own = {
        PREFECT_API_URL: address.api,
        PREFECT_API_AUTH_STRING: address.key.secret,
        PREFECT_CLIENT_CSRF_SUPPORT_ENABLED: True,
        PREFECT_RUNNER_SERVER_ENABLE: False,
    }
    with listening(port) as listener, temporary_settings(own):
        log.parent.mkdir(parents=True, exist_ok=True)
        log.parent.chmod(0o700)  # the database tells what the API tells
        with log.open("wb") as sink:
            kept = _Kept(address, listener, sink)
            try:
                _await_ready(kept, address, log)
                yield address
            finally:
                # What Prefect has still to send would otherwise be tried in vain for a minute at exit.
                APILogWorker.drain_all(timeout=_STOP_SECONDS)
                EventsWorker.drain_all(timeout=_STOP_SECONDS)
                kept.stop()


class _Kept:
    """A server process that is started again when it dies, until it is stopped."""

    def __init__(self, address: Address, listener: socket.socket, sink: BinaryIO) -> None:
        self._address, self._listener, self._sink = address, listener, sink
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
        key, descriptor = self._address.key, self._listener.fileno()
        own = {
            **self._address.environment,
            "PREFECT_SERVER_API_AUTH_STRING": key.secret,
            "PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS": self._address.origin,
            "PREFECT_SERVER_API_CSRF_PROTECTION_ENABLED": "true",
            # Of the address in the browser; Prefect's default is that of port 4200.
            "PREFECT_SERVER_UI_API_URL": "/api",
            # The newer interface forgets the secret when a page is left while it loads.
            "PREFECT_SERVER_UI_V2_ENABLED": "false",
        }
        return subprocess.Popen(
            [*LEASH, *command_line(python("flows.gated_server"), str(key.port), str(descriptor))],
            env={**os.environ, **search_paths(), **own},
            stdin=subprocess.PIPE,
            stdout=self._sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=(descriptor,),
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


def _await_ready(kept: _Kept, address: Address, log: Path) -> None:
    limit_s = float(PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS.value())
    deadline = time.monotonic() + limit_s
    while not _answers(address):
        exit_code = kept.process.poll()
        if exit_code is not None:
            raise ServerError(f"the Prefect server ended with exit code {exit_code}; see {log}")
        if time.monotonic() > deadline:
            raise ServerError(f"the Prefect server did not answer within {limit_s:.0f} s; see {log}")
        time.sleep(0.2)
    kept.is_ready = True


def _answers(address: Address) -> bool:
    """The port listens before the server does: one that does not come up would never answer."""
    headers = {"Authorization": f"Basic {address.key.credentials}"}
    try:
        answer = httpx.get(f"{address.api}/health", headers=headers, timeout=_ANSWER_SECONDS, trust_env=False)
    except httpx.TransportError:
        return False
    return answer.status_code == httpx.codes.OK


def interrupt_on_signals() -> None:
    """Let SIGTERM and SIGINT end this process as Ctrl-C does, through every context.

    By default SIGTERM passes them by, and what a script starts in the background ignores SIGINT.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
