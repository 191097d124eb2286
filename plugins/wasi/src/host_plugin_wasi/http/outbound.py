"""A request as it goes over the wire: what may leave, and in which words. Pure: nothing is sent here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from wasmplex.plugin import Variant

from host_plugin_wasi.http.authority import Origin, parse
from host_plugin_wasi.http.errors import HttpError, protocol_error
from host_plugin_wasi.http.fields import Fields
from host_plugin_wasi.http.messages import OutgoingRequest

__all__ = [
    "Outbound", "Trailers", "checked_trailers", "chunk", "last_chunk", "outbound", "sendable_trailers",
]  # fmt: skip

Trailers = Sequence[tuple[bytes, bytes]]

_DEFAULT_PORTS = {"http": 80, "https": 443}
_METHOD, _URI = Variant("HTTP-request-method-invalid"), Variant("HTTP-request-URI-invalid")
_ASCII = "".join(map(chr, range(0x21, 0x7F)))
"""What of a path is sent as it is; the rest is UTF-8 in the form of RFC 3986 section 2.5."""
_MAX_TARGET = 64 * 1024
_IDEMPOTENT = frozenset({b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"})  # RFC 9110 section 9.2.2
_WITH_CONTENT = frozenset({b"POST", b"PUT", b"PATCH"})
_NOT_IN_TRAILERS = frozenset({
    b"authorization", b"cache-control", b"content-encoding", b"content-length", b"content-range",
    b"content-type", b"cookie", b"expect", b"max-forwards", b"pragma", b"range", b"set-cookie", b"te",
    b"trailer",
})  # fmt: skip
"""What frames, routes, authenticates or changes a message comes before it (RFC 9110 section 6.5.1). `Fields`
refuses the rest of that."""


@dataclass(frozen=True, slots=True)
class Outbound:
    """What leaves before the body.

    :ivar authority: as the guest set it
    :ivar headers: as the guest made them, without those that frame the body
    :ivar length: what the guest says that the body has, None if it leaves that to the host
    :ivar expects: whether the body has to wait for the server's word
    """

    origin: Origin
    authority: str
    method: bytes
    target: bytes
    headers: Trailers
    length: int | None
    expects: bool

    @property
    def idempotent(self) -> bool:
        """Whether sending it twice is as good as once."""
        return self.method in _IDEMPOTENT

    def head(self, length: int | None) -> bytes:
        """Return the head, with what frames a body of that length, None if it is not known yet.

        RFC 9112 section 6; a method that means something by its content says so of an empty one too (RFC 9110
        section 8.6).

        :raises HttpError: if a line of it is none
        """
        lines = [b"%b %b HTTP/1.1" % (self.method, self.target)]
        lines += [b"%b: %b" % header for header in self.headers]
        if self.length is None:
            if length is None:
                lines.append(b"Transfer-Encoding: chunked")
            elif length or self.method in _WITH_CONTENT:
                lines.append(b"Content-Length: %d" % length)
        return _lines(lines)


def outbound(request: OutgoingRequest, *, has_body: bool | None = None) -> Outbound:
    """Return what leaves for a request.

    :param has_body: None if that is known by `OutgoingRequest.body`

    :raises HttpError: if it may not leave as it is; the case of ``error-code`` says what is wrong with it
    """
    has_body = request.body_taken is not None if has_body is None else has_body
    origin = _origin(request)
    method = request.verb.encode()
    if method == b"CONNECT":
        raise HttpError(_METHOD, "CONNECT asks for a tunnel, not for a response")
    authority = request.authority() or ""
    headers = _headers(request.fields, authority)
    length = _length(request, has_body=has_body)
    if method == b"TRACE" and has_body:
        raise HttpError(_METHOD, "a TRACE has no body (RFC 9110 section 9.3.8)")
    expects = any(n.lower() == b"expect" and v.strip().lower() == b"100-continue" for n, v in headers)
    return Outbound(origin, authority, method, _target(request, method), headers, length, expects)


def _origin(request: OutgoingRequest) -> Origin:
    scheme, text = request.scheme_name, request.authority()
    if scheme not in _DEFAULT_PORTS:
        raise protocol_error("the scheme is neither http nor https")
    try:
        return Origin(scheme == "https", parse(text or "", _DEFAULT_PORTS[scheme]))
    except ValueError as error:
        raise HttpError(_URI, f"the authority is {error}") from None


def _target(request: OutgoingRequest, method: bytes) -> bytes:
    """Return the request target: origin-form or asterisk-form (RFC 9112 section 3.2)."""
    path = request.path_with_query() or "/"
    if path == "*" and method != b"OPTIONS":
        raise HttpError(_URI, "* is for OPTIONS alone (RFC 9112 section 3.2.4)")
    if path[0] not in "/?*":
        raise HttpError(_URI, "a request's path begins with / (RFC 9112 section 3.2.1)")
    target = quote(f"/{path}" if path[0] == "?" else path, safe=_ASCII)
    if len(target) > _MAX_TARGET:
        raise HttpError(Variant("HTTP-request-URI-too-long"))
    return target.encode("ascii")


def _headers(fields: Fields, authority: str) -> list[tuple[bytes, bytes]]:
    """Return what the guest set after the host, then what ``te`` obliges to (RFC 9110 section 10.1.4)."""
    headers = [(b"Host", authority.encode("ascii")), *fields.as_made()]
    if any(name.lower() == b"te" for name, _ in headers):
        headers.append((b"Connection", b"TE"))
    return headers


def _length(request: OutgoingRequest, *, has_body: bool) -> int | None:
    try:
        length = request.fields.content_length()
    except ValueError as error:
        raise protocol_error(str(error)) from None
    if length and not has_body:
        raise HttpError(
            Variant("HTTP-request-body-size", 0), f"content-length says {length} bytes, and there is no body"
        )
    return length


def chunk(piece: bytes) -> bytes:
    """Return a piece of a body as a chunk; nothing for nothing, which would be the end."""
    return b"%x\r\n%b\r\n" % (len(piece), piece) if piece else b""


def last_chunk(trailers: Trailers) -> bytes:
    """Return the end of a body in chunks.

    :raises HttpError: if a trailer is none
    """
    return b"0\r\n" + _lines([b"%b: %b" % trailer for trailer in trailers])


def _lines(lines: list[bytes]) -> bytes:
    """Join lines, and the empty one. `Fields` has checked what they are made of; this makes sure."""
    text = b"\r\n".join([*lines, b"", b""])
    ends = len(lines) + 1
    if text.count(b"\n") != ends or text.count(b"\r") != ends or b"\0" in text:
        raise protocol_error("a header has a line break or a NUL")
    return text


def sendable_trailers(trailers: Trailers, request: Outbound) -> Trailers:
    """Return the trailers.

    :raises HttpError: if there is no room for them, or one of them does not belong there
    """
    if request.length is not None:
        raise protocol_error("a body with a content-length has no room for trailers")
    return checked_trailers(trailers)


def checked_trailers(trailers: Trailers) -> Trailers:
    """Return the trailers of any message.

    :raises HttpError: if one of them does not belong there
    """
    for name, _ in trailers:
        if name.lower() in _NOT_IN_TRAILERS:
            raise protocol_error(f"{name.decode()} cannot be a trailer")
    return trailers
