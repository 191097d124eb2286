"""What the two sides of a session have in common: orders to the adapter, flows, and what is made for them.

An instance has one `Scheduler`, and a `Side` for each adapter.
"""

from __future__ import annotations

import asyncio
import struct
from collections import deque
from collections.abc import Coroutine, Sequence
from typing import Any

from wasmplex.bridge.actor import ALONE
from wasmplex.bridge.buffers import BufferMemory
from wasmplex.bridge.exchanging import Exchanging
from wasmplex.bridge.feeding import fed_future, fed_stream
from wasmplex.bridge.flows import Flow, Memory, Plan, Script
from wasmplex.bridge.functions import AdapterKinds
from wasmplex.bridge.giving import give_up
from wasmplex.bridge.heap import StreamHeap
from wasmplex.bridge.inflows import Inflow
from wasmplex.bridge.kinds import FUTURE
from wasmplex.bridge.outflows import Outflow
from wasmplex.bridge.packing import packed_chunk
from wasmplex.bridge.protocol import (
    BUFFERS,
    EVENTS,
    EVENTS_MOST,
    FOLLOWED,
    NUMBERS,
    ORDERS,
    ORDERS_MOST,
    PIECE,
    STREAM_HEAP,
    WRITABLES,
    Op,
)
from wasmplex.bridge.scheduler import Moving, Scheduler
from wasmplex.engine.resources import HostObjects

__all__ = ["Side"]

_ORDERS = [struct.Struct("<" + "QQ" * count) for count in range(ORDERS_MOST + 1)]
"""Orders with their operands, by how many there are."""
_EVENTS = [struct.Struct("<" + "III4x" * count) for count in range(EVENTS_MOST + 1)]
_OUTCOMES = [struct.Struct("<" + "8xII" * count) for count in range(ORDERS_MOST + 1)]


class Side(Exchanging):
    """The host's state for one adapter of one instance.

    :param scheduler: shared by the sides of an instance
    :param kinds: the built-ins and element codecs of the adapter's kinds
    :param table: the host's resources that the instance holds
    """

    awake = False
    """Whether the adapter has a task that looks after its streams, and that is not asleep."""

    def __init__(self, scheduler: Scheduler, kinds: AdapterKinds, table: HostObjects) -> None:
        super().__init__(kinds, table)
        self.scheduler = scheduler
        self.closed = False
        self.flows: dict[int, Flow] = {}
        """Streams and futures that the adapter holds an end of, by handle."""
        self._away: list[Moving] = []
        """Streams and futures that another adapter feeds for this one."""
        self.scripts: deque[Plan] = deque()
        self.orders: list[int] = []
        """What is to be given to the adapter, see `wasmplex.bridge.actor`."""
        self.operands: list[int] = []
        self.background: set[asyncio.Task[Any]] = set()
        """Tasks that feed streams and futures to the guest."""
        self.memories = (BufferMemory(64, 1 << 30), BufferMemory(64, STREAM_HEAP))
        self.operands_next = 0
        """Pointer and length for the operation that was ordered last."""
        self.emitted: list[bytes] = []
        """What came out of stream memory since the last `Op.EMIT` was ordered."""
        self.heap = StreamHeap(self)
        self.chunk_next = ""
        self.packs = False
        """Whether chunks of streams cross as digits where that is faster."""
        self.calls: Memory
        """The memory of calls, where the host sees it."""
        self.orders_most = 1
        """How many orders the adapter can be given at once: one where the host does not see that memory."""
        self.kept_back: bytes | bytearray = b""
        """An answer for which the adapter has to make room first."""
        self.buffers: Sequence[Memory] = ()
        """The two stream memories, where the host sees them."""
        self.making: dict[int, tuple[int, int, Any]] = {}
        """What the adapter makes streams and futures for, by the numbers that it finds in their places: sort
        and kind of each, and what is to feed it."""
        self._numbers: list[int] = [*range(NUMBERS)]
        scheduler.sides.append(self)

    def has_work(self) -> bool:
        """Say whether there is anything for the adapter to do."""
        return bool(self.scripts)

    def is_busy(self) -> bool:
        """Say whether something is under way that the guest has begun and not brought to its end."""
        return bool(self.flows or self.making)

    def ask(self) -> bool:
        """Find out which streams the guest has dropped that there is nothing to give to; say whether any is.

        Such a stream would go on for ever: what feeds it learns of it with the next chunk, if one ever comes.
        """
        asking = [flow for flow in self.flows.values() if isinstance(flow, Outflow) and flow.may_ask]
        for flow in asking:
            self.script(flow.ask(), flow.touches)
        return bool(asking)

    def goes_on(self) -> bool:
        """Say whether the guest may go on without being called, because of something that Python does."""
        return any(flow.goes_on() for flow in self.flows.values())

    def step(self, record: int, event: int, a: int, b: int) -> int:
        """Tell a task of the adapter what to do next."""
        raise NotImplementedError

    def script(self, script: Script, touches: object = ALONE) -> None:
        """Have the adapter perform a script.

        :param touches: what it touches, see `wasmplex.bridge.actor`
        """
        self.scripts.append((touches, script))
        self.scheduler.wake()

    def put(self, order: int) -> None:
        """Have the adapter follow an order that has no outcome, before what is yielded next."""
        self.orders.append(order)
        self.operands.append(0)

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start a task that feeds the guest. If it fails so does the guest's call: it has only a part."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self.background.add(task)
        task.add_done_callback(self._fed)
        return task

    def _fed(self, task: asyncio.Task[None]) -> None:
        self.background.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.scheduler.fail(error)

    def pack(self) -> None:
        """Have chunks cross as digits where that is faster, and leave room for these."""
        self.packs = True
        self.memories = (BufferMemory(BUFFERS, 1 << 30), self.memories[1])

    def list_orders(self, orders: Sequence[int], operands: Sequence[int]) -> int:
        """See `wasmplex.bridge.actor.Scripted`."""
        words = [0] * (2 * len(orders))
        words[::2] = [order | FOLLOWED for order in orders]
        words[1::2] = operands
        words[-2] = orders[-1]
        self.calls.write(ORDERS, _ORDERS[len(orders)].pack(*words))
        return Op.LISTED

    def outcomes(self, count: int) -> Sequence[tuple[int, int]]:
        """See `wasmplex.bridge.actor.Scripted`."""
        words = _OUTCOMES[count].unpack(self.calls.read(ORDERS, 16 * count))
        return list(zip(words[::2], words[1::2], strict=True))

    def more_events(self) -> Sequence[tuple[int, int, int]]:
        """See `wasmplex.bridge.actor.Scripted`."""
        if self.orders_most == 1 or not (count := self.calls.read(EVENTS, 1)[0]):
            return ()
        words = _EVENTS[count].unpack(self.calls.read(EVENTS + 16, 16 * count))
        self.calls.write(EVENTS, b"\0")  # a task that finds that it was woken already looks for no more
        return list(zip(words[::3], words[1::3], words[2::3], strict=True))

    def chunk(self) -> str:
        """Return what to put into a buffer of the guest's stream, where the host does not see it."""
        data, self.chunk_next = self.chunk_next, ""
        return data

    def fill(self, which: int, address: int, data: bytes | bytearray | memoryview) -> Script:
        """Put bytes into a stream memory."""
        if self.buffers:
            self.buffers[which].write(address, data)
            return
        piece = PIECE if not which else len(data)
        for start in range(0, len(data), piece):
            part = bytes(data[start : start + piece])
            self.chunk_next, ascii_ = packed_chunk(part, packs=self.packs and not which)
            self.operands_next = address + start | ascii_ << 32
            yield Op.FILL | which << 8

    def fetch(self, which: int, address: int, size: int) -> Script:
        """See `wasmplex.bridge.heap.Side`."""
        if size > PIECE and not which:
            before, self.emitted = self.emitted, []
            for start in range(0, size, PIECE):
                yield from self.fetch(which, address + start, min(PIECE, size - start))
            self.emitted = [*before, b"".join(self.emitted)]
        else:
            self.operands_next = address | (size & 0xFFFFFFFF) << 32
            yield Op.EMIT | which << 8

    def incoming(self, sort: int, kind: int, handle: int) -> Inflow:
        """Return the flow for a readable end that the guest gave away."""
        elements, first = self.kinds.elements(sort, kind), self.kinds.first(sort, kind)
        return Inflow(self, elements, first, handle, single=sort == FUTURE)

    def number(self, sort: int, kind: int, source: Any) -> int:
        """Return a number for a stream or future, which the adapter makes when it finds that in its place."""
        if not self._numbers:
            self.feed_made()
        number = self._numbers.pop()
        self.making[number] = sort, kind, source
        self.scheduler.making.add(self)
        return number

    def feed_made(self) -> None:
        """Start feeding the streams and futures that the adapter has made for numbers since."""
        for number, (sort, kind, source) in [*self.making.items()]:
            at = WRITABLES + 4 * number
            writable = int.from_bytes(self.calls.read(at, 4), "little")
            if writable:
                self.calls.write(at, bytes(4))
                del self.making[number]
                self._numbers.append(number)
                self.feed(sort, kind, writable, source)
        if not self.making:
            self.scheduler.making.discard(self)

    def feed(self, sort: int, kind: int, writable: int, source: Any) -> None:
        """Start feeding a stream or future, where it was made."""
        theirs = self.kinds.elsewhere.get((sort, kind))
        if theirs is None:
            self.feed_from(sort, kind, writable, source)
            return
        maker = self.scheduler.maker
        assert maker is not None  # noqa: S101  it has been started
        self._away = [other for other in self._away if not other.done]
        self._away.append(maker.feed_from(sort, theirs, writable, source))

    def feed_from(self, sort: int, kind: int, writable: int, source: Any) -> Moving:
        """Start feeding a stream or future of this adapter, see `wasmplex.bridge.scheduler.Maker`."""
        elements, first = self.kinds.elements(sort, kind), self.kinds.first(sort, kind)
        fed = fed_future if sort == FUTURE else fed_stream
        return fed(self, elements, first, writable, source)

    def is_moving(self) -> bool:
        """Say whether a stream or future moves that this adapter has an end of, or has had made for it."""
        return bool(self.flows or self.making) or any(not flow.done for flow in self._away)

    def close(self) -> None:
        """End everything: feeding tasks are cancelled, readers are woken."""
        self.closed = True
        for flow in list(self.flows.values()):
            flow.abandon()
            flow.release()
        self.flows.clear()
        self.scripts.clear()
        self.orders.clear()
        self.operands.clear()
        for _, _, source in self.making.values():
            give_up(source)
        self.making.clear()
        self.scheduler.making.discard(self)

    def dismantle(self) -> None:
        """Part from what refers back to it, once the instance has ended."""
        del self.handles, self.heap
