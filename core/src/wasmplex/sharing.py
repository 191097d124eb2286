"""The instances of a workload whose instances are in several calls at once.

A call goes to the instance that has most to do and room for one more: so a quiet workload keeps few, and each
is used up before the next. What an instance does after its last call has returned counts as under way.
"""

from __future__ import annotations

from asyncio import Task, current_task, get_running_loop
from collections.abc import Awaitable, Callable
from typing import Protocol

import anyio

from wasmplex.errors import LimitExceeded
from wasmplex.instances import PoolStatistics
from wasmplex.loans import Lender, PooledInstance
from wasmplex.logs import get_logger
from wasmplex.waiting import Waiters

__all__ = ["SharedPool", "SharingInstance"]

log = get_logger("wasmplex.instances")


class SharingInstance(PooledInstance, Protocol):
    """What the pool needs of an instance that is in several calls at once."""

    @property
    def lingers(self) -> bool:
        """Whether something goes on in it, be it after a call."""

    async def rest(self) -> None:
        """Wait until nothing goes on in it."""


class _Place:
    """One instance, and what it does."""

    __slots__ = ("active", "instance", "used", "watch")

    def __init__(self, instance: SharingInstance) -> None:
        self.instance = instance
        self.active = 0
        self.used = 0
        self.watch: Task[None] | None = None


class SharedPool(Lender):
    """Lends instances for several calls at once. `wasmplex.instances.InstancePool` explains the parameters.

    :param concurrency: calls that may be in one instance at once
    """

    def __init__(
        self,
        create: Callable[[], Awaitable[SharingInstance]],
        *,
        maximum: int,
        reuse: int,
        concurrency: int,
        queue: int,
        timeout: float,
        name: str,
        on_error: Callable[[BaseException], None] | None = None,
    ) -> None:
        super().__init__(name, reuse, timeout, on_error)
        self._create = create
        self._maximum = maximum
        self._concurrency = concurrency
        self._queue = queue
        self._places: dict[int, _Place] = {}
        self._waiters = Waiters[_Place | None](name, timeout, self._undo)
        self._making = 0
        self._lent = 0
        self._created = 0
        self._closed = False
        self._changed: anyio.Event | None = None

    def __repr__(self) -> str:
        s = self.statistics()
        return f"<SharedPool {self.name}: {s.live} live, {s.idle} idle, {s.waiting} waiting>"

    @property
    def if_late(self) -> str:
        """What to do where calls are not over in time: those that compute are late together."""
        if self._concurrency == 1:
            return super().if_late
        many = f"up to {self._concurrency} calls are in an instance at once"
        return f"{super().if_late}; set instances.concurrency = 1 if it computes: {many}"

    def statistics(self) -> PoolStatistics:
        """Return a snapshot for metrics and messages."""
        idle = sum(not place.active for place in self._places.values())
        return PoolStatistics(len(self._places) + self._making, idle, len(self._waiters), self._created)

    async def drain(self) -> None:
        """Refuse new calls and return when none is under way. The caller brings the deadline."""
        self._closed = True
        while self._lent or any(place.watch is not None for place in self._places.values()):
            await self._change()

    def close(self) -> None:
        """Drop the instances that no call is in; the others are dropped when their last one ends."""
        self._closed = True
        for place in [*self._places.values()]:
            if not place.active:
                self._end(place)
        if not self._lent:
            self.deadlines.close()

    def end_idle(self) -> bool:
        """End an instance that nothing goes on in; say whether there was one."""
        for place in self._places.values():
            if not place.active and not place.instance.lingers:
                self._end(place)
                return True
        return False

    async def settle(self) -> None:
        """Wait, after `close`, until nothing is being made any more."""
        with anyio.CancelScope(shield=True):
            while self._making:
                await self._change()

    # ------------------------------------------------------------ for `Loan`

    async def take(self) -> tuple[SharingInstance, int]:
        """Return an instance for one call, and how many it has served.

        :raises LimitExceeded: if too many wait already
        """
        if self._closed:
            raise LimitExceeded(f"workload {self.name!r} is stopping and takes no new calls")
        self._lent += 1
        try:
            place = self._free() or await self._place()
        except BaseException:
            self._returned()
            raise
        return place.instance, place.used - 1

    def give_back(self, instance: PooledInstance, used: int) -> None:
        """Note that a call has ended."""
        place = self._places[id(instance)]
        place.active -= 1
        self._left(place)
        self._returned()

    # ------------------------------------------------------------ inside

    def _free(self) -> _Place | None:
        """Return the instance with most to do of those that have room, with one more call counted."""
        best = None
        for place in self._places.values():
            if self._has_room(place) and (best is None or place.active > best.active):
                best = place
        if best is not None:
            self._enter(best)
        return best

    def _has_room(self, place: _Place) -> bool:
        return place.active < self._concurrency and place.used < self.reuse and not place.instance.poisoned

    def _enter(self, place: _Place) -> None:
        place.active += 1
        place.used += 1

    def _may_make(self) -> bool:
        """Say whether to make an instance: not while those that are being made suffice for all that wait."""
        room = len(self._places) + self._making < self._maximum
        return room and len(self._waiters) >= self._making * (min(self._concurrency, self.reuse) - 1)

    async def _place(self) -> _Place:
        if self._may_make():
            self._making += 1
            return await self._make()
        return await self._wait() or await self._make()

    async def _wait(self) -> _Place | None:
        """Wait for room in an instance; None is a place to make one in, which is counted already."""
        if len(self._waiters) >= self._queue + self._making * self._concurrency:
            raise LimitExceeded(
                f"workload {self.name!r} is full: {self._maximum} instances are busy"
                f" and {len(self._waiters)} calls wait",
                fix=f"raise instances.max, concurrency or queue of [workload.{self.name}]",
            )
        return await self._waiters.wait()

    def _undo(self, place: _Place | None) -> None:
        """Take back what was handed to somebody who has gone."""
        if place is None:
            self._made()
            self._encourage()
            return
        place.used -= 1
        place.active -= 1
        self._left(place)

    def _left(self, place: _Place) -> None:
        """See to an instance that a call has gone from."""
        if place.instance.poisoned or place.used >= self.reuse or self._closed:
            if not place.active:
                self._retire(place)
        elif not self._hand_on(place) and not place.active:
            self._watch(place)

    async def _make(self) -> _Place:
        """Make an instance, in a place that `_making` counts already."""
        try:
            instance = await self._create()
        except BaseException:
            self._made()
            self._encourage()
            raise
        self._made()
        self._created += 1
        place = self._places[id(instance)] = _Place(instance)
        self._enter(place)
        self._hand_on(place)
        self._encourage()
        return place

    def _hand_on(self, place: _Place) -> bool:
        """Let those who wait have the room that there is; say whether anybody did."""
        used = False
        while self._has_room(place) and self._waiters.hand(place):
            self._enter(place)
            used = True
        return used

    def _encourage(self) -> None:
        """Have somebody who waits make an instance, if there may be one more and nobody makes one."""
        free = not self._making and len(self._places) < self._maximum
        if free and self._waiters.hand(None):
            self._making += 1  # at once, or a newcomer would take the place

    def _retire(self, place: _Place) -> None:
        """End an instance that takes no more calls, when nothing goes on in it any more."""
        if place.instance.lingers and not place.instance.poisoned:
            self._watch(place)
        else:
            self._end(place)
        self._encourage()

    def _watch(self, place: _Place) -> None:
        """Have what goes on in an instance without a call come to its end in time."""
        if place.instance.lingers and place.watch is None:
            place.watch = get_running_loop().create_task(self._rest(place))

    async def _rest(self, place: _Place) -> None:
        used = -1
        while place.used != used:  # it has the time after each call
            used = place.used
            with anyio.move_on_after(self.timeout) as scope:
                await place.instance.rest()
            if not scope.cancelled_caught:
                break
        place.watch = None
        if not place.active and id(place.instance) in self._places:
            if scope.cancelled_caught:
                log.warning(
                    "workload %s: an instance is ended, for what a call left running in it took %g s",
                    self.name, self.timeout, extra={"workload": self.name},
                )  # fmt: skip
            if scope.cancelled_caught or self._closed or place.used >= self.reuse or place.instance.poisoned:
                self._end(place)
                self._encourage()
        self._tell_change()

    def _end(self, place: _Place) -> None:
        del self._places[id(place.instance)]
        watch, place.watch = place.watch, None
        self.drop(place.instance)
        if watch is not None and watch is not current_task():
            watch.cancel()
        self._tell_change()

    def _made(self) -> None:
        self._making -= 1
        self._tell_change()

    async def _change(self) -> None:
        """Wait for the next change; several may."""
        self._changed = self._changed or anyio.Event()
        await self._changed.wait()

    def _tell_change(self) -> None:
        if self._changed is not None:
            self._changed.set()
            self._changed = None

    def _returned(self) -> None:
        self._lent -= 1
        self._tell_change()
        if self._closed and not self._lent:
            self.deadlines.close()
