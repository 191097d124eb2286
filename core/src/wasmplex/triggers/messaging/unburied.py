"""Messages whose dead letter could not be kept: they come again, and in this host nobody is called again."""

from __future__ import annotations

from wasmplex.capabilities.messaging import Delivery
from wasmplex.triggers.messaging.outcomes import Verdict

__all__ = ["Unburied"]

MOST = 200
"""How many are remembered, the latest: an error may hold what the call has had."""


class Unburied:
    """What was found about messages that wait for their dead letter to be kept.

    Of those only that their broker has a name for.
    """

    def __init__(self) -> None:
        self._found: dict[str, tuple[Verdict, Exception | None]] = {}

    def __len__(self) -> int:
        """Return how many there are: mostly none."""
        return len(self._found)

    def add(self, delivery: Delivery, verdict: Verdict, error: Exception | None) -> None:
        """Remember what a message is to be a dead letter for."""
        if delivery.identity is None:
            return
        self._found.pop(delivery.identity, None)
        self._found[delivery.identity] = verdict, error
        if len(self._found) > MOST:
            del self._found[next(iter(self._found))]

    def found(self, delivery: Delivery) -> tuple[Verdict, Exception | None] | None:
        """Return what was found about a message; None if that is not known."""
        if not self._found or delivery.identity is None:
            return None
        return self._found.get(delivery.identity)

    def forget(self, delivery: Delivery) -> None:
        """Forget a message that has its outcome."""
        if self._found and delivery.identity is not None:
            self._found.pop(delivery.identity, None)
