"""The user interface of Prefect in a browser: its pages, and the fields of its forms."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urljoin, urlsplit

from playwright.sync_api import Locator, Page, sync_playwright
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

from flows.server import HOST

PAGE_MILLISECONDS = 120_000.0
# Playwright adds --no-sandbox, without which root starts no browser. What the browser asks of the network by
# itself is no request of a page: no other host has an address.
_ARGUMENTS = (
    "--disable-gpu",
    "--no-proxy-server",
    f"--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE {HOST}",
)
_PROPERTY = "*[contains(concat(' ', @class, ' '), ' schema-form-property ')]"
_LABEL = "*[contains(@class, 'p-label__header')]//*[contains(@class, 'schema-form-property__label')]"


@contextmanager
def opened(browser: str, entrance: str, picture: Path) -> Iterator[Page]:
    """The list of deployments, entered by the printed address, which asks nothing of any host but this one.

    A failure inside leaves a picture of the page, and names it.
    """
    asked: set[str] = set()
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=browser, args=_ARGUMENTS) as program,
    ):
        page = program.new_page(viewport={"width": 1400, "height": 1000})
        page.set_default_timeout(PAGE_MILLISECONDS)
        page.on("request", lambda request: asked.add(request.url))
        page.on("websocket", lambda socket: asked.add(socket.url))
        try:
            page.goto(entrance)
            page.get_by_text("Deployments", exact=True).click()
            page.wait_for_url(urljoin(entrance, "/deployments"))
            yield page
        except Exception as failure:
            page.screenshot(path=picture)
            failure.add_note(f"the page as it was then: {picture}")
            raise
    # data: and blob: name no host
    assert {urlsplit(url).hostname for url in asked} - {None} == {HOST}


@contextmanager
def connected(entrance: str) -> Iterator[SyncPrefectClient]:
    """A client of the API of the server that printed an address."""
    (token,) = parse_qs(urlsplit(entrance).query)["token"]
    settings = {PREFECT_API_URL: urljoin(entrance, "/api"), PREFECT_API_AUTH_STRING: f"risolve:{token}"}
    with temporary_settings(settings), get_client(sync_client=True) as client:
        yield client


def open_form(page: Page, deployment: str) -> None:
    """From the list of deployments to the form of one."""
    page.get_by_role("link", name=deployment, exact=True).first.click()
    page.get_by_role("button", name="Run", exact=True).click()
    page.get_by_text("Custom run").click()


def field(page: Page, *labels: str) -> Locator:
    """The control under the last label, inside the sections that the others name, outermost first."""
    *sections, last = (f"{_PROPERTY}[{_LABEL}[normalize-space() = '{label}']]" for label in labels)
    inside = "".join(
        f"[ancestor::{_PROPERTY}[{level}][self::{section}]]"
        for level, section in enumerate(reversed(sections), 1)
    )
    return page.locator(f"xpath=//{last}{inside}//*[self::input or self::textarea]")
