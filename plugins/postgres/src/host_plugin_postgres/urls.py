"""Connection URLs, as libpq has them (PostgreSQL, "Connection URIs")."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from urllib.parse import parse_qsl, unquote, urlsplit

from wasmplex.plugin import OwnWords

__all__ = ["PORT", "Target", "parse", "places"]

PORT = 5432
_KEYS = (
    "host", "port", "user", "password", "dbname", "sslmode", "sslrootcert", "sslcert", "sslkey",
    "target_session_attrs",
)  # fmt: skip
_TLS = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_ATTRS = ("any", "primary", "standby", "read-write", "read-only", "prefer-standby")


@dataclass(frozen=True, slots=True)
class Target:
    """What a URL says; None and empty where it does not.

    :ivar hosts: names, addresses or directories of Unix sockets, each with its port
    :ivar options: ``sslmode`` and the like
    """

    hosts: tuple[tuple[str, int], ...]
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    database: str | None = None
    options: dict[str, str] = field(default_factory=dict)


def parse(url: str) -> Target:
    """Read a URL.

    :raises ValueError: if it is none; the text names no part that may be a secret
    """
    parts = urlsplit(url)
    if parts.scheme not in ("postgres", "postgresql"):
        raise OwnWords("the URL must start with postgresql:// or postgres://")
    userinfo, _, netloc = parts.netloc.rpartition("@")
    user, _, password = userinfo.partition(":")
    options = dict(_options(parts.query))
    named = options.pop("host", None)
    port = options.pop("port", None)
    hosts = tuple(places(netloc, port) if netloc else places(named, port) if named else ())
    return Target(
        hosts,
        unquote(user) or options.pop("user", None),
        unquote(password) or options.pop("password", None),
        unquote(parts.path.lstrip("/")) or options.pop("dbname", None),
        options,
    )


def _options(query: str) -> Iterator[tuple[str, str]]:
    for key, value in parse_qsl(query, keep_blank_values=True):
        if key not in _KEYS:
            near = get_close_matches(key, [*_KEYS, "pool_size", "application_name"], 1, 0.75)
            hint = f'; did you mean "{near[0]}"?' if near and near[0] in _KEYS else ""
            if not hint:
                hint = "; write it as a key of the binding" if near else f"; there are {', '.join(_KEYS)}"
            # One that is near none may be what is behind an "&" in a password.
            raise ValueError(f"the URL has an unknown key{_shown(key) if near else ''}{hint}")
        choices = {"sslmode": _TLS, "target_session_attrs": _ATTRS}.get(key)
        if choices and value not in choices:
            raise OwnWords(f"{key} in the URL is none of {', '.join(choices)}")
        yield key, "prefer" if value == "allow" else value


def _shown(key: str) -> str:
    """Return a key for a message; one that is no word may be part of a password as well."""
    return f' "{key}"' if key.isidentifier() and len(key) <= 40 else ""


def places(text: str, port: str | int | None = None) -> Iterator[tuple[str, int]]:
    """Yield hosts and ports: ``host:port,host:port``, with the ports apart if they are.

    :raises ValueError: if one is malformed
    """
    names = text.split(",")
    ports = str(port).split(",") if port is not None else [str(PORT)]
    if len(ports) not in (1, len(names)):
        raise OwnWords("there is not one port for each host")
    for at, name in enumerate(names):
        yield _place(unquote(name), ports[at % len(ports)])


def _place(name: str, port: str) -> tuple[str, int]:
    if name.startswith("/"):
        return name, _port(port)
    if name.startswith("["):
        host, _, rest = name[1:].partition("]")
        own = rest[1:]
    elif name.count(":") > 1:
        host, own = name, ""
    else:
        host, _, own = name.partition(":")
    if not host:
        raise OwnWords("a host is missing: postgresql://host:5432/database")
    return host, _port(own or port)


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 65535):
        raise OwnWords("a port is not a number from 1 to 65535")
    return int(text)
