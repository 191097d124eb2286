"""Streams and futures from the guest to the host, read when Python asks, or ahead."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Generator
from contextlib import suppress
from typing import Any

from wasmplex.bridge.elements import Elements
from wasmplex.bridge.flows import (
    CANCEL_READ,
    CANCELLED,
    DROP_READABLE,
    DROPPED,
    READ,
    Flow,
    Script,
    StreamEndedError,
    Streaming,
)
from wasmplex.bridge.protocol import Op

__all__ = ["Inflow"]


class Inflow(Flow):
    """A stream or future from the guest to the host: one read at a time, when Python asks, or ahead."""

    def __init__(
        self, session: Streaming, elements: Elements, first: int, handle: int, *, single: bool
    ) -> None:
        super().__init__(session, elements, first, handle, single=single)
        self._loop = asyncio.get_running_loop()
        self._wanted: asyncio.Future[Any] | None = None
        self._ended = False
        self._single = single
        self._at_once = bool(session.buffers) and not (elements.lifts or elements.points)
        """Whether what was read is there without an order."""
        self._ahead = self._at_once and elements.octets and not single
        """Whether all that the guest has can be read at once."""
        self._room = 1 if single else elements.room
        self._at = 0
        """Where the read under way puts what it reads."""
        self._reading = False
        self._most = 0
        """How many elements may be read before somebody asks for them."""
        self._found: deque[Any] = deque()
        """Chunks that nobody has asked for yet."""
        self._waiting = 0
        """How many elements they have."""

    @property
    def touches(self) -> object:
        """See `Flow.touches`. What is read at once of streams lies in one heap, and is looked at whole."""
        return self.session.memories[1] if self.elements.points and not self._single else self

    async def read(self) -> Any:
        """Return the next chunk (of a future: a list with its value), None at the end."""
        if self._wanted is not None:
            raise RuntimeError("two tasks read one stream at a time")
        if self._found:
            return self._next_found()
        if self._ended or self.done:
            return None
        if self.session.closed:
            if self.session.scheduler.failure is not None:
                raise self.session.scheduler.trap()
            raise StreamEndedError("the instance that had the other end is gone")
        self._wanted = asyncio.get_running_loop().create_future()
        self._begin()
        try:
            return await self._wanted
        except asyncio.CancelledError:
            self.close()
            raise
        finally:
            self._wanted = None

    def read_ahead(self, most: int) -> None:
        """Read before somebody asks, until so many elements wait."""
        self._most = most
        if self._wants_more:
            self._begin()

    def _begin(self) -> None:
        if not self._reading:
            self._reading = True
            self.session.script(self._read(), self.touches)

    def _next_found(self) -> Any:
        chunk = self._found.popleft()
        self._waiting -= len(chunk)
        if self._wants_more:
            self._begin()
        return chunk

    @property
    def _wants_more(self) -> bool:
        return self._waiting < self._most and not (self._ended or self.done or self.session.closed)

    def close(self) -> None:
        """Read no more."""
        self._most = 0
        self._found.clear()
        if not self.done and not self.session.closed:
            self.session.script(self._close(), self.touches)

    def let_go(self) -> None:
        """Read no more, for nobody holds it. The garbage collector finds that out in any thread."""
        if _is_running(self._loop):
            self.close()
        else:
            with suppress(RuntimeError):  # the loop is closed, and what it ran has ended
                self._loop.call_soon_threadsafe(self.close)

    def _read(self) -> Script:
        """Read, until the guest is not ready or nobody wants more."""
        goes_on = True
        while goes_on:
            if self.done:
                self._reading = False
                self._deliver(None)
                return
            if grow := self.acquire(max(self.elements.size * self._room, 1)):
                yield grow
            if self.elements.points:
                self.session.heap.begin(self)
            self._at = self.buffer
            order = self._reads()
            code, before = yield order
            if not self.copied(code):
                if before and order & 0x7F == Op.READ_ALL:
                    self._came_before(before)
                return
            if self._at_once:
                goes_on = self._took(code, self._chunk(code))
            else:
                goes_on = self._took(code, (yield from self._fetched(code)))

    def _reads(self) -> int:
        """Return the order to read: all that is there, if that is wanted before somebody asks."""
        if not self._ahead or self._waiting >= self._most:
            return self.copying(READ, self.buffer, self._room)
        self.session.operands_next = self.buffer | min(self._room, self._most - self._waiting) << 32
        return self.order(Op.READ_ALL, READ)

    def _came_before(self, count: int) -> None:
        """Deliver what was read before there was no more; the read is under way behind it."""
        self.session.scheduler.gave()
        self._deliver(self._bytes(count))
        self._at += count

    def event(self, code: int) -> Script:
        """Deliver what the guest has written; without a read under way it says that there is no more."""
        if self.buffer:
            chunk = self._chunk(code) if self._at_once else (yield from self._fetched(code))
            if self._took(code, chunk):
                yield from self._read()
        elif code & 0xF == DROPPED:
            self._ended = True
            self.finish(DROP_READABLE)

    def _count(self, code: int) -> int:
        """Return how many elements were read."""
        if self._single:
            return int(code & 0xF not in (DROPPED, CANCELLED))
        return code >> 4

    def _chunk(self, code: int) -> Any:
        """Return what was read, where the host sees it and it holds no handles."""
        return self._bytes(count) if (count := self._count(code)) else None

    def _bytes(self, count: int) -> Any:
        return self.elements.decode(self._seen(count), count, self.session.handles)

    def _seen(self, count: int) -> list[bytes]:
        """Return what lies in the memories, where the host sees them."""
        elements, session = self.elements, self.session
        if not (size := elements.size * count):
            return []
        pieces = [session.buffers[elements.memory].read(self._at, size)]
        if elements.points:
            pieces.append(session.heap.seen(elements.heap))
        return pieces

    def _fetched(self, code: int) -> Generator[int, tuple[int, int], Any]:
        """Return what was read."""
        if not (count := self._count(code)):
            return None
        pieces = self._seen(count) if self.session.buffers else (yield from self._fetch(count))
        decode = self.elements.decode
        if self.elements.lifts:
            return (yield from self.session.lifted(lambda handles: decode(pieces, count, handles)))
        return decode(pieces, count, self.session.handles)

    def _took(self, code: int, chunk: Any) -> bool:
        """Deliver what was read, and say whether to read again at once."""
        if not self._single and code >> 4 == self._room:
            self._room = max(self._room, min(4 * self._room, self.elements.most))
        if self.elements.points:
            self.session.heap.end(self)
        self.release()
        self._reading, self._ended = False, code & 0xF == DROPPED or self._single
        self._deliver(chunk)  # at once: whoever reads may look before the orders that follow are performed
        if self._ended:
            self.finish(DROP_READABLE)
        elif self._wants_more and self.session.heap.clearing:
            self._begin()  # when all reads are taken back
        elif self._wants_more:
            self._reading = True
            return True
        return False

    def take_back(self) -> Generator[int, tuple[int, int], bool]:
        """See `wasmplex.bridge.heap.Reading`."""
        self.leave()
        code, _ = yield self.order(Op.ONE, CANCEL_READ)
        if code != CANCELLED:
            self._took(code, (yield from self._fetched(code)))
            return False
        self.session.heap.end(self)
        self.release()
        return True

    def read_again(self) -> Script:
        """See `wasmplex.bridge.heap.Reading`."""
        return self._read()

    def _deliver(self, chunk: Any) -> None:
        if self._wanted is not None and not self._wanted.done():
            self._wanted.set_result(chunk)
        elif self._most and chunk is not None:
            self._found.append(chunk)
            self._waiting += len(chunk)

    def _fetch(self, count: int) -> Generator[int, tuple[int, int], list[bytes]]:
        """Have the adapter hand over what lies in its memories."""
        session, size = self.session, self.elements.size * count
        session.emitted = []
        if size:
            yield from session.fetch(self.elements.memory, self.buffer, size)
            if self.elements.points:
                yield from session.heap.fetch(self.elements.memory, self.elements.heap)
        return session.emitted

    def _close(self) -> Script:
        if self.done:
            return
        if self.buffer:  # a read is under way
            self.leave()
            yield self.order(Op.ONE, CANCEL_READ)
            if self.elements.points:
                self.session.heap.end(self)
        self.finish(DROP_READABLE)

    def abandon(self) -> None:
        """Wake the reader: there will be nothing more."""
        if self._wanted is not None and not self._wanted.done():
            if self.session.scheduler.failure is None:
                self._wanted.cancel()
            else:
                self._wanted.set_exception(self.session.scheduler.trap())


def _is_running(loop: asyncio.AbstractEventLoop) -> bool:
    """Say whether this is a loop's own thread, while it runs."""
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False
