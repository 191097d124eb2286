"""What the engine keeps per wasmtime store, and how generated code and callbacks find it."""

from __future__ import annotations

import ctypes
import weakref
from typing import TYPE_CHECKING, Any, Final, Protocol

from wasmplex.engine import capi
from wasmplex.engine.accounts import Account
from wasmplex.engine.arena import Arena
from wasmplex.engine.capi import host_to_any, set_epoch_deadline
from wasmplex.engine.inplace import Places
from wasmplex.engine.memory import RAW, U64
from wasmplex.engine.resources import GuestResource, HostObjects, Patterns
from wasmplex.engine.services import Services
from wasmplex.engine.turns import Share
from wasmplex.wit.types import Resource

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from wasmplex.engine.accounts import LinearMemory
    from wasmplex.engine.pace import Pace
    from wasmplex.engine.variants import Variant

__all__ = ["STATES", "StoreState", "fail", "take_error"]

STATES: Final[dict[int, StoreState]] = {}
"""The live stores by the address of their contexts: what callbacks are given."""

_YIELD_TICKS = 1
_LARGE = 4 << 20
"""Bytes of memory from which on it takes long to give them back: 0.1 ms for each MiB."""
_UNLIMITED = -1
"""What wasmtime bounds of each memory by itself: the account bounds all of them together."""
_patterns: Final = Patterns()
_known: Final = _patterns.known


class Inhabitant(Protocol):
    """The instance that lives in a store, as far as this is concerned; host functions are given it."""

    @property
    def memory_in_place(self) -> LinearMemory:
        """The memory that holds the bytes which functions take and give in place."""


class StoreState:
    """One wasmtime store and all that hangs on it. Used on the event loop's thread only.

    :ivar ctx: address of the store's context
    :ivar flag: address of the byte that tells wasmtime that the suspended host function is done
    :ivar paused: called when the guest gives others the event loop, with whether it waits for the host
    :ivar waiting: the host function that has suspended the guest: (coroutine, what it yielded first,
        finish, finish_err, result slot, name); None while none does
    :ivar bare: what bare functions are given, None until one is called (`wasmplex.engine.bare`)
    :ivar bare_aside: the same for those of the second adapter
    :ivar look: returns the object behind a borrowed handle, given its representation
    :ivar take: returns the object behind a handle whose ownership comes back
    :ivar places: the bytes on their way to and from the guest's memory, None until there are any
    :ivar polling: True while wasmtime, and what it calls, runs
    :ivar task: who waits for the host function that has suspended the guest
    :ivar elsewhere: whether the store is freed in another thread if that has nothing else to do
    :ivar account: the books on its memory
    :ivar pace: how often the guests of its workload call the host, None if nobody counts
    :ivar share: the guests of its workload, as they share the event loop with others
    :ivar ended: called when it is closed
    :ivar error: the Python exception that a callback could not raise through wasmtime, and whose it was
    """

    __slots__ = (
        "_block", "_instance", "_out", "_store", "_variant", "account", "bare", "bare_aside", "closed", "ctx",
        "elsewhere", "ended", "error", "flag", "loans", "look", "moved", "objects", "pace", "paused",
        "places", "polling", "services", "share", "take", "task", "ticker", "turns", "waiting",
    )  # fmt: skip

    def __init__(
        self,
        variant: Variant,
        services: Services,
        share: Share,
        account: Account,
        objects: HostObjects,
        bounds: tuple[int, int, int, int],
    ) -> None:
        self.services = services
        self.ticker = services.ticker
        self.turns = services.turns
        self.share = share
        self.account = account
        self.elsewhere = False
        self.pace: Pace | None = None
        self.paused: Callable[[bool], None] | None = None
        self._variant = variant
        self._store = capi.store_new(variant.engine, 0, 0)
        capi.store_limiter(self._store, _UNLIMITED, *bounds)
        self.ctx: int = capi.store_context(self._store)
        capi.epoch_yield(self.ctx, _YIELD_TICKS)
        self._block = (ctypes.c_uint64 * 2)()
        self.flag = ctypes.addressof(self._block)
        self._out = self.flag + 8
        self._instance: weakref.ref[Inhabitant] | None = None
        self.waiting: tuple[Any, Any, Any, Any, int, str] | None = None
        self.error: tuple[str, BaseException] | None = None
        self.bare: Any = None
        self.bare_aside: Any = None
        self.places: Places | None = None
        self.objects = objects
        self.look: Callable[[int], Any] = objects.entries.__getitem__
        self.take: Callable[[int], Any] = objects.take
        self.loans: list[tuple[int, int]] = []
        self.moved: list[GuestResource] = []
        self.polling = False
        self.task: asyncio.Task[Any] | None = None
        self.closed = False
        self.ended: Callable[[], None] | None = None
        STATES[self.ctx] = self

    @property
    def instance(self) -> Inhabitant:
        """The instance that lives in the store, for host functions that ask for it."""
        instance = self._instance() if self._instance is not None else None
        if instance is None:
            raise RuntimeError("a host function was called without an instance")
        return instance

    def bind(self, instance: Inhabitant) -> None:
        """Name the instance that host functions are given."""
        self._instance = weakref.ref(instance)

    def open_places(self) -> Places:
        """Find the guest's memory, and return what moves bytes in it."""
        self.places = Places(self.instance.memory_in_place, self.objects.workload)
        return self.places

    def refresh_epoch(self) -> None:
        """Give the guest a full tick before it has to yield; a wait must not count as its running time."""
        ticker = self.ticker
        ticker.wanted = True
        if ticker.asleep:
            ticker.wake()
        set_epoch_deadline(self.ctx, _YIELD_TICKS)

    def close(self) -> None:
        """End the store: free everything, and have the host's objects dropped that the guest still holds."""
        if self.closed:
            return
        self.closed = True
        self.bare = self.places = None
        self.account.memories = []  # each refers to its account
        del STATES[self.ctx]
        self._free()
        self.services.trimming.freed(len(self.objects))
        self.services.sweeper.sweep(self.objects)
        if self.ended is not None:
            self.ended()
            self.ended = None

    def _free(self) -> None:
        """Free the store: in another thread if that takes long, for it gives many pages back."""
        stores, worker = [self._store], self.services.worker
        if self.account.used >= _LARGE or (self.elsewhere and not worker.busy):
            try:
                worker.submit(_delete, stores, self._variant)
                return
            except RuntimeError:  # no thread can be started, or the interpreter ends
                pass
        _delete(stores, self._variant)

    def release(self, value: Any) -> None:
        """Have an object dropped that was to get a handle, and will get none. Never raises."""
        try:
            self.objects.forget(value)
        except (Exception, SystemExit) as error:  # noqa: BLE001  there is nobody to raise it to
            self.services.sweeper.tell(self.objects.workload, error)

    # ------------------------------------------------------------ handles, called by generated code

    def hand(self, resource: Resource, value: Any) -> int:
        """Make a C handle for a value; whoever gets it frees it."""
        if not resource.imported:
            pointer: int = capi.any_clone(value.pointer_in(self, resource))
            self.moved.append(value)
            return pointer
        rep = self.objects.add(value)
        pattern = _known.get(resource.id << 32 | rep)
        if pattern is None:
            return self._hand(resource, rep)
        if error := host_to_any(self.ctx, pattern, self._out):
            raise RuntimeError(take_error(error))
        return U64[self._out >> 3]

    def give(self, resource: Resource, value: Any, arena: Arena) -> int:
        """Make a C handle for an ``own``; the arena frees it."""
        pointer = self.hand(resource, value)
        arena.own_box(pointer)
        return pointer

    def lend(self, resource: Resource, value: Any, arena: Arena) -> int:
        """Make a C handle for a ``borrow`` that ends with the call."""
        if not resource.imported:
            lent: int = value.pointer_in(self, resource)
            return lent
        rep = self.objects.add(value)
        pointer = self._hand(resource, rep)
        arena.own_box(pointer)
        self.loans.append((pointer, rep))
        return pointer

    def _hand(self, resource: Resource, rep: int) -> int:
        if error := _patterns.enter(self.ctx, resource.id, rep, self._out):
            raise RuntimeError(take_error(error))
        return U64[self._out >> 3]

    def adopt(self, resource: Resource, pointer: int) -> GuestResource:
        """Return a handle of our own for a guest's resource."""
        return GuestResource(self, resource, capi.any_clone(pointer), owned=True)

    def end_loans(self) -> None:
        """Take back what was lent for a call. The C handles must still exist."""
        while self.loans:
            pointer, rep = self.loans.pop()
            if error := capi.any_to_host(self.ctx, pointer, self._out):
                take_error(error)
            else:
                capi.host_delete(U64[self._out >> 3])
            if rep in self.objects.entries:
                self.objects.take(rep)


def _delete(stores: list[int], variant: Variant) -> None:
    """Delete a store, once; the functions that take its memories back must exist until that is done."""
    while stores:
        capi.store_delete(stores.pop())


def take_error(error: int) -> str:
    """Return the message of a wasmtime error, and free it."""
    vec = (ctypes.c_uint64 * 2)()
    at = ctypes.addressof(vec)
    capi.error_message(error, at)
    data: bytes = RAW[vec[1] : vec[1] + vec[0]]
    capi.byte_vec_delete(at)
    capi.error_delete(error)
    return data.decode(errors="replace")


def fail(ctx: int, function: str, error: BaseException) -> int:
    """Keep what a host function raised for the driver; return the error that ends the guest's call."""
    state = STATES.get(ctx)
    if state is not None:
        state.error = (function, error)
    pointer: int = capi.error_new(b"a host function failed")
    return pointer
