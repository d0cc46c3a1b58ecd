"""The gate before a server of this machine: no page of another origin, and no other user, gets through it.

Every request names this server as its host, which a name that was rebound to this machine does not, and comes
from its own pages or from a program. It shows the secret; for pages a cookie, which the printed address sets,
does. The user interface of Prefect keeps the secret in the storage of the browser, which belongs to this port
alone, and sends it with every request to the API.
"""

import hmac
from collections.abc import Iterable
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from flows.key import Key

_NAMES = ("127.0.0.1", "localhost")
_HTTP_PORT = 80
_READS = ("GET", "HEAD")
_HEADERS = {
    "Cross-Origin-Resource-Policy": "same-site",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_ENTERING = """<!doctype html><meta charset="utf-8"><title>risolve</title>
<script>localStorage.setItem("prefect-password", "{credentials}"); location.replace("/");</script>
<noscript>The user interface needs JavaScript.</noscript>
"""


class Gate:
    """An app that lets pass to another what may pass.

    port: on which it listens. policy: what its pages may load and run, a Content-Security-Policy.
    """

    def __init__(self, app: ASGIApp, key: Key, port: int, policy: str) -> None:
        self._app, self._key = app, key
        self._headers = {**_HEADERS, "Content-Security-Policy": f"{policy}; frame-ancestors 'none'"}
        without = _NAMES if port == _HTTP_PORT else ()
        self._hosts = frozenset((*(f"{name}:{port}" for name in _NAMES), *without))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or let the app answer."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
            await send(message)

        own = self._answer(scope)
        if own is None:
            await self._app(scope, receive, answer)
        elif scope["type"] == "http":
            await own(scope, receive, answer)
        else:
            await send({"type": "websocket.close", "code": 1008})

    def _answer(self, scope: Scope) -> Response | None:
        """None for what may pass; a web socket is asked for the secret by Prefect, in its first message."""
        headers = Headers(scope=scope)
        hosts, origins = headers.getlist("host"), headers.getlist("origin")
        if len(hosts) != 1 or hosts[0] not in self._hosts:
            return _refused(403, f"this server is {' or '.join(sorted(self._hosts))}, and nothing else")
        if any(origin != f"http://{hosts[0]}" for origin in origins):
            return _refused(403, "pages of other origins have no business here")
        if scope["type"] == "websocket":
            return None
        given = parse_qs(scope["query_string"].decode("latin-1"))
        if (
            scope["method"] == "GET"
            and scope["path"] == "/"
            and _is_any(given.get("token", ()), self._key.token)
        ):
            return self._entering()
        if not self._is_known(scope["method"], headers):
            return _refused(
                401, "open the address that was printed when the server started: it holds the key"
            )
        if scope["method"] not in _READS and _has_body(headers) and not _is_json(headers):
            return _refused(415, "a body is application/json, and says so")
        return None

    def _is_known(self, method: str, headers: Headers) -> bool:
        if _is_any(headers.getlist("authorization"), f"Basic {self._key.credentials}"):
            return True
        cookies = (pair.strip() for line in headers.getlist("cookie") for pair in line.split(";"))
        return method in _READS and _is_any(cookies, self._key.cookie)

    def _entering(self) -> Response:
        page = HTMLResponse(_ENTERING.format(credentials=self._key.credentials))
        page.headers["Set-Cookie"] = f"{self._key.cookie}; Path=/; HttpOnly; SameSite=Strict"
        page.headers["Cache-Control"] = "no-store"
        page.headers["Content-Security-Policy"] = "default-src 'none'; script-src 'unsafe-inline'"
        return page


def _refused(status: int, why: str) -> Response:
    return PlainTextResponse(f"{why}\n", status)


def _is_any(given: Iterable[str], right: str) -> bool:
    return any(hmac.compare_digest(text.encode(), right.encode()) for text in given)


def _has_body(headers: Headers) -> bool:
    return "transfer-encoding" in headers or any(
        length != "0" for length in headers.getlist("content-length")
    )


def _is_json(headers: Headers) -> bool:
    kinds = [kind.partition(";")[0].strip().lower() for kind in headers.getlist("content-type")]
    return kinds == ["application/json"]
