"""One connection, with as many commands under way as are asked for: answers come in the order of commands."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, cast

import hiredis
from redis.exceptions import ConnectionError as Lost
from redis.exceptions import ResponseError

from host_plugin_redis.failures import NO_REDIS
from host_plugin_redis.reading import Reading

__all__ = ["MOST", "UNWANTED", "Wire"]


MOST = 1024
"""Commands that may be under way: those that nobody waits for any more are kept until they are answered."""


UNWANTED = 8
"""Answers to come from which on it is cheaper to connect anew than to read what nobody waits for."""


class Waiting(NamedTuple):
    """A command that was sent, and when by the loop's clock."""

    answer: asyncio.Future[Any]
    sent: float


class Wire(asyncio.Protocol):
    """The protocol of a connection.

    :param reading: counts what comes on this and other connections
    :ivar retired: True for one that gets no more commands
    """

    def __init__(self, reading: Reading | None = None) -> None:
        self.retired = False
        self._reading = reading or Reading()
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader()
        self._waiting: deque[Waiting] = deque()
        self._transport: asyncio.Transport | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._full = False  # the transport takes no more now
        self._wanted = 0  # answers that somebody waits for
        self._heard = self._loop.time()
        self._pushed: asyncio.Queue[Any] | None = None
        self._why = "the connection is lost"

    def __len__(self) -> int:
        """Return how many answers are to come."""
        return len(self._waiting)

    @property
    def is_open(self) -> bool:
        """Whether commands may be sent."""
        return self._transport is not None and not self._transport.is_closing() and not self.retired

    @property
    def is_lost(self) -> bool:
        """Whether the connection has ended."""
        return self._transport is None

    async def command(self, *words: Any) -> Any:
        """Send a command and return the answer. It may be cancelled: the answer is then dropped.

        :raises redis.exceptions.ConnectionError: if the connection is lost
        :raises redis.exceptions.ResponseError: if the answer is an error
        """
        while not self._writable.is_set():
            await self._writable.wait()
        if self._transport is None or self._transport.is_closing():
            raise Lost("the connection is lost")
        answer: asyncio.Future[Any] = self._loop.create_future()
        self._transport.write(hiredis.pack_command(words))
        self._waiting.append(Waiting(answer, self._loop.time()))
        if len(self._waiting) == MOST:
            self._writable.clear()
        self._wanted += 1
        try:
            reply = await answer
        finally:
            self._wanted -= 1
        if isinstance(reply, hiredis.ReplyError):
            raise ResponseError(str(reply))
        return reply

    async def commands(self, several: Iterable[Sequence[Any]]) -> None:
        """Send one command after the other, and throw the answers away; errors are those of `command`."""
        for words in several:
            await self.command(*words)

    def drop_if_unwanted(self) -> None:
        """Close the connection if many answers are to come that nobody waits for any more."""
        if not self._wanted and len(self._waiting) >= UNWANTED:
            self.abort()

    def retire_if_silent(self, patience: float) -> None:
        """Send nothing more on a connection that owes an answer and has been silent for `patience` seconds.

        What is under way may still be answered; when nobody waits any more the connection is closed.
        """
        now = self._loop.time()
        if self._waiting and now - max(self._heard, self._waiting[0].sent) > patience:
            self.retired = True
        if self.retired and not self._wanted:
            self.abort()

    def abort(self) -> None:
        """Close the connection at once; what is under way fails."""
        if self._transport is not None:
            self._transport.abort()

    async def subscribe(self, pattern: bytes) -> None:
        """Use the connection for messages from now on, and for nothing else; `pushed` returns them."""
        self._pushed = asyncio.Queue()
        await self.command("PSUBSCRIBE", pattern)

    async def pushed(self) -> Any:
        """Return the next message.

        :raises redis.exceptions.ConnectionError: if the connection is lost
        """
        assert self._pushed is not None  # noqa: S101  it was subscribed before
        message = await self._pushed.get()
        if message is None:
            self._pushed.put_nowait(None)
            raise Lost("the connection is lost")
        return message

    # ------------------------------------------------------------ asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        # No isinstance: the transports of uvloop have what asyncio.Transport has, and are none.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Hand out the answers that are complete."""
        self._heard = self._loop.time()
        reader, waiting = self._reader, self._waiting
        try:
            reader.feed(data)
            while (reply := reader.gets()) is not False:
                if self._pushed is not None and not waiting:
                    self._pushed.put_nowait(reply)
                    continue
                answer = waiting.popleft().answer
                if len(waiting) == MOST // 2 and not self._full:
                    self._writable.set()
                if not answer.done():
                    answer.set_result(reply)
            if self._transport is not None:
                self._reading.came(len(data), self._transport)
        except (hiredis.ProtocolError, IndexError):  # or an answer that nobody asked for
            self._why = NO_REDIS
            self.abort()

    def pause_writing(self) -> None:
        """Let commands wait until the connection takes more."""
        self._full = True
        self._writable.clear()

    def resume_writing(self) -> None:
        """Let commands go on."""
        self._full = False
        if len(self._waiting) < MOST:
            self._writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail what is under way."""
        self._transport = None
        self._writable.set()
        waiting, self._waiting = self._waiting, deque()
        if self._pushed is not None:
            self._pushed.put_nowait(None)
        for answer, _ in waiting:
            if not answer.done():
                answer.set_exception(Lost(self._why))
