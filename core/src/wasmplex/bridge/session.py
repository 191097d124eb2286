"""One instance's side of the bridge: what its guest has called, what Python has running for it.

The adapter asks (`call`, `submit`, `step` ...), the session answers with blocks and orders. Every decision is
taken here, synchronously; the only wait is `next`, which suspends the store until something can move.
"""

from __future__ import annotations

import asyncio
import struct
import sys
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final

from wasmplex.bridge.codec import HEADER
from wasmplex.bridge.elements import BufferMemory
from wasmplex.bridge.flows import BridgedStream, Flow, IncomingFuture, Inflow, Outflow, Script
from wasmplex.bridge.functions import AdapterKinds, Served
from wasmplex.bridge.machine import ARENA, EVENT_OPERATION, EVENT_RETURNED, EVENT_START, Op
from wasmplex.bridge.parts import STREAM_HEAP
from wasmplex.bridge.tables import Collector, Given, ResourceTable, Taken
from wasmplex.values import Err, Ok

__all__ = ["Session"]

_ENTRY = struct.Struct("<II")
_WAKE = struct.Struct("<I")
_EXCHANGE: Final = 2
_PENDING = bytes(HEADER)
_ACKNOWLEDGED = b"\1" + bytes(HEADER - 1)
_EVENT_NONE, _EVENT_CANCELLED = 0, 6

Then = Callable[[list[tuple[int, int]], int], bytes | bytearray]
"""Continues after an exchange: the entries as the adapter filled them, the address of the next block."""


def _align16(address: int) -> int:
    return (address + 15) & -16


class Session:
    """The host's state for the import adapter of one instance.

    :param functions: what the adapter carries, by number
    :param adapter: the built-ins and element codecs of the adapter's kinds
    :param instance: given to functions that want their context
    """

    def __init__(self, functions: Sequence[Served], adapter: AdapterKinds, instance: Any) -> None:
        self._functions = functions
        self._kinds = adapter
        self._builtins = adapter.resource
        self._instance = instance
        self.table = ResourceTable()
        self.handles = SessionHandles(self)
        self.tasks: dict[int, CallTask | Driver] = {}
        self.driver = Driver(self)
        self.running = 0
        """Coroutines under way on the guest's behalf."""
        self.background: set[asyncio.Task[Any]] = set()
        """Tasks that feed streams and futures to the guest."""
        self.flows: dict[int, Flow] = {}
        """Streams and futures that the adapter holds an end of, by handle."""
        self.memories = (BufferMemory(64, 1 << 30), BufferMemory(64, STREAM_HEAP))
        self.operands_next = 0
        """Pointer and length for the operation that was ordered last."""
        self.chunk_next: bytes | bytearray = b""
        self.emitted: list[bytes] = []
        """What came out of stream memory since the last `Op.EMIT` was ordered."""
        self.pointed_reads = 0
        self.failure: BaseException | None = None
        self.closed = False
        self._exchanging = False
        self._then: Then | None = None
        self._next_base = 0
        self._kept: tuple[Any, ...] = ()
        self._signal: asyncio.Future[None] | None = None

    # ------------------------------------------------------------ calls

    def call(self, number: int, block: bytes) -> bytes | bytearray:
        """Serve a call of a function that does not wait."""
        return self._sealed(self._call(number, block))

    def _sealed(self, block: bytes | bytearray) -> bytes | bytearray:
        """Have the driver woken with this answer, if it sleeps and there is something for it now."""
        driver = self.driver
        if not driver.dozing or block[0] == _EXCHANGE or not (self.flows or self.running or driver.scripts):
            return block
        driver.dozing = False
        sealed = bytearray(block)
        _WAKE.pack_into(sealed, 4, driver.record)
        return sealed

    def _call(self, number: int, block: bytes) -> bytes | bytearray:
        served = self._functions[number]
        base = _align16(ARENA + len(block))
        if not served.codec.takes:
            return self._answer(served, served.codec.read(block, ARENA, self.handles), base)
        if served.codec.function.waits:
            return self._taking(served, block, base, self._keep)
        return self._taking(served, block, base, lambda args, at: self._answer(served, args, at))

    def _keep(self, args: tuple[Any, ...], base: int) -> bytes:
        """Keep the arguments of a function that waits for `call_wait`, which follows at once."""
        self._kept, self._next_base = args, _align16(base + HEADER)
        return _ACKNOWLEDGED

    def _answer(self, served: Served, args: tuple[Any, ...], base: int) -> bytes | bytearray:
        if served.context:
            args = (self._instance, *args)
        if not served.codec.fallible:
            return self._write(served, served.call(*args), base)
        value: Ok[Any] | Err[Any]
        try:
            value = Ok(served.call(*args))
        except Err as error:
            value = error
        return self._write(served, value, base)

    async def call_wait(self, number: int, block: bytes) -> bytes | bytearray:
        """Serve a call of a function that is synchronous in WIT and waits in Python; suspends the store."""
        served = self._functions[number]
        if served.codec.takes:
            args, base, self._kept = self._kept, self._next_base, ()
        else:
            args, base = served.codec.read(block, ARENA, self.handles), _align16(ARENA + len(block))
        return self._sealed(self._write(served, await self._run(served, args), base))

    async def _run(self, served: Served, args: tuple[Any, ...]) -> Any:
        if served.context:
            args = (self._instance, *args)
        if not served.codec.fallible:
            return await served.call(*args)
        try:
            return Ok(await served.call(*args))
        except Err as error:
            return error

    def submit(self, number: int, record: int, block: bytes) -> bytes | bytearray:
        """Start an async function; answers with its result if it finished without waiting."""
        return self._sealed(self._submit(number, record, block))

    def _submit(self, number: int, record: int, block: bytes) -> bytes | bytearray:
        served = self._functions[number]
        base = _align16(ARENA + len(block))
        if served.codec.takes:
            return self._taking(served, block, base, lambda args, at: self._start(served, record, args, at))
        return self._start(served, record, served.codec.read(block, ARENA, self.handles), base)

    def _start(self, served: Served, record: int, args: tuple[Any, ...], base: int) -> bytes | bytearray:
        task = _spawn(self._run(served, args))
        if task.done():
            return self._write(served, task.result(), base)
        self.tasks[record] = CallTask(self, served, record, task)
        return _PENDING

    def take(self, record: int) -> bytes | bytearray:
        """Return the result of a function that has finished."""
        task = self.tasks[record]
        assert isinstance(task, CallTask)  # noqa: S101  only a call is told to return
        return self._sealed(self._write(task.served, task.future.result(), ARENA))

    # ------------------------------------------------------------ blocks with handles in them

    def _write(self, served: Served, value: Any, base: int) -> bytes | bytearray:
        if not served.codec.gives:
            return served.codec.write(value, base, self.handles)
        collector = Collector()
        served.codec.write(value, base, collector)
        if not collector.gifts:
            return served.codec.write(value, base, collector)

        def then(entries: list[tuple[int, int]], at: int) -> bytearray:
            return served.codec.write(value, at, Given(self.adopt(collector.gifts, entries)))

        return self._exchange([self._offer(gift) for gift in collector.gifts], then, base)

    def _taking(
        self,
        served: Served,
        block: bytes,
        base: int,
        then: Callable[[tuple[Any, ...], int], bytes | bytearray],
    ) -> bytes | bytearray:
        """Have owned handles in the parameters taken apart, then go on with the objects."""
        collector = Collector()
        served.codec.read(block, ARENA, collector)
        if not collector.taken:
            return then(served.codec.read(block, ARENA, self.handles), base)

        def resume(entries: list[tuple[int, int]], at: int) -> bytes | bytearray:
            self._exchanging = False
            objects = [self.table.remove(rep) for rep, _ in entries]
            return then(served.codec.read(block, ARENA, Taken(self.handles, objects)), at)

        self._exchanging = True
        entries = [(self._builtins[kind] << 2, handle) for kind, handle in collector.taken]
        return self._exchange(entries, resume, base)

    def _offer(self, gift: tuple[int, int, Any]) -> tuple[int, int]:
        sort, kind, value = gift
        if sort == 0:
            return (self._builtins[kind] + 2) << 2 | 1, self.table.add(value)
        return self._kinds.first(sort, kind) << 2 | 2, 0

    def adopt(self, gifts: Sequence[tuple[int, int, Any]], entries: list[tuple[int, int]]) -> list[int]:
        """Return the handles that the adapter made, and start what moves new streams and futures."""
        for (sort, kind, value), (_, writable) in zip(gifts, entries, strict=True):
            if sort:
                single = sort == 2
                Outflow(
                    self, self._kinds.elements(sort, kind), self._kinds.first(sort, kind), writable, value,
                    single=single,
                )  # fmt: skip
        return [handle for handle, _ in entries]

    def incoming(self, sort: int, kind: int, handle: int) -> Inflow:
        """Return the flow for a readable end that the guest gave away."""
        elements, first = self._kinds.elements(sort, kind), self._kinds.first(sort, kind)
        return Inflow(self, elements, first, handle, single=sort == 2)

    def _exchange(self, entries: list[tuple[int, int]], then: Then, base: int) -> bytearray:
        block = bytearray(HEADER + _ENTRY.size * len(entries))
        _ENTRY.pack_into(block, 0, _EXCHANGE, len(entries))
        for index, entry in enumerate(entries):
            _ENTRY.pack_into(block, HEADER + _ENTRY.size * index, *entry)
        self._then, self._next_base = then, _align16(base + len(block))
        return block

    def resume(self, block: bytes) -> bytes | bytearray:
        """Go on after an exchange."""
        then, base, self._then = self._then, self._next_base, None
        assert then is not None  # noqa: S101  the adapter resumes only what was begun
        return self._sealed(then(list(_ENTRY.iter_unpack(block[HEADER:])), base))

    def drop(self, rep: int) -> None:
        """Destroy a resource whose last handle is gone; one that is being taken over lives on."""
        if not self._exchanging:
            self.table.drop(rep)

    # ------------------------------------------------------------ streams and futures

    def script(self, script: Script) -> None:
        """Have the driver perform a script."""
        self.driver.scripts.append(script)
        self.signal()

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start a task that feeds the guest. If it fails so does the guest's call: it has only a part."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self.background.add(task)
        task.add_done_callback(self._fed)
        return task

    def _fed(self, task: asyncio.Task[None]) -> None:
        self.background.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None and self.failure is None:
            self.failure = error
        self.signal()

    def chunk(self, record: int) -> bytes | bytearray:
        """Return the bytes to put into a buffer of the guest's stream."""
        data, self.chunk_next = self.chunk_next, b""
        return data

    # ------------------------------------------------------------ tasks

    def step(self, record: int, event: int, a: int, b: int) -> int:
        """Tell a task of the adapter what to do next."""
        if self.failure is not None:
            raise self.failure
        task = self.tasks.get(record)
        if task is None:
            self.tasks[record] = task = self.driver
            self.driver.record = record
        return task.step(event, a, b)

    def ready(self, record: int) -> None:
        """Note that a task has something to do, and end the store's suspension."""
        self.driver.ready.append(record)
        self.signal()

    def signal(self) -> None:
        """End the store's suspension, if it is suspended."""
        if self._signal is not None and not self._signal.done():
            self._signal.set_result(None)

    async def next(self) -> None:
        """Wait until the driver has something to do."""
        if self.driver.has_work() or self.failure is not None:
            return
        self._signal = asyncio.get_running_loop().create_future()
        try:
            await self._signal
        finally:
            self._signal = None

    def close(self) -> None:
        """Cancel what runs and drop what the guest held. The tasks end in the loop's next turns."""
        self.closed = True
        for task in list(self.tasks.values()):
            task.cancel()
        self.tasks.clear()
        for flow in list(self.flows.values()):
            flow.abandon()
        self.flows.clear()
        self.table.close()


class SessionHandles:
    """What the codecs ask for handles, with the session behind it."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.borrow = session.table.borrow

    def own(self, kind: int, handle: int) -> Any:
        """Never asked: owned handles are taken apart first."""
        raise AssertionError("an owned handle was not taken apart")

    def give(self, sort: int, kind: int, value: Any) -> int:
        """Never asked: handles to give are made first."""
        raise AssertionError("a handle to give was not made")

    def lend(self, kind: int, value: Any) -> int:
        """Never asked: a host function lends nothing."""
        raise AssertionError("a host function lends nothing")

    def stream(self, kind: int, handle: int) -> BridgedStream:
        """Return what reads from a stream that the guest gave away."""
        return BridgedStream(self._session.incoming(1, kind, handle))

    def future(self, kind: int, handle: int) -> IncomingFuture:
        """Return what awaits a future that the guest gave away."""
        return IncomingFuture(self._session.incoming(2, kind, handle))


def _spawn(coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    """Start a task; where Python can, it runs at once until it first waits."""
    loop = asyncio.get_running_loop()
    if sys.version_info >= (3, 12):
        return asyncio.Task(coroutine, loop=loop, eager_start=True)
    return loop.create_task(coroutine)


class CallTask:
    """An async function that the guest has called and that has not finished at once."""

    __slots__ = ("future", "record", "served", "session", "sleeping")

    def __init__(self, session: Session, served: Served, record: int, future: asyncio.Task[Any]) -> None:
        self.session = session
        self.served = served
        self.record = record
        self.future = future
        self.sleeping = False
        session.running += 1
        future.add_done_callback(self._done)

    def _done(self, future: asyncio.Task[Any]) -> None:
        self.session.running -= 1
        if self.session.tasks.get(self.record) is self:
            self.session.ready(self.record)
        elif not future.cancelled():
            future.exception()  # of a call that was cancelled: nobody is left to tell

    def cancel(self) -> None:
        """Stop the coroutine."""
        self.future.cancel()

    def step(self, event: int, a: int, b: int) -> int:
        """Sleep, return, exit; or cancelled, exit."""
        session = self.session
        if event == EVENT_RETURNED:
            del session.tasks[self.record]
            return Op.EXIT
        if event == _EVENT_CANCELLED:
            self.forget()
            self.cancel()
            return Op.CANCELLED
        if session.tasks.get(self.record) is not self:
            return Op.EXIT
        if self.sleeping or self.future.done():
            session.driver.woken.discard(self.record)
            return Op.RETURN | self.served.codec.function.number << 8
        self.sleeping = True
        return Op.WAIT

    def forget(self) -> None:
        """Take the task out of all books: it was cancelled."""
        driver = self.session.driver
        driver.woken.discard(self.record)
        if self.record in driver.ready:
            driver.ready.remove(self.record)
        del self.session.tasks[self.record]


class Driver:
    """The adapter's own task: it wakes the others and is the one that lets the store be suspended.

    It yields, and yielded tasks run after all others; so when its turn comes without an event, nothing in
    the instance can run, and it may wait for the host.
    """

    __slots__ = ("_script", "armed", "dozing", "ready", "record", "scripts", "session", "woken")

    def __init__(self, session: Session) -> None:
        self.session = session
        self.record = 0
        self.ready: deque[int] = deque()
        self.woken: set[int] = set()
        self.scripts: deque[Script] = deque()
        self._script: Script | None = None
        self.dozing = False
        self.armed = False

    def cancel(self) -> None:
        """Nothing runs on the driver's behalf."""

    def has_work(self) -> bool:
        """Say whether there is anything for the driver to do."""
        return bool(self.ready or self.scripts)

    def step(self, event: int, a: int, b: int) -> int:
        """Wake, yield, wait for the host, or sleep."""
        self.dozing = False
        if event == EVENT_OPERATION and self._script is not None:
            order = self._continue((a, b))
        else:
            self._note(event, a, b)
            order = None
        while order is None and self.scripts:
            self._script = self.scripts.popleft()
            order = self._continue(None)
        return self._decide(event) if order is None else order

    def _note(self, event: int, a: int, b: int) -> None:
        """Take in an event of the driver's waitables: a stream's or future's, or its own wake stream's."""
        if event in (_EVENT_NONE, EVENT_OPERATION, EVENT_START):
            return
        flow = self.session.flows.get(a)
        if flow is None:
            self.armed = False
        else:
            self.scripts.append(flow.event(b))

    def _continue(self, outcome: tuple[int, int] | None) -> int | None:
        """Go on with the script under way; return its next order, None at its end."""
        assert self._script is not None  # noqa: S101  both callers have one
        try:
            return next(self._script) if outcome is None else self._script.send(outcome)
        except StopIteration:
            self._script = None
            return None

    def _decide(self, event: int) -> int:
        while self.ready:
            record = self.ready.popleft()
            task = self.session.tasks.get(record)
            if isinstance(task, CallTask) and task.sleeping:
                self.woken.add(record)
                return Op.WAKE | record << 32
        if self.woken:
            return Op.YIELD
        if self.session.running or self.session.flows:
            return Op.NEXT if event == _EVENT_NONE else Op.YIELD
        self.dozing = True
        if self.armed:
            return Op.DOZE
        self.armed = True
        return Op.WAIT
