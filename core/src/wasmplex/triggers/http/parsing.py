"""Bytes of HTTP/1.1 requests in, heads and pieces of bodies out. No I/O.

llhttp (httptools) parses; what it leaves open is decided here: bounds, targets, the host header, wishes
to upgrade, trailers. https://www.rfc-editor.org/rfc/rfc9112
"""

from __future__ import annotations

from typing import Protocol

import httptools

__all__ = ["Refused", "RequestParser", "RequestSink"]


class Refused(Exception):
    """Raised for what is not a request, or not one that is taken.

    :ivar status: the status to answer with, before the connection is closed
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class _Over(Exception):
    """Raised in a callback for a request after the one that was to be the last."""


class RequestSink(Protocol):
    """Who is told what was found. Any method may raise `Refused`."""

    def on_head(
        self,
        method: str,
        raw_path: bytes,
        query: bytes,
        version: str,
        headers: list[tuple[bytes, bytes]],
        *,
        keep_alive: bool,
        expects_continue: bool,
    ) -> None:
        """Take a request whose body follows; `raw_path` is as sent, the names of headers are lower case."""

    def on_piece(self, body: bytes) -> None:
        """Take a piece of the body."""

    def on_end(self, trailers: list[tuple[bytes, bytes]]) -> None:
        """Take the end of the request."""


class RequestParser:
    """Parses the requests of one connection.

    :param sink: who is told
    :param max_head: bytes that a request's line and headers, and its trailers, may have
    :ivar in_head: True between the first byte of a request and the end of its headers
    """

    def __init__(self, sink: RequestSink, max_head: int) -> None:
        self._sink = sink
        self._max_head = max_head
        self._parser = httptools.HttpRequestParser(self)
        self.in_head = False
        self._last = False  # the request that is being parsed is the last one
        self._over = False
        self._url = b""
        self._fields: list[tuple[bytes, bytes]] = []
        self._size = 0
        self._upgrade = False

    def feed(self, data: bytes) -> None:
        """Parse the next bytes. Not to be called again once it has raised.

        :raises Refused: for what cannot be parsed or is not taken
        """
        if self._over:
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._without_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserCallbackError as error:
            if isinstance(error.__context__, Refused):
                raise error.__context__ from None
            if not isinstance(error.__context__, _Over):
                raise
        except httptools.HttpParserError as error:
            if not self._over:
                raise Refused(400, str(error) or "not a request") from None
        if self.in_head:
            # llhttp keeps a field that has not ended to itself.
            self._size += len(data)
            if self._size > 2 * self._max_head:
                raise Refused(431, "the head of the request is too large")

    def _without_upgrade(self, rest: bytes) -> None:
        """Parse the request again without its wish to speak another protocol, which is not granted.

        llhttp takes everything after such a head for the other protocol's, a body included.
        """
        version = self._parser.get_http_version().encode()
        head = [b"%s %s HTTP/%s\r\n" % (self._parser.get_method(), self._url, version)]
        head += [b"%s: %s\r\n" % field for field in self._fields if field[0] != b"upgrade"]
        self._parser = httptools.HttpRequestParser(self)
        self.feed(b"".join((*head, b"\r\n", rest)))

    # ------------------------------------------------------------ llhttp's callbacks

    def on_message_begin(self) -> None:  # noqa: D102  httptools names and documents them
        if self._over:
            raise _Over
        self.in_head = True
        self._url = b""
        self._fields = []
        self._size = 0
        self._upgrade = False

    def on_url(self, url: bytes) -> None:  # noqa: D102
        self._url += url
        if len(self._url) > self._max_head:
            raise Refused(414, "the target of the request is too long")

    def on_header(self, name: bytes, value: bytes) -> None:  # noqa: D102
        self._size += len(name) + len(value) + 4
        if self._size > self._max_head:
            raise Refused(431, "the headers of the request are too large")
        self._fields.append((name.lower(), value))

    def on_headers_complete(self) -> None:  # noqa: D102
        parser = self._parser
        self.in_head = False
        method = parser.get_method()
        if method == b"CONNECT":
            raise Refused(501, "this is not a proxy")
        if parser.should_upgrade():
            self._upgrade = True
            return
        version, fields = parser.get_http_version(), self._fields
        target = self._url
        if target[:1] != b"/":
            target, fields = _other_target(method, target, fields)
        if b"#" in target:
            raise Refused(400, "the target of a request has no fragment")
        hosts, expects_continue = 0, False
        for name, value in fields:
            if name == b"host":
                hosts += 1
            elif name == b"expect" and value.lower() == b"100-continue":
                expects_continue = True
        if version != "1.0" and hosts != 1:
            raise Refused(400, "a request has exactly one host header")
        keep_alive = version != "1.0" and parser.should_keep_alive()
        self._last = not keep_alive
        raw_path, _, query = target.partition(b"?")
        self._fields, self._size = [], 0
        self._sink.on_head(
            method.decode("ascii"), raw_path, query, version, fields,
            keep_alive=keep_alive, expects_continue=expects_continue,
        )  # fmt: skip

    def on_body(self, body: bytes) -> None:  # noqa: D102
        self._sink.on_piece(body)

    def on_message_complete(self) -> None:  # noqa: D102
        if not self._upgrade:
            self._over = self._last
            self._sink.on_end(self._fields)


def _other_target(
    method: bytes, target: bytes, fields: list[tuple[bytes, bytes]]
) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    """Return path and query of a target that is no path; the host in an absolute one is what counts."""
    if target == b"*" and method == b"OPTIONS":
        return target, fields
    scheme, slashes, rest = target.partition(b"://")
    if not slashes or scheme.lower() not in (b"http", b"https"):
        raise Refused(400, "not a target that a request can have")
    cut = min((i for i in (rest.find(b"/"), rest.find(b"?")) if i >= 0), default=len(rest))
    authority, tail = rest[:cut].rpartition(b"@")[2], rest[cut:]
    others = [field for field in fields if field[0] != b"host"]
    return (tail if tail[:1] == b"/" else b"/" + tail), [(b"host", authority), *others]
