"""One request and its response over ASGI: pieces in as they are asked for, pieces out as they gather."""

from __future__ import annotations

from asyncio import Task, create_task, wait
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import quote

from wasmplex.capabilities.http import BodyTooLarge, Headers, HttpExchange, HttpFailure
from wasmplex.triggers.http.asgi import CONNECTION, TRAILERS

if TYPE_CHECKING:
    from wasmplex.triggers.http.asgi import Connection, Message, Receive, Scope, Send

__all__ = ["Exchange"]

_NO_BODY = frozenset({204, 304})


class Exchange(HttpExchange):
    """See `HttpExchange`. Not more than one task reads, and one writes, at a time.

    :param max_body: bytes that the request's body may have
    :ivar started: some of the response has left
    :ivar finished: the response has got its end
    :ivar complete: all of the response has left
    """

    __slots__ = (
        "_announced", "_bodiless", "_body_ended", "_broken", "_can_trail",
        "_flusher", "_head", "_kept", "_lookahead", "_receive", "_received", "_response", "_scope", "_send",
        "_trailers", "_writing", "complete", "connection", "disconnected", "finished", "max_body", "method",
        "on_disconnect", "on_room", "scheme", "started", "status", "too_large",
    )  # fmt: skip

    def __init__(self, scope: Scope, receive: Receive, send: Send, max_body: int) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self.max_body = max_body
        extensions = scope.get("extensions") or {}
        self.connection: Connection | None = extensions.get(CONNECTION)
        self.method = scope["method"]
        self.scheme = scope.get("scheme", "http")
        self.on_room: Callable[[], None] | None = None
        self.on_disconnect: Callable[[], None] | None = None
        # the request's body
        self._received = 0
        self._body_ended = False
        self._lookahead: Task[Message] | None = None
        self._kept: Message | None = None
        self.too_large = False
        self.disconnected = False
        # the response
        self.status = 0
        self._head: list[tuple[bytes, bytes]] = []
        self._response: list[bytes] = []
        self._writing = 0  # bytes that are held, or that the server has not taken yet
        self.finished = False
        self._trailers: Headers | None = None
        self._can_trail = TRAILERS in extensions
        self._announced = False  # that trailers follow, if only an empty list of them
        self._bodiless = False
        self._flusher: Task[None] | None = None
        self._broken: Exception | None = None
        self.started = False
        self.complete = False

    def __repr__(self) -> str:
        return f"<Exchange {self.method} {self.path_with_query}: {self.status or 'no answer yet'}>"

    # ------------------------------------------------------------ the request

    @property
    def authority(self) -> str | None:
        """The ``host`` header, or what ``:authority`` said."""
        for name, value in self._scope["headers"]:
            if name == b"host":
                return str(value, "latin-1") or None
        return None

    @property
    def path_with_query(self) -> str:
        """As sent, percent-encoded."""
        path, query = self.path, self._scope.get("query_string")
        return f"{path}?{str(query, 'latin-1')}" if query else path

    @property
    def path(self) -> str:
        """The path alone, as sent."""
        raw = self._scope.get("raw_path")
        return str(raw, "latin-1") if raw else _quoted(self._scope["path"])

    @property
    def headers(self) -> Headers:
        """The request's headers, as sent."""
        headers: Headers = self._scope["headers"]
        return headers

    @property
    def trailers(self) -> Headers | None:
        """The request's trailers, where the server hands them over."""
        return self.connection.trailers if self.connection is not None else None

    async def read(self) -> bytes:
        """Return the next piece; see `HttpExchange.read`."""
        while not self._body_ended:
            if self._kept is not None:
                message, self._kept = self._kept, None
            elif self._lookahead is not None:
                await wait((self._lookahead,))
                continue
            else:
                message = await self._receive()
            if data := self._take(message):
                return data
        return b""

    def read_nowait(self) -> bytes | None:
        """Return the next piece if it is here; see `HttpExchange.read_nowait`."""
        while not self._body_ended:
            message, self._kept = self._kept, None
            if message is None and self.connection is not None:
                message = self.connection.receive_nowait()
            if message is None:
                return None
            if data := self._take(message):
                return data
        return b""

    def _take(self, message: Message) -> bytes:
        if message["type"] == "http.disconnect":
            self.gone()
            raise ConnectionResetError("the client went away before the end of its request")
        data: bytes = message.get("body", b"")
        self._body_ended = not message.get("more_body", False)
        self._received += len(data)
        if self._received > self.max_body:
            self.too_large = True
            raise BodyTooLarge(self.max_body)
        return data

    def look_ahead(self) -> None:
        """Start to wait for the next message, so that a disconnect is seen while nobody reads.

        For servers that do not say so by themselves. A piece of the body that comes is kept for `read`,
        and nothing more is asked for until it has been read, unless it is the last.
        """
        at_end = self._body_ended or (self._kept is not None and not self._kept.get("more_body", False))
        if self._lookahead is None and (self._kept is None or at_end):
            self._lookahead = create_task(_whole(self._receive))
            self._lookahead.add_done_callback(self._looked)

    def _looked(self, task: Task[Message]) -> None:
        self._lookahead = None
        if task.cancelled() or task.exception() is not None:
            return
        message = task.result()
        if message["type"] == "http.disconnect":
            self.gone()
        if self._kept is None:
            self._kept = message

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
        if not 200 <= status <= 599:
            raise HttpFailure(
                f"{status} is not a status that a response can have", why="it has to be 200 to 599"
            )
        self.status = status
        self._head = [*headers]

    def room(self) -> int:
        """Return how many bytes may be written now."""
        return max(0, self.ROOM - self._writing)

    def write(self, data: bytes) -> None:
        """Hold a piece of the body until the next flush."""
        if self.too_large and not self.started:
            return  # 413 will take its place
        self._response.append(data)
        self._writing += len(data)

    def replace(self, status: int, headers: Headers, body: bytes) -> bool:
        """Put a whole response in the place of what there is; False if that has left already."""
        if self.started:
            return False
        self.too_large = False
        self.status = status
        self._head = [*headers]
        self._response = [body]
        self._writing = len(body)
        self._trailers = None
        self.finished = True
        return True

    def finish(self, trailers: Headers | None = None) -> None:
        """Mark the end of the response."""
        self.finished = True
        self._trailers = trailers

    def nudge(self) -> None:
        """Send what is held, in the background: the handler has begun to wait."""
        if self._flusher is None and self.status and self._has_news():
            self._flusher = create_task(self._flush_while_any())

    def _has_news(self) -> bool:
        if not self.started:
            return not self.too_large
        return not self.complete and (bool(self._response) or self.finished)

    async def _flush_while_any(self) -> None:
        try:
            while self._has_news():
                await self._flush()
        except Exception as error:  # noqa: BLE001  whatever the server has against it ends the response
            self._broken = error
            self.gone()
        finally:
            self._flusher = None

    def flush_whole(self) -> bool:
        """Send a whole response that nothing has left of yet, at once; False if it takes a `flush`."""
        if (
            self.connection is None or self.started or not self.finished or self._trailers
            or self._flusher is not None or self._broken is not None
        ):  # fmt: skip
            return False
        pieces = self._response
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        self._finish_head(len(body), finished=True)
        if not self.connection.answer(self.status, self._head, b"" if self._bodiless else body):
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
        if self._has_news():
            await self._flush()

    def close(self) -> None:
        """Stop sending and reading."""
        for task in (self._flusher, self._lookahead):
            if task is not None:
                task.cancel()

    async def _flush(self) -> None:
        pieces, self._response = self._response, []
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        size, finished = len(data), self.finished
        if not self.started:
            self.started = True
            self._finish_head(size, finished=finished)
            await self._send({
                "type": "http.response.start", "status": self.status, "headers": self._head,
                "trailers": self._announced,
            })  # fmt: skip
        if self._bodiless:
            data = b""
        await self._send({"type": "http.response.body", "body": data, "more_body": not finished})
        if finished:
            if self._announced:
                await self._send({"type": TRAILERS, "headers": self._trailers or [], "more_trailers": False})
            self.complete = True
        self._writing -= size
        if self.on_room is not None:
            self.on_room()

    def _finish_head(self, size: int, *, finished: bool) -> None:
        """Add the body's length to the headers if it is known; decide about trailers and the body itself."""
        head, status = self._head, self.status
        no_body = status in _NO_BODY
        self._bodiless = no_body or self.method == "HEAD"
        sized = False
        for name, _ in head:
            if name == b"content-length":
                sized = True
                break
        if not sized and not no_body:
            if finished and not self._trailers:
                # A HEAD without a body says nothing about the length that GET would have.
                sized = size > 0 or not self._bodiless
                if sized:
                    head.append((b"content-length", b"%d" % size))
            self._announced = self._can_trail and not sized and not self._bodiless


async def _whole(receive: Receive) -> Message:
    return await receive()


def _quoted(path: str) -> str:
    return quote(path, safe="/%:@!$&'()*+,;=~-._")
