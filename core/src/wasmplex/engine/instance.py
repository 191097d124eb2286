"""A live instance of a component."""

from __future__ import annotations

import asyncio
import ctypes
import weakref
from collections import deque
from threading import get_ident
from typing import TYPE_CHECKING, Any, Protocol

from wasmplex.engine import capi
from wasmplex.engine.arena import Arena
from wasmplex.engine.driver import HostFailure, drive, reentered
from wasmplex.engine.entry import check_headroom
from wasmplex.engine.memory import U64
from wasmplex.engine.resources import HostObjects
from wasmplex.engine.store import StoreState, take_error
from wasmplex.engine.traps import host_trap, no_memory, trap
from wasmplex.errors import GuestError, Trap
from wasmplex.plugins.limits import Limits
from wasmplex.threads import OwnThread
from wasmplex.values import Err

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from wasmplex.engine.accounts import Account, LinearMemory
    from wasmplex.engine.compiled import Compiled, ExportEntry
    from wasmplex.engine.leaving import Leaving

__all__ = ["Instance", "Starting"]

_INSTANCE_WORDS = 2
_FUNC_WORDS = 4
_OBJECTS = 25
"""What a call under way is to the memory of the host."""


class Origin(Protocol):
    """What instances are made from, see `wasmplex.engine.linker.Linked`."""

    compiled: Compiled
    workload: str
    limits: Limits
    locate: Callable[[Sequence[LinearMemory]], LinearMemory] | None
    leaving: Leaving
    linker: int


class Instance:
    """One instance with a store of its own. One call runs in it at a time; others wait for their turn.

    Made by `Linked.instantiate`. After a trap, or a call that was cancelled, it is `poisoned`: nothing in it
    can run again, and it must be closed.

    :ivar state: room for what host functions keep per instance
    """

    def __init__(self, linked: Origin, store: StoreState) -> None:
        self._linked = linked
        self._store = store
        self._taken = False
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._functions: dict[str, tuple[ExportEntry, int]] = {}
        self._blocks: list[Any] = []
        self._handle = self._block(_INSTANCE_WORDS)
        self._poisoned = False
        self._running = False
        self._closing = False
        self._thread = OwnThread()
        self.state: dict[Any, Any] = {}
        store.bind(self)
        self._finalizer = weakref.finalize(self, _end, store, linked)

    @property
    def workload(self) -> str:
        """Name of the workload it belongs to."""
        return self._linked.workload

    @property
    def limits(self) -> Limits:
        """What it may take."""
        return self._linked.limits

    @property
    def account(self) -> Account:
        """The books on its memory."""
        return self._store.account

    @property
    def memories(self) -> Sequence[LinearMemory]:
        """Its linear memories in the order in which they were made."""
        return self._store.account.memories

    @property
    def objects(self) -> HostObjects:
        """The host's objects that it holds handles of."""
        return self._store.objects

    def release(self, value: Any) -> None:
        """Have an object dropped that was to get a handle, and will get none. Never raises."""
        self._store.release(value)

    def leave(self, calls: Sequence[Callable[[], None]]) -> None:
        """Have calls cancelled that are under way when it ends: soon, a few at a time.

        :param calls: what cancels each
        """
        self._store.services.trimming.freed(len(calls) * _OBJECTS)
        self._linked.leaving.add(calls)

    @property
    def memory_in_place(self) -> LinearMemory:
        """The memory that holds the bytes which functions take and give in place."""
        locate = self._linked.locate
        if locate is None:
            raise RuntimeError("no function of this component has its bytes in place")
        return locate(self.memories)

    @property
    def poisoned(self) -> bool:
        """True once it can run no more calls."""
        return self._poisoned or self._store.closed

    @property
    def busy(self) -> bool:
        """True while a call runs in it."""
        return self._running

    async def start(self, patience: float) -> None:
        """Run the component's start functions. Called once, by `Linked.instantiate`.

        :param patience: seconds to wait for memory, if the host has none left
        """
        if (needs := self._linked.compiled.needs) and not await self.account.prepay(needs, patience):
            raise no_memory(self.workload, self.account)
        check_headroom()
        arena = Arena.take(1)
        try:
            future = self._instantiate(arena)
            await self._run(future, arena.base, "instantiate", self._poll_making)
        finally:
            arena.release()
            self._made()

    def _made(self) -> None:
        """Note what memory it took to make it, or would have taken."""
        account, compiled = self.account, self._linked.compiled
        account.settle()
        compiled.needs = max(compiled.needs, account.asked)

    def _instantiate(self, arena: Arena) -> int:
        U64[arena.base] = 0
        linked = self._linked
        future: int = capi.instantiate_async(
            linked.linker, self._store.ctx, linked.compiled.component, self._handle, arena.base << 3
        )
        return future

    def begin(self) -> Starting:
        """Begin to start. Whoever polls the future to its end calls `Starting.finish` then."""
        arena = Arena.take(1)
        self._running = True
        self._store.refresh_epoch()
        return Starting(self, arena, self._instantiate(arena), self._poll_making)

    def _started(self, error: int) -> None:
        self._running = False
        self._made()
        if error:
            self._poisoned = True
        if self._closing:
            self._finalizer()
        if error:
            raise self._failure(take_error(error), "instantiate")

    def when_paused(self, note: Callable[[bool], None]) -> None:
        """Have it noted whenever the call that is made next gives others the event loop.

        :param note: called with whether the guest waits for the host; else it was interrupted
        """
        self._store.paused = note

    async def call(self, export: str, *args: Any) -> Any:
        """Call an export: ``"run"``, or ``"wasi:http/incoming-handler@0.2.2#handle"``.

        :raises wasmplex.values.Err: if the function returned the err case of its result
        :raises wasmplex.engine.ValueMismatch: if an argument does not fit; nothing was called
        :raises wasmplex.errors.UsageError: if there is no such export, or in a thread that is not its own
        :raises wasmplex.errors.Trap: if the guest trapped, a host function failed, or the instance is gone
        """
        if get_ident() != self._thread.ident:
            self._thread.refuse(f"an instance of workload {self.workload!r}")
        if self._running and reentered(self._store):
            raise RuntimeError(f"a host function called {export} of the instance that waits for it")
        if self._taken:
            await self._turn()
        self._taken = True
        try:
            if self._poisoned or self._store.closed:
                raise Trap(
                    f"workload {self.workload!r}: the instance is gone",
                    where=export,
                    why="an earlier call in it trapped or was cancelled, or it was closed",
                )
            entry, function = self._functions.get(export) or self._resolve(export)
            return await self._call(entry, function, args)
        finally:
            self._pass_on()

    def calls_each(self, export: str) -> bool:
        """Say that it makes the first of several calls only."""
        return False

    async def call_each(
        self, export: str, calls: Sequence[tuple[Any, ...]], results: list[Any], _: Callable[[], None]
    ) -> None:
        """Make the first of some calls; see `wasmplex.plugin.GuestInstance`."""
        try:
            results.append(await self.call(export, *calls[0]))
        except Err as error:
            results.append(error)

    def calls_made(self) -> int:
        """Return 0: it makes no more than one."""
        return 0

    async def _turn(self) -> None:
        """Wait until the call before has ended; it leaves the instance taken, for this one."""
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except BaseException:
            if turn.done() and not turn.cancelled():
                self._pass_on()
            raise

    def _pass_on(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._taken = False

    async def _call(self, entry: ExportEntry, function: int, args: tuple[Any, ...]) -> Any:
        codec, store = entry.codec, self._store
        if len(args) != codec.count:
            raise TypeError(f"{entry.name} takes {codec.count} arguments, not {len(args)}")
        check_headroom()
        arena = Arena.take(codec.words)
        base = arena.base
        result = (base + codec.result) << 3
        try:
            codec.lower(arena, store.ctx, store, *args)
            for moved in store.moved:
                moved.forget()
            store.moved.clear()
            lift = codec.lift
            future = capi.func_call_async(
                function, store.ctx, base << 3, codec.count, result, 0 if lift is None else 1,
                (base + codec.error) << 3,
            )  # fmt: skip
            await self._run(future, base + codec.error, entry.name)
            if lift is None:
                return None
            try:
                return lift(base + codec.result, store.ctx, store)
            finally:
                capi.val_delete(result)
        finally:
            store.moved.clear()
            if store.loans and not store.closed:
                store.end_loans()
            arena.release()

    def _poll_making(self, future: int) -> bool:
        """Poll the future of its start functions: the memories that are made meanwhile are its own."""
        making = self._linked.compiled.variant.creator.making
        making.account = self.account
        try:
            done: bool = capi.future_poll(future)
        finally:
            making.account = None
        return done

    async def _run(
        self,
        future: int,
        error: int,
        name: str,
        poll: Callable[[int], bool] = capi.future_poll,
    ) -> None:
        """Drive a future; turn what went wrong into the error to raise."""
        store = self._store
        self._running = True
        finished = False
        try:
            await drive(store, future, poll)
            if pointer := U64[error]:
                raise self._failure(take_error(pointer), name)
            finished = True
        except HostFailure as failure:
            if isinstance(failure.error, GuestError):
                raise failure.error from None
            raise host_trap(self.workload, name, failure.function, failure.error) from failure.error
        finally:
            self._running = False
            store.error = None
            if not finished:  # the guest was left in the middle of something
                self._poisoned = True
            if self._closing:
                self._finalizer()

    def _failure(self, message: str, name: str) -> BaseException:
        if self._store.error is None:
            if name == "instantiate" and self.account.refused:
                return no_memory(self.workload, self.account)
            return trap(self.workload, name, message, self.account.refused)
        function, error = self._store.error
        if not isinstance(error, Exception) or isinstance(error, GuestError):
            return error  # it says what it means: an exit of the guest, say
        made = host_trap(self.workload, name, function, error)
        made.__cause__ = error
        return made

    def close(self) -> None:
        """End the instance: host objects it still holds are dropped, memory is freed. Idempotent.

        While a call runs in it this takes effect when that call ends; it does not cancel it.
        """
        self._poisoned = True
        if self._running:
            self._closing = True
        else:
            self._finalizer()

    def when_ended(self, note: Callable[[], None]) -> None:
        """Have it noted when it has ended, which may be long after `close`: at once if it has."""
        if self._store.closed:
            note()
        else:
            self._store.ended = note

    def _block(self, words: int) -> int:
        block = (ctypes.c_uint64 * words)()
        self._blocks.append(block)
        return ctypes.addressof(block)

    def _resolve(self, export: str) -> tuple[ExportEntry, int]:
        entry = self._linked.compiled.export(export)
        function = self._block(_FUNC_WORDS)
        if not capi.instance_get_func(self._handle, self._store.ctx, entry.index, function):
            raise Trap(f"workload {self.workload!r}: export {export!r} is not a function of the instance")
        self._functions[export] = (entry, function)
        return entry, function


class Starting:
    """An instance whose start functions run elsewhere.

    :ivar context: the address of its store's context
    :ivar future: wasmtime's future for them
    :ivar poll: what polls it
    """

    def __init__(self, instance: Instance, arena: Arena, future: int, poll: Callable[[int], bool]) -> None:
        self.context = instance._store.ctx  # noqa: SLF001  one class in two halves
        self.future = future
        self.poll = poll
        self._instance = instance
        self._arena = arena

    def finish(self) -> Instance:
        """Return the instance, when the future has ended. Called once.

        :raises wasmplex.errors.GuestError: as `Linked.instantiate`; the instance is closed then
        """
        capi.future_delete(self.future)
        error = U64[self._arena.base]
        self._arena.release()
        try:
            self._instance._started(error)  # noqa: SLF001
        except BaseException:
            self._instance.close()
            raise
        return self._instance


def _end(store: StoreState, linked: Origin) -> None:
    """Close the store; `linked` is a parameter so that the callbacks outlive it."""
    store.close()
