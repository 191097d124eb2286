"""The settings of the HTTP trigger: ``trigger.http`` of a workload, and ``[http]`` of the host."""

from __future__ import annotations

import re
from typing import Annotated, Any
from urllib.parse import unquote

from pydantic import AfterValidator, BeforeValidator, Field

from wasmplex.settings import Address, Duration, Settings, Size, parse_address
from wasmplex.triggers.http.target import KEPT_SLASH, normal_host, normal_path

__all__ = ["HttpSettings", "RouteSettings"]

_HOST = re.compile(r"(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\]")
_HALF_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


def _path(value: str) -> str:
    if not value.startswith("/") or any(c in value for c in "?#*"):
        raise ValueError('not a path prefix; write it like "/" or "/api", without "?", "#" and "*"')
    if _HALF_ESCAPE.search(value):
        raise ValueError('"%" is followed by two hexadecimal digits; for the sign itself write "%25"')
    if any(segment in (".", "..") for segment in unquote(value).split("/")):
        raise ValueError('no request has "." and ".." in the path that routes see; write the path without')
    path = normal_path(value)
    if not path.replace(KEPT_SLASH, "").isprintable():
        raise ValueError("a path prefix has no control characters, and is UTF-8")
    return path.rstrip("/") or "/"


def _route_host(value: str | None) -> str | None:
    if value is None:
        return None
    host = normal_host(value)
    if _HOST.fullmatch(host) is None:
        raise ValueError('not a host name; write it like "shop.example" or "*.shop.example", without a port')
    return host


class RouteSettings(Settings):
    """``trigger.http``: which requests a workload gets.

    The longest prefix wins; among equals a host wins over ``*.domain``, and that over none.
    """

    path: Annotated[str, AfterValidator(_path)] = "/"
    """``/api`` takes ``/api`` and what is below ``/api/``, and no ``/apix``; ``/caf%C3%A9`` is ``/café``."""
    host: Annotated[str | None, AfterValidator(_route_host)] = None
    """``shop.example`` or ``*.shop.example``; any host if it is missing. The port does not count."""
    middleware: tuple[Any, ...] = ()
    """Components in front of the workload's own, outermost first: files, `["auth.wasm"]`, or tables with
    what they are granted; see below. The host composes them, and the trigger need not know."""


class HttpSettings(Settings):
    """``[http]``: where and how the host listens."""

    listen: Annotated[Address, BeforeValidator(parse_address)] = Address("127.0.0.1", 8080)
    """Address and port, `127.0.0.1:8080`, `[::1]:8080`, `0.0.0.0:80` for all; port 0 is any free one."""
    max_connections: int = Field(default=10_000, ge=1)
    """Connections open at once; the next one gets 503 and is closed."""
    backlog: int = Field(default=2048, ge=1, le=2**31 - 1)
    """Connections that the operating system holds until they are accepted."""
    max_head: Size = 64 * 1024
    """Bytes that a request's line and headers, and its trailers, may have; 431 above."""
    head_timeout: Duration = 10.0
    """How long a client may take to send line and headers; 408 after, if it had begun."""
    keep_alive: Duration = 75.0
    """How long an idle connection stays open."""
    write_timeout: Duration = 30.0
    """How long a client may take none of what is sent to it. Its system says what it took only when half of
    its buffer is free, so the connection is cut after four times as long without such a word."""
    access_log: bool = False
    """One log line for each request."""
    server_header: str = Field(default="wasmplex", pattern=r"^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$|^$")
    """Value of the header ``server`` where the guest sets none; empty for no such header."""
