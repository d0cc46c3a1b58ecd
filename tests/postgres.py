"""A PostgreSQL server of a test's own on 127.0.0.1, from Debian's packages."""

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg

_SECONDS_TO_START = 60.0


def programs() -> Path | None:
    """Where initdb and postgres are, None where they are not installed."""
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).parent
    return max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)


@contextlib.contextmanager
def postgres() -> Iterator[str]:
    """URL of an empty database; the server ends with the block."""
    folder = programs()
    assert folder is not None
    # PostgreSQL refuses to run as root.
    user = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
    with tempfile.TemporaryDirectory(prefix="risolve-postgres-") as directory:
        shutil.chown(directory, user)
        data = Path(directory) / "data"
        initdb = [folder / "initdb", "--auth=trust", "--username=risolve", "--no-sync", "--pgdata", data]
        subprocess.run(initdb, user=user, cwd="/", check=True, stdout=subprocess.DEVNULL)
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        command = [folder / "postgres", "-D", data, "-h", "127.0.0.1", "-p", str(port), "-k", directory]
        with subprocess.Popen(command, user=user, cwd="/", stderr=subprocess.DEVNULL) as server:
            try:
                _wait(port)
                yield f"postgresql+psycopg://risolve@127.0.0.1:{port}/postgres"
            finally:
                server.send_signal(signal.SIGINT)


def _wait(port: int) -> None:
    deadline = time.monotonic() + _SECONDS_TO_START
    while True:
        try:
            psycopg.connect(host="127.0.0.1", port=port, user="risolve", dbname="postgres").close()
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return
