"""Requests and responses of wasi:http 0.3."""

from __future__ import annotations

import re
from collections.abc import Awaitable
from typing import Any

from wasmplex.capabilities.http import Headers, HttpExchange
from wasmplex.plugin import Err, IncomingStream, Variant

from host_plugin_wasi.http.incoming import BodySource
from host_plugin_wasi.http.messages import OutgoingRequest, RequestOptions
from host_plugin_wasi.p3.bodies import GuestBody, Message, Outcome, ReceivedBody
from host_plugin_wasi.p3.fields import Fields3

__all__ = ["Options3", "Request", "Response"]

_IMMUTABLE = Variant("immutable")
_STATUSES = range(100, 600)


class Options3(RequestOptions):
    """The resource ``request-options``; those of a request that has been made can only be read."""

    __slots__ = ("_frozen",)

    def __init__(self, *, frozen: bool = False) -> None:
        super().__init__()
        self._frozen = frozen

    def frozen(self) -> Options3:
        """Return a copy that the guest may read only."""
        return self._copy(frozen=True)

    def clone(self) -> Options3:
        """Return a copy that may be changed."""
        return self._copy(frozen=False)

    def _copy(self, *, frozen: bool) -> Options3:
        copy = Options3(frozen=frozen)
        copy.connect, copy.first_byte, copy.between_bytes = self.connect, self.first_byte, self.between_bytes
        return copy

    def set_connect_timeout(self, duration: int | None) -> None:
        """Set how long connecting may take."""
        self._check()
        super().set_connect_timeout(duration)

    def set_first_byte_timeout(self, duration: int | None) -> None:
        """Set how long the response may take to begin."""
        self._check()
        super().set_first_byte_timeout(duration)

    def set_between_bytes_timeout(self, duration: int | None) -> None:
        """Set how long a pause in the response's body may be."""
        self._check()
        super().set_between_bytes_timeout(duration)

    def _check(self) -> None:
        if self._frozen:
            raise Err(_IMMUTABLE)


class RequestLine(OutgoingRequest):
    """The line and the headers of a request. More can be written into it than can be sent over HTTP.

    wasi-testsuite, http-request: relative paths, text that is no ASCII, and users are taken; what cannot be
    sent is found out by whoever sends it.
    """

    __slots__ = ()
    _paths = re.compile(r"[\x21\x22\x24-;=?-_a-~\x80-\U0010ffff]*")
    _authorities = re.compile(
        r"(?:[A-Za-z0-9._~!$&'()*+,;=:%-]*@)?(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+,;=%-]+)"
        r"(?::(?P<port>[0-9]{0,5}))?"
    )

    def set_path_with_query(self, path_with_query: str | None) -> None:
        """Set path and query; an empty path is that of the root (RFC 9110 section 4.2.3)."""
        super().set_path_with_query("/" if path_with_query == "" else path_with_query)


class Request(Message):
    """The resource ``request``: one that came in, or one that a guest has made.

    :param line: what it says, or where it came in: many a guest does not look at that
    :ivar options: None for none
    """

    __slots__ = ("_line", "options")

    def __init__(
        self, line: OutgoingRequest | HttpExchange, body: ReceivedBody | GuestBody, outcome: Outcome | None
    ) -> None:
        super().__init__(body, outcome)
        self._line = line
        self.options: Options3 | None = None

    @classmethod
    def received(cls, exchange: HttpExchange, body: ReceivedBody) -> Request:
        """Return what came in."""
        return cls(exchange, body, None)

    @staticmethod
    def new(
        headers: Fields3,
        contents: IncomingStream[bytes] | None,
        trailers: Awaitable[Fields3 | None],
        options: Options3 | None,
    ) -> tuple[Request, Awaitable[None]]:
        """Make one; return it, and what tells what became of it."""
        outcome = Outcome()
        request = Request(RequestLine(headers.frozen()), GuestBody(contents, trailers), outcome)
        request.options = options.frozen() if options is not None else None
        return request, outcome.told

    @property
    def line(self) -> OutgoingRequest:
        """Method, path, scheme, authority and headers, and what they may be."""
        if isinstance(line := self._line, HttpExchange):
            line = self._line = RequestLine.received(line, Fields3.received(line.headers))
        return line

    def get_method(self) -> Variant:
        """Return the method."""
        return self.line.method()

    def set_method(self, method: Variant) -> None:
        """Set the method; refused if it is no token."""
        self.line.set_method(method)

    def get_path_with_query(self) -> str | None:
        """Return path and query."""
        return self.line.path_with_query()

    def set_path_with_query(self, path_with_query: str | None) -> None:
        """Set path and query; refused if it is neither."""
        self.line.set_path_with_query(path_with_query)

    def get_scheme(self) -> Variant | None:
        """Return the scheme."""
        return self.line.scheme()

    def set_scheme(self, scheme: Variant | None) -> None:
        """Set the scheme; refused if it is none."""
        self.line.set_scheme(scheme)

    def get_authority(self) -> str | None:
        """Return host and port."""
        return self.line.authority()

    def set_authority(self, authority: str | None) -> None:
        """Set host and port; refused if it is not that."""
        self.line.set_authority(authority)

    def get_options(self) -> Options3 | None:
        """Return the options, to be read only."""
        return self.options.frozen() if self.options is not None else None

    def get_headers(self) -> Fields3:
        """Return the headers, to be read only."""
        return self.headers.frozen()

    @property
    def headers(self) -> Fields3:
        """The headers."""
        fields = self.line.fields
        assert isinstance(fields, Fields3)  # noqa: S101  both constructors see to it
        return fields

    @staticmethod
    def consume_body(this: Request, res: Awaitable[None]) -> tuple[Any, Awaitable[Fields3 | None]]:
        """Return the body and what follows it."""
        return this.consumed(res)


class Response(Message):
    """The resource ``response``: one that a server has sent, or one that a guest has made."""

    __slots__ = ("headers", "status")

    def __init__(
        self, headers: Fields3, status: int, body: ReceivedBody | GuestBody, outcome: Outcome | None
    ) -> None:
        super().__init__(body, outcome)
        self.headers = headers
        self.status = status

    @classmethod
    def received(cls, status: int, headers: Headers, source: BodySource) -> Response:
        """Return what a server has sent."""
        return cls(Fields3.received(headers), status, ReceivedBody(source), None)

    @staticmethod
    def new(
        headers: Fields3, contents: IncomingStream[bytes] | None, trailers: Awaitable[Fields3 | None]
    ) -> tuple[Response, Awaitable[None]]:
        """Make one; return it, and what tells what became of it."""
        outcome = Outcome()
        return Response(headers.frozen(), 200, GuestBody(contents, trailers), outcome), outcome.told

    def returned(self) -> None:
        """Take the body from the guest as it comes: who has called it will send all of it."""
        if isinstance(self.body, GuestBody):
            self.body.read_ahead()

    def get_status_code(self) -> int:
        """Return the status."""
        return self.status

    def set_status_code(self, status_code: int) -> None:
        """Set the status; refused if there is none of that number (RFC 9110 section 15)."""
        if status_code not in _STATUSES:
            raise Err
        self.status = status_code

    def get_headers(self) -> Fields3:
        """Return the headers, to be read only."""
        return self.headers.frozen()

    @staticmethod
    def consume_body(this: Response, res: Awaitable[None]) -> tuple[Any, Awaitable[Fields3 | None]]:
        """Return the body and what follows it."""
        return this.consumed(res)
