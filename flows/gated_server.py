"""The Prefect server behind its gate, on a socket that listens already.

Usage: ``python -P -m flows.gated_server PORT SOCKET``; PREFECT_SERVER_API_AUTH_STRING holds the secret.
"""

import socket
import sys

import uvicorn
from prefect.server.api.server import create_app
from prefect.settings import PREFECT_SERVER_API_AUTH_STRING, PREFECT_SERVER_LOGGING_LEVEL

from flows.gate import Gate
from flows.key import Key

# Its own code alone, which draws by code that it makes; nothing goes to another host. Pictures of runs come
# from the port of the pages.
_POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'unsafe-eval'",
        "style-src 'self' 'unsafe-inline'",
        "font-src 'self' data:",
        "img-src 'self' data: blob: http://127.0.0.1:*",
        "worker-src 'self' blob:",
        "object-src 'none'",
        "base-uri 'none'",
    )
)


def main() -> None:
    """Serve until SIGTERM."""
    port, descriptor = map(int, sys.argv[1:])
    key = Key(port, str(PREFECT_SERVER_API_AUTH_STRING.value()))
    config = uvicorn.Config(
        Gate(create_app(final=True), key, port, _POLICY),
        log_level=PREFECT_SERVER_LOGGING_LEVEL.value().lower(),
        access_log=False,  # the printed address holds the token
    )
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=descriptor)])


if __name__ == "__main__":
    main()
