"""The secret of one start of a server: drawn at random, for this user's processes and browser alone."""

import base64
import hashlib
import hmac
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Key:
    """What opens a server.

    port: that of the server; it is in the name of the cookie, for a browser shows those of one address to all
        its ports.
    secret: as PREFECT_API_AUTH_STRING has it, USER:TOKEN.
    """

    port: int
    secret: str = field(default_factory=lambda: f"risolve:{secrets.token_urlsafe(32)}", repr=False)

    @property
    def token(self) -> str:
        """What the printed address carries."""
        return self.secret.rpartition(":")[2]

    @property
    def credentials(self) -> str:
        """What the user interface of Prefect keeps, and sends as basic authentication."""
        return base64.b64encode(self.secret.encode()).decode()

    @property
    def cookie(self) -> str:
        """NAME=VALUE, which opens pages and not the API: another server of the address sees it, too."""
        value = hmac.new(self.secret.encode(), b"pages", hashlib.sha256).hexdigest()
        return f"risolve-{self.port}={value}"


@contextmanager
def kept(key: Key, path: Path) -> Iterator[None]:
    """The secret in a file that this user alone reads, as long as the block lasts."""
    path.unlink(missing_ok=True)
    made = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(made, "w", encoding="utf-8") as file:
        file.write(f"{key.secret}\n")
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
