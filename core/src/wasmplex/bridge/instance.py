"""A live instance of a bridged component."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Protocol

from wasmplex.bridge.bodies import NotWhole
from wasmplex.bridge.bridging import Bridged
from wasmplex.bridge.exportcodecs import ExportCodec
from wasmplex.bridge.exporting import ExportSession
from wasmplex.bridge.exports import BODIES, CALL, SERIES
from wasmplex.bridge.flows import Memory
from wasmplex.bridge.kinds import Function
from wasmplex.bridge.port import export_session
from wasmplex.bridge.protocol import ARENA
from wasmplex.bridge.scheduler import Scheduler
from wasmplex.bridge.series import Series, begin, made, pause
from wasmplex.errors import GuestError, Trap, WasmplexError, exited_well
from wasmplex.logs import get_logger
from wasmplex.values import Err

__all__ = ["BridgedInstance", "EngineInstance", "named", "tell_late"]

log = get_logger("wasmplex.bridge")

_CALLS = {BODIES, CALL, SERIES}


class ObjectTable(Protocol):
    """What is needed of an instance's table of the host's objects."""

    def __len__(self) -> int:
        """Return how many handles there are."""

    def add(self, value: Any) -> int:
        """Enter an object; return its representation."""


class EngineInstance(Protocol):
    """What is needed of the engine's instance."""

    state: dict[Any, Any]

    @property
    def objects(self) -> ObjectTable:
        """The host's objects that it holds handles of."""

    @property
    def workload(self) -> str:
        """Name of the workload it belongs to."""

    @property
    def poisoned(self) -> bool:
        """True once it can run no more calls."""

    async def call(self, export: str, *args: Any) -> Any:
        """Call an export."""

    def when_paused(self, note: Callable[[bool], None]) -> None:
        """Have it noted whenever the call that is made next gives others the event loop: whether it waits."""

    def close(self) -> None:
        """End the instance."""

    def when_ended(self, note: Callable[[], None]) -> None:
        """Have it noted when it has ended, and nothing runs in it any more."""


class BridgedInstance:
    """An instance and its sessions, which end together.

    :param inner: the instance of the composed component
    :param bridged: what it is an instance of
    """

    def __init__(self, inner: EngineInstance, bridged: Bridged) -> None:
        self.inner = inner
        self.above = bridged.above
        self.transport = bridged.transport
        self.state = inner.state
        self.objects = inner.objects
        self._starts = bridged.starts
        self._series = bridged.series
        self._memory: Memory | None = None
        self._closed = False
        self._calls: set[asyncio.Task[None]] = set()
        self._plain = self._kept = False
        """Whether a call is under way that its caller's own task drives."""
        self._freed: asyncio.Future[None] | None = None
        """Ends with that call, if anybody waits for it."""
        if bridged.above is None and len(bridged.starts) < 2:
            self.call = inner.call  # type: ignore[method-assign]  # one frame less on every call

    @property
    def workload(self) -> str:
        """Name of the workload it belongs to."""
        return self.inner.workload

    @property
    def poisoned(self) -> bool:
        """True once it can run no more calls, and while anything of one is under way.

        What a guest leaves behind when it returns (calls it does not wait for, streams it neither reads nor
        drops) would go on during the next call, and until then not at all: it ends with its instance.
        """
        if self.inner.poisoned or self._calls or self._plain or self._kept:
            return True
        scheduler = self.state.get(Scheduler)
        return scheduler is not None and any(side.is_busy() for side in scheduler.sides)

    async def call(self, export: str, *args: Any) -> Any:
        """Call an export; see `wasmplex.plugin.GuestInstance`.

        Streams and futures in the result move until they end, or until the instance is closed. The next call
        that goes through the adapter waits for that.
        """
        if export in self._starts:
            for start in self._starts:
                await self.inner.call(start)
            return None
        above = self.above
        codec = None if above is None else above.codecs.get(export)
        if above is None or codec is None:
            return await self.inner.call(export, *args)
        if (series := self._series.get(export)) is not None:
            with suppress(NotWhole):
                return await self._call_one(series, args)
        if self._calls or self._plain:
            await self._turn()
        session = export_session(self.inner, above.kinds, self.transport)
        called = self._call_moving if codec.moves else self._call_plain
        return await called(session, codec, args)

    def calls_each(self, export: str) -> bool:
        """Say whether `call_each` makes several calls of an export."""
        return export in self._series

    async def call_each(
        self,
        export: str,
        calls: Sequence[tuple[Any, ...]],
        results: list[Any],
        paused: Callable[[], None],
    ) -> None:
        """Call an export several times; see `wasmplex.plugin.GuestInstance`."""
        if (series := self._series.get(export)) is not None:
            with suppress(NotWhole):
                await self._call_series(series, calls, results, paused)
                return
        await self._call_first(export, calls[0], results)

    def calls_made(self) -> int:
        """Return how many calls `call_each` has made; see `wasmplex.plugin.GuestInstance`."""
        return 0 if self._memory is None or self._closed else made(self._memory)

    async def _call_first(self, export: str, args: tuple[Any, ...], results: list[Any]) -> None:
        """Make the first of several calls by itself."""
        if self._memory is not None:
            begin(self._memory)  # else it would have how many there were before
        try:
            results.append(await self.call(export, *args))
        except Err as error:
            results.append(error)

    async def _turn(self) -> None:
        """Wait until no call is under way: one is until what it returned has ended."""
        while under_way := self._under_way():
            await asyncio.wait(under_way)

    async def _call_series(
        self,
        series: Series,
        calls: Sequence[tuple[Any, ...]],
        results: list[Any],
        paused: Callable[[], None],
    ) -> None:
        memory = await self._entered()
        count, block = series.written(calls)
        known = pauses = 0
        told = False

        def stop(waits: bool) -> None:
            nonlocal known, pauses, told
            pauses += 1
            pause(memory)
            if (waits or pauses > 1) and not told:  # a single interruption may come whenever a tick does
                told, known = True, series.read(memory, known, results)
                paused()

        begin(memory)
        try:
            await self._cross(series, memory, count, block, stop)
        finally:
            if not self._closed:
                series.read(memory, known, results)

    async def _call_one(self, series: Series, args: tuple[Any, ...]) -> Any:
        """Make a series of a single call."""
        memory = await self._entered()
        await self._cross(series, memory, 1, series.alone(args), None)
        return series.only(memory)

    async def _entered(self) -> Memory:
        """Wait until no call is under way; return the memory that the next one finds its arguments in."""
        if self._calls or self._plain:
            await self._turn()
        return self._memory or self._calls_memory()

    async def _cross(
        self,
        series: Series,
        memory: Memory,
        count: int,
        block: bytes | bytearray,
        stop: Callable[[bool], None] | None,
    ) -> None:
        end = ARENA + len(block)
        self._plain = True
        try:
            if end > memory.size:
                await self.inner.call(series.entry, series.number, 0, end)
            memory.write(ARENA, block)
            if stop is not None:
                self.inner.when_paused(stop)
            await self.inner.call(series.entry, series.number, count, end)
            self._kept = series.left(memory)
        except GuestError as error:
            named(error, series.path)
            raise
        finally:
            self._end_plain()

    def _calls_memory(self) -> Memory:
        assert self.above is not None  # noqa: S101  there is no series without it
        self._memory = memory = export_session(self.inner, self.above.kinds, self.transport).calls
        return memory

    def _end_plain(self) -> None:
        self._plain = False
        if self._freed is not None:
            self._freed.set_result(None)
            self._freed = None

    async def _call_moving(self, session: ExportSession, codec: ExportCodec, args: tuple[Any, ...]) -> Any:
        """Call a function that may go on after it has returned, in a task of its own."""
        block, result = session.begin(codec, args)
        task = asyncio.get_running_loop().create_task(self._drive(session, codec.function, block))
        self._calls.add(task)
        task.add_done_callback(self._ended)
        try:
            try:
                value = await result
            except asyncio.CancelledError:
                task.cancel()
                await asyncio.wait([task])
                raise
            if task.done():
                self._ended(task)
            elif not session.is_moving():
                await asyncio.wait([task])
            return value
        finally:
            del task, result  # the error that they hold refers to this frame

    async def _call_plain(self, session: ExportSession, codec: ExportCodec, args: tuple[Any, ...]) -> Any:
        """Call a function that has ended when it returns, in the task that waits for it."""
        block, result = session.begin(codec, args)
        self._plain = True
        try:
            await self.inner.call(CALL, codec.function.number, block.decode("latin-1"))
        except BaseException as error:
            session.abandon_call()
            if isinstance(error, GuestError):
                named(error, codec.function.path)
            if not result.done() or not isinstance(error, Exception):
                if not result.cancel():
                    result.exception()  # asyncio logs those that nobody has looked at
                raise
            tell_late(self.workload, error)
            self.fail(error)
        finally:
            self._end_plain()
        try:
            if not result.done():
                result.set_exception(self._nothing(codec.function))
            return result.result()
        finally:
            del result  # the error that it holds refers to this frame

    def _under_way(self) -> set[asyncio.Future[None]]:
        if not self._plain:
            return {*self._calls}
        self._freed = self._freed or asyncio.get_running_loop().create_future()
        return {*self._calls, self._freed}

    def _nothing(self, function: Function) -> Trap:
        return Trap(f"workload {self.workload!r}: the guest returned nothing", where=function.path)

    async def _drive(self, session: ExportSession, function: Function, block: bytes) -> None:
        try:
            await self.inner.call(CALL, function.number, block.decode("latin-1"))
        except BaseException as error:
            if isinstance(error, GuestError):
                named(error, function.path)
            session.abandon_call()
            if not session.fail(error) or isinstance(error, asyncio.CancelledError):
                raise
        else:
            session.fail(self._nothing(function))

    def _ended(self, task: asyncio.Task[None]) -> None:
        if task not in self._calls:
            return
        self._calls.remove(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            tell_late(self.workload, error)
            self.fail(error)

    def fail(self, error: BaseException) -> None:
        """Note that nothing runs in it any more, and end what waits for it.

        :param error: names workload and export; what there was before is its cause
        """
        scheduler: Scheduler = self.state[Scheduler]
        scheduler.failure = error
        for side in scheduler.sides:
            side.close()

    def close(self) -> None:
        """End the instance: what runs on the guest's behalf is cancelled, what it held is dropped.

        Never raises, and ends the instance whatever its sides have to say.
        """
        self._closed = True
        try:
            for task in self._calls:
                task.cancel()
            for side in self.state[Scheduler].sides if Scheduler in self.state else ():
                side.close()
        except Exception:
            log.exception("what runs for an instance of workload %s cannot be ended", self.workload)
        finally:
            self.inner.close()
            self.inner.when_ended(self._dismantle)

    def _dismantle(self) -> None:
        """Break the circles between what the instance was made of: nobody has to look for them."""
        scheduler = self.state.get(Scheduler)
        if scheduler is None:
            return
        for side in scheduler.sides:
            side.dismantle()
        scheduler.end()
        self.state.clear()
        self.state[Scheduler] = scheduler


def named(error: GuestError, export: str) -> None:
    """Have an error say what was called: the caller knows nothing of the adapter."""
    if any(diagnostic.where in _CALLS for diagnostic in error.diagnostics):
        renamed = [replace(d, where=export) if d.where in _CALLS else d for d in error.diagnostics]
        WasmplexError.__init__(error, renamed)


def tell_late(workload: str, error: BaseException) -> None:
    """Log what ended a call that had returned, if it was a failure."""
    if not exited_well(error):
        log.warning("a call of %s failed after it had returned: %s", workload, error)
