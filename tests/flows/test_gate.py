"""The gate: what passes it, by which headers, on every route of the API; and the pages of runs behind it."""

import re
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prefect.server.api.server import create_app
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from flows.gate import Gate
from flows.key import Key, kept
from flows.pages import pages
from flows.server import HOST, free_port

PORT = 4310
ORIGIN = f"http://{HOST}:{PORT}"
WRITES = ("POST", "PUT", "PATCH", "DELETE")
JSON = {"Content-Type": "application/json"}
FOREIGN: dict[str, dict[str, str]] = {
    "origin": {"Origin": "http://evil.example"},
    "origin of another port": {"Origin": f"http://{HOST}:{PORT + 1}"},
    "origin of the other name": {"Origin": f"http://localhost:{PORT}"},
    "origin of another scheme": {"Origin": f"https://{HOST}:{PORT}"},
    "no origin": {"Origin": "null"},
    "host": {"Host": f"evil.example:{PORT}"},
    "host of another port": {"Host": f"{HOST}:{PORT + 1}"},
    "host without port": {"Host": HOST},
    "host and origin": {"Host": f"evil.example:{PORT}", "Origin": f"http://evil.example:{PORT}"},
}


class Reached:
    """An app that answers everything, and counts."""

    def __init__(self) -> None:
        self.times = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.times += 1
        await PlainTextResponse("reached")(scope, receive, send)


def client(app: Reached, key: Key) -> httpx.AsyncClient:
    gate = Gate(app, key, PORT, "default-src 'none'")
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=gate), base_url=ORIGIN)


def secret(key: Key) -> dict[str, str]:
    return {"Authorization": f"Basic {key.credentials}"}


def routes() -> list[tuple[str, str]]:
    """Method and path of every route of the API."""
    found = create_app(ephemeral=True).openapi()["paths"]
    return [(method.upper(), f"/api{path}") for path, methods in found.items() for method in methods]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.anyio
async def test_no_route_is_reached_by_a_stranger() -> None:
    key, app = Key(PORT), Reached()
    everything = routes()
    assert len([method for method, _ in everything if method in WRITES]) > 100
    async with client(app, key) as asking:
        for method, path in everything:
            without = await asking.request(method, path, headers=JSON, content="{}")
            assert (without.status_code, app.times) == (401, 0), path
            for headers in FOREIGN.values():
                headers = {**secret(key), "Cookie": key.cookie, **JSON, **headers}
                foreign = await asking.request(method, path, headers=headers, content="{}")
                assert (foreign.status_code, app.times) == (403, 0), path
                assert "access-control-allow-origin" not in foreign.headers
        for number, (method, path) in enumerate(everything, 1):
            own = {**secret(key), **JSON, "Origin": ORIGIN}
            assert (await asking.request(method, path, headers=own, content="{}")).text == "reached"
            assert app.times == number


@pytest.mark.anyio
@pytest.mark.parametrize("method", WRITES)
@pytest.mark.parametrize(
    "kind", [{}, {"Content-Type": "text/plain"}, {"Content-Type": "application/json-patch"}, "two"]
)
async def test_a_body_says_that_it_is_json(method: str, kind: dict[str, str] | str) -> None:
    key, app = Key(PORT), Reached()
    own = [*secret(key).items()]
    own += (
        [(name, value) for name, value in JSON.items() for _ in "12"]
        if kind == "two"
        else [*dict(kind).items()]
    )
    async with client(app, key) as asking:
        assert (await asking.request(method, "/api/x", headers=own, content=b"{}")).status_code == 415
        assert app.times == 0
        assert (await asking.request(method, "/api/x", headers=secret(key))).status_code == 200
        typed = {**secret(key), "Content-Type": "Application/JSON; charset=utf-8"}
        assert (await asking.request(method, "/api/x", headers=typed, content=b"{}")).status_code == 200


@pytest.mark.anyio
async def test_the_printed_address_opens_pages_and_the_api_asks_for_the_secret_itself() -> None:
    key, app = Key(PORT), Reached()
    async with client(app, key) as asking:
        for token in ("", "x", key.token[:-1], key.secret):
            assert (await asking.get("/", params={"token": token})).status_code == 401
        assert (await asking.get("/api/", params={"token": key.token})).status_code == 401
        assert (await asking.post("/", params={"token": key.token})).status_code == 401
        entered = await asking.get("/", params={"token": key.token})
        assert entered.status_code == 200 and app.times == 0
        assert f'"prefect-password", "{key.credentials}"' in entered.text
        cookie = entered.headers["set-cookie"]
        assert re.search("HttpOnly", cookie) and re.search("SameSite=Strict", cookie)
        assert key.token not in cookie and key.credentials not in cookie
        asking.cookies.clear()
        shown = {"Cookie": f"other=1; {key.cookie}"}
        assert (await asking.get("/deployments", headers=shown)).text == "reached"
        for method in (*WRITES, "OPTIONS"):
            assert (await asking.request(method, "/api/x", headers=shown)).status_code == 401
        for wrong in (Key(PORT).cookie, f"{key.cookie}0", key.cookie[:-1], f"risolve-{PORT}={key.secret}"):
            assert (await asking.get("/deployments", headers={"Cookie": wrong})).status_code == 401
        for wrong in ("", "Basic", f"Bearer {key.credentials}", f"Basic {Key(PORT).credentials}"):
            assert (await asking.get("/api/x", headers={"Authorization": wrong})).status_code == 401
    assert app.times == 1


@pytest.mark.anyio
async def test_two_hosts_are_none() -> None:
    key, app = Key(PORT), Reached()
    async with client(app, key) as asking:
        headers = [*secret(key).items(), ("Host", f"{HOST}:{PORT}"), ("Host", "evil.example")]
        assert (await asking.get("/api/x", headers=headers)).status_code == 403
    assert app.times == 0


def test_the_secret_is_kept_for_this_user_alone_and_is_another_at_each_start(tmp_path: Path) -> None:
    key, path = Key(PORT), tmp_path / "secret"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("kept")
    path.symlink_to(elsewhere)
    with kept(key, path):
        assert stat.S_IMODE(path.lstat().st_mode) == 0o600 and not path.is_symlink()
        assert path.read_text() == f"{key.secret}\n"
    assert not path.exists() and elsewhere.read_text() == "kept"
    assert len({Key(PORT).secret for _ in range(100)}) == 100 and len(key.token) >= 43
    assert key.token not in repr(key)


@pytest.fixture
def shown(tmp_path: Path) -> Path:
    """Runs with pages, and what else may lie there."""
    directory = tmp_path / "pages"
    (directory / "run").mkdir(parents=True)
    (directory / "run" / "page.html").write_text("seen")
    (directory / "run" / "notes.txt").write_text("hidden")
    (directory / "run" / "folder.html").mkdir()
    (tmp_path / "secret.html").write_text("hidden")
    (directory / "run" / "link.html").symlink_to(tmp_path / "secret.html")
    (directory / "linked").symlink_to(tmp_path)
    (directory / "top.html").write_text("hidden")
    return directory


@pytest.fixture
def key() -> Key:
    return Key(PORT)


@pytest.fixture
def address(shown: Path, key: Key) -> Iterator[str]:
    with pages(shown, free_port(), key) as served:
        yield served


def test_pages_are_served_to_whoever_entered_and_no_other_file_is(address: str, key: Key) -> None:
    with httpx.Client(base_url=address) as asking:
        assert asking.get("/run/page.html").status_code == 401
        own = {"Cookie": key.cookie}
        assert asking.get("/run/page.html", headers={**own, "Host": "evil.example"}).status_code == 403
        page = asking.get("/run/page.html", headers=own)
        assert page.text == "seen" and page.headers["content-type"].startswith("text/html")
        assert "default-src 'none'" in page.headers["content-security-policy"]
        others = ("run/notes.txt", "run/folder.html", "run/link.html", "linked/secret.html", "top.html", "")
        ways = ("run", "run/", "run/../top.html", "..%2fsecret.html", "%2e%2e/secret.html", "run/%00.html")
        for path in (*others, *ways, "run/" + "x" * 300 + ".html"):
            assert asking.get(f"/{path}", headers=own).status_code == 404, path
        assert asking.post("/run/page.html", headers=secret(key)).status_code == 404


def test_pages_are_served_also_where_their_port_is_taken(shown: Path, key: Key) -> None:
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        listener.listen()
        taken = listener.getsockname()[1]
        with pages(shown, taken, key) as address:
            assert address != f"http://{HOST}:{taken}"
            assert httpx.get(f"{address}/run/page.html", headers={"Cookie": key.cookie}).text == "seen"
