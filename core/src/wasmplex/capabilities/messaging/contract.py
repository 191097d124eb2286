"""The messaging contract: what a backend implements, and what guests get through every WIT interface.

A backend deals in its own errors and in valid subjects only. Checking subjects, sizes and grants, deadlines,
and deciding what happens to a message whose handling failed is the host's part, the same for every backend.
`wasmplex.testing.MessagingConformance` tests that a backend keeps what is written here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Literal, NamedTuple

from wasmplex.capabilities.messaging.errors import Unsupported
from wasmplex.capabilities.messaging.subjects import distinct
from wasmplex.plugins.backends import Backend

__all__ = ["FEATURES", "Deliveries", "Delivery", "Kept", "Message", "MessagingBackend", "Subscription"]

FEATURES = frozenset(
    {"dead-letters", "delayed-retry", "durable", "history", "namespaces", "queue-groups", "request"}
)
"""What a backend may leave out. It declares what it has in `MessagingBackend.features`.

- ``dead-letters``: it keeps messages until they are removed (`MessagingBackend.keep`)
- ``delayed-retry``: the broker itself delivers again what a host has not handled
- ``durable``: a subscription goes on while nobody is there
- ``history``: a durable subscription may start with what was sent before it was made
- ``namespaces``: subjects of different namespaces are apart
- ``queue-groups``: those of one group share the messages
- ``request``: `MessagingBackend.request`
"""


class Message(NamedTuple):
    """A message.

    :ivar reply_to: the subject that an answer is expected on
    :ivar headers: for hosts and operators; guests do not see them
    """

    subject: str
    body: bytes
    reply_to: str | None = None
    headers: Mapping[str, str] | None = None


class Kept(NamedTuple):
    """A message that was kept, and the token to remove it by."""

    token: str
    message: Message


@dataclass(frozen=True, slots=True)
class Subscription:
    """What somebody wants to be delivered.

    :ivar owner: the workload; a durable subscription belongs to it
    :ivar subjects: patterns, none of which covers another: those are left out; a message that several of them
        match is delivered once
    :ivar queue_group: those of one group share the messages, whatever the subjects of each; None: everybody
        gets each. Not None only if the backend declares ``queue-groups``
    :ivar durable: the name under which it goes on while nobody is there; not None only with ``durable``
    :ivar start: with what a durable one begins: the next message, or (``history``) the first that is there
    :ivar max_in_flight: how many deliveries may be without an outcome at once
    :ivar ordered: nothing is delivered before the one before has an outcome that is final
    :ivar ack_wait: seconds after which a broker that watches over deliveries delivers again
    :ivar dead_letters: the subject under which what it cannot handle is kept, for a broker that can refuse
        that before there is any
    """

    owner: str
    subjects: tuple[str, ...]
    queue_group: str | None = None
    durable: str | None = None
    start: Literal["new", "first"] = "new"
    max_in_flight: int = 32
    ordered: bool = False
    ack_wait: float = 30.0
    dead_letters: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "subjects", distinct(self.subjects))


class Delivery(ABC):
    """A message that was delivered, until it has an outcome: one of `ack`, `retry` and `reject`, once.

    Without one, because its host has ended say, a broker that can deliver again does.

    :ivar tries: which delivery of the message it is, from 1
    :ivar first_seen: when the broker took the message, or delivered it first, in Unix seconds
    :ivar watched: whether the broker waits for an outcome no longer than ``ack_wait``, unless `in_progress`
    """

    __slots__ = ("first_seen", "message", "tries")
    watched = False

    @property
    def identity(self) -> str | None:
        """What its broker calls the message, the same in each delivery and of no other of the workload.

        A token of a subject; None if it has no name for it.
        """
        return None

    def __init__(self, message: Message, tries: int, first_seen: float) -> None:
        self.message = message
        self.tries = tries
        self.first_seen = first_seen

    @abstractmethod
    async def ack(self) -> None:
        """Say that it was handled: it is not delivered again."""

    @abstractmethod
    async def retry(self, after: float) -> None:
        """Deliver it again, in `after` seconds at the earliest."""

    @abstractmethod
    async def reject(self) -> None:
        """Say that it cannot be handled: it is not delivered again."""

    async def in_progress(self) -> None:  # noqa: B027  a broker that does not watch need not be told
        """Say that it is being handled: the broker waits for its outcome anew."""


class Deliveries(ABC):
    """An open subscription. What is taken from it is handled by as many as ask side by side."""

    @abstractmethod
    async def next(self) -> Delivery | None:
        """Wait for a delivery; None when it was stopped and all it has to give has been given.

        May be cancelled: no message is lost by that.

        :raises MessagingError: if the subscription broke; another one may be begun
        """

    def ready(self, most: int) -> Sequence[Delivery]:
        """Return deliveries that are there already, as `next` would at once, at most so many. Never waits.

        Not for an ordered subscription. A backend without it has one message handled at a time by each who
        asks.
        """
        return ()

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        """Say of several deliveries that they were handled, see `Delivery.ack`.

        :raises MessagingError: if that could not be said of all: of as many as possible it was
        """
        failure: Exception | None = None
        for delivery in deliveries:
            try:
                await delivery.ack()
            except Exception as error:  # noqa: BLE001  whatever it is, it is of one
                failure = failure or error
        if failure is not None:
            raise failure

    @abstractmethod
    def stop(self) -> None:
        """Ask for no more. What cannot be left to the broker or to others still comes from `next`."""


class MessagingBackend(Backend):
    """An open connection to a broker.

    :ivar features: which of `FEATURES` it honours: its provider's, or fewer where the server lacks some
    """

    capability = "messaging"
    features: frozenset[str] = frozenset()

    @abstractmethod
    async def publish(self, namespace: str, message: Message) -> None:
        """Return when the broker has taken the message.

        :raises QuotaExceeded: if the broker is full, and stays full for a while
        :raises MessageTooLarge: if it is larger than the broker takes
        """

    async def request(self, namespace: str, message: Message, seconds: float) -> Message:
        """Send a message with a subject for the answer, and return the first. Feature ``request``.

        :raises NoResponders: at once, if nobody listens to the subject
        :raises NoReply: if there is no answer after `seconds`
        """
        raise Unsupported("request")

    @abstractmethod
    def subscribe(
        self, namespace: str, subscription: Subscription
    ) -> AbstractAsyncContextManager[Deliveries]:
        """Subscribe while the context lasts. On entering it, the broker has confirmed the subscription.

        On leaving it, deliveries without an outcome go back to the broker, if that takes them.

        :raises MessagingError: on entering, if it cannot be had now
        :raises wasmplex.errors.ConfigError: on entering, if it can never be had as it is configured: its
            durable name belongs to another workload, say
        """

    async def examine(self, namespace: str, subscription: Subscription) -> None:
        """Raise what entering `subscribe` would, as far as that can be known without changing anything."""

    async def keep(self, namespace: str, message: Message) -> None:
        """Publish a message, and keep it until it is removed. Feature ``dead-letters``.

        :raises MessageTooLarge: if it is larger than what can be kept: less of it may be
        :raises wasmplex.errors.ConfigError: if the broker has not the room for it that is configured
        """
        raise Unsupported("dead-letters")

    def kept(self, namespace: str, subject: str) -> AsyncIterator[Kept]:
        """Return what is kept under a subject now, the oldest first, one after the other. ``dead-letters``.

        Not what is kept from then on; what has been returned may be removed before the next is asked for.
        """
        raise Unsupported("dead-letters")

    async def remove(self, namespace: str, subject: str, token: str) -> None:
        """Keep a message no longer; idempotent. Feature ``dead-letters``."""
        raise Unsupported("dead-letters")
