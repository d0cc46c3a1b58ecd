"""A server that runs: over HTTP and web sockets a stranger, or a page of another origin, does nothing."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prefect.client.orchestration import get_client
from prefect.server.api.server import API_ROUTERS
from prefect.settings import PREFECT_HOME, temporary_settings
from starlette.routing import WebSocketRoute
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin, Subprotocol

from flows.server import Address, free_port, server
from tests.flows.test_gate import FOREIGN, WRITES, routes

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    home = tmp_path_factory.mktemp("prefect")
    with pytest.MonkeyPatch.context() as patch, temporary_settings({PREFECT_HOME: home}):
        patch.setenv("PREFECT_HOME", str(home))
        with server(free_port()) as running:
            yield running


def content() -> dict[str, list[Any]]:
    """What the server holds that a request may have made."""
    with get_client(sync_client=True) as client:
        return {
            "flows": client.read_flows(),
            "deployments": client.read_deployments(),
            "runs": client.read_flow_runs(),
            "artifacts": client.read_artifacts(),
            "variables": client.read_variables(),
        }


def at(address: Address, headers: dict[str, str]) -> dict[str, str]:
    """Foreign headers as they are at the port of a server."""
    ports = {":4310": f":{address.key.port}", ":4311": f":{address.key.port + 1}"}
    for usual, own in ports.items():
        headers = {name: value.replace(usual, own) for name, value in headers.items()}
    return headers


def test_no_route_reads_or_writes_for_a_stranger(address: Address) -> None:
    body = json.dumps({"name": "made-by-a-stranger", "value": 1})
    with httpx.Client(base_url=address.origin, timeout=60.0) as asking:
        pages = [("GET", path) for path in ("/", "/ui-settings", "/dashboard", "/docs", "/openapi.json")]
        everything = [*routes(), *pages]
        assert sum(method in WRITES for method, _ in everything) > 100
        for method, path in everything:
            asked = {
                "Content-Type": "application/json",
                "Prefect-Csrf-Token": "x",
                "Prefect-Csrf-Client": "x",
            }
            answer = asking.request(method, path, headers=asked, content=body)
            assert answer.status_code == 401, path
            for name in ("origin", "host", "host and origin"):
                headers = {"Authorization": f"Basic {address.key.credentials}", **at(address, FOREIGN[name])}
                answer = asking.request(method, path, headers=headers | asked, content=body)
                assert answer.status_code == 403, path
        own = {"Authorization": f"Basic {address.key.credentials}", "Origin": address.origin}
        assert asking.get("/api/admin/version", headers=own).status_code == 200
        # the secret alone is no protection against forged requests; without a type there is no body
        assert asking.post("/api/variables/", headers=own, json=json.loads(body)).status_code == 403
        assert asking.post("/api/variables/", headers=own, content=body).status_code == 415
    assert not any(content().values())


def sockets() -> list[str]:
    """Paths of the web sockets of the API."""
    found = [
        route.path for router in API_ROUTERS for route in router.routes if isinstance(route, WebSocketRoute)
    ]
    return [f"/api{path}".replace("{work_pool_name}", "pool") for path in found]


@pytest.mark.parametrize("path", sockets())
def test_no_web_socket_opens_for_a_stranger(address: Address, path: str) -> None:
    url, prefect = f"ws://127.0.0.1:{address.key.port}{path}", [Subprotocol("prefect")]
    for origin in ("http://evil.example", f"http://127.0.0.1:{address.key.port + 1}", "null"):
        with pytest.raises(InvalidStatus, match="403"):
            connect(url, origin=Origin(origin), subprotocols=prefect)
    for token in (None, "", address.key.token, "risolve:x"):
        with connect(url, subprotocols=prefect) as socket:
            socket.send(json.dumps({"type": "auth", "token": token}))
            with pytest.raises(ConnectionClosed):
                socket.recv(timeout=60.0)
    with pytest.raises((InvalidStatus, ConnectionClosed)), connect(url) as socket:
        socket.recv(timeout=60.0)
    with connect(url, subprotocols=prefect, origin=Origin(address.origin)) as socket:
        socket.send(json.dumps({"type": "auth", "token": address.key.secret}))
        assert json.loads(socket.recv(timeout=60.0)) == {"type": "auth_success"}


def test_there_are_web_sockets() -> None:
    assert {"/api/events/in", "/api/events/out", "/api/logs/out"} <= set(sockets())


def test_nothing_tells_the_secret(address: Address) -> None:
    home = PREFECT_HOME.value()
    content()
    assert address.key.token not in str(address)
    for file in Path(home).rglob("*"):
        assert not file.is_file() or address.key.token.encode() not in file.read_bytes(), file
    assert home.stat().st_mode & 0o077 == 0
