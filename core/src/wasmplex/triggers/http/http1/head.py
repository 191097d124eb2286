"""The head of a request: its line and its fields, and how its body is framed. Pure.

https://www.rfc-editor.org/rfc/rfc9112#section-3 and https://www.rfc-editor.org/rfc/rfc9112#section-6
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from wasmplex.triggers.http.fields import content_length, is_token, parse_fields
from wasmplex.triggers.http.refusal import Refused
from wasmplex.triggers.http.target import Authority, parse_authority, parse_target

__all__ = ["CHUNKED", "Head", "RequestLine", "parse_head", "parse_request_line"]

CHUNKED: Final = -1
"""The `Head.length` of a body that comes in chunks."""

_METHODS: Final = {
    name.encode(): name for name in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE")
}
_VERSION: Final = re.compile(rb"HTTP/([0-9])\.([0-9])")
_SPECIAL: Final = frozenset({b"host", b"content-length", b"transfer-encoding", b"connection", b"expect"})

Field = tuple[bytes, bytes]


class RequestLine(NamedTuple):
    """The first line.

    :ivar target: path with query as sent, or ``*``
    :ivar authority: that of a target in absolute form
    :ivar version: ``1.0`` or ``1.1``, which stands for all that are later
    """

    method: str
    target: str
    authority: Authority | None
    version: str


class Head(NamedTuple):
    """All of a request but its body.

    :ivar authority: whom the request is for; None if an HTTP/1.0 client did not say
    :ivar headers: names are lower case; ``host`` is `authority`, whatever form the target had
    :ivar keep_alive: the connection may be used again
    :ivar expects_continue: the client waits for ``100 Continue`` before it sends the body
    :ivar length: bytes of the body; `CHUNKED` if only its end will tell
    """

    method: str
    target: str
    version: str
    authority: Authority | None
    headers: list[Field]
    keep_alive: bool
    expects_continue: bool
    length: int


def parse_request_line(line: bytes) -> RequestLine:
    """Return what the first line, free of `CONTROLS`, says; RFC 9112 3.

    :raises Refused: for what is not such a line, or has a target or version that is not served
    """
    parts = line.split(b" ")
    if len(parts) != 3:
        raise Refused(400, "the first line is not method, target and version, a space between each")
    verb, target, version = parts
    method = _METHODS.get(verb)
    if method is None:
        if not is_token(verb):
            raise Refused(400, "the method has a character that it cannot have")
        method = verb.decode("ascii")
    minor = "1.1" if version == b"HTTP/1.1" else _other_version(version)
    path, authority = parse_target(method, target)
    return RequestLine(method, path, authority, minor)


def _other_version(version: bytes) -> str:
    match = _VERSION.fullmatch(version)
    if match is None:
        raise Refused(400, "not a version of HTTP")
    if match[1] != b"1":
        raise Refused(505, "HTTP/1.1 and HTTP/1.0 are served here")
    return "1.0" if match[2] == b"0" else "1.1"  # RFC 9110 2.5: a later minor version is served as ours


def parse_head(line: RequestLine, lines: list[bytes]) -> Head:
    """Return the head with the first line `line` and the field lines `lines`, free of `CONTROLS`.

    :raises Refused: for fields that a request cannot have
    """
    headers = parse_fields(lines)
    special = [field for field in headers if field[0] in _SPECIAL]
    authority = _host(line, special)
    if line.authority is not None:
        authority = line.authority  # RFC 9112 3.2.2: what the header says is ignored
        others = [field for field in headers if field[0] != b"host"]
        headers = [(b"host", authority.text.encode("ascii")), *others]
    method, target, _, version = line
    lasts = version != "1.0"
    if len(special) == 1 and authority is not None:
        return Head(method, target, version, authority, headers, lasts, False, 0)
    keep_alive = lasts and b"close" not in _listed(special, b"connection")
    expects_continue = lasts and _expects_continue(special)
    length = _length(line, special)
    return Head(method, target, version, authority, headers, keep_alive, expects_continue, length)


def _host(line: RequestLine, special: list[Field]) -> Authority | None:
    hosts = [field for field in special if field[0] == b"host"]
    if not hosts and line.version == "1.0":
        return None
    if len(hosts) != 1:
        raise Refused(400, "a request has exactly one host header")
    authority = parse_authority(hosts[0][1])
    if authority is None:
        raise Refused(400, "the host header is not a host and a port")
    return authority


def _listed(fields: list[Field], name: bytes) -> list[bytes]:
    """Return the members of a list that one or several fields make, in lower case; RFC 9110 5.6.1."""
    values = [value for n, value in fields if n == name]
    return [member.strip(b" \t").lower() for member in b",".join(values).split(b",")] if values else []


def _expects_continue(special: list[Field]) -> bool:
    expected = {*_listed(special, b"expect")} - {b""}
    if expected - {b"100-continue"}:
        raise Refused(417, "no expectation but 100-continue is met here")
    return bool(expected)


def _length(line: RequestLine, special: list[Field]) -> int:
    """Return how long the body is; RFC 9112 6.3."""
    lengths = [value for name, value in special if name == b"content-length"]
    codings = _listed(special, b"transfer-encoding")
    if codings:
        _only_chunked(codings)
        if lengths:
            raise Refused(400, "a request has either content-length or transfer-encoding")
        if line.version == "1.0":
            raise Refused(400, "HTTP/1.0 has no transfer-encoding")
        return CHUNKED
    if len(lengths) > 1:
        raise Refused(400, "a request has one content-length")
    try:
        return content_length(lengths) or 0
    except ValueError as error:
        raise Refused(400, str(error)) from None
    except OverflowError as error:
        raise Refused(413, str(error)) from None


def _only_chunked(codings: list[bytes]) -> None:
    names = [coding.partition(b";")[0].rstrip(b" \t") for coding in codings]
    if any(name != b"chunked" and is_token(name) for name in names):
        raise Refused(501, "chunked is the only transfer coding that is understood")
    if codings != [b"chunked"]:
        raise Refused(400, "transfer-encoding has to be chunked, once and without parameters")
