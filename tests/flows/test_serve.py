import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from urllib.request import proxy_bypass

import httpx
import pytest

from flows.interrupted import sole_runner
from flows.serve import SECRET, main
from flows.server import HOST, ServerError, free_port, listening
from tests.messages import shows

PROJECT = Path(__file__).parents[2]


@pytest.fixture
def busy_port():
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        listener.listen()
        yield listener.getsockname()[1]


def command_lines() -> dict[int, bytes]:
    """Those of the processes of this machine."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(FileNotFoundError, ProcessLookupError):
            found[int(folder.name)] = (folder / "cmdline").read_bytes()
    return found


def group_of_server(port: int) -> list[int]:
    """The processes of this machine whose command line asks for a Prefect server on the port."""
    found = []
    for number, line in command_lines().items():
        command = line.split(b"\0")
        if b"flows.gated_server" in command and str(port).encode() in command:
            found.append(number)
    return found


def test_a_free_port_is_free():
    with listening(free_port()):
        pass


def test_a_busy_port_is_refused(busy_port):
    with pytest.raises(ServerError, match=shows(f"port {busy_port} ... (Address already ... --port")):
        listening(busy_port)


def test_a_busy_port_is_refused_before_anything_starts(repository, busy_port, capsys):
    before = signal.getsignal(signal.SIGTERM)
    try:
        assert main(["--port", str(busy_port)]) == 1
    finally:
        signal.signal(signal.SIGTERM, before)
    assert f"port {busy_port}" in capsys.readouterr().err
    assert group_of_server(busy_port) == []
    assert not (repository / "state").exists()


def test_outside_a_repository_nothing_starts(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    before = signal.getsignal(signal.SIGTERM)
    try:
        assert main(["--port", str(free_port())]) == 1
    finally:
        signal.signal(signal.SIGTERM, before)
    assert f"{tmp_path} is" in capsys.readouterr().err


def test_flows_of_a_working_copy_are_served_once(repository, capsys):
    before = signal.getsignal(signal.SIGTERM)
    try:
        with sole_runner(repository):
            assert main(["--port", str(free_port())]) == 1
    finally:
        signal.signal(signal.SIGTERM, before)
    assert f"process {os.getpid()} " in capsys.readouterr().err


@pytest.mark.parametrize("folder", ["nowhere", "dvc.yaml", "a:b"])
def test_what_is_no_folder_to_serve_is_refused(repository, folder, capsys):
    (repository / "a:b").mkdir()
    with pytest.raises(SystemExit, match="2"):
        main(["--measurements", folder])
    assert re.search(shows(f"--measurements: ... got '{repository / folder}'"), capsys.readouterr().err)
    assert not (repository / "state").exists()


def test_nothing_for_a_server_of_this_machine_goes_to_a_proxy(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example:3128")
    assert proxy_bypass(HOST) and not proxy_bypass("example.org")


@pytest.mark.slow
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_served_until_stopped_and_no_process_is_left(repository, stop):
    port = free_port()
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PREFECT_")}
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "flows.serve", "--port", str(port)],
        env={**environment, "PYTHONPATH": str(PROJECT)},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # What a script starts in the background ignores Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )
    with process:
        try:
            assert f":{port}/?token=" in process.stdout.readline()
            assert group_of_server(port)
            secret = (repository / "state" / "prefect" / SECRET).read_text().strip()
            user, _, password = secret.partition(":")
            assert not any(password.encode() in line for line in command_lines().values())
            api = f"http://{HOST}:{port}/api/deployments/name/pipeline/pipeline"
            deadline = time.monotonic() + 60
            while True:
                if httpx.get(api, auth=(user, password)).status_code == httpx.codes.OK:
                    break
                assert time.monotonic() < deadline, "the deployment did not appear"
                time.sleep(0.2)
            process.send_signal(stop)
            assert process.wait(timeout=60) == (-stop if stop == signal.SIGKILL else 0)
        finally:
            process.kill()
    deadline = time.monotonic() + 30
    while group_of_server(port):
        assert time.monotonic() < deadline, "the server outlived what served it"
        time.sleep(0.1)
    assert (repository / "state" / "prefect").is_dir()
