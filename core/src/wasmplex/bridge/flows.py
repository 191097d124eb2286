"""Streams and futures of one session, as scripts of operations that the driver has the adapter perform.

A script is a generator: it yields an order and is sent the outcome, (a, b). Where the guest is not ready
(`BLOCKED`), the script ends, and the event that the guest causes later starts the next one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Awaitable, Callable, Coroutine, Generator
from typing import Any, Protocol, TypeAlias

from wasmplex.bridge.elements import BufferMemory, Elements
from wasmplex.bridge.giving import give_up
from wasmplex.bridge.handles import LoweredHandles, Made
from wasmplex.bridge.inflight import weight
from wasmplex.bridge.protocol import SLACK, Op
from wasmplex.bridge.pulse import Pulse
from wasmplex.engine.resources import HostObjects
from wasmplex.streams import IncomingStream
from wasmplex.values import Err, Ok
from wasmplex.wit.types import ResultType

__all__ = ["Flow", "Inflow", "Outflow", "Script", "StreamEndedError", "Streaming"]

Script: TypeAlias = Generator[int, tuple[int, int], None]

BLOCKED = 0xFFFFFFFF
COMPLETED, DROPPED, CANCELLED = 0, 1, 2
READ, WRITE, CANCEL_READ, CANCEL_WRITE, DROP_READABLE, DROP_WRITABLE = range(1, 7)


class StreamEndedError(ConnectionError):
    """Raised where the other end of a stream or future is gone and has not brought it to its end."""


class Streaming(Protocol):
    """What a flow asks of the side of its adapter.

    :ivar closed: whether the instance has ended
    :ivar flows: streams and futures that the adapter holds an end of, by handle
    :ivar operands_next: pointer and length for the operation that is ordered next
    :ivar emitted: what came out of stream memory
    :ivar pointed_reads: reads under way of elements that point at something
    """

    pulse: Pulse
    table: HostObjects
    handles: Any
    closed: bool
    flows: dict[int, Flow]
    memories: tuple[BufferMemory, BufferMemory]
    operands_next: int
    emitted: list[bytes]
    pointed_reads: int

    def spawn(self, coroutine: Coroutine[Any, Any, None], /) -> asyncio.Task[None]:
        """Start a task that feeds the guest."""

    def script(self, script: Script, /) -> None:
        """Have the adapter perform a script."""

    def fill(self, which: int, address: int, data: bytes | bytearray, /) -> Script:
        """Put bytes into a stream memory."""

    def fetch(self, which: int, address: int, size: int, /) -> Script:
        """Get bytes out of a stream memory into `emitted`."""

    def lifted(self, read: Callable[[Any], Any], /) -> Generator[int, tuple[int, int], Any]:
        """Have the handles in a value turned into objects; return the value."""

    def lowered(
        self, write: Callable[[Any], Any], /
    ) -> Generator[int, tuple[int, int], tuple[LoweredHandles, Made]]:
        """Have handles made for a value; return what writes it, and the handles."""

    def taken_back(self, made: Made, /) -> Script:
        """Take back what handles were made for and the guest has not taken."""


class Flow:
    """One end of a stream or future that the adapter holds.

    :param first: number of the built-in ``new`` of its type; the others follow it
    :param single: True for a future
    """

    def __init__(
        self, session: Streaming, elements: Elements, first: int, handle: int, *, single: bool
    ) -> None:
        self.session = session
        self.elements = elements
        self.handle = handle
        self.buffer = 0
        self._first = first
        self._copy = Op.COPY_ONE if single else Op.COPY
        self._joined = False
        self.done = False
        session.table.check(len(session.flows) + 1)
        session.flows[handle] = self

    def order(self, op: Op, builtin: int) -> int:
        """Return an order to call one of the flow's built-ins on its handle."""
        return op | (self._first + builtin) << 8 | self.handle << 32

    def copy(self, builtin: int, at: int, count: int) -> Generator[int, tuple[int, int], int]:
        """Read or write; return the code, after the flow was joined to the driver's set if it is blocked."""
        self.session.operands_next = at | count << 32
        code, _ = yield self.order(self._copy, builtin)
        if code == BLOCKED and not self._joined:
            self._joined = True
            yield Op.JOIN | self.handle << 32
        return code

    def acquire(self, size: int) -> Script:
        """Get a buffer in stream memory."""
        memory = self.session.memories[self.elements.memory]
        size += SLACK
        self.buffer = memory.take(size)
        if memory.grows(self.buffer + size):
            yield Op.GROW | self.elements.memory << 8 | (self.buffer + size) << 32

    def release(self) -> None:
        """Give the buffer back."""
        if self.buffer:
            self.session.memories[self.elements.memory].give_back(self.buffer)
            self.buffer = 0

    def finish(self, builtin: int) -> Script:
        """Drop the handle; the flow is over."""
        if not self.done:
            self.done = True
            self.release()
            self.session.flows.pop(self.handle, None)
            if self._joined:
                yield Op.LEAVE | self.handle << 32
            yield self.order(Op.DROP, builtin)

    def event(self, code: int) -> Script:
        """Go on after the guest has done its part of a blocked copy."""
        raise NotImplementedError

    def goes_on(self) -> bool:
        """Say whether Python has still to do with it: it will give something, or may ask for something."""
        return not self.done

    def abandon(self) -> None:
        """Tell who waits on the Python side that the instance ends."""


class Outflow(Flow):
    """A stream or future from the host to the guest, fed by a task of its own."""

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
        feed = self._feed_one(source) if single else self._feed(source)
        self.task = session.spawn(feed)

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
        self.session.script(self._close())

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
        chunks, size = self.session.pulse.chunks, weight(chunk)
        await chunks.hold(size)
        try:
            self._rest = self.elements.checked(chunk)
            self._sent = asyncio.get_running_loop().create_future()
            self.session.script(self._write())
            return await self._sent
        finally:
            chunks.taken(size)

    def ask(self) -> Script:
        """Find out whether the guest has dropped its end, while there is nothing to give it yet.

        Who writes is told of that by writing alone. A write of nothing is under way until the guest reads.
        """
        if self.done or self._asking or not self.waits:
            return
        self._asked = self._asking = True
        code = yield from self.copy(WRITE, 0, 0)
        if code != BLOCKED:
            yield from self._answered(code)

    def _answered(self, code: int) -> Script:
        self._asking = False
        if code & 0xF == DROPPED:
            yield from self._stop()

    def _ask_no_more(self) -> Script:
        if self._joined:  # in a set it cannot be cancelled
            self._joined = False
            yield Op.LEAVE | self.handle << 32
        code, _ = yield self.order(Op.ONE, CANCEL_WRITE)
        yield from self._answered(code)

    @property
    def waits(self) -> bool:
        """Whether there is nothing to give: what feeds it waits for something."""
        return self._copy is Op.COPY and (self._sent is None or self._sent.done()) and not self._closing

    @property
    def may_ask(self) -> bool:
        """Whether to `ask`: not twice, unless something was given meanwhile."""
        return self.waits and not self.done and not self._asked

    def _write(self) -> Script:
        self._asked = False
        if self._asking:
            yield from self._ask_no_more()
        while not self.done and self._rest is not None and len(self._rest):
            if not self._laid:
                self._laid = yield from self._put(self._rest)
                self._next = self.buffer
            code = yield from self.copy(WRITE, self._next, self._laid)
            if code == BLOCKED:
                return
            yield from self._written(code)

    def _put(self, rest: Any) -> Generator[int, tuple[int, int], int]:
        """Put elements into the buffer, after handles have been made for them; return how many."""
        session, elements = self.session, self.elements
        count, lowered = elements.portion(rest), None
        if not elements.size:
            return count
        if elements.gives:
            lowered, self._made = yield from session.lowered(lambda scan: elements.encode(rest[:1], 0, scan))
        data = elements.encode(rest[:count], 0, lowered or session.handles)
        while (fewer := elements.fitting(count, len(data))) < count:
            count = fewer
            data = elements.encode(rest[:count], 0, session.handles)
        yield from self.acquire(len(data))
        if elements.points:
            handles = lowered.again() if lowered else session.handles
            data = elements.encode(rest[:count], self.buffer, handles)
        yield from session.fill(elements.memory, self.buffer, data)
        return count

    def _written(self, code: int) -> Script:
        taken = code >> 4 if self._copy is Op.COPY else 1
        self._laid -= taken
        self._next += taken * self.elements.size
        if not self._laid or code & 0xF == DROPPED:
            self.release()
        made, self._made = self._made, []
        if code & 0xF == DROPPED:
            if self._copy is Op.COPY_ONE or not code >> 4:
                yield from self.session.taken_back(made)
            yield from self._stop()
            return
        self._rest = self._rest[taken:]
        if self._copy is Op.COPY_ONE:
            yield from self.finish(DROP_WRITABLE)
        if not len(self._rest) and self._sent is not None and not self._sent.done():
            self._sent.set_result(True)

    def _stop(self) -> Script:
        """End the flow, for the guest has dropped its end."""
        yield from self.finish(DROP_WRITABLE)
        if self._sent is not None and not self._sent.done():
            self._sent.set_result(False)
        self.task.cancel()
        give_up(self._unread)  # it may not have begun to feed
        self._unread = None

    def _close(self) -> Script:
        if self._asking and not self.done:
            yield from self._ask_no_more()
        yield from self.finish(DROP_WRITABLE)

    def event(self, code: int) -> Script:
        """Go on with the chunk that the guest has taken a part of."""
        if self._asking:
            yield from self._answered(code)
            return
        yield from self._written(code)
        if not self.done:
            yield from self._write()

    def goes_on(self) -> bool:
        """Say whether there will be something for the guest: not while it does not take what there is."""
        return not self.done and (self._sent is None or self._sent.done())

    def abandon(self) -> None:
        """Stop the feeding task."""
        self.task.cancel()
        give_up(self._unread)
        self._unread = None


async def _whole(value: Any) -> Any:
    yield value


class Inflow(Flow):
    """A stream or future from the guest to the host: one read at a time, when Python asks for it."""

    def __init__(
        self, session: Streaming, elements: Elements, first: int, handle: int, *, single: bool
    ) -> None:
        super().__init__(session, elements, first, handle, single=single)
        self._wanted: asyncio.Future[Any] | None = None
        self._ended = False
        self._single = single
        self._room = 1 if single else elements.room

    async def read(self) -> Any:
        """Return the next chunk (of a future: a list with its value), None at the end."""
        if self._wanted is not None:
            raise RuntimeError("two tasks read one stream at a time")
        if self._ended or self.done:
            return None
        if self.session.closed:
            if self.session.pulse.failure is not None:
                raise self.session.pulse.trap()
            raise StreamEndedError("the instance that had the other end is gone")
        self._wanted = asyncio.get_running_loop().create_future()
        self.session.script(self._read())
        try:
            return await self._wanted
        except asyncio.CancelledError:
            self.close()
            raise
        finally:
            self._wanted = None

    def close(self) -> None:
        """Read no more."""
        if not self.done and not self.session.closed:
            self.session.script(self._close())

    def _read(self) -> Script:
        if self.done:
            self._deliver(None)
            return
        yield from self.acquire(max(self.elements.size * self._room, 1))
        if self.elements.points:
            self.session.pointed_reads += 1
        code = yield from self.copy(READ, self.buffer, self._room)
        if code != BLOCKED:
            yield from self._took(code)

    def event(self, code: int) -> Script:
        """Deliver what the guest has written; without a read under way it says that there is no more."""
        if self.buffer:
            yield from self._took(code)
        elif code & 0xF == DROPPED:
            self._ended = True
            yield from self.finish(DROP_READABLE)

    def _took(self, code: int) -> Script:
        count = 1 if self._single and code & 0xF != CANCELLED else code >> 4
        if self._single and code & 0xF == DROPPED:
            count = 0
        chunk = None
        if count == self._room and not self._single:
            self._room = max(count, min(4 * count, self.elements.most))
        if count:
            yield from self._fetch(count)
            pieces, decode = self.session.emitted, self.elements.decode
            if self.elements.lifts:
                chunk = yield from self.session.lifted(lambda handles: decode(pieces, count, handles))
            else:
                chunk = decode(pieces, count, self.session.handles)
        if self.elements.points:
            yield from self._release_heap()
        self.release()
        if code & 0xF == DROPPED or self._single:
            self._ended = True
            yield from self.finish(DROP_READABLE)
        self._deliver(chunk)

    def _deliver(self, chunk: Any) -> None:
        if self._wanted is not None and not self._wanted.done():
            self._wanted.set_result(chunk)

    def _fetch(self, count: int) -> Script:
        session, size = self.session, self.elements.size * count
        session.emitted = []
        if size:
            yield from session.fetch(self.elements.memory, self.buffer, size)
            if self.elements.points:
                yield from session.fetch(self.elements.memory, self.elements.heap, -1)

    def _release_heap(self) -> Script:
        self.session.pointed_reads -= 1
        if not self.session.pointed_reads:
            yield Op.GROW | self.elements.memory << 8

    def _close(self) -> Script:
        if self.done:
            return
        if self.buffer:  # a read is under way
            if self._joined:  # in a set it cannot be cancelled
                self._joined = False
                yield Op.LEAVE | self.handle << 32
            yield self.order(Op.ONE, CANCEL_READ)
            if self.elements.points:
                yield from self._release_heap()
        yield from self.finish(DROP_READABLE)

    def abandon(self) -> None:
        """Wake the reader: there will be nothing more."""
        if self._wanted is not None and not self._wanted.done():
            if self.session.pulse.failure is None:
                self._wanted.cancel()
            else:
                self._wanted.set_exception(self.session.pulse.trap())
