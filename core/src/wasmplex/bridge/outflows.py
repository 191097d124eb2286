"""Streams and futures from the host to the guest, fed as fast as the guest takes them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterable, Awaitable, Generator
from typing import Any

from wasmplex.bridge.elements import Elements
from wasmplex.bridge.flows import (
    CANCEL_WRITE,
    DROP_WRITABLE,
    DROPPED,
    WRITE,
    Flow,
    Script,
    Streaming,
)
from wasmplex.bridge.giving import give_up
from wasmplex.bridge.handles import Made
from wasmplex.bridge.inflight import weight
from wasmplex.bridge.protocol import Op
from wasmplex.streams import IncomingStream
from wasmplex.values import Err, Ok
from wasmplex.wit.types import ResultType

__all__ = ["Outflow"]

_SOON = 0.001
"""Seconds that what is known to be asked for may take before the guest is asked whether it wants it still."""


class Outflow(Flow):
    """A stream or future from the host to the guest, fed by a task of its own.

    Bytes that are all there, and for which there is room, need no task: the guest may have them at once.
    """

    def __init__(
        self, session: Streaming, elements: Elements, first: int, handle: int, source: Any, *, single: bool
    ) -> None:
        super().__init__(session, elements, first, handle, single=single)
        self._rest: Any = None
        self._made: Made = []
        self._laid = 0
        """How many elements of the rest are in the buffer, from `_next` on."""
        self._next = 0
        self._unread: Any = source
        self._sent: asyncio.Future[bool] | None = None
        self._closing = False
        self._asked = self._asking = False
        self._held = 0
        """Bytes that are on their way without a task."""
        self._sending = 0
        """What the chunk is reckoned at that a task has handed over, until the guest has taken it."""
        self._since = 0.0
        """When the source was last found to have nothing at hand; 0 where that is not noted."""
        self.task: asyncio.Task[Any] | None = None
        self._begin(source, single=single)

    def _begin(self, source: Any, *, single: bool) -> None:
        """Have the guest given what there is, and what comes."""
        session, elements, chunks = self.session, self.elements, self.session.scheduler.chunks
        if elements.octets and isinstance(source, bytes) and chunks.hold_at_once(len(source)):
            self._held, self._unread, self._rest = len(source), None, elements.checked(source)
            self._closing = True
            session.script(self._write() if source else self._close(), self)
        else:
            self.task = session.spawn(self._feed_one(source) if single else self._feed(source))

    async def _feed(self, source: Any) -> None:
        """Pull chunks from the source as the guest takes them."""
        self._unread = None
        iterator = aiter(source) if isinstance(source, AsyncIterable) else _whole(source)
        try:
            async for chunk in iterator:
                if len(chunk) and not await self._send(chunk):
                    return
        finally:
            if isinstance(iterator, IncomingStream):
                iterator.close()
            elif (close := getattr(iterator, "aclose", None)) is not None:
                await close()
        self._closing = True
        self.session.script(self._close(), self)

    async def _feed_one(self, source: Awaitable[Any]) -> None:
        self._unread = None
        fallible = isinstance(self.elements.type, ResultType)
        try:
            value = await source
            if fallible:
                value = Ok(value)
        except Err as error:
            if not fallible:
                raise
            value = error
        await self._send([value])

    async def _send(self, chunk: Any) -> bool:
        """Hand a chunk over; return False once the guest has dropped its end."""
        size = weight(chunk)
        await self.session.scheduler.chunks.hold(size)
        self._sending = size
        try:
            self._rest = self.elements.checked(chunk)
            self._sent = asyncio.get_running_loop().create_future()
            self.session.script(self._write(), self)
            return await self._sent
        finally:
            self._sent_all()

    def _sent_all(self) -> None:
        """Reckon no more with the chunk that was handed over."""
        size, self._sending = self._sending, 0
        if size:
            self.session.scheduler.chunks.taken(size)

    def ask(self) -> Script:
        """Find out whether the guest has dropped its end, while there is nothing to give it yet.

        Who writes is told of that by writing alone. A write of nothing is under way until the guest reads.
        """
        if self.done or self._asking or not self.waits:
            return
        self._asked = self._asking = True
        code, _ = yield self.copying(WRITE, 0, 0)
        if self.copied(code):
            self._answered(code)

    def _answered(self, code: int) -> None:
        self._asking = False
        if code & 0xF == DROPPED:
            self._stop()

    def _ask_no_more(self) -> Script:
        self.leave()
        code, _ = yield self.order(Op.ONE, CANCEL_WRITE)
        self._answered(code)

    @property
    def waits(self) -> bool:
        """Whether there is nothing to give: what feeds it waits for something."""
        return self._copy is Op.COPY and (self._sent is None or self._sent.done()) and not self._closing

    @property
    def may_ask(self) -> bool:
        """Whether to `ask`: not at once, and not twice unless something was given meanwhile."""
        return self.waits and not (self.done or self._asked) and time.monotonic() - self._since > _SOON

    def _write(self) -> Script:
        self._asked = False
        if self._asking:
            yield from self._ask_no_more()
        yield from self._write_rest()

    def _write_rest(self) -> Script:
        """Write until there is nothing left, or the guest is not ready for it."""
        while not self.done and self._rest is not None and len(self._rest):
            if not self._laid:
                self._laid = yield from self._put(self._rest)
                self._next = self.buffer
            code, _ = yield self.copying(WRITE, self._next, self._laid)
            if not self.copied(code):
                return
            if self._written(code):
                yield from self._taken_back()

    def _put(self, rest: Any) -> Generator[int, tuple[int, int], int]:
        """Put elements into the buffer, after handles have been made for them; return how many."""
        session, elements = self.session, self.elements
        if (rows := elements.packed(rest)) is not None and elements.rows is not None:
            if grow := self.acquire(elements.rows.bound(rows)):
                yield grow
            yield from session.fill(elements.memory, self.buffer, elements.rows.write(rows, self.buffer))
            return len(rows)
        count, lowered = elements.portion(rest), None
        if not elements.size:
            return count
        if elements.gives:
            lowered, self._made = yield from session.lowered(lambda scan: elements.encode(rest[:1], 0, scan))
        data = elements.encode(rest[:count], 0, lowered or session.handles)
        while (fewer := elements.fitting(count, len(data))) < count:
            count = fewer
            data = elements.encode(rest[:count], 0, session.handles)
        if grow := self.acquire(len(data)):
            yield grow
        if elements.points:
            handles = lowered.again() if lowered else session.handles
            data = elements.encode(rest[:count], self.buffer, handles)
        yield from session.fill(elements.memory, self.buffer, data)
        return count

    def _written(self, code: int) -> bool:
        """Take in what was written; say whether handles that were made for it are to be taken back."""
        taken = code >> 4 if self._copy is Op.COPY else 1
        self._laid -= taken
        self._next += taken * self.elements.size
        if not self._laid or code & 0xF == DROPPED:
            self.release()
        if code & 0xF == DROPPED:
            self._stop()
            return bool(self._made) and (self._copy is Op.COPY_ONE or not code >> 4)
        self._made = []
        self._rest = self._rest[taken:] if taken < len(self._rest) else ()
        if self._copy is Op.COPY_ONE or (self._closing and not len(self._rest)):
            self.finish(DROP_WRITABLE)
            self._let_go()
        if not len(self._rest):
            self._emptied()
        return False

    def _taken_back(self) -> Script:
        """Take back the handles that were made for what the guest has not taken."""
        made, self._made = self._made, []
        return self.session.taken_back(made)

    def _emptied(self) -> None:
        """Go on after the guest has taken all that there was for it."""
        if self._sent is not None and not self._sent.done():
            self._sent.set_result(True)

    def _stop(self) -> None:
        """End the flow, for the guest has dropped its end."""
        self.finish(DROP_WRITABLE)
        if self._sent is not None and not self._sent.done():
            self._sent.set_result(False)
        self._end()

    def _close(self) -> Script:
        if self._asking and not self.done:
            yield from self._ask_no_more()
        self.finish(DROP_WRITABLE)

    def event(self, code: int) -> Script:
        """Go on with the chunk that the guest has taken a part of."""
        if self._asking:
            self._answered(code)
            return
        if self._written(code):
            yield from self._taken_back()
        if not self.done:
            yield from self._write()

    def goes_on(self) -> bool:
        """Say whether there will be something for the guest: not while it does not take what there is."""
        return not self.done and self.task is not None and (self._sent is None or self._sent.done())

    def abandon(self) -> None:
        """Stop the feeding task."""
        self._end()

    def _end(self) -> None:
        task, self.task = self.task, None  # whose error refers to its frame, and that to this flow
        if task is not None:
            task.cancel()
        self._let_go()
        give_up(self._unread)  # it may not have begun to feed
        self._unread = None

    def _let_go(self) -> None:
        """Reckon no more with bytes that were on their way."""
        held, self._held = self._held, 0
        if held:
            self.session.scheduler.chunks.taken(held)


async def _whole(value: Any) -> Any:
    yield value
