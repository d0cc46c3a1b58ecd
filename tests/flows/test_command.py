"""A flow from the command line: what is expected to go wrong is one line."""

import signal
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.command import run_command
from flows.server import HOST, free_port


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


def must_not_run() -> Mapping[str, str]:
    raise AssertionError


@pytest.mark.usefixtures("repository")
@pytest.mark.parametrize("url", ["http://{HOST}:{port}/api", "nonsense", "http://nowhere.invalid/api"])
def test_a_server_that_is_away_is_named_before_anything_runs(
    url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    url = url.format(HOST=HOST, port=free_port())
    with temporary_settings({PREFECT_API_URL: url}):
        assert run_command("join", must_not_run) == 1
    error = capsys.readouterr().err
    assert f"PREFECT_API_URL={url}" in error and error.count("\n") == 1


@pytest.mark.usefixtures("repository")
def test_what_is_no_prefect_server_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as listener:
        listener.bind((HOST, 0))  # and listens to nobody
        url = f"http://someone:secret@{HOST}:{listener.getsockname()[1]}/api"
        with temporary_settings({PREFECT_API_URL: url}):
            assert run_command("join", must_not_run) == 1
    error = capsys.readouterr().err
    assert "PREFECT_API_URL=http://127" in error and "secret" not in error


def test_a_server_that_goes_away_is_one_line(
    repository: Path, prefect_server: None, capsys: pytest.CaptureFixture[str]
) -> None:
    def gone() -> Mapping[str, str]:
        raise httpx.ConnectError("All connection attempts failed")

    assert run_command("join", gone) == 1
    error = capsys.readouterr().err
    assert "resume" in error and error.count("\n") == 1
