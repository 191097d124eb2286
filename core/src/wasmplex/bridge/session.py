"""The host's side of an import adapter: what the guest has called, what Python has running for it.

The adapter asks (`call`, `submit`, `step` ...), the session answers with blocks and orders. Every decision is
taken here, synchronously; the only wait is `Scheduler.next`: it suspends the store until something can move.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from inspect import isawaitable
from typing import Any

from wasmplex.bridge.custody import Custody
from wasmplex.bridge.eager import spawn
from wasmplex.bridge.exchanging import align16
from wasmplex.bridge.functions import AdapterKinds, Served
from wasmplex.bridge.handles import GuestHandle
from wasmplex.bridge.incoming import BridgedStream, IncomingFuture
from wasmplex.bridge.kinds import RESOURCE
from wasmplex.bridge.protocol import ARENA, HEADER, First, Op
from wasmplex.bridge.scheduler import Scheduler
from wasmplex.bridge.side import Side
from wasmplex.bridge.tasks import CallTask, Driver
from wasmplex.engine.traps import blame
from wasmplex.values import Err, Ok

__all__ = ["Session"]

_WAKE = struct.Struct("<I")
_PENDING = bytes(HEADER)
_ACKNOWLEDGED = bytes([First.DONE]) + bytes(HEADER - 1)


class Session(Side):
    """The host's state for the import adapter of one instance.

    :param functions: what the adapter carries, by number
    :param instance: given to functions that want their context
    """

    def __init__(
        self, scheduler: Scheduler, kinds: AdapterKinds, functions: Sequence[Served], instance: Any
    ) -> None:
        super().__init__(scheduler, kinds, instance.objects)
        self._functions = functions
        self.whole = [served.whole for served in functions]
        self.instance = self._instance = instance
        self.handles = _Handles(self)
        self.ready: deque[int] = deque()
        """Records of tasks whose coroutine has finished."""
        self.tasks: dict[int, CallTask] = {}
        self.leaving: set[int] = set()
        """Records of tasks that were told that they are cancelled, and will ask once more."""
        self.driver = Driver(self)
        self.running = 0
        """Coroutines under way on the guest's behalf."""
        self._kept: tuple[Any, ...] = ()

    def has_work(self) -> bool:
        """Say whether there is anything for the driver to do."""
        return bool(self.ready or self.scripts)

    def is_busy(self) -> bool:
        """See `Side.is_busy`."""
        return (
            bool(self.tasks) or super().is_busy()
        )  # cancelled ones are neither, though Python may still run them

    def goes_on(self) -> bool:
        """See `Side.goes_on`."""
        return bool(self.running or self.tasks or self.ready) or super().goes_on()

    # ------------------------------------------------------------ calls

    def call(self, number: int, block: bytes) -> bytes | bytearray:
        """Serve a call of a function that does not wait."""
        return self._sealed(self._call(number, block))

    def _call(self, number: int, block: bytes) -> bytes | bytearray:
        served = self._functions[number]
        base = align16(ARENA + len(block))
        try:
            if served.whole is not None:
                return served.whole(block, ARENA, base, self.handles, self._instance)
            if not served.codec.takes:
                return self._answer(served, served.codec.read(block, ARENA, self.handles), base)
            if served.codec.function.waits:
                return self._taking(served, block, base, self._keep)
            return self._taking(served, block, base, lambda args, at: self._answer(served, args, at))
        except Exception as error:
            blame(error, served.codec.function.path)
            raise

    def _sealed(self, block: bytes | bytearray) -> bytes | bytearray:
        """Have the driver woken with this answer, if it sleeps and there is something for it now."""
        if not self.driver.dozing or block[0] == First.EXCHANGE or not (record := self.roused()):
            return block
        sealed = bytearray(block)
        _WAKE.pack_into(sealed, 4, record)
        return sealed

    def roused(self) -> int:
        """Return the record of the driver, to wake it, if it sleeps and has something to do; else 0."""
        driver = self.driver
        if not driver.dozing or not (self.flows or self.running or self.scripts or self.making):
            return 0
        driver.dozing = False
        return driver.record

    def _keep(self, args: tuple[Any, ...], base: int) -> bytes:
        """Keep the arguments of a function that waits for `call_wait`, which follows at once."""
        self._kept, self._next_base = args, align16(base + HEADER)
        return _ACKNOWLEDGED

    def _answer(self, served: Served, args: tuple[Any, ...], base: int) -> bytes | bytearray:
        if served.context:
            args = (self._instance, *args)
        if not served.codec.fallible:
            return self._write(served, served.call(*args), base)
        try:
            value = Ok(served.call(*args))
        except Err as error:  # it refers to this frame, by its traceback
            return self._write(served, error, base)
        return self._write(served, value, base)

    async def call_wait(self, number: int, block: bytes) -> bytes | bytearray:
        """Serve a call of a function that is synchronous in WIT and waits in Python; suspends the store."""
        served = self._functions[number]
        if served.codec.takes:
            args, base, self._kept = self._kept, self._next_base, ()
        else:
            args, base = served.codec.read(block, ARENA, self.handles), align16(ARENA + len(block))
        try:
            return self._sealed(self._write(served, await self._run(served, args), base))
        except Exception as error:
            blame(error, served.codec.function.path)
            raise

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
        size = len(block)
        base = align16(ARENA + size)
        self.scheduler.flight.check(size)
        try:
            if served.codec.takes:
                return self._taking(
                    served, block, base, lambda args, at: self._start(served, record, args, at, size)
                )
            return self._start(served, record, served.codec.read(block, ARENA, self.handles), base, size)
        except Exception as error:
            blame(error, served.codec.function.path)
            raise

    def _start(
        self, served: Served, record: int, args: tuple[Any, ...], base: int, size: int
    ) -> bytes | bytearray:
        if served.plain:
            value = self._plain(served, args)
            if not isawaitable(value):
                try:
                    return self._write(served, value, base)
                finally:
                    del value  # an error refers to this frame, by its traceback
            task = spawn(_awaited(served, value))
        else:
            task = spawn(self._run(served, args))
        if task.done():
            try:
                return self._write(served, task.result(), base)
            finally:
                del task  # its error refers to this frame, by its traceback; so does one that is a result
        self.tasks[record] = CallTask(self, served, record, task, size)
        return _PENDING

    def _plain(self, served: Served, args: tuple[Any, ...]) -> Any:
        """Call a function that answers at once or returns what is to be awaited."""
        if served.context:
            args = (self._instance, *args)
        try:
            value = served.call(*args)
        except Err as error:
            if not served.codec.fallible:
                raise
            return error
        return Ok(value) if served.codec.fallible and not isawaitable(value) else value

    def take(self, record: int) -> bytes | bytearray:
        """Return the result of a function that has finished."""
        task = self.tasks[record]
        try:
            return self._sealed(self._write(task.served, task.take(), ARENA))
        except Exception as error:
            blame(error, task.served.codec.function.path)
            raise

    def resume(self, block: bytes) -> bytes | bytearray:
        """Go on after an exchange."""
        return self._sealed(super().resume(block))

    # ------------------------------------------------------------ blocks with handles in them

    def _write(self, served: Served, value: Any, base: int) -> bytes | bytearray:
        if not served.codec.gives:
            return served.codec.write(value, base, self.handles)
        scan = self.scan()
        block = served.codec.write(value, base, scan)
        if not scan.missing:
            return block
        return self.lowering(scan, lambda handles, at: served.codec.write(value, at, handles), base)

    def _taking(
        self,
        served: Served,
        block: bytes,
        base: int,
        then: Callable[[tuple[Any, ...], int], bytes | bytearray],
    ) -> bytes | bytearray:
        """Have handles in the parameters turned into objects, then go on with these."""
        scan = self.scan()
        served.codec.read(block, ARENA, scan)
        if not scan.lifted:
            return then(served.codec.read(block, ARENA, self.handles), base)

        def resume(handles: Any, at: int) -> bytes | bytearray:
            try:
                return then(served.codec.read(block, ARENA, handles), at)
            except Exception as error:
                blame(error, served.codec.function.path)
                raise

        return self.lifting(scan, resume, base)

    def give_up(self, served: Served, value: Any) -> None:
        """Let go of the resources, streams and futures in a result that no guest will get."""
        if not served.codec.hands:
            return
        scan = self.scan()
        with suppress(Exception):  # of the wrong type: what was found up to there
            served.codec.write(value, ARENA, scan)
        scan.give_up(self.instance.release)

    def drop(self, rep: int) -> None:
        """Destroy a resource whose last handle is gone."""
        self.table.drop(rep)

    # ------------------------------------------------------------ tasks

    def step(self, record: int, event: int, a: int, b: int) -> int:
        """Tell a task of the adapter what to do next."""
        if self.scheduler.failure is not None:
            raise self.scheduler.failure
        if self.scheduler.making:
            self.scheduler.feed()
        if record in self.leaving:
            self.leaving.remove(record)
            return Op.EXIT
        task = self.tasks.get(record)
        if task is not None:
            return task.step(event)
        self.driver.record = record
        return self.driver.step(event, a, b)

    def close(self) -> None:
        """Cancel what runs. The tasks end in the loop's next turns."""
        super().close()
        self.instance.leave([task.cancel for task in self.tasks.values()])
        self.tasks.clear()
        self.ready.clear()
        self.scheduler.flight.release()

    def dismantle(self) -> None:
        """See `Side.dismantle`."""
        super().dismantle()
        del self.driver


async def _awaited(served: Served, value: Awaitable[Any]) -> Any:
    if not served.codec.fallible:
        return await value
    try:
        return Ok(await value)
    except Err as error:
        return error


class _Handles:
    """What the codecs ask for handles, with the session behind it."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._objects = session.table.entries
        self._passing = [custody is Custody.LINKED for custody in session.kinds.custody]

    def borrow(self, kind: int, handle: int) -> Any:
        """Return the object of a borrowed handle, which is the representation.

        Of a resource that is linked directly it was entered for this call alone.
        """
        return self._session.table.take(handle) if self._passing[kind] else self._objects[handle]

    def own(self, kind: int, handle: int) -> Any:
        """Return the object of an owned handle, in whose place the adapter has put the representation."""
        return self._session.table.take(handle)

    def give(self, sort: int, kind: int, value: Any) -> int:
        """Return what the adapter makes a handle of."""
        if sort != RESOURCE:
            return self._session.number(sort, kind, value)
        if value.__class__ is GuestHandle:
            raise TypeError("not an object of the host")
        return self._session.table.add(value)

    def lend(self, kind: int, value: Any) -> int:
        """Never asked: a host function lends nothing."""
        raise AssertionError("a host function lends nothing")

    def stream(self, kind: int, handle: int) -> BridgedStream:
        """Return what reads from a stream that the guest gave away."""
        return BridgedStream(self._session.incoming(1, kind, handle))

    def future(self, kind: int, handle: int) -> IncomingFuture:
        """Return what awaits a future that the guest gave away."""
        return IncomingFuture(self._session.incoming(2, kind, handle))
