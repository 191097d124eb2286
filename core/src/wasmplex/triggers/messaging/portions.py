"""How many messages a component is handed in one go: as many as it handles in no time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from wasmplex.capabilities.messaging import Delivery
from wasmplex.triggers.messaging.outcomes import before
from wasmplex.triggers.messaging.settings import MessagingTriggerSettings
from wasmplex.triggers.messaging.slices import SLICE

__all__ = ["EACH", "Portions", "fitting", "goes_alone"]

EACH: Final = 4
"""Messages that are handed over in one go at most, for each call that may be under way."""

_MOST_BYTES: Final = 1 << 16
"""Bytes of bodies that are handed over in one go, unless it is a single message."""
_FILLED: Final = 0.9
"""How much of a slice they may take, by what those before took."""
_SHORTEST, _LONGEST = 8, 256
"""Messages that have to be handled quickly after a pause, before several are handed over again."""


class Portions:
    """Learns from how long messages took how many to hand over next.

    A component that is quick gets ever more, up to what it handles in nearly a slice. One that waits, or
    takes long, gets one at a time: no message is to be behind another that somebody else could handle.

    :param most: how many there may be at most
    :ivar size: how many to hand over next
    """

    __slots__ = ("_most", "_needed", "_patience", "size")

    def __init__(self, most: int) -> None:
        self._most = most
        self._patience = _SHORTEST
        self._needed = 0
        self.size = 1

    def took(self, count: int, seconds: float) -> None:
        """Note how long some messages took, which were handled without a pause.

        :param seconds: of this thread, for while others run on the processor the component does nothing
        """
        most = int(count * _FILLED * SLICE / seconds) if seconds else self._most
        if seconds > SLICE:
            self.size = max(min(self.size, most), min(self.size, count) // 2, 1)
        elif most > self.size:
            self._needed -= count
            if self._needed <= 0 and count >= self.size:
                self.size = min(2 * self.size, most, self._most)
                if count > 1:  # one message says nothing: it may have waited
                    self._patience = max(self._patience // 2, _SHORTEST)

    def paused(self) -> None:
        """Note that the component has waited, or was interrupted."""
        self.size = 1
        self._needed = self._patience
        self._patience = min(2 * self._patience, _LONGEST)

    def refused(self) -> None:
        """Note that it cannot be handed more than one."""
        self.size = self._most = 1


def fitting(deliveries: Iterable[Delivery], settings: MessagingTriggerSettings) -> list[Delivery]:
    """Return the first of some deliveries, as many as the component may be called with in one go.

    The first in any case, and none from the first on that it is not to be called with at all.
    """
    some: list[Delivery] = []
    total, largest = 0, settings.max_body
    for delivery in deliveries:
        size = len(delivery.message.body)
        total += size
        if some:
            doubtful = size > largest or delivery.tries > 1  # no others are judged: most are neither
            if total > _MOST_BYTES or (doubtful and before(delivery, settings) is not None):
                break
        some.append(delivery)
    return some


def goes_alone(delivery: Delivery) -> bool:
    """Say whether a message is so large that no other of its size would fit."""
    return 2 * len(delivery.message.body) > _MOST_BYTES
