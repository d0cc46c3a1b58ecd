"""Pages of other origins, in the browser that has entered: they make nothing run and read nothing."""

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from playwright.sync_api import BrowserContext, sync_playwright
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_HOME, temporary_settings

from flows.pages import pages
from flows.server import HOST, Address, free_port, server
from tests.flows.test_gate import routes

pytestmark = pytest.mark.slow

# {id} of a route is that of the deployment, which a page may know.
ATTACK = """async ([origin, shown, routes, id]) => {
    const read = [];
    const note = async (what, answer) => {
        const got = await answer;
        if (!got.type.startsWith('opaque')) read.push([what, got.status, await got.text()]);
    };
    const body = JSON.stringify({name: 'foreign', flow_id: id, deployment_id: id, entrypoint: 'x', value: 1,
        pull_steps: [], parameters: {}, state: {type: 'SCHEDULED'}});
    const attempts = [];
    for (const [method, path] of routes) {
        const url = origin + path.replace(/\\{[^}]*\\}/g, id);
        const sent = method === 'GET' || method === 'HEAD' ? {} : {body: new Blob([body])};
        const simple = ['GET', 'HEAD', 'POST'].includes(method);
        const modes = simple ? ['cors', 'no-cors'] : ['cors'];
        for (const mode of modes)
            for (const credentials of ['include', 'omit'])
                attempts.push(note([method, path, mode], fetch(url, {method, mode, credentials, ...sent})));
    }
    const json = {'content-type': 'application/json'};
    attempts.push(note('json', fetch(origin + '/api/deployments/', {method: 'POST', headers: json, body})));
    for (const page of [origin + '/', origin + '/ui-settings', shown])
        for (const mode of ['cors', 'no-cors'])
            attempts.push(note([page, mode], fetch(page, {mode, credentials: 'include'})));
    const elements = [['script', origin + '/ui-settings'], ['iframe', origin + '/'], ['iframe', shown]];
    for (const [kind, url] of elements)
        attempts.push(new Promise(done => {
            const element = document.createElement(kind);
            element.onload = () => {
                try { read.push([kind, element.contentDocument.documentElement.innerText.length]); } catch {}
                done();
            };
            element.onerror = done;
            element.src = url;
            document.body.append(element);
        }));
    for (const path of ['/api/events/in', '/api/events/out', '/api/logs/out'])
        attempts.push(new Promise(done => {
            const socket = new WebSocket(origin.replace('http', 'ws') + path, 'prefect');
            socket.onopen = () => { read.push([path, 'opened']); done(); };
            socket.onerror = done;
        }));
    await Promise.allSettled(attempts);
    const form = document.createElement('form');
    form.method = 'post'; form.action = origin + '/api/deployments/'; form.enctype = 'text/plain';
    form.innerHTML = '<input>';
    [form.firstChild.name, form.firstChild.value] = [body.slice(0, -1) + ',"x":"', '"}'];
    document.body.append(form);
    form.target = '_blank';
    form.submit();
    await new Promise(done => setTimeout(done, 1000));
    return read;
}"""


PICTURE = """address => new Promise(done => {
    const image = new Image();
    image.onload = () => done(image.naturalWidth);
    image.onerror = () => done(null);
    image.src = address;
})"""
SQUARE = '<svg xmlns="http://www.w3.org/2000/svg" width="7" height="7"></svg>'


class _Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>foreign</title><body>")

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


@pytest.fixture
def foreign() -> Iterator[int]:
    """Port on which another server of this machine answers."""
    with http.server.ThreadingHTTPServer((HOST, 0), _Page) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield listening.server_port
        listening.shutdown()


@pytest.fixture
def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Address]:
    home = tmp_path / "prefect"
    home.mkdir()
    monkeypatch.setenv("PREFECT_HOME", str(home))
    with temporary_settings({PREFECT_HOME: home}), server(free_port()) as running:
        yield running


@contextmanager
def entered(browser: str, address: Address, folder: Path) -> Iterator[tuple[BrowserContext, str]]:
    """A browser in which `evil.example` is this machine, and where a folder of pages is served."""
    arguments = ("--disable-gpu", f"--host-resolver-rules=MAP evil.example {HOST}")
    with (
        pages(folder, free_port(), address.key) as shown,
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=browser, args=arguments) as program,
    ):
        yield program.new_context(), shown


def made() -> tuple[UUID, UUID]:
    """A flow and a deployment that could be run."""
    with get_client(sync_client=True) as client:
        flow = client.create_flow_from_name("served")
        return flow, client.create_deployment(flow, "served", entrypoint="nowhere.py:served")


def content() -> str:
    with get_client(sync_client=True) as client:
        kept = [client.read_flows(), client.read_deployments(), client.read_flow_runs()]
        return json.dumps([[item.model_dump(mode="json") for item in items] for items in kept])


@pytest.mark.parametrize("name", ["evil.example", HOST])
def test_a_foreign_page_makes_nothing_run_and_reads_nothing(
    browser: str, address: Address, foreign: int, tmp_path: Path, name: str
) -> None:
    _, deployment = made()
    before = content()
    (tmp_path / "pages" / "run").mkdir(parents=True)
    (tmp_path / "pages" / "run" / "page.html").write_text("seen")
    with entered(browser, address, tmp_path / "pages") as (context, shown):
        page = context.new_page()
        page.goto(address.entrance)
        page.wait_for_url("**/dashboard*")
        page.goto(f"{shown}/run/page.html")
        assert page.inner_text("body") == "seen"
        other = context.new_page()
        other.goto(f"http://{name}:{foreign}/")
        given = [address.origin, f"{shown}/run/page.html", routes(), str(deployment)]
        assert other.evaluate(ATTACK, given) == []
        # a name that was rebound to this machine is the same to the browser, and not to the server
        rebound = context.new_page()
        answer = rebound.goto(f"http://evil.example:{address.key.port}/?token={address.key.token}")
        assert answer is not None and answer.status == 403
    assert content() == before


def test_the_interface_shows_a_picture_of_a_run_and_a_foreign_page_does_not(
    browser: str, address: Address, foreign: int, tmp_path: Path
) -> None:
    (tmp_path / "pages" / "run").mkdir(parents=True)
    (tmp_path / "pages" / "run" / "square.svg").write_text(SQUARE)
    with entered(browser, address, tmp_path / "pages") as (context, shown):
        own, other = context.new_page(), context.new_page()
        own.goto(address.entrance)
        own.wait_for_url("**/dashboard*")
        other.goto(f"http://evil.example:{foreign}/")
        assert own.evaluate(PICTURE, f"{shown}/run/square.svg") == 7
        assert other.evaluate(PICTURE, f"{shown}/run/square.svg") is None
