"""One request and its response: pieces in as they are asked for, pieces out as they gather."""

from __future__ import annotations

from asyncio import Handle, Task, create_task, get_running_loop
from collections.abc import Callable

from wasmplex.capabilities.http import BodyTooLarge, Headers, HttpExchange, HttpFailure
from wasmplex.triggers.http.fields import trailers_of
from wasmplex.triggers.http.response import check_fields, checked_head, has_content
from wasmplex.triggers.http.wire import Piece, Wire

__all__ = ["Exchange"]

_WITHOUT_LENGTH = frozenset({204, 304})
_HELD_TURNS = 8
"""Turns of the event loop that the first of a response waits for the rest: both may leave in one piece."""


class Exchange(HttpExchange):
    """See `HttpExchange`. Not more than one task reads, and one writes, at a time.

    :param wire: what carries it
    :param max_body: bytes that the request's body may have
    :ivar started: some of the response has left
    :ivar finished: the response has got its end
    :ivar complete: all of the response has left
    """

    __slots__ = (
        "_body_ended", "_broken", "_flusher", "_has_content", "_head", "_length", "_nudged", "_received",
        "_response", "_sending", "_trailers", "_wire", "_writing", "_written", "complete", "disconnected",
        "finished", "max_body", "method", "on_disconnect", "on_room", "scheme", "started", "status",
        "too_large",
    )  # fmt: skip

    def __init__(self, wire: Wire, max_body: int) -> None:
        self._wire = wire
        self.max_body = max_body
        self.method = wire.method
        self.scheme = wire.scheme
        self.on_room: Callable[[], None] | None = None
        self.on_disconnect: Callable[[], None] | None = None
        # the request's body
        self._received = 0
        self._body_ended = False
        self.too_large = False
        self.disconnected = False
        # the response
        self.status = 0
        self._head: list[tuple[bytes, bytes]] = []
        self._length: int | None = None  # what content-length says
        self._has_content = True
        self._response: list[bytes] = []
        self._writing = 0  # bytes that are held, or that the server has not taken yet
        self._written = 0
        self.finished = False
        self._trailers: Headers = ()
        self._nudged: Handle | None = None
        self._flusher: Task[None] | None = None
        self._sending = False
        self._broken: Exception | None = None
        self.started = False
        self.complete = False

    def __repr__(self) -> str:
        return f"<Exchange {self.method} {self.path_with_query}: {self.status or 'no answer yet'}>"

    # ------------------------------------------------------------ the request

    @property
    def authority(self) -> str | None:
        """Host and port that the client asked for; see `HttpExchange.authority`."""
        return self._wire.authority

    @property
    def path_with_query(self) -> str:
        """As sent, percent-encoded."""
        return self._wire.target

    @property
    def path(self) -> str:
        """The path alone, as sent."""
        return self._wire.target.partition("?")[0]

    @property
    def headers(self) -> Headers:
        """The request's headers, as sent."""
        return self._wire.headers

    @property
    def trailers(self) -> Headers | None:
        """The request's trailers, where the server hands them over."""
        return self._wire.trailers

    async def read(self) -> bytes:
        """Return the next piece; see `HttpExchange.read`."""
        while not self._body_ended:
            if data := self._take(await self._wire.receive()):
                return data
        return b""

    def read_nowait(self) -> bytes | None:
        """Return the next piece if it is here; see `HttpExchange.read_nowait`."""
        while not self._body_ended:
            piece = self._wire.receive_nowait()
            if piece is None:
                return None
            if data := self._take(piece):
                return data
        return b""

    def _take(self, piece: Piece) -> bytes:
        data, self._body_ended = piece
        self._received += len(data)
        if self._received > self.max_body:
            self.too_large = True
            raise BodyTooLarge(self.max_body)
        return data

    def gone(self) -> None:
        """Note that the client went away."""
        self.disconnected = True
        if self.on_disconnect is not None and not self.complete:
            self.on_disconnect()

    # ------------------------------------------------------------ the response

    def start(self, status: int, headers: Headers) -> None:
        """Set status and headers; see `HttpExchange.start`."""
        if self.status:
            raise HttpFailure("the response was started twice")
        self._head, self._length = checked_head(status, headers)
        self.status = status
        self._has_content = has_content(self.method, status)

    def room(self) -> int:
        """Return how many bytes may be written now."""
        return max(0, self.ROOM - self._writing)

    def write(self, data: bytes) -> None:
        """Hold a piece of the body until the next flush; see `HttpExchange.write`."""
        if self.too_large and not self.started:
            return  # 413 will take its place
        self._written += len(data)
        if self._has_content:
            if self._length is not None and self._written > self._length:
                raise HttpFailure("the response is longer than its content-length says")
            self._response.append(data)
            self._writing += len(data)

    def replace(self, status: int, headers: Headers, body: bytes) -> bool:
        """Put a whole response in the place of what there is; False if that has left already."""
        if self.started:
            return False
        self.too_large = False
        self.status = 0
        self._response = []
        self._writing = self._written = 0
        self._trailers = ()
        self.start(status, headers)
        self.write(body)
        self.finish()
        return True

    def finish(self, trailers: Headers | None = None) -> None:
        """Mark the end of the response; see `HttpExchange.finish`."""
        if self._has_content and self._length is not None and self._written < self._length:
            raise HttpFailure("the response is shorter than its content-length says")
        if trailers:
            check_fields(trailers)
            self._trailers = trailers_of(trailers)
        self.finished = True

    def nudge(self) -> None:
        """Send what is held, in the background: the handler has begun to wait."""
        if self._nudged is None and not self._is_flushing and self.status and self._has_news():
            self._nudged = get_running_loop().call_soon(self._send_soon, _HELD_TURNS)

    def _send_soon(self, turns: int) -> None:
        """Send what is held; what nothing has left of yet in some turns of the event loop."""
        self._nudged = None
        if self._is_flushing or not self._has_news():
            return
        if turns and not (self.started or self.finished):
            self._nudged = get_running_loop().call_soon(self._send_soon, turns - 1)
        elif self._wire.would_wait():
            self._flusher = create_task(self._flush_while_any())
        else:
            try:
                self._flush_nowait()
            except Exception as error:  # noqa: BLE001  whatever the server has against it ends the response
                self._fail(error)

    @property
    def _is_flushing(self) -> bool:
        """Say whether somebody sends: what another would send now could overtake it, or be a second end."""
        return self._sending or self._flusher is not None

    def _has_news(self) -> bool:
        if not self.started:
            return not self.too_large
        return not self.complete and (bool(self._response) or self.finished)

    async def _flush_while_any(self) -> None:
        try:
            while self._has_news():
                await self._flush()
        except Exception as error:  # noqa: BLE001  whatever the server has against it ends the response
            self._fail(error)
        finally:
            self._flusher = None

    def _fail(self, error: Exception) -> None:
        self._broken = error
        self.gone()

    def flush_whole(self) -> bool:
        """Send a whole response that nothing has left of yet, at once; False if it takes a `flush`."""
        if (
            self.started or not self.finished or self._trailers
            or self._flusher is not None or self._broken is not None
        ):  # fmt: skip
            return False
        pieces = self._response
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        self._say_length()
        if not self._wire.answer(self.status, self._head, body):
            return False
        self._response = []
        self._writing = 0
        self.started = self.complete = True
        return True

    async def flush(self) -> None:
        """Send what is held, and wait until the server has taken it.

        :raises OSError: if the client went away
        """
        while self._flusher is not None:
            await self._flusher
        if self._broken is not None:
            raise self._broken
        if not self._has_news():
            return
        if self._wire.would_wait():
            await self._flush()
        else:
            self._flush_nowait()

    async def deliver(self) -> None:
        """Send what is held; see `HttpExchange.deliver`."""
        if not self.flush_whole():
            await self.flush()

    def close(self) -> None:
        """Stop sending."""
        if self._nudged is not None:
            self._nudged.cancel()
        if self._flusher is not None:
            self._flusher.cancel()

    async def _flush(self) -> None:
        data, end = self._take_held()
        self._sending = True
        try:
            await self._wire.send(data, end)
        except BaseException:  # the deadline of the guest's call, say: its answer is to be whole all the same
            self._response.insert(0, data)
            raise
        finally:
            self._sending = False
        self._sent(data, end)

    def _flush_nowait(self) -> None:
        data, end = self._take_held()
        self._wire.send_nowait(data, end)
        self._sent(data, end)

    def _take_held(self) -> tuple[bytes, Headers | None]:
        """Return what is held, to be sent at once, behind the head; and the trailers, if it is the end."""
        pieces, self._response = self._response, []
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        if not self.started:
            self.started = True
            if self.finished and not self._trailers:
                self._say_length()
            self._wire.start(self.status, self._head, self._length if self._has_content else 0)
        return data, self._trailers if self.finished else None

    def _sent(self, data: bytes, end: Headers | None) -> None:
        if end is not None:
            self.complete = True
        self._writing -= len(data)
        if self.on_room is not None:
            self.on_room()

    def _say_length(self) -> None:
        """Add the length of a body that is there whole to the headers, where they do not say it."""
        if self._length is not None or self.status in _WITHOUT_LENGTH:
            return
        # The answer to a HEAD says nothing of the length that one to a GET would have, unless it was written.
        if self._has_content or self._written:
            self._length = self._written
            self._head.append((b"content-length", b"%d" % self._length))
