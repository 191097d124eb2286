"""The broker: a queue for each subscriber. It declares no groups, nothing durable and no requests."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from wasmplex.capabilities.messaging import (
    Deliveries,
    Delivery,
    Message,
    MessagingBackend,
    QuotaExceeded,
    Subscription,
)
from wasmplex.capabilities.messaging.subjects import matcher


class ExampleBroker(MessagingBackend):
    features = frozenset({"namespaces"})

    def __init__(self, most: int) -> None:
        self.most = most
        self.open: list[ExampleDeliveries] = []

    async def close(self) -> None:
        """Nothing is left open."""

    async def publish(self, namespace: str, message: Message) -> None:
        wanting = [one for one in self.open if one.wants(namespace, message.subject)]
        if any(len(one.waiting) >= self.most for one in wanting):
            raise QuotaExceeded("a subscriber has too many messages waiting")
        for one in wanting:
            one.put(ExampleDelivery(one, message, 1, time.time()))

    @asynccontextmanager
    async def subscribe(self, namespace: str, subscription: Subscription) -> AsyncIterator[Deliveries]:
        deliveries = ExampleDeliveries(namespace, subscription)
        self.open.append(deliveries)
        try:
            yield deliveries
        finally:
            self.open.remove(deliveries)
            for timer in deliveries.timers:
                timer.cancel()


class ExampleDeliveries(Deliveries):
    def __init__(self, namespace: str, subscription: Subscription) -> None:
        self.namespace, self.pattern = namespace, matcher(subscription.subjects)
        self.ordered, self.stopped, self.out = subscription.ordered, False, 0
        self.waiting: list[ExampleDelivery] = []
        self.timers: set[asyncio.TimerHandle] = set()
        self.change = asyncio.Event()

    def wants(self, namespace: str, subject: str) -> bool:
        return not self.stopped and namespace == self.namespace and bool(self.pattern.fullmatch(subject))

    def put(self, delivery: ExampleDelivery, *, first: bool = False) -> None:
        self.waiting.insert(0 if first else len(self.waiting), delivery)
        self.change.set()

    async def next(self) -> Delivery | None:
        while not self.waiting or (self.ordered and (self.out or self.timers)):
            if self.stopped and not (self.waiting or self.out or self.timers):
                return None
            self.change.clear()
            await self.change.wait()
        self.out += 1
        return self.waiting.pop(0)

    def stop(self) -> None:
        """Take nothing new; what is here has nowhere else to go, and still comes."""
        self.stopped = True
        self.change.set()


class ExampleDelivery(Delivery):
    def __init__(
        self,
        owner: ExampleDeliveries,
        message: Message,
        tries: int,
        first_seen: float,
    ) -> None:
        super().__init__(message, tries, first_seen)
        self.owner = owner

    async def ack(self) -> None:
        self.owner.out -= 1
        self.owner.change.set()

    async def reject(self) -> None:
        await self.ack()

    async def retry(self, after: float) -> None:
        again = ExampleDelivery(self.owner, self.message, self.tries + 1, self.first_seen)

        def due() -> None:
            self.owner.timers.discard(timer)
            self.owner.put(again, first=self.owner.ordered)

        timer = asyncio.get_running_loop().call_later(after, due)
        self.owner.timers.add(timer)
        await self.ack()
