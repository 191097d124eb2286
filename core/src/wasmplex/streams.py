"""Streams as host functions see them.

A ``stream<T>`` in Python is an asynchronous iterable of *chunks*: ``bytes`` for ``stream<u8>``, a list of
elements for any other element type. A host function is handed one that it iterates over; it returns any
asynchronous iterable, an async generator most simply. Where a generator does not fit, `channel` gives an
object to send to, and a `ChunkSource` is asked for each chunk at the moment when there is room for it. A
`ByteSource` puts bytes where the guest takes them, as long as it has some at hand.

A ``future<T>`` is an awaitable. Where T is a ``result``, awaiting it returns the ok value or raises `Err`,
both ways.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from typing import Any, Generic, Self, TypeVar

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

__all__ = [
    "ByteSource", "ChunkSource", "IncomingStream", "StreamAborted", "StreamClosed", "StreamWriter", "channel",
]  # fmt: skip

T = TypeVar("T")


class StreamClosed(Exception):
    """Raised by `StreamWriter.send` when the guest has dropped its end: nobody reads any more."""


class StreamAborted(Exception):
    """Raised in the reader of a `channel` whose writer was aborted."""


class IncomingStream(ABC, Generic[T]):
    """A stream that comes from a guest: ``async for chunk in stream``.

    The guest is not asked for more than is read here, so a slow reader slows it down.
    """

    @abstractmethod
    async def read(self) -> T | None:
        """Return the next chunk, never an empty one; None at the end."""

    @abstractmethod
    def close(self) -> None:
        """Read no more: the guest's writes end. Happens by itself when nobody holds the stream."""

    def read_ahead(self, most: int) -> None:
        """Read before somebody asks, until so many elements wait: for who will want all of it.

        A stream may do as if it had not heard.
        """

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        chunk = await self.read()
        if chunk is None:
            raise StopAsyncIteration
        return chunk


class ChunkSource(ABC, Generic[T]):
    """A stream to a guest that is asked for a chunk as soon as the guest has taken the one before.

    That is at once, while the guest goes on with what it has; a generator is resumed when the event loop has
    its turn. Chunks that are there at once, the first ones for instance, cost no task that waits for them.
    """

    @abstractmethod
    async def read(self) -> T | None:
        """Return the next chunk; None, or an empty one, at the end.

        Begun where the guest runs, and brought to its end by a task of its own, which is cancelled if the
        guest drops the stream.
        """

    def read_nowait(self) -> T | None:
        """Return the next chunk if it is at hand, an empty one at the end; None if `read` is to be asked.

        Asked first, where the guest runs: it does not block, and what is at hand costs no task at all. What
        goes wrong is for `read` to raise.
        """
        return None

    @abstractmethod
    def close(self) -> None:
        """Read no more: the guest has dropped the stream, or is gone. Not called at the end."""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        chunk = await self.read()
        if not chunk:
            raise StopAsyncIteration
        return chunk


class ByteSource(ABC):
    """A stream of bytes for a guest, which may have some of them at hand."""

    @abstractmethod
    def __aiter__(self) -> AsyncIterator[bytes]:
        """Return what yields the bytes, in order, and ends with them."""

    @abstractmethod
    def readinto_nowait(self, buffer: memoryview) -> int:
        """Put the next bytes into a buffer, if they are at hand; return how many.

        0 says that the iterator is to be asked: for what takes time, for the end, and for what went wrong.
        Called only while nobody waits for the iterator, and on the event loop's thread: it does not block.
        `buffer` is the guest's memory; it must not be used after that.
        """

    def next_at_hand(self) -> asyncio.Future[Any] | None:
        """Return what is done when bytes are at hand again; None where the iterator is to be asked.

        Called only when `readinto_nowait` has returned 0. When it is done, `readinto_nowait` is called again.
        A task and a chunk less than what the iterator takes.
        """
        return None


class _End:
    """How a stream ended; the reader sees it whether it was waiting at that moment or not."""

    __slots__ = ("reached", "reason")

    def __init__(self) -> None:
        self.reached = False
        self.reason: BaseException | None = None


class StreamWriter(Generic[T]):
    """The sending half of a `channel`."""

    def __init__(self, sender: MemoryObjectSendStream[T], end: _End) -> None:
        self._sender = sender
        self._end = end

    async def send(self, chunk: T) -> None:
        """Send a chunk; returns when the guest has room for it (back-pressure).

        :raises StreamClosed: if the guest has dropped its end
        """
        try:
            await self._sender.send(chunk)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            raise StreamClosed("the guest has dropped its end of the stream") from None

    def close(self) -> None:
        """End the stream."""
        self._end.reached = True
        self._sender.close()

    def abort(self, reason: BaseException | None = None) -> None:
        """Break the stream off. The guest's call fails, for it must not take a part for the whole.

        After `close` it does nothing.
        """
        if not self._end.reached:
            self._end.reason = reason or StreamAborted("the stream was aborted")
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: object
    ) -> None:
        if error is None:
            self.close()
        else:
            self.abort(error)


class _Channel(Generic[T]):
    """The receiving half: what a host function returns for the guest."""

    def __init__(self, receiver: MemoryObjectReceiveStream[T], end: _End) -> None:
        self._receiver = receiver
        self._end = end

    async def __aiter__(self) -> AsyncIterator[T]:
        with self._receiver:
            async for chunk in self._receiver:
                yield chunk
            if self._end.reason is not None:
                raise self._end.reason

    def close(self) -> None:
        """Have the writer told that nobody reads; for when nobody has begun to."""
        self._receiver.close()


def channel() -> tuple[StreamWriter[Any], _Channel[Any]]:
    """Return a writer, and the stream to give to the guest, which yields what is sent to the writer."""
    sender, receiver = anyio.create_memory_object_stream[Any](0)
    end = _End()
    return StreamWriter(sender, end), _Channel(receiver, end)
