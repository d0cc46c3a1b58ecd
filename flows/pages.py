"""Pages of finished runs over HTTP on this machine: browsers open no file that a page of Prefect links to."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from flows.gate import Gate
from flows.key import Key
from flows.server import HOST, ServerError, listening

KINDS = {".html": "text/html", ".svg": "image/svg+xml", ".png": "image/png"}
"""Suffix -> media type of what is served."""

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
"""No script of a page or a picture runs, and nothing is fetched for it."""

_EMBEDDED = {"Cross-Origin-Resource-Policy": "cross-origin"}
"""Of pictures, which the interface shows: browsers may take another port of one address for another site."""


@contextmanager
def pages(directory: Path, port: int, key: Key) -> Iterator[str]:
    """The pages and pictures of runs, `directory/RUN/NAME`, served for reading; gives the address.

    Args:
        port: of this machine; where it is taken, any free one, and links of earlier servers lead nowhere.
        key: who enters its server with it may read.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with _listening(port) as listener:
        own = int(listener.getsockname()[1])
        app = Gate(_files(directory.resolve()), key, own, _POLICY)
        config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", ws="none")
        served = uvicorn.Server(config)
        thread = threading.Thread(target=served.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            yield f"http://{HOST}:{own}"
        finally:
            served.should_exit = True
            thread.join()


def _listening(port: int) -> socket.socket:
    try:
        return listening(port)
    except ServerError:
        return listening(0)


def _files(directory: Path) -> ASGIApp:
    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        path = _shown(directory, scope["path"])
        if scope["method"] not in ("GET", "HEAD") or path is None:
            response: Response = PlainTextResponse("there is no such page\n", 404)
        else:
            kind = KINDS[path.suffix]
            headers = _EMBEDDED if kind.startswith("image/") else None
            response = Response(path.read_bytes(), media_type=kind, headers=headers)
        await response(scope, receive, send)

    return answer


def _shown(directory: Path, address: str) -> Path | None:
    """The file of an address, RUN/NAME in the folder: none that a link leads to, and no folder."""
    for path in directory.glob("*/*"):
        if f"/{path.relative_to(directory)}" == address and path.suffix in KINDS:
            return path if path.is_file() and path.resolve() == path else None
    return None
