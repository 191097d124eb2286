"""Calls the component with what was taken from the broker, one message or several in one go."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice, takewhile
from time import perf_counter
from typing import Final

import anyio

from wasmplex.capabilities.messaging import Deliveries, Delivery
from wasmplex.capabilities.messaging.handling import Handle, HandleEach, Outcome
from wasmplex.errors import LimitExceeded, exited_well
from wasmplex.logs import get_logger
from wasmplex.plugins.contracts import Borrowing, GuestInstance, Workload
from wasmplex.triggers.messaging.counts import Counts
from wasmplex.triggers.messaging.outcomes import before
from wasmplex.triggers.messaging.portions import Portions, fitting
from wasmplex.triggers.messaging.settings import MessagingTriggerSettings

__all__ = ["Caller", "Taken"]

logger = get_logger("wasmplex.messaging")

FULL_PAUSE = 0.02
"""Seconds before a workload is asked again all of whose instances are taken."""
_PATIENT: Final = 1.0
"""Seconds that calls have to have, for several to share them: the last may begin a tick later than the first,
which is 10 ms."""


class Taken:
    """Deliveries that one worker has taken, in their order.

    :param deliveries: where they come from
    :ivar left: those whose outcome the broker does not know
    :ivar outcomes: what became of the first of them
    """

    __slots__ = ("deliveries", "left", "outcomes")

    def __init__(self, deliveries: Deliveries, first: Delivery) -> None:
        self.deliveries = deliveries
        self.left = deque((first,))
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
    :param relieve: called with what is being handled when the component pauses: others see to what they can
    :param what: whose messages these are, for the log
    :ivar portions: how many to take at once
    """

    def __init__(
        self,
        workload: Workload,
        handle: Handle,
        settings: MessagingTriggerSettings,
        counts: Counts,
        relieve: Callable[[Taken], None],
        what: str,
    ) -> None:
        self._workload = workload
        self._handle = handle
        self._each = handle if isinstance(handle, HandleEach) and workload.timeout >= _PATIENT else None
        self.portions = Portions(settings.calls if self._each is not None else 1)
        self._settings = settings
        self._counts = counts
        self._relieve = relieve
        self._what = what
        self._stopped = False
        self._full = False

    def stop(self) -> None:
        """Wait no longer for instances."""
        self._stopped = True

    async def call(self, taken: Taken) -> None:
        """Call the component with the first of some messages, which have an outcome then.

        Waits for an instance as long as it takes.
        """
        while True:
            loan = self._workload.instance()
            try:
                async with loan as instance:
                    self._full = False
                    await self._call(loan, instance, taken)
            except Exception as error:  # noqa: BLE001  whatever it is, it is the next message that failed
                waits = isinstance(error, LimitExceeded) and not error.called
                if not waits or self._stopped:
                    taken.outcomes.append(None if exited_well(error) else error)
                    return
                self._tell_full(error)
                await anyio.sleep(FULL_PAUSE)
            else:
                return

    def _tell_full(self, error: Exception) -> None:
        if not self._full:
            self._full = True
            logger.warning("%s: messages wait for an instance: %s", self._what, error)

    async def _call(self, loan: Borrowing, instance: GuestInstance, taken: Taken) -> None:
        begun = perf_counter()
        if len(taken.left) == 1 or not self._takes_several(instance):
            self._counts.delivered += 1
            await self._handle(instance, taken.left[0].message)
            taken.outcomes.append(None)
            self.portions.took(1, perf_counter() - begun)
            return
        some = list(islice(takewhile(self._fits, taken.left), loan.calls_left))
        del some[fitting(len(delivery.message.body) for delivery in some) :]
        if count := await self._call_each(loan, instance, taken, some):
            self.portions.took(count, perf_counter() - begun)

    def _takes_several(self, instance: GuestInstance) -> bool:
        if self._each is not None and self._each.several(instance):
            return True
        self.portions.refused()
        return False

    def _fits(self, delivery: Delivery) -> bool:
        return before(delivery, self._settings) is None

    async def _call_each(
        self,
        loan: Borrowing,
        instance: GuestInstance,
        taken: Taken,
        some: Sequence[Delivery],
    ) -> int:
        """Hand over several messages; return how many were handled without a pause."""
        whole, failed, earlier = True, 1, 0
        assert self._each is not None  # noqa: S101  the caller has looked

        def paused() -> None:
            nonlocal whole, earlier
            whole, earlier = False, len(taken.outcomes)
            self.portions.paused()
            self._relieve(taken)

        try:
            await self._each.each(instance, [delivery.message for delivery in some], taken.outcomes, paused)
            failed = 0
        finally:
            count = earlier + len(taken.outcomes) + failed
            self._counts.delivered += count
            loan.note_calls(count)
        return count if whole else 0
