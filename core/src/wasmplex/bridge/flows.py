"""Streams and futures of one session, as scripts of operations that the driver has the adapter perform.

A script is a generator: it yields an order and is sent the outcome, (a, b); an order that has none it puts
into the queue. Where the guest is not ready (`BLOCKED`), the script ends, and the event that the guest causes
later starts the next one.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Sequence
from typing import Any, Protocol, TypeAlias

from wasmplex.bridge.buffers import BufferMemory
from wasmplex.bridge.elements import Elements
from wasmplex.bridge.handles import LoweredHandles, Made
from wasmplex.bridge.heap import StreamHeap
from wasmplex.bridge.protocol import SLACK, Op
from wasmplex.bridge.scheduler import Scheduler
from wasmplex.engine.resources import HostObjects

__all__ = [
    "BLOCKED",
    "CANCELLED",
    "CANCEL_READ",
    "CANCEL_WRITE",
    "DROPPED",
    "DROP_READABLE",
    "DROP_WRITABLE",
    "READ",
    "WRITE",
    "Flow",
    "Memory",
    "Plan",
    "Script",
    "StreamEndedError",
    "Streaming",
]

Script: TypeAlias = Generator[int, tuple[int, int], None]
Plan: TypeAlias = tuple[object, Script]
"""A script, and what it touches: those that touch the same are performed one after the other."""

BLOCKED = 0xFFFFFFFF
COMPLETED, DROPPED, CANCELLED = 0, 1, 2
READ, WRITE, CANCEL_READ, CANCEL_WRITE, DROP_READABLE, DROP_WRITABLE = range(1, 7)


class StreamEndedError(ConnectionError):
    """Raised where the other end of a stream or future is gone and has not brought it to its end."""


class Memory(Protocol):
    """A linear memory that the host sees.

    :ivar base: where it lies in the process
    :ivar size: its size now, in bytes
    """

    base: int
    size: int

    def read(self, at: int, count: int) -> bytes:
        """Return the bytes at [at, at + count)."""

    def view(self, at: int, count: int) -> memoryview:
        """Return the bytes at [at, at + count), to be written to at once."""

    def write(self, at: int, data: bytes | bytearray | memoryview) -> None:
        """Write bytes at [at, at + len(data))."""


class Streaming(Protocol):
    """What a flow asks of the side of its adapter.

    :ivar closed: whether the instance has ended
    :ivar flows: streams and futures that the adapter holds an end of, by handle
    :ivar buffers: the two stream memories, where the host sees them
    :ivar scripts: what the adapter is to perform
    :ivar operands_next: pointer and length for the operation that is ordered next
    :ivar emitted: what came out of stream memory
    :ivar heap: what elements point at that were read
    """

    scheduler: Scheduler
    table: HostObjects
    handles: Any
    closed: bool
    flows: dict[int, Flow]
    memories: tuple[BufferMemory, BufferMemory]
    buffers: Sequence[Memory]
    scripts: deque[Plan]
    operands_next: int
    emitted: list[bytes]
    heap: StreamHeap

    def spawn(self, coroutine: Coroutine[Any, Any, None], /) -> asyncio.Task[None]:
        """Start a task that feeds the guest."""

    def script(self, script: Script, touches: object, /) -> None:
        """Have the adapter perform a script, beside others that touch something else."""

    def put(self, order: int, /) -> None:
        """Have the adapter follow an order that has no outcome, before what is yielded next."""

    def fill(self, which: int, address: int, data: bytes | bytearray | memoryview, /) -> Script:
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
        self.buffer = self._size = 0
        self._first = first
        self._copy = Op.COPY_ONE if single else Op.COPY
        self._joined = False
        self.done = False
        session.table.check(len(session.flows) + 1)
        session.flows[handle] = self

    @property
    def touches(self) -> object:
        """What its scripts touch; those that touch the same are performed one after the other."""
        return self

    def order(self, op: Op, builtin: int) -> int:
        """Return an order to call one of the flow's built-ins on its handle."""
        return op | (self._first + builtin) << 8 | self.handle << 32

    def copying(self, builtin: int, at: int, count: int) -> int:
        """Return the order to read or write. What comes of it is told to `copied`."""
        session = self.session
        session.operands_next = at | count << 32
        yields = self._joined and self._copy is Op.COPY and not session.scripts
        return self.order(Op.COPY_OR_YIELD if yields else self._copy, builtin)

    def copied(self, code: int) -> bool:
        """Take in what came of a copy; say whether the guest was ready for it: else the script is to end.

        A flow that is blocked is put into the driver's set, which tells when it goes on.
        """
        if code != BLOCKED:
            self.session.scheduler.gave()
            return True
        if not self._joined:
            self._joined = True
            self.session.put(Op.JOIN | self.handle << 32)
        return False

    def leave(self) -> None:
        """Take the flow out of the driver's set, if it is there: in a set no copy can be cancelled."""
        if self._joined:
            self._joined = False
            self.session.put(Op.LEAVE | self.handle << 32)

    def acquire(self, size: int) -> int:
        """Get a buffer in stream memory; return the order that makes room for it, 0 if there is."""
        memory = self.session.memories[self.elements.memory]
        self._size = size
        size += SLACK
        self.buffer = memory.take(size)
        if memory.grows(self.buffer + size):
            return Op.GROW | self.elements.memory << 8 | (self.buffer + size) << 32
        return 0

    def release(self) -> None:
        """Give the buffer back."""
        if self.buffer:
            self.session.memories[self.elements.memory].give_back(self.buffer)
            self.buffer = 0

    def finish(self, builtin: int) -> None:
        """Drop the handle; the flow is over."""
        if not self.done:
            self.done = True
            self.release()
            self.session.flows.pop(self.handle, None)
            self.leave()
            if builtin == DROP_WRITABLE and self._copy is Op.COPY:  # who reads is told of the end
                self.session.scheduler.gave()
            self.session.put(self.order(Op.DROP, builtin))

    def event(self, code: int) -> Script:
        """Go on after the guest has done its part of a blocked copy."""
        raise NotImplementedError

    def settle(self) -> None:
        """Go on if what it waited for is there by now."""

    def goes_on(self) -> bool:
        """Say whether Python has still to do with it: it will give something, or may ask for something."""
        return not self.done

    def abandon(self) -> None:
        """Tell who waits on the Python side that the instance ends."""
