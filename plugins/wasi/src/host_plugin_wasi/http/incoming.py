"""Bodies that come in: the resources ``incoming-body``, its stream, and ``future-trailers``."""

from __future__ import annotations

from asyncio import Task, create_task, get_running_loop
from typing import Any, Protocol

from wasmplex.capabilities.http import BodyTooLarge, Headers, HttpExchange
from wasmplex.plugin import Err, Ok, Variant

from host_plugin_wasi.http.errors import HttpError, internal, stream_failed
from host_plugin_wasi.http.fields import Fields
from host_plugin_wasi.io import InputStream, Pollable, Signal, Waker, closed

__all__ = ["BodySource", "BodyStream", "FutureTrailers", "IncomingBody", "RequestBody"]


_AT_ONCE = 8
"""Pieces of a body that are thrown away before others have their turn."""


class BodySource(Protocol):
    """Where a body comes from, piece by piece."""

    async def read(self) -> bytes:
        """Return the next piece; ``b""`` at the end.

        :raises HttpError: if there is no more, and it was not the end
        """

    def read_nowait(self) -> bytes | None:
        """As `read`, but return None where that would wait."""

    def trailers(self) -> Headers | None:
        """Return the trailers, after the end."""

    def close(self) -> None:
        """Read no more."""


class RequestBody:
    """The request's body as a `BodySource`."""

    __slots__ = ("_exchange",)

    def __init__(self, exchange: HttpExchange) -> None:
        self._exchange = exchange

    async def read(self) -> bytes:
        """Return the next piece; see `BodySource.read`."""
        try:
            return await self._exchange.read()
        except ConnectionError as error:
            raise _request_error(error) from None

    def read_nowait(self) -> bytes | None:
        """Return the next piece if it is here; see `BodySource.read_nowait`."""
        try:
            return self._exchange.read_nowait()
        except ConnectionError as error:
            raise _request_error(error) from None

    def trailers(self) -> Headers | None:
        """Return the trailers, after the end."""
        return self._exchange.trailers

    def close(self) -> None:
        """Do nothing: what of the body is not wanted is the trigger's business."""


def _request_error(error: ConnectionError) -> HttpError:
    if isinstance(error, BodyTooLarge):
        return HttpError(Variant("HTTP-request-body-size", error.limit), str(error))
    return HttpError(Variant("connection-terminated"), str(error))


class _Reader:
    """Reads a source for whoever is there: a stream that blocks, one that polls, or nobody but the end.

    There is a task only while somebody polls and nothing has come yet.
    """

    __slots__ = ("changed", "ended", "error", "fetch", "piece", "resuming", "source", "start")

    def __init__(self, source: BodySource) -> None:
        self.source = source
        self.piece = b""
        self.start = 0  # of what is left of the piece
        self.ended = False
        self.error: HttpError | None = None
        self.fetch: Task[None] | None = None
        self.changed = Signal()
        self.resuming = False

    def settled(self) -> bool:
        """Say whether `take` would answer; look for a piece if there was none."""
        return bool(self.piece) or self.ended or self.error is not None or self._look()

    def _look(self) -> bool:
        if self.fetch is not None:
            return False
        try:
            piece = self.source.read_nowait()
        except HttpError as error:
            self.error = error.fresh()
            return True
        if piece is None:
            return False
        self._got(piece)
        return True

    def _got(self, piece: bytes) -> None:
        self.piece, self.start, self.ended = piece, 0, not piece

    def take(self, length: int) -> bytes:
        """Return up to `length` bytes of what has come, ``b""`` if nothing has."""
        if not self.settled():
            return b""
        piece, start = self.piece, self.start
        if not piece:
            raise closed() if self.error is None else stream_failed(self.error)
        end = start + length
        if end < len(piece):
            self.start = end
            return piece[start:end]
        self.piece = b""
        return piece[start:] if start else piece

    def drained(self) -> bool:
        """Throw away what has come, some pieces at a time, and say whether that was the end."""
        for _ in range(_AT_ONCE):
            if not self.settled():
                return False
            if self.ended or self.error is not None:
                return True
            self.piece = b""
        if not self.resuming:
            self.resuming = True
            get_running_loop().call_soon(self._resume)
        return False

    def _resume(self) -> None:
        self.resuming = False
        self.changed.notify()

    def begin(self) -> None:
        """Have the next piece fetched in the background."""
        if self.fetch is None and not self.settled():
            self.fetch = create_task(self._fetch())

    async def _fetch(self) -> None:
        try:
            await self.wait()
        finally:
            self.fetch = None
            self.changed.notify()

    async def wait(self) -> None:
        """Wait for the next piece, or the end."""
        try:
            self._got(await self.source.read())
        except HttpError as error:
            self.error = error.fresh()

    def close(self) -> None:
        """Read no more."""
        if self.fetch is not None:
            self.fetch.cancel()
        if not self.ended:
            self.error = self.error or HttpError(internal("the body was closed"))
            self.source.close()


class _Arrival(Pollable):
    """Ready when something of the body has come."""

    __slots__ = ("_reader",)

    def __init__(self, reader: _Reader) -> None:
        self._reader = reader

    def ready(self) -> bool:
        return self._reader.settled()

    def attach(self, waker: Waker) -> None:
        self._reader.changed.attach(waker)
        self._reader.begin()

    def detach(self, waker: Waker) -> None:
        self._reader.changed.detach(waker)


class BodyStream(InputStream):
    """The stream of an incoming body."""

    __slots__ = ("_reader",)

    def __init__(self, reader: _Reader) -> None:
        self._reader = reader

    def read(self, length: int) -> bytes:
        """Return what has come; see `InputStream.read`."""
        return self._reader.take(length)

    def blocking_read(self, length: int) -> Any:
        """Wait without a task for the next piece, if none has come."""
        reader = self._reader
        if not length or reader.settled():
            return reader.take(length)
        return self._wait_and_read(length)

    async def _wait_and_read(self, length: int) -> bytes:
        reader = self._reader
        while not reader.settled():
            if reader.fetch is not None:
                await reader.changed.wait()
            else:
                await reader.wait()
        return reader.take(length)

    def subscribe(self) -> Pollable:
        """Return a pollable that is ready when there is something to read."""
        return _Arrival(self._reader)


class IncomingBody:
    """The resource ``incoming-body``."""

    __slots__ = ("_reader", "_taken")

    def __init__(self, source: BodySource) -> None:
        self._reader = _Reader(source)
        self._taken = False

    def stream(self) -> BodyStream:
        """Return the stream, once."""
        if self._taken:
            raise Err
        self._taken = True
        return BodyStream(self._reader)

    @staticmethod
    def finish(this: IncomingBody) -> FutureTrailers:
        """Give up the body for its trailers; what was not read of it is thrown away."""
        return FutureTrailers(this._reader)

    def drop(self) -> None:
        """Read no more."""
        self._reader.close()


class _End(_Arrival):
    """Ready when the end of the body has come."""

    __slots__ = ()

    def ready(self) -> bool:
        return self._reader.drained()


class FutureTrailers:
    """The resource ``future-trailers``."""

    __slots__ = ("_given", "_reader")

    def __init__(self, reader: _Reader) -> None:
        self._reader = reader
        self._given = False

    def subscribe(self) -> Pollable:
        """Return a pollable that is ready when `get` has an answer."""
        return _End(self._reader)

    def get(self) -> Any:
        """Return None before the end, then the trailers or the error, once."""
        reader = self._reader
        if not reader.drained():
            return None
        if self._given:
            return Err()
        self._given = True
        if reader.error is not None:
            return Ok(Err(reader.error.code))
        trailers = reader.source.trailers()
        return Ok(Ok(Fields.received(trailers) if trailers else None))

    def drop(self) -> None:
        """Read no more."""
        self._reader.close()
