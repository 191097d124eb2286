"""A message that JetStream has delivered, and how the server is told what became of it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING

from wasmplex.capabilities.messaging import Delivery, Message

from host_plugin_nats.answers import number_in

if TYPE_CHECKING:
    from host_plugin_nats.durable import DurableDeliveries

__all__ = ["DurableDelivery", "outcome_parts", "sequence_in", "tries_at"]

_OUTCOME = "$JS.ACK."


class DurableDelivery(Delivery):
    """A delivery, and the subject for its outcome, which says the rest of it.

    ``$JS.ACK.<stream>.<consumer>.<delivered>.<sequence>.<consumer sequence>.<nanoseconds>.<pending>``, with
    a domain and an account's hash before the stream in newer servers.
    """

    __slots__ = ("_deliveries", "given", "reply_subject")
    watched = True

    def __init__(
        self, deliveries: DurableDeliveries, message: Message, tries: int, reply: str, given: float
    ) -> None:
        self.message, self.tries = message, tries  # a frame less for each message
        self.given = given
        self._deliveries = deliveries
        self.reply_subject = reply

    @property
    def first_seen(self) -> float:  # type: ignore[override]
        """When the message was stored, in Unix seconds; now, if its sender does not say."""
        tokens = outcome_parts(self.reply_subject)
        return time.time() if tokens is None else int(tokens[tries_at(tokens) + 3]) / 10**9

    @property
    def identity(self) -> str:
        """The consumer's name, the number of the message in the stream, and when it was stored."""
        tokens = outcome_parts(self.reply_subject)
        if tokens is None:  # somebody else has sent it, with a text of any length
            return blake2b(self.reply_subject.encode(errors="replace"), digest_size=8).hexdigest()
        at = tries_at(tokens)
        return f"{tokens[at - 1]}-{tokens[at + 1]}-{tokens[at + 3]}"

    async def ack(self) -> None:
        """See `Delivery.ack`."""
        await self._settle(b"+ACK")

    async def retry(self, after: float) -> None:
        """See `Delivery.retry`."""
        await self._settle(b'-NAK {"delay": %d}' % max(int(after * 10**9), 1))

    async def reject(self) -> None:
        """See `Delivery.reject`."""
        await self._settle(b"+TERM")

    async def in_progress(self) -> None:
        """See `Delivery.in_progress`."""
        self._deliveries.goes_on(self)
        await self._deliveries.tell(self.reply_subject, b"+WPI")

    async def _settle(self, outcome: bytes) -> None:
        self._deliveries.settle(self)
        await self._deliveries.tell(self.reply_subject, outcome)


def tries_at(tokens: Sequence[str]) -> int:
    """Return where the subject for an outcome has the number of the delivery, see `DurableDelivery`."""
    return 4 if len(tokens) == 9 else 6


def outcome_parts(subject: str | None) -> Sequence[str] | None:
    """Return the parts of the subject for an outcome; None for one that JetStream has not made."""
    if not subject or not subject.startswith(_OUTCOME):
        return None
    tokens = subject.split(".")
    if len(tokens) != 9 and len(tokens) < 11:
        return None
    at = tries_at(tokens)
    return None if None in map(number_in, tokens[at : at + 5]) else tokens


def sequence_in(subject: str | None) -> int | None:
    """Return the number in its stream of a message, by the subject for its outcome; None as above."""
    tokens = outcome_parts(subject)
    return None if tokens is None else int(tokens[tries_at(tokens) + 1])
