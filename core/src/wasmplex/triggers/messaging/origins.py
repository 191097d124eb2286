"""Whose records of the log are: the message that the component is called with, and the id of its delivery."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from wasmplex.capabilities.messaging import Delivery
from wasmplex.logs import Origin, Whose, identity

__all__ = ["MessageOrigin", "Origins"]


class Origins:
    """Says whose records are whose that are logged for the messages of one table of the trigger.

    :param workload: which is called with them
    """

    def __init__(self, workload: str) -> None:
        self._workload = workload
        self._named: dict[Delivery, Whose] = {}
        """What was said of deliveries whose outcome is not known yet. Most never say anything."""

    def of(self, deliveries: Sequence[Delivery], made: Callable[[], int] = int) -> MessageOrigin:
        """Return the origin of what the component says while it is called with some messages.

        :param made: returns how many of the calls have been made
        """
        return MessageOrigin(self._workload, deliveries, made, self)

    def named(self, delivery: Delivery) -> Whose:
        """Return what records say of a delivery: the id is new with each, if the message has none."""
        found = self._named.get(delivery)
        if found is None:
            found = self._named[delivery] = (*_look(delivery), "", self._workload)
        return found

    def forget(self, deliveries: Iterable[Delivery]) -> None:
        """Forget deliveries that have an outcome."""
        if self._named:
            for delivery in deliveries:
                self._named.pop(delivery, None)


class MessageOrigin(Origin):
    """What the records of calls with some messages say. Nothing is looked up before one is logged."""

    __slots__ = ("_deliveries", "_made", "_origins")

    def __init__(
        self, workload: str, deliveries: Sequence[Delivery], made: Callable[[], int], origins: Origins
    ) -> None:
        self.workload = workload
        self.over = False
        self._deliveries = deliveries
        self._made = made
        self._origins = origins

    @property
    def named(self) -> Whose:
        """What is said of the message that the component is called with now; of none once the calls are over.

        They are forgotten then, and are not to be remembered again for good.
        """
        if self.over:
            return super().named
        return self._origins.named(self._deliveries[min(self._made(), len(self._deliveries) - 1)])


def _look(delivery: Delivery) -> tuple[str, str]:
    headers = delivery.message.headers or {}
    return identity((name.lower().encode(), value.encode()) for name, value in headers.items())
