"""What a Redis URL says: where the servers are and how to speak to them.

::

    redis://[user[:password]@]host[:port][/db]                            one server; rediss:// with TLS
    unix:///path/to/socket[?db=n]                                         one server on this machine
    redis+sentinel://[user[:password]@]host[:port],host...[/service[/db]]  what Sentinel says is the primary
    redis+cluster://[user[:password]@]host[:port],host...                 a cluster, found by any of its nodes

``rediss+sentinel`` and ``rediss+cluster`` use TLS.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from wasmplex.plugin import OwnWords

__all__ = ["Target", "parse"]

SCHEMES = (
    "redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster"
)  # fmt: skip
_PORTS = {"single": 6379, "cluster": 6379, "sentinel": 26379}


Kind = Literal["single", "sentinel", "cluster"]
_KINDS: dict[str, Kind] = {"": "single", "sentinel": "sentinel", "cluster": "cluster"}


@dataclass(frozen=True, slots=True)
class Target:
    """Where to connect. Its text has no secrets."""

    kind: Kind
    hosts: tuple[tuple[str, int], ...] = ()
    socket: str = ""
    service: str = "mymaster"
    db: int = 0
    tls: bool = False
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        if self.socket:
            return self.socket
        hosts = ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.hosts)
        return {"single": hosts, "cluster": f"cluster {hosts}", "sentinel": f"{self.service} at {hosts}"}[
            self.kind
        ]


def parse(url: str) -> Target:
    """Read a URL.

    :raises ValueError: if it is not one of those above; the text names no part that may be a secret
    """
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES:
        known = ", ".join(f"{scheme}://" for scheme in SCHEMES)
        raise OwnWords(f'the URL must start with {known}; write it like "redis://127.0.0.1:6379"')
    if parts.scheme == "unix":
        return _socket(parts)
    userinfo, _, netloc = parts.netloc.rpartition("@")
    user, _, password = userinfo.partition(":")
    kind, path = _KINDS[parts.scheme.partition("+")[2]], parts.path.strip("/")
    service, _, db = path.partition("/") if kind == "sentinel" else ("", "", path)
    hosts = tuple(_host(text, _PORTS[kind]) for text in netloc.split(","))
    if kind == "single" and len(hosts) > 1:
        raise OwnWords("redis:// names one server; use redis+cluster:// or redis+sentinel:// for several")
    if kind == "cluster" and db not in ("", "0"):
        raise OwnWords("a cluster has no numbered databases; remove what follows the host")
    return Target(
        kind,
        hosts,
        service=unquote(service) or "mymaster",
        db=_db(db),
        tls=parts.scheme.startswith("rediss"),
        username=unquote(user) or None,
        password=unquote(password) or None,
    )


def _socket(parts: SplitResult) -> Target:
    if not parts.path:
        raise OwnWords("the URL names no socket: unix:///path/to/socket")
    return Target("single", socket=unquote(parts.path), db=_db(parse_qs(parts.query).get("db", ["0"])[0]))


def _db(text: str) -> int:
    if text and not (text.isascii() and text.isdigit()):
        raise OwnWords("the database at the end of the URL is not a number: redis://host:6379/0")
    return int(text or 0)


def _host(text: str, default: int) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname, parts.port
    except ValueError:
        raise OwnWords("a host or port in the URL is malformed: host:port, or [ip6]:port") from None
    if not host:
        raise OwnWords("a host is missing in the URL: redis://host:6379/0")
    return host, default if port is None else port
