"""What the adapters of an instance share: who has something to do, what is under way, how it has failed.

Whatever happens in Python for a guest ends in `Scheduler.wake`; whatever an adapter waits for is
`Scheduler.next`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from copy import copy
from typing import Any, Protocol

from wasmplex.bridge.inflight import Chunks, InFlight
from wasmplex.engine.accounts import Account
from wasmplex.errors import GuestError, Trap, WasmplexError
from wasmplex.plugins.limits import Limits
from wasmplex.wit.mismatch import ValueMismatch

__all__ = ["Maker", "Moving", "Scheduled", "Scheduler"]

_AT_ONCE = 3
"""Turns that a guest gets before it is waited for, if it has been given so many things."""
_PAUSE, _LONGEST = 0.001, 1.0
"""Seconds after which a guest gets turns that it may have a use for: at first, and at last."""
_TURNS = 64
"""How many it gets then at most."""
_GATHERING = 2
"""Turns of the loop that a call waits for others that come with it."""

_SPARED = 4
"""How many times as much as adapters take there has to be."""


class Scheduled(Protocol):
    """The side of an adapter."""

    @property
    def awake(self) -> bool:
        """Whether the adapter has a task that looks after its streams, and that is not asleep."""

    @property
    def flows(self) -> Mapping[int, Any]:
        """Streams and futures that the adapter holds an end of, by handle."""

    def has_work(self) -> bool:
        """Say whether there is anything for the adapter to do."""

    def ask(self) -> bool:
        """Find out which streams the guest has dropped; say whether there is any to ask."""

    def goes_on(self) -> bool:
        """Say whether the guest may go on without being called, because of something that Python does."""

    def close(self) -> None:
        """End everything."""

    def dismantle(self) -> None:
        """Part from what refers back to it, once the instance has ended."""


class Moving(Protocol):
    """A stream or future that is fed."""

    @property
    def done(self) -> bool:
        """Whether it has ended."""


class Making(Protocol):
    """The side of an adapter that makes streams and futures."""

    def feed_made(self) -> None:
        """Start feeding those that were made since."""


class Maker(Protocol):
    """The side of the adapter that makes streams and futures for the others."""

    def feed_from(self, sort: int, kind: int, writable: int, source: Any) -> Moving:
        """Start feeding a stream or future of this adapter.

        :param writable: its writable end
        :param source: what feeds it
        """


class Scheduler:
    """Ends the suspension of an instance's store when Python has something for it.

    :param limits: what the instance may take
    :param account: the books on its memory
    :ivar flight: its async calls under way, by all its adapters
    :ivar chunks: what is on its way to it in streams and futures
    """

    def __init__(self, workload: str, limits: Limits, account: Account) -> None:
        self.flight = InFlight(workload, limits, account)
        self.chunks = Chunks(limits.bytes_in_flight)
        self._account = account
        self.sides: list[Scheduled] = []
        self.maker: Maker | None = None
        """The side of the adapter that makes streams and futures for the others."""
        self.making: set[Making] = set()
        """The sides whose adapters make streams and futures that are not fed yet."""
        self._idle: dict[Scheduled, int] = {}
        """How many turns each side has had since something was done, all for nothing."""
        self._given = 0
        self._pause = _PAUSE
        self._turns = 1
        self.failure: BaseException | None = None
        self.gathering = 0
        """Turns of the loop that a suspended store waits for calls to be made together."""
        self.ending = False
        """Whether an export's call is about to end: until it has, nobody may suspend the store."""
        self.calls: Callable[[], bool] | None = None
        """Says whether a call is under way; None where what makes calls ends by itself."""
        self._waiting: asyncio.Future[None] | None = None

    def may_grow(self, size: int) -> bool:
        """Say whether adapters may take more of the instance's memory, for speed alone: it is the guest's."""
        return self._account.used + _SPARED * size <= self._account.limit

    def end(self) -> None:
        """Forget the adapters, which refer to it, and how it has failed but for what to tell those who read.

        The failure itself refers to the adapters, by the frames of its traceback.
        """
        if self.failure is not None:
            self.failure = copy(self.trap())
        self.sides.clear()
        self._idle.clear()
        self.maker = self.calls = None

    def wake(self) -> None:
        """Let the store go on, if it is suspended."""
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    def gather(self) -> None:
        """Let the store go on, soon: a call is to be made, and others may come with it."""
        self.gathering = _GATHERING
        self.wake()

    def fail(self, error: BaseException) -> None:
        """Make the guest's call fail: what it waits for will not come."""
        if self.failure is None:
            self.failure = error
        self.wake()

    def trap(self) -> GuestError:
        """Return what to tell those who read from an instance that has failed.

        The text of foreign exceptions may hold secrets, so it is left to the cause; our own are shown.
        """
        failure = self.failure
        if isinstance(failure, GuestError):
            return failure
        text = f": {failure}" if isinstance(failure, (ValueMismatch, WasmplexError)) else ""
        why = f"{type(failure).__name__}{text}"
        made = Trap("the call that this stream belongs to has failed", why=why)
        made.__cause__ = failure
        return made

    def feed(self) -> None:
        """Start feeding the streams and futures that adapters have made since."""
        for side in [*self.making]:
            side.feed_made()

    def busy(self) -> None:
        """Note that an adapter has done something: others may have something to do because of it."""
        self._idle.clear()

    def gave(self) -> None:
        """Note that the guest has been given something, and may not know it yet."""
        self._given += 1

    def rests(self, side: Scheduled) -> bool:
        """Say whether the store may be suspended, where an adapter's turn has come and it has nothing to do.

        Its turn comes after that of all who can run. With several adapters, all that are awake have to have
        had theirs and found nothing, one after the other: else one might have an event and not know of it.

        A guest's task that is told of one event has to wait for its next turn to be told of the next one: it
        may be as many turns behind as it has been given things. It gets a few at once, more as `next` says.
        """
        self._idle[side] = self._idle.get(side, 0) + 1
        turns = max(self._turns, min(self._given, _AT_ONCE))
        return not self.ending and all(
            self._idle.get(other, 0) >= turns for other in self.sides if other.awake
        )

    def asks(self) -> bool:
        """Find out which streams the guest has dropped, before it is waited for; say whether any is asked.

        A guest may wait for what comes of that: for how a stream has ended that it has dropped, for one.
        """
        return bool(sum(side.ask() for side in self.sides if side.awake))

    @property
    def over(self) -> bool:
        """Whether there is nothing left to wait for: no call, and nothing that the guest could be given."""
        return self.calls is not None and not self.calls() and not any(side.goes_on() for side in self.sides)

    async def next(self) -> None:
        """Wait until an adapter of the instance has something to do, or for a while.

        A guest that yields, and asks the host for nothing, has its turns between those of the adapters; that
        it wants more of them nobody can see. So it gets some now and then, ever more and ever more rarely.
        """
        self._idle.clear()
        self._given = 0
        pause, turns = self._pause, self._turns
        self._pause, self._turns = _PAUSE, 1
        if self.failure is not None or any(side.has_work() for side in self.sides):
            return
        loop = asyncio.get_running_loop()
        self._waiting = loop.create_future()
        timer = loop.call_later(pause, self._resume, min(2 * pause, _LONGEST), min(2 * turns, _TURNS))
        try:
            await self._waiting
            while self.gathering:
                self.gathering -= 1
                await asyncio.sleep(0)
        finally:
            timer.cancel()
            self._waiting = None

    def _resume(self, pause: float, turns: int) -> None:
        """Let the guest have turns, and wait longer after that if nothing comes of them."""
        self._pause, self._turns = pause, turns
        self.wake()
