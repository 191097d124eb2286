"""Requests and responses: the resources, and how they look on the wire."""

from __future__ import annotations

import re
from typing import ClassVar

from wasmplex.capabilities.http import Headers, HttpExchange
from wasmplex.plugin import Err, Variant

from host_plugin_wasi.http.fields import SIZE_LIMIT, TOKEN, Fields
from host_plugin_wasi.http.incoming import BodySource, IncomingBody, RequestBody
from host_plugin_wasi.http.outgoing import OutgoingBody

__all__ = [
    "IncomingRequest", "IncomingResponse", "OutgoingRequest", "OutgoingResponse", "RequestOptions",
]  # fmt: skip

_METHODS = {
    name.upper(): Variant(name)
    for name in ("get", "head", "post", "put", "delete", "connect", "options", "trace", "patch")
}
_SCHEMES = {"http": Variant("HTTP"), "https": Variant("HTTPS")}
_MAX_WORD = 1024
"""Characters of a method, scheme or authority. It is the host's memory, and no such thing is that long."""
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")
_PATH = re.compile(r"(?:[/?][\x21\x22\x24-\x7e]*|\*)?")
_AUTHORITY = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+,;=%-]+)(?::(?P<port>[0-9]{0,5}))?")


class IncomingRequest:
    """The resource ``incoming-request``."""

    __slots__ = ("_body", "_exchange", "_over")

    def __init__(self, exchange: HttpExchange) -> None:
        self._exchange = exchange
        self._body: IncomingBody | None = None
        self._over = False

    def method(self) -> Variant:
        """Return the method."""
        method = self._exchange.method
        return _METHODS.get(method) or Variant("other", method)

    def path_with_query(self) -> str | None:
        """Return path and query as sent."""
        return self._exchange.path_with_query

    def scheme(self) -> Variant | None:
        """Return the scheme."""
        scheme = self._exchange.scheme
        return _SCHEMES.get(scheme) or Variant("other", scheme)

    def authority(self) -> str | None:
        """Return what the ``host`` header said."""
        return self._exchange.authority

    def headers(self) -> Fields:
        """Return the headers, to be read only."""
        return Fields.received(self._exchange.headers)

    def consume(self) -> IncomingBody:
        """Return the body, once."""
        if self._body is not None or self._over:
            raise Err
        self._body = IncomingBody(RequestBody(self._exchange))
        return self._body

    def end(self) -> None:
        """Have nothing more read: the call is over."""
        self._over = True
        if self._body is not None:
            self._body.drop()


class OutgoingResponse:
    """The resource ``outgoing-response``."""

    __slots__ = ("body_taken", "fields", "status")

    def __init__(self, headers: Fields) -> None:
        self.fields = headers
        self.status = 200
        self.body_taken: OutgoingBody | None = None

    def status_code(self) -> int:
        """Return the status."""
        return self.status

    def set_status_code(self, status_code: int) -> None:
        """Set the status; refused if a response cannot have it."""
        if not 200 <= status_code <= 599:
            raise Err
        self.status = status_code

    def headers(self) -> Fields:
        """Return the headers, to be read only."""
        return self.fields.frozen()

    def body(self) -> OutgoingBody:
        """Return the body, once."""
        if self.body_taken is not None:
            raise Err
        self.body_taken = OutgoingBody(self.fields, "HTTP-response-body-size")
        return self.body_taken


class OutgoingRequest:
    """The resource ``outgoing-request``."""

    __slots__ = ("_authority", "_method", "_path", "_scheme", "body_taken", "fields")
    _paths: ClassVar[re.Pattern[str]] = _PATH
    _authorities: ClassVar[re.Pattern[str]] = _AUTHORITY

    def __init__(self, headers: Fields) -> None:
        self.fields = headers
        self._method = _METHODS["GET"]
        self._path: str | None = None
        self._scheme: Variant | None = None
        self._authority: str | None = None
        self.body_taken: OutgoingBody | None = None

    @classmethod
    def received(cls, exchange: HttpExchange, headers: Fields) -> OutgoingRequest:
        """Return what came in, as it may be changed and sent on: wasi:http 0.3 has one resource for both."""
        request = cls(headers)
        request._method = _METHODS.get(exchange.method) or Variant("other", exchange.method)
        request._path = exchange.path_with_query
        request._scheme = _SCHEMES.get(exchange.scheme) or Variant("other", exchange.scheme)
        request._authority = exchange.authority
        return request

    def body(self) -> OutgoingBody:
        """Return the body, once."""
        if self.body_taken is not None:
            raise Err
        self.body_taken = OutgoingBody(self.fields, "HTTP-request-body-size")
        return self.body_taken

    def method(self) -> Variant:
        """Return the method."""
        return self._method

    def set_method(self, method: Variant) -> None:
        """Set the method; refused if it is no token, or longer than `_MAX_WORD`."""
        if method.tag == "other":
            _check(method.value, TOKEN, _MAX_WORD)
            method = _METHODS.get(method.value, method)
        self._method = method

    def path_with_query(self) -> str | None:
        """Return path and query."""
        return self._path

    def set_path_with_query(self, path_with_query: str | None) -> None:
        """Set path and query; refused if they are not that, or longer than fields may be: `SIZE_LIMIT`."""
        if path_with_query is not None:
            _check(path_with_query, self._paths, SIZE_LIMIT)
        self._path = path_with_query

    def scheme(self) -> Variant | None:
        """Return the scheme."""
        return self._scheme

    def set_scheme(self, scheme: Variant | None) -> None:
        """Set the scheme; refused if it is none, or longer than `_MAX_WORD`."""
        if scheme is not None and scheme.tag == "other":
            _check(scheme.value, _SCHEME, _MAX_WORD)
            scheme = _SCHEMES.get(scheme.value.lower(), scheme)
        self._scheme = scheme

    def authority(self) -> str | None:
        """Return host and port."""
        return self._authority

    def set_authority(self, authority: str | None) -> None:
        """Set host and port; refused if not that, with a user name in front, or longer than `_MAX_WORD`."""
        if authority is not None:
            match = _check(authority, self._authorities, _MAX_WORD)
            if int(match["port"] or 0) > 65535:
                raise Err
        self._authority = authority

    def headers(self) -> Fields:
        """Return the headers, to be read only."""
        return self.fields.frozen()

    # ------------------------------------------------------------ the host's

    @property
    def verb(self) -> str:
        """The method as the wire has it."""
        method = self._method
        return str(method.value) if method.tag == "other" else method.tag.upper()

    @property
    def scheme_name(self) -> str:
        """The scheme as a URL has it; ``https`` if the guest set none."""
        if self._scheme is None:
            return "https"
        return str(self._scheme.value if self._scheme.tag == "other" else self._scheme.tag).lower()


def _check(text: str, form: re.Pattern[str], most: int) -> re.Match[str]:
    """Return the match of a text that is kept; raises the error of a ``result`` if it is none or too long."""
    match = form.fullmatch(text) if len(text) <= most else None
    if match is None:
        raise Err
    return match


class RequestOptions:
    """The resource ``request-options``. Durations are in nanoseconds, None for no limit of the guest's."""

    __slots__ = ("between_bytes", "connect", "first_byte")

    def __init__(self) -> None:
        self.connect: int | None = None
        self.first_byte: int | None = None
        self.between_bytes: int | None = None

    def connect_timeout(self) -> int | None:
        """Return how long connecting may take."""
        return self.connect

    def set_connect_timeout(self, duration: int | None) -> None:
        """Set how long connecting may take."""
        self.connect = duration

    def first_byte_timeout(self) -> int | None:
        """Return how long the response may take to begin."""
        return self.first_byte

    def set_first_byte_timeout(self, duration: int | None) -> None:
        """Set how long the response may take to begin."""
        self.first_byte = duration

    def between_bytes_timeout(self) -> int | None:
        """Return how long a pause in the response's body may be."""
        return self.between_bytes

    def set_between_bytes_timeout(self, duration: int | None) -> None:
        """Set how long a pause in the response's body may be."""
        self.between_bytes = duration


class IncomingResponse:
    """The resource ``incoming-response``."""

    __slots__ = ("_body", "_headers", "_status")

    def __init__(self, status: int, headers: Headers, body: BodySource) -> None:
        self._status = status
        self._headers = headers
        self._body: BodySource | None = body

    def status(self) -> int:
        """Return the status."""
        return self._status

    def headers(self) -> Fields:
        """Return the headers, to be read only."""
        return Fields.received(self._headers)

    def consume(self) -> IncomingBody:
        """Return the body, once."""
        body, self._body = self._body, None
        if body is None:
            raise Err
        return IncomingBody(body)

    def parts(self) -> tuple[int, Headers, BodySource]:
        """Return status, headers and body; the body is the caller's from now on."""
        body, self._body = self._body, None
        assert body is not None  # noqa: S101  nobody else has had it
        return self._status, self._headers, body

    def drop(self) -> None:
        """Let go of the connection, if nobody took the body."""
        if self._body is not None:
            self._body.close()
