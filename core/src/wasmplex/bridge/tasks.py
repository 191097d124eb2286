"""The tasks of an import adapter: one for each async call that waits, and the driver."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any, Protocol

from wasmplex.bridge.actor import Actor
from wasmplex.bridge.flows import Flow, Plan
from wasmplex.bridge.functions import Served
from wasmplex.bridge.protocol import Event, Op
from wasmplex.bridge.scheduler import Scheduler
from wasmplex.errors import LimitReached

__all__ = ["CallTask", "Driver"]


class Calling(Protocol):
    """What tasks ask of the side of their adapter.

    :ivar running: how many coroutines are under way on the guest's behalf
    :ivar ready: records of tasks whose coroutine has finished
    :ivar leaving: records of tasks that were told that they are cancelled, and will ask once more
    """

    scheduler: Scheduler
    scripts: deque[Plan]
    orders: list[int]
    operands: list[int]
    flows: dict[int, Flow]
    operands_next: int
    orders_most: int
    running: int
    awake: bool
    ready: deque[int]
    tasks: dict[int, CallTask]
    leaving: set[int]
    driver: Driver

    def list_orders(self, orders: Sequence[int], operands: Sequence[int], /) -> int:
        """See `wasmplex.bridge.actor.Scripted`."""

    def outcomes(self, count: int, /) -> Sequence[tuple[int, int]]:
        """See `wasmplex.bridge.actor.Scripted`."""

    def more_events(self) -> Sequence[tuple[int, int, int]]:
        """See `wasmplex.bridge.actor.Scripted`."""

    def has_work(self) -> bool:
        """See `wasmplex.bridge.scheduler.Scheduled`."""

    def ask(self) -> bool:
        """See `wasmplex.bridge.scheduler.Scheduled`."""

    def goes_on(self) -> bool:
        """See `wasmplex.bridge.scheduler.Scheduled`."""

    def close(self) -> None:
        """See `wasmplex.bridge.scheduler.Scheduled`."""

    def dismantle(self) -> None:
        """See `wasmplex.bridge.scheduler.Scheduled`."""

    def give_up(self, served: Served, value: Any, /) -> None:
        """Let go of a result that no guest will get."""


class CallTask:
    """An async function that the guest has called and that has not finished at once."""

    __slots__ = ("cost", "future", "owed", "record", "served", "session", "sleeping")

    def __init__(
        self, session: Calling, served: Served, record: int, future: asyncio.Future[Any], size: int
    ) -> None:
        self.session = session
        self.served = served
        self.record = record
        self.future = future
        self.sleeping = False
        self.owed = True
        session.running += 1
        self.cost = session.scheduler.flight.begin(size)
        future.add_done_callback(self._done)

    def _done(self, future: asyncio.Future[Any]) -> None:
        session = self.session
        session.running -= 1
        if session.tasks.get(self.record) is self:
            self._weigh(future)
            session.ready.append(self.record)
            session.scheduler.wake()
            return
        session.scheduler.flight.end(self.cost)
        self._give_up(future)

    def _weigh(self, future: asyncio.Future[Any]) -> None:
        """Reckon with the result as it is, until the guest takes it."""
        failed = future.cancelled() or future.exception() is not None
        try:
            self.cost = self.session.scheduler.flight.finished(self.cost, None if failed else future.result())
        except LimitReached as error:
            self.session.scheduler.fail(error)

    def take(self) -> Any:
        """Return the result, which is the guest's from now on."""
        self.owed = False
        return self.future.result()

    def cancel(self) -> None:
        """Stop the coroutine, or give up what it has returned."""
        if self.future.done():
            self._give_up(self.future)
            del self.future  # its error would refer to it, by its traceback and the frame of `take`
        elif self.served.codec.owns:
            # It is to begin, so that it can let go of what it was handed; it may not have had its turn yet.
            self.future.get_loop().call_soon(self.future.cancel)
        else:
            self.future.cancel()

    def _give_up(self, future: asyncio.Future[Any]) -> None:
        """Let go of a result that no guest will get; of an error nobody is left to be told."""
        if self.owed and not future.cancelled():
            self.owed = False
            if future.exception() is None:
                self.session.give_up(self.served, future.result())

    def step(self, event: int) -> int:
        """Sleep, return, exit; or cancelled, exit."""
        session = self.session
        if event == Event.RETURNED:
            del session.tasks[self.record]
            session.scheduler.flight.end(self.cost)
            return Op.EXIT
        if event == Event.CANCELLED:
            self._forget()
            self.cancel()
            session.leaving.add(self.record)
            return Op.CANCELLED
        session.driver.woken.discard(self.record)
        if self.future.done():
            session.scheduler.gave()
            return Op.RETURN | self.served.codec.function.number << 8
        self.sleeping = True  # perhaps again: the wake may have been for the task that had the record before
        return Op.WAIT

    def _forget(self) -> None:
        """Take the task out of all books: it was cancelled."""
        session = self.session
        session.driver.woken.discard(self.record)
        if self.record in session.ready:
            session.ready.remove(self.record)
        del session.tasks[self.record]


class Driver(Actor):
    """The adapter's own task: it wakes the others and is the one that lets the store be suspended.

    It yields, and yielded tasks run after all others; so when its turn comes without an event, nothing in
    the instance can run, and it may wait for the host.
    """

    side: Calling

    def __init__(self, side: Calling) -> None:
        super().__init__(side)
        self.woken: set[int] = set()
        """Tasks that were woken and have not had their turn yet."""
        self.dozing = False

    def step(self, event: int, a: int, b: int) -> int:
        """Perform scripts, wake, yield, wait for the host, or sleep."""
        self.dozing = False
        self.side.awake = True
        return self.follow(event, a, b)

    def rest(self, event: int) -> int:
        """Wake, yield, wait for the host, or sleep."""
        side = self.side
        while side.ready:
            record = side.ready.popleft()
            task = side.tasks.get(record)
            if task is not None and task.sleeping and record not in self.woken:
                self.woken.add(record)
                return Op.WAKE | record << 32
        if self.woken:
            return Op.YIELD
        if side.running or side.flows:
            rests = event == Event.NONE and side.scheduler.rests(side) and not side.scheduler.asks()
            return Op.NEXT if rests and not side.scheduler.over else Op.YIELD  # who makes the calls ends them
        self.dozing = True
        side.awake = False
        if self.armed:
            return Op.DOZE
        self.armed = True
        return Op.WAIT
