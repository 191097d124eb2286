"""Bodies of wasi:http 0.3: a stream, what follows it, and what became of it.

A body comes from the network, or from a guest. Whoever made a message is told what became of it by a future,
its *outcome*; `consume-body` hands the duty to tell over to whoever consumes it, with its parameter ``res``.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterable, AsyncIterator, Awaitable
from typing import Any

from wasmplex.plugin import Err, IncomingStream, Variant

from host_plugin_wasi.http.errors import HttpError, internal
from host_plugin_wasi.http.incoming import BodySource
from host_plugin_wasi.p3.ends import no_input
from host_plugin_wasi.p3.fields import Fields3

__all__ = ["Body", "GuestBody", "Message", "Outcome", "ReceivedBody"]

_GONE = HttpError(Variant("connection-terminated"), "the exchange that this body belongs to is over")
_NEVER = "the message was dropped, and never sent"
_AHEAD = 1 << 16
"""Bytes of a response that are taken from the guest before the client has room for them."""


class Outcome:
    """What became of a message: nothing yet, well, an error, or what somebody else will say.

    :ivar told: what whoever made the message is given: done when it is said, with an ``error-code`` as `Err`
        if it went wrong; cancelled if nobody wants to know
    """

    __slots__ = ("_said", "told")

    def __init__(self) -> None:
        self.told: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._said = False

    def say(self, error: HttpError | None) -> None:
        """Say that all of the message was handed on, or why not. What is said first counts."""
        if not self._said:
            self._said = True
            self._tell(Err(error.code) if error is not None else None)

    def leave_to(self, result: Awaitable[None]) -> None:
        """Have somebody else say it."""
        if not self._said:
            self._said = True
            saying = asyncio.ensure_future(self._pass_on(result))
            self.told.add_done_callback(lambda _: saying.cancel())

    async def _pass_on(self, result: Awaitable[None]) -> None:
        try:
            await result
        except Exception as error:  # noqa: BLE001  it is for whoever made the message
            self._tell(error)
        else:
            self._tell(None)

    def _tell(self, error: Exception | None) -> None:
        if self.told.done():
            return
        if error is None:
            self.told.set_result(None)
        else:
            self.told.set_exception(error)
            self.told.exception()  # it is not missed where nobody asks for it


class ReceivedBody:
    """A body that comes over the network. What `stream` returned is read before `trailers` has an answer."""

    __slots__ = ("_end", "_error", "_gone", "_over", "_source", "_waiting", "_whole")

    def __init__(self, source: BodySource) -> None:
        self._source = source
        self._gone = False
        """Whether the exchange that it belongs to is over; who reads waits for that, too."""
        self._end: asyncio.Future[None] | None = None
        self._whole = False
        self._error: HttpError | None = None
        self._over = False
        """Whether nobody reads the stream any more; who wants the trailers waits for that."""
        self._waiting: asyncio.Event | None = None

    def stream(self) -> ReceivedBody:
        """Return what yields its pieces, once."""
        return self

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            while piece := await self._read():
                yield piece
            self._whole = True
        except HttpError as error:
            self._error = error.fresh()
        finally:
            self.close()

    async def _read(self) -> bytes:
        """Return the next piece, ``b""`` at the end.

        :raises HttpError: if there is none, or will be none
        """
        if self._gone:
            raise _GONE.fresh()
        if (piece := self._source.read_nowait()) is not None:
            return piece
        self._end = end = self._end or asyncio.get_running_loop().create_future()
        reading = asyncio.ensure_future(self._source.read())
        try:
            await asyncio.wait((reading, end), return_when=asyncio.FIRST_COMPLETED)
            if self._gone:
                raise _GONE.fresh()
            return reading.result()
        finally:
            reading.cancel()

    def end(self) -> None:
        """Have nothing more read: the exchange that it belongs to is over."""
        self._gone = True
        if self._end is not None and not self._end.done():
            self._end.set_result(None)

    def close(self) -> None:
        """Note that nobody will read the stream, or read on; called if nobody has begun to."""
        self._over = True
        if self._waiting is not None:
            self._waiting.set()

    async def trailers(self) -> Fields3 | None:
        """Return what follows the body, when its end has come; what nobody wants to read is thrown away.

        :raises Err: with an ``error-code``, if there was no end
        """
        if not self._over:
            self._waiting = self._waiting or asyncio.Event()
            await self._waiting.wait()
        try:
            while not self._whole and self._error is None:
                self._whole = not await self._read()
        except HttpError as error:
            self._error = error.fresh()
        if self._error is not None:
            raise Err(self._error.code)
        trailers = self._source.trailers()
        return Fields3.received(trailers) if trailers else None

    def drop(self) -> None:
        """Read no more: the message was dropped."""
        self._source.close()


class GuestBody:
    """A body that a guest has made, or passes on.

    :param contents: None for none
    :param following: what gives the trailers
    """

    __slots__ = ("_following", "contents")

    def __init__(self, contents: IncomingStream[bytes] | None, following: Awaitable[Fields3 | None]) -> None:
        self.contents = contents
        self._following = following

    def read_ahead(self) -> None:
        """Have the guest asked for it before somebody reads, for it will be read to its end."""
        if self.contents is not None:
            self.contents.read_ahead(_AHEAD)
        if (read_ahead := getattr(self._following, "read_ahead", None)) is not None:
            read_ahead()

    def stream(self) -> AsyncIterable[bytes]:
        """Return what yields its pieces, once."""
        return self.contents if self.contents is not None else no_input()

    async def trailers(self) -> Fields3 | None:
        """Return what follows the body.

        :raises Err: with an ``error-code``, if the guest says that it is not whole
        """
        return await self._following

    def drop(self) -> None:
        """Take nothing of it, or no more."""
        if self.contents is not None:
            self.contents.close()
        following = self._following
        if inspect.iscoroutine(following) and inspect.getcoroutinestate(following) != inspect.CORO_CREATED:
            return  # somebody awaits it
        if (close := getattr(following, "close", None)) is not None:
            close()


Body = ReceivedBody | GuestBody


class Message:
    """What requests and responses have in common.

    :ivar body: None once it was consumed
    :ivar outcome: what whoever made it is told; None for what came over the network
    """

    __slots__ = ("body", "outcome")

    def __init__(self, body: Body, outcome: Outcome | None) -> None:
        self.body: Body | None = body
        self.outcome = outcome

    def take(self) -> Body:
        """Return the body, which is the caller's from now on."""
        body, self.body = self.body, None
        assert body is not None  # noqa: S101  a message is consumed by an owned handle, so but once
        return body

    def consumed(self, result: Awaitable[None]) -> tuple[Any, Awaitable[Fields3 | None]]:
        """Return stream and trailers to a guest; `result` is what it will say became of them."""
        body = self.take()
        if self.outcome is not None:
            self.outcome.leave_to(result)
        return body.stream(), body.trailers()

    def drop(self) -> None:
        """Let go of the body; a message that was never sent has not gone well."""
        if self.body is not None:
            self.body.drop()
            self.body = None
            if self.outcome is not None:
                self.outcome.say(HttpError(internal(_NEVER), _NEVER))
