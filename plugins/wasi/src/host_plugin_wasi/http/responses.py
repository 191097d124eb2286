"""Reads responses. llhttp, by httptools, parses what has a grammar; how long a body is, is decided here.

llhttp is strict: it refuses two lengths, a length beside chunks, and whatever else two recipients may read
differently. One thing is allowed to servers that it would refuse: spaces behind the size of a chunk.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser
from wasmplex.plugin import Variant

from host_plugin_wasi.http.errors import HttpError, protocol_error
from host_plugin_wasi.http.heads import HeadBuffer
from host_plugin_wasi.http_settings import OutgoingSettings

__all__ = ["Head", "ResponseParser"]

_CONTINUE, _SUCCESS, _NO_CONTENT, _NOT_MODIFIED = 100, 200, 204, 304
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] [1-9][0-9]{2}(?: [\t\x20-\x7e\x80-\xff]*)?\r\n")
"""RFC 9112 section 4, and none but HTTP/1. llhttp takes RTSP, ICE and empty lines before it, too."""

_PER_FIELD = len(": \r\n")
_LAST_CHUNK = len("0\r\n\r\n") + 32
"""Bytes of an end in chunks that are not trailers, a size with many zeroes included."""


class Head(NamedTuple):
    """The head of a response that is not informational."""

    status: int
    headers: list[tuple[bytes, bytes]]


class ResponseParser:
    """Reads the response to one request, from its first byte to its last.

    :param to_head: whether it answers a HEAD, and so has no body whatever it says
    :ivar continued: whether the server has said ``100 Continue``
    :ivar done: whether the response is here whole
    :ivar excess: whether bytes came after it, which belong to nothing
    :ivar keep_alive: whether the server keeps the connection for another request
    :ivar trailers: those of a body in chunks
    """

    def __init__(self, settings: OutgoingSettings, *, to_head: bool) -> None:
        self.continued = False
        self.done = False
        self.excess = False
        self.keep_alive = False
        self.trailers: list[tuple[bytes, bytes]] = []
        self._settings = settings
        self._to_head = to_head
        self._heads = HeadBuffer(settings.max_head, settings.max_headers)
        self._informational = 0
        self._chunks: _Chunks | None = None
        self._remaining: int | None = None  # of the body; None: until the server closes the connection

    # ------------------------------------------------------------ the head

    def feed_head(self, data: bytes) -> tuple[Head, bytes] | None:
        """Take what has come; return the head and the body's first bytes, or None while more has to come.

        Informational responses are skipped (RFC 9110 section 15.2).

        :raises HttpError: if it is no response, or one that may be read in two ways
        """
        while found := self._heads.feed(data):
            raw, data = found
            if _STATUS_LINE.match(raw) is None:
                raise protocol_error("the response does not begin as one of HTTP/1")
            message = _Message()
            parser: Any = HttpResponseParser(message)
            try:
                parser.feed_data(raw)
            except HttpParserUpgrade:
                raise protocol_error("the server changes to another protocol, unasked") from None
            except HttpParserError as error:
                raise protocol_error(f"llhttp refuses the response: {error}") from None
            status = parser.get_status_code()
            if status >= _SUCCESS:
                self._frame(status, parser, message)
                return Head(status, message.headers), data
            self._skip(status)
        return None

    def _skip(self, status: int) -> None:
        self.continued = self.continued or status == _CONTINUE
        self._informational += 1
        if self._informational > self._settings.max_informational:
            raise protocol_error("the server sends more than max_informational informational responses")

    def _frame(self, status: int, parser: Any, message: _Message) -> None:
        """Decide how long the body is (RFC 9112 section 6.3), and whether the connection outlives it."""
        version = parser.get_http_version()
        codings = message.values(b"transfer-encoding")
        if codings and (len(codings) > 1 or codings[0].lower() != b"chunked"):
            text = b", ".join(codings).decode("latin-1")
            raise HttpError(Variant("HTTP-response-transfer-coding", text), "only chunked is understood")
        if codings and version == "1.0":
            raise protocol_error("a response of HTTP/1.0 cannot be in chunks")
        lengths = message.values(b"content-length")
        self.keep_alive = version == "1.1" and b"close" not in _tokens(message.values(b"connection"))
        if self._to_head or status in (_NO_CONTENT, _NOT_MODIFIED):
            self._remaining, self.done = 0, True
        elif codings:
            self._chunks = _Chunks(parser, message, self._settings)
        elif lengths:
            self._remaining = int(lengths[0].lstrip(b"0") or b"0")  # llhttp bounds the rest
            self.done = not self._remaining
        else:
            self.keep_alive = False

    # ------------------------------------------------------------ the body

    def feed(self, data: bytes) -> bytes:
        """Take what has come; return what it is of the body.

        :raises HttpError: if it is none
        """
        if self.done:
            self.excess = self.excess or bool(data)
            return b""
        if self._chunks is not None:
            piece = self._chunks.feed(data)
            self.done, self.excess, self.trailers = self._chunks.state()
            return piece
        if self._remaining is None:
            return data
        piece = data[: self._remaining]
        self._remaining -= len(piece)
        self.done = not self._remaining
        self.excess = len(piece) < len(data)
        return piece

    def end(self) -> None:
        """Take the end of the connection.

        :raises HttpError: if something was still to come
        """
        if self.done:
            return
        if self._chunks is not None or self._remaining is not None:
            raise HttpError(
                Variant("HTTP-response-incomplete"), "the server closed the connection within the body"
            )
        self.done = True


class _Message:
    """What llhttp says of a message. What it says of a second one does not count: there must not be one."""

    __slots__ = ("_fields", "complete", "excess", "headers", "pieces", "trailers")

    def __init__(self) -> None:
        self._fields: list[tuple[bytes, bytes]] = []
        self.headers: list[tuple[bytes, bytes]] = []
        self.trailers: list[tuple[bytes, bytes]] = []
        self.pieces: list[bytes] = []
        self.complete = False
        self.excess = False

    def values(self, name: bytes) -> list[bytes]:
        """Return the values of a header."""
        return [value for known, value in self.headers if known.lower() == name]

    def on_message_begin(self) -> None:
        """Note a second message."""
        self.excess = self.complete

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header or a trailer."""
        self._fields.append((name, value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        """Take the end of the headers."""
        if not self.complete:
            self.headers, self._fields = self._fields, []

    def on_body(self, piece: bytes) -> None:
        """Take a piece of the body."""
        if not self.complete:
            self.pieces.append(piece)

    def on_message_complete(self) -> None:
        """Take the end."""
        if not self.complete:
            self.complete, self.trailers = True, self._fields


class _Chunks:
    """A body in chunks."""

    def __init__(self, parser: Any, message: _Message, settings: OutgoingSettings) -> None:
        parser.set_dangerous_leniencies(lenient_spaces_after_chunk_size=True)
        self._parser = parser
        self._message = message
        self._max_bytes = settings.max_trailers
        self._max_fields = settings.max_headers
        self._quiet = 0  # bytes that were nothing of the body, since the last that were

    def feed(self, data: bytes) -> bytes:
        """Take what has come; return what it is of the body."""
        message = self._message
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            if not message.complete:
                raise HttpError(Variant("HTTP-response-transfer-coding", "chunked"), str(error)) from None
            message.excess = True
        pieces, message.pieces = message.pieces, []
        self._quiet = 0 if pieces else self._quiet + len(data)
        self._check()
        return b"".join(pieces) if len(pieces) != 1 else pieces[0]

    def _check(self) -> None:
        """Hold the trailers to their limits; while they come, the extensions of chunks, too."""
        message = self._message
        size = self._quiet - _LAST_CHUNK
        if message.complete:
            size = sum(len(name) + len(value) + _PER_FIELD for name, value in message.trailers)
        if size > self._max_bytes or len(message.trailers) > self._max_fields:
            raise HttpError(
                Variant("HTTP-response-trailer-section-size", size),
                f"the response has more than max_trailers, {self._max_bytes} bytes of trailers,"
                f" or more than max_headers, {self._max_fields} of them",
            )

    def state(self) -> tuple[bool, bool, list[tuple[bytes, bytes]]]:
        """Return whether the end is here, whether something came after it, and the trailers."""
        return self._message.complete, self._message.excess, self._message.trailers


def _tokens(values: list[bytes]) -> set[bytes]:
    return {token.strip().lower() for value in values for token in value.split(b",")}
