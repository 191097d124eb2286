"""What became of the messages of one table."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Counts"]


@dataclass(slots=True)
class Counts:
    """What became of the messages of one table.

    :ivar delivered: deliveries that the component was called with, repeated ones included
    :ivar handled: messages that it handled
    :ivar retried: deliveries that failed and are repeated
    :ivar dead: messages that were put to the dead letters
    :ivar lost: messages that failed for good, and there are no dead letters to put them to, or they are too
        large for that
    :ivar unsettled: outcomes that the broker could not be told: it delivers those messages again
    """

    delivered: int = 0
    handled: int = 0
    retried: int = 0
    dead: int = 0
    lost: int = 0
    unsettled: int = 0
