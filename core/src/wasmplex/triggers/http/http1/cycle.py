"""One request on a connection of ours, and its response: a `Wire` over HTTP/1.1."""

from __future__ import annotations

from asyncio import AbstractEventLoop, CancelledError, Future
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import Final, Protocol

from wasmplex.capabilities.http import Headers
from wasmplex.logs import get_logger
from wasmplex.scopes import TaskScope
from wasmplex.triggers.http.http1.head import CHUNKED, Head
from wasmplex.triggers.http.wire import Piece, Wire

__all__ = ["Cycle", "Line", "plain_answer"]

log = get_logger("wasmplex.http.server")

_STATUS_LINES: Final = {s.value: b"HTTP/1.1 %d %s\r\n" % (s.value, s.phrase.encode()) for s in HTTPStatus}
_CHUNKED, _UNTIL_CLOSE, _DELIMITED = range(3)
_CONNECTION, _DATE, _SERVER = 1, 2, 4
_UNWANTED: Final = 256 * 1024
"""Bytes of a body nobody reads that may be to come for the connection to be kept."""
_UNREAD: Final = 64 * 1024
"""The same of a body whose length is not known, that have come: there are more where these are from."""
_NOTED: Final = {b"connection": _CONNECTION, b"date": _DATE, b"server": _SERVER}


class Line(Protocol):
    """What a cycle needs of the connection that it is on.

    :ivar full: set while the client takes less than is written
    """

    loop: AbstractEventLoop
    full: Future[None] | None
    client: str

    def write(self, data: bytes) -> None:
        """Write what more will follow on, now."""

    def write_last(self, data: bytes) -> None:
        """Write the end of an answer, now or a little later."""

    async def writable(self) -> None:
        """Wait until the client has taken most of what was written."""

    def want_body(self) -> None:
        """Read on: more of the request is waited for."""

    def default_headers(self, *, date: bool, server: bool) -> bytes:
        """Return the header lines that every response has, unless it brings its own."""

    def answered(self, cycle: Cycle) -> None:
        """Go on after the end of a response."""

    def close(self) -> None:
        """Close the connection when all that was written has left."""

    def reset(self) -> None:
        """Cut the connection in a way that the client takes for a failure."""


class Cycle(Wire):
    """See `Wire`.

    :ivar buffered: bytes of the request's body that wait to be read
    :ivar keep_alive: whether the connection may be used again
    :ivar ended: the request has arrived whole
    :ivar started: the response has begun to leave
    :ivar complete: the response has been written whole
    """

    __slots__ = (
        "_continue", "_disconnected", "_framing", "_head", "_line", "_pieces", "_received", "_told_end",
        "_trailers", "_version", "_waiter", "buffered", "complete", "ended", "keep_alive", "started",
    )  # fmt: skip

    def __init__(self, line: Line, head: Head) -> None:
        self._line = line
        self.method, self.target, self._version, authority, self.headers = head[:5]
        self.authority = self.host = None
        if authority is not None:
            self.authority, self.host = authority
        self.scheme = "http"
        self.length = head.length if head.length != CHUNKED else None
        self.client = line.client
        self.keep_alive = head.keep_alive
        self.scope = self.on_disconnect = None
        self._disconnected = False
        # the request's body
        self._pieces: list[bytes] = []
        self.buffered = self._received = 0
        self.ended = not head.length
        self._told_end = False
        self._trailers: Headers | None = None
        self._waiter: Future[None] | None = None
        self._continue = head.expects_continue and not self.ended
        # the response
        self._head = b""
        self._framing = _CHUNKED
        self.started = False
        self.complete = False

    # ------------------------------------------------------------ told by the connection

    def feed(self, body: bytes) -> int:
        """Take a piece of the request's body; return how many bytes wait to be read."""
        self._pieces.append(body)
        self.buffered += len(body)
        self._received += len(body)
        self._wake()
        return self.buffered

    def end(self, trailers: Sequence[tuple[bytes, bytes]]) -> None:
        """Take the end of the request."""
        self.ended = True
        self._trailers = trailers or None
        self._wake()

    def disconnect(self) -> None:
        """Take note that the client is gone."""
        if not self._disconnected:
            self._disconnected = True
            self._wake()
            if self.on_disconnect is not None and not self.complete:
                self.on_disconnect()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def run(self, handle: Callable[[Wire], Awaitable[None]], scope: TaskScope) -> None:
        """Have the request answered, and see to it that the client is never left without an end."""
        self.scope = scope
        if self._disconnected:
            return  # before its turn had come
        try:
            await handle(self)
        except CancelledError:
            self._line.reset()
            raise
        except Exception:
            log.exception("no answer was made for %s %r", self.method, self.target)
        finally:
            self.on_disconnect = None  # what refers to itself would have to wait for the garbage collector
        if not self.complete and not self._disconnected:
            self._cut_off()

    def _cut_off(self) -> None:
        line = self._line
        if not self.started:
            defaults = line.default_headers(date=True, server=True)
            line.write(plain_answer(500, "no answer was made", defaults, body=self.method != "HEAD"))
        if self.started and self._framing is _UNTIL_CLOSE:
            line.reset()  # a plain close would say that this was all of it
        else:
            line.close()

    # ------------------------------------------------------------ the request

    @property
    def trailers(self) -> Headers | None:
        """See `Wire.trailers`."""
        return self._trailers

    def receive_nowait(self) -> Piece | None:
        """Return what has come; see `Wire.receive_nowait`."""
        if self._pieces:
            data = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
            self._pieces = []
            self.buffered = 0
            self._told_end = self.ended
            return Piece(data, self.ended)
        if self.ended and not self._told_end:
            self._told_end = True
            return Piece(b"", True)
        if self._disconnected or self.complete:
            raise ConnectionResetError("the client went away before the end of its request")
        if self._continue and not self.ended:
            self._continue = False
            if not self.started:
                self._line.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._line.want_body()
        return None

    async def receive(self) -> Piece:
        """Wait for more of the body; see `Wire.receive`."""
        while (piece := self.receive_nowait()) is None:
            self._waiter = self._line.loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return piece

    # ------------------------------------------------------------ the response

    def answer(self, status: int, headers: Headers, body: bytes) -> bool:
        """Send a whole response; see `Wire.answer`."""
        if self._head or self._disconnected or self._line.full is not None:
            return False
        if not self.ended and self._much_is_to_come():
            self.keep_alive = False
        self.start(status, headers, 0)
        self.started = True
        self._line.write_last(self._head + body)
        self._complete()
        return True

    def _much_is_to_come(self) -> bool:
        """Say whether so much comes behind the answer, which nobody reads, that the client is to stop."""
        if self.length is None:
            return self.buffered > _UNREAD
        return self.length - self._received > _UNWANTED

    def start(self, status: int, headers: Headers, length: int | None) -> None:
        """Take the head of the response; see `Wire.start`."""
        lines, noted = self._lines(status, headers)
        if self._continue and not self.ended:
            self.keep_alive = False  # whether the body comes at all is now for the client to decide
        if length is not None:
            self._framing = _DELIMITED
        elif self._version == "1.0":
            self._framing = _UNTIL_CLOSE
        else:
            lines.append(b"transfer-encoding: chunked\r\n")
        if not self.keep_alive and not noted & _CONNECTION:
            lines.append(b"connection: close\r\n")
        lines.append(self._line.default_headers(date=not noted & _DATE, server=not noted & _SERVER))
        lines.append(b"\r\n")
        self._head = b"".join(lines)

    def _lines(self, status: int, headers: Headers) -> tuple[list[bytes], int]:
        """Return the status line and a line for each header, and which of those in `_NOTED` there are."""
        lines = [_STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status]
        noted = 0
        for name, value in headers:
            if note := _NOTED.get(name):
                noted |= note
                if note is _CONNECTION and b"close" in value.lower():
                    self.keep_alive = False
            lines.append(b"%s: %s\r\n" % (name, value))
        return lines, noted

    def would_wait(self) -> bool:
        """Say whether the client takes less than is written; see `Wire.would_wait`."""
        return self._line.full is not None

    async def send(self, data: bytes, end: Headers | None) -> None:
        """Send a piece of the body; see `Wire.send`."""
        if self._line.full is not None:
            await self._line.writable()
        self.send_nowait(data, end)

    def send_nowait(self, data: bytes, end: Headers | None) -> None:
        """Send a piece of the body; see `Wire.send_nowait`."""
        if self._disconnected:
            raise ConnectionResetError("the client went away")
        out = [] if self.started else [self._head]
        self.started = True
        if self._framing is _CHUNKED:
            if data:
                out += (b"%x\r\n" % len(data), data, b"\r\n")
            if end is not None:
                out += (b"0\r\n", *(b"%s: %s\r\n" % field for field in end), b"\r\n")
        else:
            out.append(data)
        if end is None:
            self._line.write(b"".join(out))
        else:
            self._line.write_last(b"".join(out))
            self._complete()

    def _complete(self) -> None:
        self.complete = True
        self._wake()
        self._line.answered(self)


def plain_answer(status: int, text: str, headers: bytes, *, body: bool = True) -> bytes:
    """Return a whole response of the server's own, after which the connection is closed.

    :param headers: lines of the head that it has as well
    :param body: False for the answer to a HEAD
    """
    content = f"{status} {HTTPStatus(status).phrase}\n{text}\n".encode()
    length = b"content-length: %d\r\nconnection: close\r\n" % len(content)
    head = (_STATUS_LINES[status], b"content-type: text/plain; charset=utf-8\r\n", length, headers, b"\r\n")
    return b"".join((*head, content if body else b""))
