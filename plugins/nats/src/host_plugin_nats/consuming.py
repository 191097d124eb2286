"""Begins and ends a durable subscription: its stream, its consumer, and the rights that it needs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from wasmplex.capabilities.messaging import Subscription

from host_plugin_nats.durable import DurableDeliveries
from host_plugin_nats.jetstream import JetStream
from host_plugin_nats.link import Link

__all__ = ["durable"]


@asynccontextmanager
async def durable(
    link: Link, jetstream: JetStream, subscription: Subscription
) -> AsyncIterator[DurableDeliveries]:
    """Subscribe while the context lasts; the stream and the consumer are made if they are missing."""
    stream = await jetstream.stream_for(subscription)
    name = await jetstream.consumer(stream, subscription)
    place = f"{jetstream.api}.CONSUMER.MSG.NEXT.{stream}.{name}"
    outcomes, sure = await jetstream.outcomes.check(stream, name)
    deliveries: DurableDeliveries | None = None
    try:
        # Left before anything is given back: the server would send it here again.
        async with link.inbox(flush=True) as inbox:
            deliveries = DurableDeliveries(link, place, inbox, subscription)
            deliveries.unsure = None if sure else jetstream.outcomes
            with link.needs.of("publish", outcomes, inbox.end):
                yield deliveries
    finally:
        if deliveries is not None:
            with anyio.CancelScope(shield=True):
                await deliveries.close()
