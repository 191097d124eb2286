"""What a request is for: the forms of a target, the authority, and both as routes are compared. Pure.

https://www.rfc-editor.org/rfc/rfc9112#section-3.2 and https://www.rfc-editor.org/rfc/rfc3986
"""

from __future__ import annotations

import re
from contextlib import suppress
from functools import lru_cache
from ipaddress import IPv6Address
from typing import Final, NamedTuple
from urllib.parse import unquote

from wasmplex.triggers.http.refusal import Refused

__all__ = [
    "KEPT_SLASH",
    "Authority",
    "normal_host",
    "normal_path",
    "parse_authority",
    "parse_target",
    "path_of",
]

_AUTHORITY: Final = re.compile(
    r"(?P<host>\[[0-9A-Fa-f:.]+\]|\[[vV][0-9A-Fa-f]+\.[\w.~!$&'()*+,;=:-]+\]"
    r"|(?:[\w.~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+)(?::0*+(?P<port>[0-9]{0,5}))?",
    re.ASCII,
)
"""``uri-host [":" port]`` of RFC 9110 7.2, with a host that is not empty: RFC 9110 4.2.1."""
_VISIBLE: Final = bytes({*range(0x21, 0x7F)} - {ord("#")})
_ENCODED_SLASH: Final = re.compile("%2[Ff]")
KEPT_SLASH: Final = "\udc2f"
"""Stands for ``%2F`` in a normal path: no separator, and nothing else that a path can decode to."""


class Authority(NamedTuple):
    """Whom a request is for.

    :ivar text: as sent, host and port
    :ivar host: as routes compare it, see `normal_host`
    """

    text: str
    host: str


@lru_cache(maxsize=256)
def parse_authority(value: bytes) -> Authority | None:
    """Return the authority in a ``host`` header or an absolute target; None if it is not valid."""
    text = value.decode("latin-1")
    match = _AUTHORITY.fullmatch(text)
    if match is None or int(match["port"] or 0) > 65535:
        return None
    host = match["host"]
    if host[0] == "[" and host[1] not in "vV" and not _is_ipv6(host[1:-1]):
        return None
    return Authority(text, normal_host(host))


def _is_ipv6(text: str) -> bool:
    try:
        IPv6Address(text)
    except ValueError:
        return False
    return True


def normal_host(host: str) -> str:
    """Return a host as routes compare it: RFC 3986 6.2.2, and without the dot at the end of a full name."""
    if "%" in host:
        host = unquote(host, errors="surrogateescape")
    if host[:1] == "[":
        with suppress(ValueError):
            return f"[{IPv6Address(host[1:-1])}]"
    return host.lower().removesuffix(".")


def parse_target(method: str, target: bytes) -> tuple[str, Authority | None]:
    """Return path with query, or ``*``, and the authority if the target itself has one; RFC 9112 3.2.

    :raises Refused: for what is no target, or none that `method` can have
    """
    if target.translate(None, _VISIBLE):
        raise Refused(400, "the target of a request has a character that it cannot have")
    if method == "CONNECT":
        raise Refused(501, "this is not a proxy")
    if target[:1] == b"/":
        return target.decode("ascii"), None
    if target == b"*" and method == "OPTIONS":
        return "*", None
    return _absolute(method, target)


def _absolute(method: str, target: bytes) -> tuple[str, Authority]:
    scheme, slashes, rest = target.partition(b"://")
    if not slashes or scheme.lower() not in (b"http", b"https"):
        raise Refused(400, "not a target that such a request can have")
    cut = min((i for i in (rest.find(b"/"), rest.find(b"?")) if i >= 0), default=len(rest))
    authority = parse_authority(rest[:cut])
    if authority is None:  # user information included: RFC 9110 4.2.4
        raise Refused(400, "the target of a request has no valid host")
    tail = rest[cut:].decode("ascii")
    if not tail:
        return ("*" if method == "OPTIONS" else "/"), authority  # RFC 9112 3.2.4
    return (tail if tail[0] == "/" else f"/{tail}"), authority


def path_of(target: str) -> str:
    """Return the path of a target as routes compare it; what is for the server as a whole is for ``/``."""
    return "/" if target == "*" else normal_path(target.partition("?")[0])


def normal_path(path: str) -> str:
    """Return a path as routes compare it, decoded and without dot segments; RFC 3986 6.2.2.

    ``%2F`` separates no segments, and stays apart from ``/``.
    """
    if "%" in path:
        path = unquote(_ENCODED_SLASH.sub(KEPT_SLASH, path), errors="surrogateescape")
    return _without_dots(path) if "/." in path else path


def _without_dots(path: str) -> str:
    kept: list[str] = []
    segments = path.split("/")[1:]
    for segment in segments:
        if segment == "..":
            kept[-1:] = []
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in (".", ".."):
        kept.append("")
    return "/" + "/".join(kept)
