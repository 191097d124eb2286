"""How the messaging kit reaches a broker: sending as a guest would, receiving through the contract."""

# The methods of `Sender` are those of `wasmplex.interfaces.messaging.policy`, documented there.
# ruff: noqa: D102

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Protocol
from uuid import uuid4

import anyio

from wasmplex.capabilities.messaging import (
    Deliveries,
    Delivery,
    Message,
    MessagingBackend,
    MessagingError,
    Subscription,
)
from wasmplex.interfaces.messaging.policy import GuardedBroker, MessagingSettings
from wasmplex.interfaces.messaging.replies import ReplyRoutes
from wasmplex.policy import Scope
from wasmplex.testing import kit
from wasmplex.testing.kit import Driver, Refused

__all__ = ["PATIENCE", "SILENCE", "Bench", "ContractDriver", "Inbox", "MessagingDriver", "Sender"]

PATIENCE = 10.0
"""Seconds that a delivery is waited for that has to come."""
SILENCE = 0.15
"""Seconds in which nothing comes that must not come."""


class Sender(Protocol):
    """One binding, as a guest sees it; errors are `Refused`."""

    async def publish(self, subject: str, body: bytes, reply_to: str | None = None) -> None: ...
    async def request(self, subject: str, body: bytes, seconds: float = 10.0) -> bytes: ...


class MessagingDriver(Driver[MessagingBackend]):
    """Base of the messaging drivers."""

    @abstractmethod
    async def sender(self, scope: Scope, settings: MessagingSettings) -> Sender:
        """Return one binding to the backend."""


class ContractDriver(MessagingDriver):
    """Straight through the Python contract."""

    features = frozenset({"dead-letters", "delayed-retry", "durable", "history", "namespaces"}) | frozenset(
        {"queue-groups", "request"}
    )

    async def sender(self, scope: Scope, settings: MessagingSettings) -> Sender:
        broker = GuardedBroker(self.backend, settings, scope, _refused, ReplyRoutes())
        return _ContractSender(broker)


class _ContractSender:
    def __init__(self, broker: GuardedBroker) -> None:
        self._broker = broker

    async def publish(self, subject: str, body: bytes, reply_to: str | None = None) -> None:
        await self._broker.publish(Message(subject, body, reply_to))

    async def request(self, subject: str, body: bytes, seconds: float = 10.0) -> bytes:
        return (await self._broker.request(subject, body, seconds)).body


def _refused(operation: str, error: MessagingError) -> Refused:
    return Refused(error.case, f"{operation}: {error}")


class Bench(kit.Bench[MessagingDriver]):
    """A message broker under test; see `wasmplex.testing.kit.Bench`.

    :ivar root: what the subjects of a test begin with, where a backend has no namespaces
    """

    contract = MessagingBackend
    backend: MessagingBackend

    def __init__(self, backend: Any, driver: MessagingDriver) -> None:
        super().__init__(backend, driver)
        self.root = f"kit-{uuid4().hex[:12]}"

    def subject(self, name: str) -> str:
        """Return a subject, or a pattern, of this test's own."""
        return f"{self.root}.{name}"

    def name(self, name: str) -> str:
        """Return a durable name, or that of a group, of this test's own."""
        return f"{self.root}-{name}"

    async def sender(self, label: str = "kit", *, namespace: str | None = None, **settings: Any) -> Sender:
        """Return a binding; `settings` are those of `MessagingSettings`."""
        scope = Scope("kit", label, self.namespace if namespace is None else namespace)
        return await self.driver.sender(scope, MessagingSettings(**settings))

    @asynccontextmanager
    async def subscribed(
        self, *names: str, owner: str = "kit", namespace: str | None = None, **subscription: Any
    ) -> AsyncIterator[Inbox]:
        """Subscribe to some subjects of the test's own; see `Subscription`."""
        wanted = Subscription(owner, tuple(self.subject(name) for name in names), **subscription)
        place = self.namespace if namespace is None else namespace
        async with self.backend.subscribe(place, wanted) as deliveries:
            yield Inbox(deliveries)


class Inbox:
    """An open subscription, as tests use it."""

    def __init__(self, deliveries: Deliveries) -> None:
        self.deliveries = deliveries

    async def next(self) -> Delivery:
        """Return the next delivery, which has to come."""
        with anyio.fail_after(PATIENCE):
            delivery = await self.deliveries.next()
        assert delivery is not None, "the subscription ended"
        return delivery

    async def take(self, count: int = 1) -> list[bytes]:
        """Return the bodies of the next deliveries, each of them handled."""
        bodies = []
        for _ in range(count):
            delivery = await self.next()
            bodies.append(delivery.message.body)
            await delivery.ack()
        return bodies

    async def rest(self, silence: float = SILENCE) -> list[bytes]:
        """Return the bodies of what comes until nothing comes for a while, each of them handled."""
        bodies: list[bytes] = []
        while True:
            with anyio.move_on_after(silence):
                delivery = await self.deliveries.next()
                if delivery is None:
                    return bodies
                bodies.append(delivery.message.body)
                await delivery.ack()
                continue
            return bodies
