"""Calls the component with what was taken from the broker, one message or several in one go."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from itertools import islice
from time import thread_time
from typing import Final

import anyio

from wasmplex.capabilities.messaging import Deliveries, Delivery
from wasmplex.capabilities.messaging.handling import Handle, HandleEach, Outcome
from wasmplex.errors import LimitExceeded, exited_well
from wasmplex.logs import get_logger
from wasmplex.plugins.contracts import Borrowing, GuestInstance, Workload
from wasmplex.triggers.causes import in_one_line
from wasmplex.triggers.messaging.counts import Counts
from wasmplex.triggers.messaging.origins import Origins
from wasmplex.triggers.messaging.portions import EACH, Portions, fitting
from wasmplex.triggers.messaging.settings import MessagingTriggerSettings

__all__ = ["Caller", "Taken"]

logger = get_logger("wasmplex.messaging")

FULL_PAUSE = 0.02
"""Seconds before a workload is asked again all of whose instances are taken."""
_PATIENT: Final = 1.0
"""Seconds that calls have to have, for several to share them: the last may begin a tick later than the first,
which is 10 ms."""


Begin = Callable[[Delivery], Awaitable[None]]


class Taken:
    """Deliveries that one worker has taken, in their order.

    :param deliveries: where they come from
    :ivar left: those whose outcome the broker does not know
    :ivar outcomes: what became of the first of them
    """

    __slots__ = ("deliveries", "left", "outcomes")

    def __init__(self, deliveries: Deliveries, left: Iterable[Delivery]) -> None:
        self.deliveries = deliveries
        self.left = deque(left)
        self.outcomes: list[Outcome] = []

    def ended(self) -> list[tuple[Delivery, Outcome]]:
        """Take out those that have an outcome."""
        ended = [(self.left.popleft(), outcome) for outcome in self.outcomes]
        self.outcomes.clear()
        return ended

    def behind(self) -> list[Delivery]:
        """Take out all but the first."""
        first = self.left.popleft()
        others = list(self.left)
        self.left = deque([first])
        return others


class Caller:
    """Calls one component with the messages of one table.

    :param handle: calls the component
    :param origins: says whose record of the log is whose
    :param relieve: called with what is being handled when the component pauses: others see to what they can
    :param what: which messages these are, for the log: its records say whose
    :ivar portions: how many to take at once
    """

    def __init__(
        self,
        workload: Workload,
        handle: Handle,
        settings: MessagingTriggerSettings,
        counts: Counts,
        origins: Origins,
        relieve: Callable[[Taken], None],
        what: str,
    ) -> None:
        self._workload = workload
        self._handle = handle
        self._each = handle if isinstance(handle, HandleEach) and workload.timeout >= _PATIENT else None
        several = self._each is not None and settings.calls > 1
        self.portions = Portions(EACH * settings.calls if several else 1)
        self._settings = settings
        self._counts = counts
        self._origins = origins
        self._relieve = relieve
        self._what = what
        self._stopped = False
        self._full = False
        self._returned = 0
        """Messages that were handled without a pause."""

    def stop(self) -> None:
        """Wait no longer for instances."""
        self._stopped = True

    async def call(self, delivery: Delivery, begin: Begin | None = None) -> Outcome:
        """Call the component with a message; wait for an instance as long as it takes.

        :param begin: called first, once nothing is to be waited for
        """
        while True:
            try:
                async with self._workload.instance() as instance:
                    begun = thread_time(), self._returned
                    self._full = False
                    if begin is not None:
                        await begin(delivery)
                    self._counts.delivered += 1
                    await self._handle(instance, delivery.message)
            except Exception as error:  # noqa: BLE001  whatever it is, it is this message that failed
                if not await self._is_full(error):
                    return None if exited_well(error) else error
            else:
                if self._each is not None:
                    self._took(1, *begun)
                return None

    async def call_each(self, taken: Taken) -> None:
        """Call the component with the first of several messages, which have an outcome then."""
        while True:
            loan = self._workload.instance()
            try:
                async with loan as instance:
                    self._full = False
                    await self._call_several(loan, instance, taken)
            except Exception as error:  # noqa: BLE001  whatever it is, it is the next message that failed
                if not await self._is_full(error):
                    taken.outcomes.append(None if exited_well(error) else error)
                    return
            else:
                return

    def _took(self, count: int, since: float, returned: int) -> None:
        """Note how long some messages took. A call waits for its turn while others have theirs.

        Those that were handled meanwhile have their share of the time: else many quick ones, each in an
        instance of its own, would look slow for ever, and be handed over one by one for that.

        :param since: what `thread_time` was when they were begun
        :param returned: how many messages had been handled then
        """
        self._returned += count
        self.portions.took(count, (thread_time() - since) * count / (self._returned - returned))

    async def _is_full(self, error: Exception) -> bool:
        """Wait a while, if a call has failed for want of an instance; say whether to try again."""
        if self._stopped or not isinstance(error, LimitExceeded) or error.called:
            return False
        self._tell_full(error)
        await anyio.sleep(FULL_PAUSE)
        return True

    def _tell_full(self, error: Exception) -> None:
        if not self._full:
            self._full = True
            logger.warning("%s: messages wait for an instance: %s", self._what, in_one_line(error))

    async def _call_several(self, loan: Borrowing, instance: GuestInstance, taken: Taken) -> None:
        begun = thread_time(), self._returned
        some = fitting(islice(taken.left, loan.calls_left), self._settings)
        if self._each is None or not self._each.several(instance):
            self.portions.refused()
            self._counts.delivered += 1
            with self._origins.of(some[:1]):
                await self._handle(instance, some[0].message)
            taken.outcomes.append(None)
        elif count := await self._hand_over(self._each, loan, instance, taken, some):
            self._took(count, *begun)

    async def _hand_over(
        self,
        each: HandleEach,
        loan: Borrowing,
        instance: GuestInstance,
        taken: Taken,
        some: Sequence[Delivery],
    ) -> int:
        """Hand over several messages; return how many were handled without a pause."""
        whole, failed, earlier = True, 1, 0

        def paused() -> None:
            nonlocal whole, earlier
            whole, earlier = False, len(taken.outcomes)
            self.portions.paused()
            self._relieve(taken)

        try:
            with self._origins.of(some, instance.calls_made):
                await each.each(instance, [delivery.message for delivery in some], taken.outcomes, paused)
            failed = 0
        finally:
            count = earlier + len(taken.outcomes) + failed
            self._counts.delivered += count
            loan.note_calls(count)
        return count if whole else 0
