"""Pages of finished runs over HTTP on this machine: browsers open no file that a page of Prefect links to."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from flows.server import HOST


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not worth a line."""


@contextmanager
def pages(directory: Path, port: int) -> Iterator[str]:
    """The files of a directory, served for reading; gives the address.

    Args:
        port: of this machine; where it is taken, any free one, and links of earlier servers lead nowhere.
    """
    directory.mkdir(parents=True, exist_ok=True)
    handler = partial(_Quiet, directory=str(directory))
    try:
        served = ThreadingHTTPServer((HOST, port), handler)
    except OSError:
        served = ThreadingHTTPServer((HOST, 0), handler)
    with served:
        thread = threading.Thread(target=served.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://{HOST}:{served.server_port}"
        finally:
            served.shutdown()
            thread.join()
