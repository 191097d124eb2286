"""What connections have sent and nobody has parsed yet.

A server ends a connection to which it could write nothing for a while. So what comes while a host is full is
read all the same, up to a bound. It stays as it came: the messages in it would take ten times as much. Beyond
the bound nothing is read from the socket.

It outlives a connection: what had come when that was lost is handled as if it were there.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Final, Protocol

__all__ = ["Backlog", "Source"]

_MOST: Final = 8 * 2**20
"""Bytes that may lie here."""
_LATELY: Final = 30.0
"""Seconds; as long as a server waits until it ends a connection, and until that is noticed."""
_OVERHEAD: Final = 100
"""Bytes that a chunk takes besides its own."""


class Source(Protocol):
    """A connection."""

    def hold(self) -> None:
        """Read nothing from its socket; to be said again has no effect."""

    def release(self) -> None:
        """Read from its socket again."""

    async def parse(self, chunk: bytes) -> None:
        """Take in what came before all that comes later; raises nothing."""


class Backlog:
    """Chunks of bytes, in the order in which they came.

    :ivar size: bytes of memory that this takes
    """

    def __init__(self, most: int = _MOST) -> None:
        self.size = 0
        self._released: float | None = None
        self._most = most
        self._chunks: deque[tuple[Source, bytes]] = deque()
        self._held: Source | None = None
        self._paused = False
        self._draining: asyncio.Task[None] | None = None
        self._empty = asyncio.Event()
        self._empty.set()

    @property
    def waits(self) -> bool:
        """Whether what comes is to be added here, behind what came before, and not to be parsed at once."""
        return self._paused or bool(self._chunks) or self._draining is not None

    @property
    def overflowed(self) -> bool:
        """Whether a server had to wait not long ago: then that may be why it has ended a connection."""
        if self._held is not None:
            return True
        return self._released is not None and time.monotonic() - self._released < _LATELY

    @property
    def unread(self) -> int:
        """Bytes of what connections have sent that lie here."""
        return sum(len(chunk) for _, chunk in self._chunks)

    def holds(self, source: Source) -> bool:
        """Say whether something of a connection lies here."""
        return any(own is source for own, _ in self._chunks)

    def add(self, source: Source, chunk: bytes) -> None:
        """Keep what has come until it is its turn."""
        self._chunks.append((source, chunk))
        self._grow(chunk)

    def put_back(self, source: Source, chunk: bytes) -> None:
        """Keep what came before all that lies here."""
        self._chunks.appendleft((source, chunk))
        self._grow(chunk)
        self._start()

    def discard(self, source: Source) -> None:
        """Drop what lies here of a connection."""
        for chunk in [chunk for own, chunk in self._chunks if own is source]:
            self._shrink(chunk)
        self._chunks = deque(entry for entry in self._chunks if entry[0] is not source)
        if not self._chunks and self._draining is None:
            self._empty.set()

    def pause(self) -> None:
        """Have nothing parsed from now on."""
        self._paused = True

    def resume(self) -> None:
        """Have what lies here parsed, until it is paused again."""
        self._paused = False
        self._start()

    async def drained(self) -> None:
        """Wait until nothing lies here. That takes as long as it stays paused."""
        await self._empty.wait()

    async def close(self) -> None:
        """Drop everything."""
        self._chunks.clear()
        self.size = 0
        self._empty.set()
        if (task := self._draining) is not None:
            task.cancel()
            await asyncio.wait([task])

    def _start(self) -> None:
        if self._chunks and not self._paused and self._draining is None:
            self._draining = asyncio.get_running_loop().create_task(self._drain())

    def _grow(self, chunk: bytes) -> None:
        self._empty.clear()
        self.size += len(chunk) + _OVERHEAD
        if self.size > self._most:
            self._held = self._chunks[-1][0]
            self._held.hold()

    def _shrink(self, chunk: bytes) -> None:
        self.size -= len(chunk) + _OVERHEAD
        if self._held is not None and self.size <= self._most:
            held, self._held = self._held, None
            self._released = time.monotonic()
            held.release()

    async def _drain(self) -> None:
        try:
            while self._chunks and not self._paused:
                source, chunk = self._chunks.popleft()
                self._shrink(chunk)
                await source.parse(chunk)
        finally:
            self._draining = None
            if not self._chunks:
                self._empty.set()
