"""The instances of one workload: how many live, how often one is used, who waits, when it is dropped.

One call runs in one instance; concurrency is many instances. An idle instance is taken last in, first
out, so that a quiet workload keeps using the few that are warm.
"""

from __future__ import annotations

from asyncio import get_running_loop
from collections.abc import Awaitable, Callable
from functools import partial
from typing import NamedTuple, Protocol, TypeAlias

import anyio

from wasmplex.errors import LimitExceeded
from wasmplex.loans import Lender, PooledInstance
from wasmplex.logs import get_logger
from wasmplex.waiting import Waiters

__all__ = ["AHEAD", "Coming", "InstancePool", "PoolStatistics"]


log = get_logger("wasmplex.instances")

AHEAD = 6
"""Instances that are made ahead of calls."""


class Coming(Protocol):
    """An instance that is being made in another thread."""

    def done(self) -> bool:
        """Say whether `result` may be called."""

    def when_done(self, callback: Callable[[], object]) -> None:
        """Have a function called when it is done, in whatever thread."""

    def result(self) -> PooledInstance:
        """Return the instance, or raise why there is none; once."""


_Lent: TypeAlias = tuple[PooledInstance, int]
"""An instance and the number of calls it has served."""


class PoolStatistics(NamedTuple):
    """A snapshot of an `InstancePool`."""

    #: instances that exist, idle or in a call
    live: int
    #: instances waiting for a call
    idle: int
    #: calls waiting for an instance
    waiting: int
    #: instances ever made
    created: int


class InstancePool(Lender):
    """Lends instances for one call each.

    :param create: makes a fresh instance
    :param maximum: how many may live at once
    :param reuse: how many calls one instance serves; 1 for a fresh one every time
    :param queue: how many calls may wait for an instance; more are refused at once
    :param timeout: seconds that one call may take, the wait for an instance included
    :param name: the workload, for messages
    :param on_error: told of whatever ends a call, or keeps it from beginning
    :param begin: begins to make a fresh instance, without holding up anybody; there are then up to `AHEAD` of
        them ready or on their way, if `maximum` allows it
    """

    def __init__(
        self,
        create: Callable[[], Awaitable[PooledInstance]],
        *,
        maximum: int,
        reuse: int,
        queue: int,
        timeout: float,
        name: str,
        on_error: Callable[[BaseException], None] | None = None,
        begin: Callable[[], Coming] | None = None,
    ) -> None:
        super().__init__(name, reuse, timeout, on_error)
        self._create = create
        self._begin = begin
        self._coming: list[Coming] = []
        self._making = 0  # calls that make their instance themselves
        self._maximum = maximum
        self._queue = queue
        self._idle: list[_Lent] = []
        self._waiters = Waiters[_Lent | None](name, timeout, self._hand_on)
        self._live = 0
        self._lent = 0
        self._created = 0
        self._closed = False
        self._drained: anyio.Event | None = None

    def __repr__(self) -> str:
        s = self.statistics()
        return f"<InstancePool {self.name}: {s.live} live, {s.idle} idle, {s.waiting} waiting>"

    def statistics(self) -> PoolStatistics:
        """Return a snapshot for metrics and messages."""
        return PoolStatistics(self._live, len(self._idle), len(self._waiters), self._created)

    async def drain(self) -> None:
        """Refuse new calls and return when none is under way. The caller brings the deadline."""
        self._closed = True
        if self._lent:
            self._drained = self._drained or anyio.Event()
            await self._drained.wait()

    def close(self) -> None:
        """Drop the idle instances; those in a call are dropped when it ends."""
        self._closed = True
        while self._idle:
            self._live -= 1
            self.drop(self._idle.pop()[0])
        if not self._lent:
            self.deadlines.close()

    def end_idle(self) -> bool:
        """End the instance that has been idle for longest; say whether there was one."""
        if not self._idle:
            return False
        self._live -= 1
        self.drop(self._idle.pop(0)[0])
        return True

    async def settle(self) -> None:
        """Wait, after `close`, until nothing is being made any more."""
        with anyio.CancelScope(shield=True):
            while self._coming:
                if (lent := self._arrived()) is not None:
                    self._live -= 1
                    self.drop(lent[0])
                else:
                    await anyio.sleep(0.001)

    # A waiter is handed either an instance or a free place (None) to make one in; whoever hands it over has
    # already counted it, so that no newcomer can take it first.

    async def take(self) -> tuple[PooledInstance, int]:
        """Return an instance for one call, and how many it has served; for `Loan`.

        :raises LimitExceeded: if too many wait already
        """
        if self._closed:
            raise LimitExceeded(f"workload {self.name!r} is stopping and takes no new calls")
        self._lent += 1
        try:
            lent = self._idle.pop() if self._idle else self._arrived()
            may_make = lent is None and self._may_make()
            self._live += may_make
            self._stock()
            if lent is not None:
                return lent
            return await self._make() if may_make else await self._wait() or await self._make()
        except BaseException:
            self._returned()
            raise

    def _may_make(self) -> bool:
        """Say whether a call may make its instance itself.

        Where instances are made ahead, only one call does at a time: all of them at once would take longer,
        and whoever waits for that one may be handed one that was made ahead.
        """
        return self._live < self._maximum and not (self._making and self._begin is not None)

    async def _wait(self) -> _Lent | None:
        on_their_way = len(self._coming) + self._maximum - self._live
        if len(self._waiters) >= self._queue + on_their_way:
            raise LimitExceeded(
                f"workload {self.name!r} is full: {self._maximum} instances are busy"
                f" and {len(self._waiters)} calls wait",
                fix=f"raise instances.max or instances.queue of [workload.{self.name}]",
            )
        return await self._waiters.wait()

    async def _make(self) -> _Lent:
        if (lent := self._arrived()) is not None:
            self._hand_on(None)
            return lent
        self._making += 1
        try:
            instance = await self._create()
        except BaseException:
            self._making -= 1
            self._hand_on(None)
            raise
        self._making -= 1
        self._created += 1
        self._encourage()
        return instance, 0

    def _encourage(self) -> None:
        if self._waiters and self._may_make():
            self._live += 1
            self._hand_on(None)

    # What is being made ahead is looked at by whoever needs an instance: the news of it waits for the event
    # loop, and comes late while that is busy.

    def _stock(self) -> None:
        while (
            self._begin is not None and len(self._idle) + len(self._coming) < AHEAD
            and self._live < self._maximum and not self._closed
        ):  # fmt: skip
            try:
                coming = self._begin()
            except Exception as error:  # noqa: BLE001  the call that needs one finds out for itself
                log.debug("workload %s: no instance can be made ahead: %s", self.name, error)
                return
            self._live += 1
            self._coming.append(coming)
            coming.when_done(partial(get_running_loop().call_soon_threadsafe, self._news))

    def _arrived(self) -> _Lent | None:
        for coming in self._coming:
            if coming.done():
                self._coming.remove(coming)
                try:
                    instance = coming.result()
                except Exception as error:  # noqa: BLE001  the next call finds out for itself, and tells its caller
                    self._live -= 1
                    log.debug("workload %s: no instance could be made ahead: %s", self.name, error)
                    return None
                self._created += 1
                return instance, 0
        return None

    def _news(self) -> None:
        while self._waiters and (lent := self._arrived()) is not None:
            self._hand_on(lent)
        self._encourage()

    def give_back(self, instance: PooledInstance, used: int) -> None:
        """Note that a call has ended, and how many the instance has served with it; for `Loan`."""
        if instance.poisoned or used >= self.reuse or (self._closed and not self._waiters):
            self.drop(instance)
            self._hand_on(None)
        elif self._waiters:
            self._hand_on((instance, used))
        else:
            self._idle.append((instance, used))
        self._returned()

    def _hand_on(self, lent: _Lent | None) -> None:
        handed = lent is not None or self._begin is None or not self._making
        if handed and self._waiters.hand(lent):
            return
        if lent is None:
            self._live -= 1
        else:
            self._idle.append(lent)

    def _returned(self) -> None:
        self._lent -= 1
        if self._closed and not self._lent:
            self.deadlines.close()
            if self._drained is not None:
                self._drained.set()
