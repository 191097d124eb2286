"""One request and its response on a connection: ``receive`` and ``send`` of ASGI over HTTP/1.1."""

from __future__ import annotations

from asyncio import CancelledError, Future
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING

from wasmplex.capabilities.http import Headers
from wasmplex.logs import get_logger
from wasmplex.triggers.http.asgi import TRAILERS, Application, Message, Scope

if TYPE_CHECKING:
    from wasmplex.triggers.http.protocol import HttpProtocol

__all__ = ["Cycle", "plain_answer"]

log = get_logger("wasmplex.http.server")

_STATUS_LINES = {s.value: b"HTTP/1.1 %d %s\r\n" % (s.value, s.phrase.encode()) for s in HTTPStatus}
_NO_BODY = frozenset({204, 304})
_CHUNKED, _SIZED, _UNTIL_CLOSE, _NOTHING = range(4)
_LENGTH, _CONNECTION, _DATE, _SERVER, _TRANSFER_ENCODING = 1, 2, 4, 8, 16
_NOTED = {
    b"content-length": _LENGTH, b"connection": _CONNECTION, b"date": _DATE, b"server": _SERVER,
    b"transfer-encoding": _TRANSFER_ENCODING,
}  # fmt: skip


class Cycle:
    """See `wasmplex.triggers.http.asgi.Connection` for what it is beside ``receive`` and ``send``.

    :ivar keep_alive: whether the connection may be used again
    :ivar ended: the request has arrived whole
    :ivar started: the response has begun to leave
    :ivar complete: the response has been written whole
    """

    __slots__ = (
        "_announced", "_buffered", "_continue", "_disconnected", "_framing", "_head", "_left", "_open",
        "_pieces", "_protocol", "_tail", "_told_end", "_waiter", "complete", "ended", "keep_alive",
        "on_disconnect", "scope", "started", "trailers",
    )  # fmt: skip

    def __init__(
        self, protocol: HttpProtocol, scope: Scope, *, keep_alive: bool, expects_continue: bool
    ) -> None:
        self._protocol = protocol
        self.scope = scope
        self.keep_alive = keep_alive
        self.on_disconnect: Callable[[], None] | None = None
        self._disconnected = False
        # the request
        self._pieces: list[bytes] = []
        self._buffered = 0
        self.ended = False
        self._told_end = False
        self.trailers: Headers | None = None
        self._waiter: Future[None] | None = None
        self._continue = expects_continue
        # the response
        self._head = b""
        self._framing = _CHUNKED
        self._left = 0
        self._announced = False  # that trailers will follow
        self._tail: list[bytes] = []
        self._open = False  # between the start and the last piece of the body
        self.started = False
        self.complete = False

    # ------------------------------------------------------------ told by the connection

    def feed(self, body: bytes) -> int:
        """Take a piece of the request's body; return how many bytes wait to be read."""
        self._pieces.append(body)
        self._buffered += len(body)
        self._wake()
        return self._buffered

    def end(self, trailers: Sequence[tuple[bytes, bytes]]) -> None:
        """Take the end of the request."""
        self.ended = True
        self.trailers = trailers or None
        if self._waiter is not None:
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

    async def run(self, app: Application) -> None:
        """Have the application answer, and see to it that the client is never left without an end."""
        try:
            await app(self.scope, self.receive, self.send)
        except CancelledError:
            self._protocol.transport.abort()
            raise
        except Exception:
            log.exception("the application failed on %s %s", self.scope["method"], self.scope["path"])
        finally:
            # What refers to itself would have to wait for the garbage collector.
            self.on_disconnect = None
            self.scope.pop("extensions", None)
        if not self.complete and not self._disconnected:
            self._cut_off()

    def _cut_off(self) -> None:
        protocol = self._protocol
        if not self.started:
            protocol.write(plain_answer(500, "no answer was made"))
        if self._framing is _UNTIL_CLOSE:
            protocol.reset()  # a plain close would say that this was all of it
        else:
            protocol.close()

    # ------------------------------------------------------------ ASGI: the request

    def receive_nowait(self) -> Message | None:
        """Return the next message if there is one."""
        if self._pieces:
            body = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
            self._pieces = []
            self._buffered = 0
            self._told_end = self.ended
            return {"type": "http.request", "body": body, "more_body": not self.ended}
        if self.ended and not self._told_end:
            self._told_end = True
            return {"type": "http.request", "body": b"", "more_body": False}
        if self._disconnected or self.complete:
            return {"type": "http.disconnect"}
        self._ask()
        return None

    def _ask(self) -> None:
        if self._continue and not self.ended:
            self._continue = False
            if not self.started:
                self._protocol.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._protocol.want_body()

    async def receive(self) -> Message:
        """Return the next message; wait for it."""
        while (message := self.receive_nowait()) is None:
            self._waiter = self._protocol.loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return message

    # ------------------------------------------------------------ ASGI: the response

    def answer(self, status: int, headers: Headers, body: bytes) -> bool:
        """Take a whole response; see `wasmplex.triggers.http.asgi.Connection.answer`."""
        if self._head or self._disconnected or self._protocol.full is not None:
            return False
        self._start(status, headers, trailers=False)
        self._body(body, more=False)
        return True

    async def send(self, message: Message) -> None:
        """Take a message; wait while the client is slow to take what was sent before.

        :raises OSError: if the client is gone
        :raises RuntimeError: if the message is out of place or cannot be sent as it is
        """
        if self._protocol.full is not None:
            await self._protocol.writable()
        if self._disconnected:
            raise ConnectionResetError("the client went away")
        kind = message["type"]
        if kind == "http.response.body" and self._open:
            self._body(message.get("body", b""), more=message.get("more_body", False))
        elif kind == "http.response.start" and not self._head:
            self._start(
                message["status"], message.get("headers", ()), trailers=message.get("trailers", False)
            )
        elif kind == TRAILERS and self._announced and not self._open and not self.complete:
            self._end_with_trailers(message.get("headers", ()), message.get("more_trailers", False))
        else:
            raise RuntimeError(f"ASGI message {kind!r} is out of place here")

    def _start(self, status: int, headers: Headers, *, trailers: bool) -> None:
        lines, noted = self._lines(status, headers)
        if self._continue and not self.ended:
            self.keep_alive = False  # whether the body comes at all is now for the client to decide
        if status in _NO_BODY or self.scope["method"] == "HEAD":
            self._framing = _NOTHING
        elif noted & _LENGTH:
            self._framing = _SIZED
        elif self.scope["http_version"] == "1.0":
            self._framing = _UNTIL_CLOSE
        else:
            self._framing = _CHUNKED
            self._announced = trailers
            lines.append(b"transfer-encoding: chunked\r\n")
        if not self.keep_alive and not noted & _CONNECTION:
            lines.append(b"connection: close\r\n")
        lines.append(self._protocol.default_headers(date=not noted & _DATE, server=not noted & _SERVER))
        lines.append(b"\r\n")
        self._head = b"".join(lines)
        self._open = True

    def _lines(self, status: int, headers: Headers) -> tuple[list[bytes], int]:
        """Return the status line and a line for each header, and which of those in `_NOTED` there are."""
        lines = [_STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status]
        noted = 0
        for name, value in headers:
            if note := _NOTED.get(name):
                noted |= note
                if note is _LENGTH:
                    self._left = int(value)
                elif note is _CONNECTION and b"close" in value.lower():
                    self.keep_alive = False
                elif note is _TRANSFER_ENCODING:
                    continue  # that is for the connection to say
            lines.append(b"%s: %s\r\n" % (name, value))
        _check(lines)
        return lines, noted

    def _body(self, body: bytes, *, more: bool) -> None:
        size, framing = len(body), self._framing
        out = [] if self.started else [self._head]
        if framing is _CHUNKED:
            if size:
                out += (b"%x\r\n" % size, body, b"\r\n")
            if not more and not self._announced:
                out.append(b"0\r\n\r\n")
        elif framing is _SIZED:
            self._left -= size
            if self._left < 0 or (self._left and not more):
                raise RuntimeError("the response is not as long as its content-length says")
            out.append(body)
        elif framing is _UNTIL_CLOSE:
            out.append(body)
        self.started = True
        self._open = more
        if more or self._announced:
            self._protocol.write(b"".join(out))
        else:
            self._protocol.write_last(b"".join(out))
            self._complete()

    def _end_with_trailers(self, headers: Headers, more: bool) -> None:
        lines = [b"%s: %s\r\n" % header for header in headers]
        _check(lines)
        self._tail += lines
        if not more:
            self._protocol.write(b"".join((b"0\r\n", *self._tail, b"\r\n")))
            self._complete()

    def _complete(self) -> None:
        self.complete = True
        if self._waiter is not None:
            self._wake()
        self._protocol.answered(self)


def _check(lines: list[bytes]) -> None:
    text = b"".join(lines)
    if text.count(b"\n") != len(lines) or text.count(b"\r") != len(lines) or b"\0" in text:
        raise RuntimeError("a header has a line break or a NUL in it")


def plain_answer(status: int, text: str, more: bytes = b"") -> bytes:
    """Return a whole response of the server's own, after which the connection is closed."""
    body = f"{status} {HTTPStatus(status).phrase}\n{text}\n".encode()
    head = b"content-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\nconnection: close\r\n" % len(
        body
    )
    return b"".join((_STATUS_LINES[status], head, more, b"\r\n", body))
